"""The command line `underway`: install the schema, run workers, look after queues and tasks.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage. An error is one line on stderr that says what to do.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Annotated

from .errors import explained

try:
    import typer
    from typer.main import get_command

    from . import batches, cron, enqueue, migrate, queues, schedules, tasks, worker, workers
    from .output import complain
except ModuleNotFoundError as missing:
    raise SystemExit(f"underway: {missing.name} is not installed: pip install 'underway-pg[cli]'") from None

__all__ = ["commands", "main"]

commands = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
# In the order of the help; the commands of a group come after all that stand alone.
for part in (migrate, worker, enqueue, tasks, queues, batches, schedules, cron, workers):
    commands.add_typer(part.commands)
commands.add_typer(queues.queue_commands, name="queue")
commands.add_typer(schedules.schedule_commands, name="schedule")
commands.add_typer(batches.batch_commands, name="batch")


def _print_version(asked: bool) -> None:
    if asked:
        try:
            print(f"underway {importlib.metadata.version('underway-pg')}")
        except importlib.metadata.PackageNotFoundError:
            print("underway, not installed: run from a checkout")
        raise typer.Exit


@commands.callback()
def underway(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Underway: a job queue in PostgreSQL.

    Durations are seconds (90, 1.5), or have a unit: 10s, 5m, 2h, 1d.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` are those of the process by default. Returns the exit code."""
    try:
        code = get_command(commands).main(
            args=None if arguments is None else list(arguments), prog_name="underway", standalone_mode=False
        )
    except typer.Abort:
        return 130
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        code, line = known
        complain(line)
    return code if isinstance(code, int) else 0
