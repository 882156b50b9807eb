"""The command line `underway`: install the schema, run workers, manage queues and tasks.

Exit codes: 0 success, 1 failure, 2 wrong usage. An error is one line on stderr that says what to do.
Each option can be set in the environment: UNDERWAY_WORKER_NAME for `underway worker --name`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from .. import __version__
from .errors import exit_code_and_message

try:
    import rich  # noqa: F401  # what it is made of is imported by what prints a table
    import typer
    from typer.main import get_command

    from . import (
        actions,
        batches,
        changes,
        completion,
        console,
        cron,
        dashboard,
        doctor,
        enqueue,
        events,
        jobs,
        migrate,
        move,
        queues,
        schedules,
        sync,
        tasks,
        top,
        transfer,
        worker,
        workers,
    )
    from .output import print_error
except ModuleNotFoundError as missing:
    raise SystemExit(f"underway: {missing.name} is not installed: pip install 'underway-pg[cli]'") from None

__all__ = ["commands", "main"]

commands = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes leave no room for the names of the environment variables
    context_settings={"auto_envvar_prefix": "UNDERWAY"},
)
# In the order of the help, which lists groups after commands.
for part in (
    migrate, sync, worker, enqueue, top, doctor, tasks, actions, changes, transfer, move, queues, jobs, batches,
    schedules, cron, workers, events, dashboard, console, completion,
):  # fmt: skip
    commands.add_typer(part.commands)
commands.add_typer(queues.queue_commands, name="queue")
commands.add_typer(schedules.schedule_commands, name="schedule")
commands.add_typer(batches.batch_commands, name="batch")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"underway {__version__}")
        raise typer.Exit


@commands.callback()
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
def _command() -> Any:
    """The command of all commands, which a program that runs several makes once."""
    if completion.COMPLETE_VARIABLE in os.environ:
        completion.prepare()
    return get_command(commands)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` default to those of the process. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _command().main(args=arguments, prog_name="underway", standalone_mode=False, obj=arguments)
    except typer.Abort:
        return 130
    except Exception as error:
        known = exit_code_and_message(error)
        if known is None:
            raise
        code, line = known
        print_error(line)
    return code if isinstance(code, int) else 0
