"""The command `enqueue`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from .. import statements
from ..settings import AfterFailure, OnConflict, Options, UniqueUntil
from .database import ask
from .options import (
    Dsn,
    Headers,
    Input,
    JobName,
    Json,
    Priority,
    QueueName,
    Timeout,
    duration_option,
    parse_headers,
    parse_input,
    time_option,
)
from .output import say, say_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def enqueue(
    queue: QueueName,
    input: Input = "{}",
    job: JobName = None,
    delay: Annotated[timedelta | None, duration_option("Run it so much later.")] = None,
    run_at: Annotated[datetime | None, time_option("Run it then: 2030-01-31T09:00:00Z.")] = None,
    priority: Priority = 0,
    timeout: Timeout = None,
    retention: Annotated[timedelta | None, duration_option("How long it is kept when it is finished.")] = None,
    header: Headers = None,
    unique_key: Annotated[
        str | None, typer.Option(help="At most one live task of the queue has this key.", show_default=False)
    ] = None,
    on_conflict: Annotated[OnConflict, typer.Option(help="What to do when the unique key is taken.")] = "return",
    unique_for: Annotated[
        timedelta | None, duration_option("The unique key is taken for so long, even if the task succeeds before.")
    ] = None,
    unique_until: Annotated[
        UniqueUntil, typer.Option(help="Hold the unique key until the task finishes, or until it starts.")
    ] = "finish",
    concurrency_key: Annotated[
        str | None, typer.Option(help="Tasks that share this key take turns.", show_default=False)
    ] = None,
    after: Annotated[
        list[int] | None, typer.Option(metavar="ID", help="Run it when this task has succeeded; may be repeated.")
    ] = None,
    after_failure: Annotated[
        AfterFailure, typer.Option(help="When one of those does not succeed: wait for its retry, fail, or run.")
    ] = "wait",
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Enqueue a task, and print its id; where its unique key is taken, that of the task that has it."""
    options = Options(
        delay=delay, run_at=run_at, priority=priority, timeout=timeout, retention=retention,
        headers=parse_headers(header) if header else None, unique_key=unique_key, on_conflict=on_conflict,
        unique_for=unique_for, unique_until=unique_until, concurrency_key=concurrency_key, after=after,
        after_failure=after_failure,
    )  # fmt: skip
    id = ask(dsn, statements.enqueue(queue, parse_input(input), job, options))
    if as_json:
        say_json({"id": id})
    else:
        say(str(id))
