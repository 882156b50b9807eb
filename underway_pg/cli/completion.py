"""The command `completion`: the script with which a shell completes `underway`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from . import COMPLETE_VARIABLE
from .options import Json
from .output import echo_json

__all__ = ["commands", "prepare"]

commands = typer.Typer()

_WHERE = {
    "bash": 'eval "$(underway completion bash)"',
    "zsh": 'eval "$(underway completion zsh)"',
    "fish": "underway completion fish | source",
    "powershell": "underway completion powershell | Out-String | Invoke-Expression",
}


def prepare() -> None:
    """Let typer answer the questions of shells, which it does only for programs with its own options for that."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()


@commands.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish", "powershell"], typer.Argument(metavar="SHELL", help="The shell.")],
    as_json: Json = False,
) -> None:
    """Print the script that completes commands, options and names of queues and jobs in bash, zsh, fish or powershell.

    Add eval "$(underway completion bash)" to ~/.bashrc, the same with zsh to ~/.zshrc, and underway completion fish
    | source to ~/.config/fish/config.fish. Names come from DATABASE_URL, if it answers within half a second.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="underway", complete_var=COMPLETE_VARIABLE, shell=shell)
    if shell == "zsh":
        script = script.replace("#compdef underway\n", "#compdef underway\nautoload -Uz compinit && compinit\n", 1)
    if as_json:
        echo_json({"shell": shell, "script": script, "load": _WHERE[shell]})
    else:
        typer.echo(script)
