"""The command line `underway`: install the schema, run workers, manage queues and tasks.

Exit codes: 0 success, 1 failure, 2 wrong usage. An error is one line on stderr that says what to do.
Each option can be set in the environment: UNDERWAY_WORKER_NAME for `underway worker --name`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

from .. import __version__
from .errors import exit_code_and_message

try:
    import rich  # noqa: F401  # what it is made of is imported by what prints a table
    import typer
    from typer.main import get_command

    from .output import print_error
except ModuleNotFoundError as missing:
    raise SystemExit(f"underway: {missing.name} is not installed: pip install 'underway-pg[cli]'") from None

__all__ = ["COMMANDS", "COMPLETE_VARIABLE", "command", "main"]

# The modules, and the commands of each, in the order of the help. Only the module of the command that runs is imported:
# all of them take longer than most commands.
_MODULES = {
    "migrate": "migrate",
    "sync": "sync",
    "worker": "worker",
    "enqueue": "enqueue",
    "top": "top",
    "doctor": "doctor",
    "tasks": "tasks task why wait",
    "actions": "cancel retry redrive delete",
    "changes": "run-again reschedule reprioritize",
    "transfer": "export import",
    "move": "move",
    "queues": "queues",
    "jobs": "jobs",
    "batches": "batches",
    "schedules": "schedules",
    "cron": "cron",
    "workers": "workers stats stop",
    "events": "events",
    "dashboard": "dashboard",
    "console": "console",
    "completion": "completion",
}
# The groups of commands, which the help lists after the commands, and their modules.
_GROUPS = {"queue": "queues", "schedule": "schedules", "batch": "batches"}

# With it the shell asks this program for what may come next. Its only argument is then the program itself.
COMPLETE_VARIABLE = "_UNDERWAY_COMPLETE"

COMMANDS = [*" ".join(_MODULES.values()).split(), *_GROUPS]


def _print_version(asked: bool) -> None:
    if asked:
        print(f"underway {__version__}")
        raise typer.Exit


def underway(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, allow_from_autoenv=False, help="Print the version."
        ),
    ] = False,
) -> None:
    """Underway: a job queue in PostgreSQL.

    Durations are seconds (90, 1.5) or have a unit: 10s, 5m, 2h, 1d. Each option can be set in the environment, except
    those that select tasks: UNDERWAY_WORKER_CONCURRENCY=20 stands for underway worker --concurrency 20.
    """


@functools.cache
def command(name: str | None = None) -> Any:
    """The command line: with the command or the group of this name only, or with all of them if none has it."""
    commands = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # boxes leave no room for the names of the environment variables
        context_settings={"auto_envvar_prefix": "UNDERWAY"},
    )
    commands.callback()(underway)
    has_all = name not in COMMANDS
    for module, names in _MODULES.items():
        if has_all or name in names.split():
            commands.add_typer(import_module(f".{module}", __name__).commands)
    for group, module in _GROUPS.items():
        if has_all or name == group:
            commands.add_typer(getattr(import_module(f".{module}", __name__), f"{group}_commands"), name=group)
    return get_command(commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` default to those of the process. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Importing allocates much that stays. Collections of garbage that visit it meanwhile, and several times more at the
    # end of the interpreter, would be a quarter of the CPU time of a short command.
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    try:
        if COMPLETE_VARIABLE in os.environ:
            import_module(".completion", __name__).prepare()
        named = next((word for word in arguments if not word.startswith("-")), None)
        code = command(named).main(args=arguments, prog_name="underway", standalone_mode=False, obj=arguments)
    except typer.Abort:
        return 130
    except Exception as error:
        known = exit_code_and_message(error)
        if known is None:
            raise
        code, line = known
        print_error(line)
    return code if isinstance(code, int) else 0
