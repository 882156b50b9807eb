"""Commands that change one task: run it again, reschedule it, give it another priority."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from .. import statements
from . import calls
from .database import change, connect, database_time, record
from .options import Dsn, Json, TaskId, parse_input, when_option
from .output import absolute_time, echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command("run-again")
def run_again(
    id: TaskId,
    input: Annotated[
        str | None,
        typer.Argument(metavar="[INPUT]", help="Another input, as JSON; - reads it from stdin. Default: that of the task."),
    ] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Enqueue a copy of a task, live or finished, and print its id. It has no unique key and waits for no other task."""
    other = None if input is None else parse_input(input)
    new = change(dsn, calls.run_again(id, None if input is None else json.dumps(other)), "run_again", task=id)
    if as_json:
        echo_json({"id": new})
    else:
        echo(str(new))
