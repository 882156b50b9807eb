"""The command `enqueue`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from .. import statements
from ..settings import AfterFailure, OnConflict, Options, UniqueUntil
from .database import query
from .errors import WrongUsage
from .options import (
    Dsn,
    Headers,
    JobName,
    Json,
    Priority,
    Timeout,
    duration_option,
    expiry_option,
    is_input,
    parse_headers,
    parse_input,
    time_option,
)
from .output import echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def enqueue(
    queue: Annotated[
        str | None,
        typer.Argument(metavar="[QUEUE]", help="The name of a queue. With --job, by default that of the job."),
    ] = None,
    input: Annotated[
        str | None, typer.Argument(metavar="[INPUT]", help="The input, as JSON; - reads it from stdin. Default: {}.")
    ] = None,
    job: JobName = None,
    delay: Annotated[timedelta | None, duration_option("Run it this much later.")] = None,
    run_at: Annotated[datetime | None, time_option("Run it at this time: 2030-01-31T09:00:00Z.")] = None,
    expires: Annotated[
        Any, expiry_option("Cancel it if no worker has begun it by then: so long after it is due, or at this time.")
    ] = None,
    priority: Priority = None,
    timeout: Timeout = None,
    retention: Annotated[timedelta | None, duration_option("How long to keep it after it has finished.")] = None,
    header: Headers = None,
    unique_key: Annotated[
        str | None, typer.Option(help="At most one live task of the queue has this key.", show_default=False)
    ] = None,
    on_conflict: Annotated[OnConflict, typer.Option(help="What to do if a live task has the unique key.")] = "return",
    unique_for: Annotated[
        timedelta | None, duration_option("Hold the unique key for this long, even if the task succeeds earlier.")
    ] = None,
    unique_until: Annotated[
        UniqueUntil, typer.Option(help="Hold the unique key until the task finishes, or until it starts.")
    ] = "finish",
    concurrency_key: Annotated[
        str | None,
        typer.Option(
            help="Of the tasks with this key, only as many run at once as the queue allows.", show_default=False
        ),
    ] = None,
    after: Annotated[
        list[int] | None, typer.Option(metavar="ID", help="Run it after this task has succeeded; may be repeated.")
    ] = None,
    after_failure: Annotated[
        AfterFailure, typer.Option(help="If one of those tasks does not succeed: wait for its retry, fail, or run.")
    ] = "wait",
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Enqueue a task and print its id. If its unique key is taken, print the id of the task that has the key.

    With --job, an argument alone that is JSON, or -, is the input, and the task goes to the queue of the job.
    """
    if job is not None and queue is not None and input is None and is_input(queue):
        queue, input = None, queue
    if queue is None and job is None:
        raise WrongUsage("give the QUEUE, or --job with the name of a registered job")
    options = Options(
        delay=delay, run_at=run_at, expires=expires, priority=priority,
        timeout=timeout, retention=retention, headers=parse_headers(header) if header else None, unique_key=unique_key,
        on_conflict=on_conflict, unique_for=unique_for, unique_until=unique_until, concurrency_key=concurrency_key,
        after=after, after_failure=after_failure,
    )  # fmt: skip
    id = query(dsn, statements.enqueue(queue, parse_input("{}" if input is None else input), job, options))
    if as_json:
        echo_json({"id": id})
    else:
        echo(str(id))
