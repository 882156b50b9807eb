"""Commands that change one task: run it again, reschedule it, give it another priority."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..statements import dump_json
from .database import change_on, database_time, record
from .databases import Databases, on_databases
from .options import Json, TaskId, parse_input, when_argument
from .output import absolute_time, echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()

Connection = psycopg.Connection[Any]


@commands.command("run-again")
@on_databases
def run_again(
    id: TaskId,
    databases: Databases,
    input: Annotated[
        str | None,
        typer.Argument(metavar="[INPUT]", help="Another input, as JSON; - reads it from stdin. Default: the same."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Enqueue a copy of a task, live or finished, and print its id. It waits for no other task."""
    other = None if input is None else dump_json(parse_input(input))

    def change(connection: Connection) -> int:
        return change_on(connection, statements.run_again(id, other), "run_again", task=id)

    new = databases.with_task(id, change)
    if as_json:
        echo_json({"id": new})
    else:
        echo(str(new))


@commands.command()
@on_databases
def reschedule(
    id: TaskId,
    when: Annotated[Any, when_argument("When it becomes due: at a time, or so long from now; 0 is now.")],
    databases: Databases,
    as_json: Json = False,
) -> None:
    """Make a pending task due at another time."""

    def change(connection: Connection) -> tuple[datetime, datetime]:
        with connection.transaction():
            now = database_time(connection)
            at: datetime = now + when if isinstance(when, timedelta) else when
            due = execute(connection, statements.reschedule(id, at))
            record(connection, "reschedule", {"task": id, "run_at": due.isoformat()})
            return due, now

    due, now = databases.with_task(id, change)
    if as_json:
        echo_json({"id": id, "ready_at": due})
    else:
        echo(f"task {id}: due at {absolute_time(due, now)}")


@commands.command(context_settings={"ignore_unknown_options": True})  # a negative number is no option
@on_databases
def reprioritize(
    id: TaskId,
    priority: Annotated[int, typer.Argument(metavar="PRIORITY", min=-100, max=100, help="Higher runs first.")],
    databases: Databases,
    as_json: Json = False,
) -> None:
    """Give a pending task another priority."""

    def change(connection: Connection) -> None:
        change_on(connection, statements.reprioritize(id, priority), "reprioritize", task=id, priority=priority)

    databases.with_task(id, change)
    if as_json:
        echo_json({"id": id, "priority": priority})
    else:
        echo(f"task {id}: priority {priority}")
