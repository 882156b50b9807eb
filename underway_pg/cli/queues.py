"""Commands for queues: list them, create, change, pause, resume and drop them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..models import QueueStats, TaskStats
from ..settings import Queue, RetryPolicy
from .database import change, database_time
from .databases import Databases, on_databases
from .options import Dsn, Json, QueueName, Timeout, duration_option
from .output import echo, echo_json, relative
from .rates import Period, Since, rate, seconds_in_words

__all__ = ["commands", "queue_commands"]

commands = typer.Typer()
queue_commands = typer.Typer(help="Create, change, pause, resume and drop queues, and set their limits.")

_Key = Annotated[
    str | None, typer.Option("--key", help="Only the tasks with this concurrency key.", show_default=False)
]


@commands.command()
@on_databases
def queues(databases: Databases, since: Since = None, as_json: Json = False) -> None:
    """List the queues with their settings, the number of their tasks, and what happened to these in the last hour.

    A number with a plus sign may be higher: at most 10,000 tasks of a queue are counted.
    """

    def read(connection: psycopg.Connection[Any]) -> list[tuple[QueueStats, TaskStats | None, Period]]:
        period = Period.last(since, database_time(connection))
        found = execute(connection, statements.queues())
        done = {each.queue: each for each in execute(connection, statements.stats_by_queue(period.since, period.until))}
        return [(queue, done.get(queue.queue), period) for queue in found]

    listed = [(shard, *row) for shard, rows in databases.read(read).items() for row in rows]
    if as_json:
        databases.show_json(
            "queues",
            [
                (shard, asdict(queue) | {"stats": {"seconds": period.seconds, **(asdict(stats) if stats else {})}})
                for shard, queue, stats, period in listed
            ],
        )
        return
    databases.show(
        ["queue", "state", "ready", "oldest", "parked", "scheduled", "running", "waiting", "dead letters", "started",
         "failed", "wait p95", "workers", "limits", "paused keys", "dead-letter queue"],
        [
            (shard, [
                queue.queue, "paused" if queue.paused_at else "active", at_least(queue, queue.ready),
                relative(queue.oldest_ready_at, period.until), *(
                    at_least(queue, count)
                    for count in (queue.parked, queue.scheduled, queue.in_progress, queue.waiting, queue.dead_letters)
                ),
                *_rates(stats, period), queue.workers, _limits(queue), _some(queue.paused_keys),
                queue.dead_letter_queue,
            ])
            for shard, queue, stats, period in listed
        ],
        "no queues; create one: underway queue create NAME",
    )  # fmt: skip


def at_least(queue: QueueStats, count: int) -> str:
    """A number of tasks of a queue, with a plus sign if there may be more."""
    return f"{count}+" if queue.capped and count else str(count)


def _rates(stats: TaskStats | None, period: Period) -> list[str | None]:
    if stats is None:
        return ["0", "0", None]
    counts = (rate(stats.started, period.seconds), rate(stats.failed, period.seconds))
    return [*counts, seconds_in_words(stats.wait_p95)]


def _limits(queue: QueueStats) -> str:
    """The limits of a queue that differ from the defaults, in words."""
    return ", ".join(
        words
        for words, is_set in (
            (f"{queue.max_running} running", queue.max_running is not None),
            (f"{queue.max_running_per_key} running per key", queue.max_running_per_key != 1),
            (f"{queue.rate_limit} per {queue.rate_period.total_seconds():g} s", queue.rate_limit is not None),
            (
                f"{queue.rate_limit_per_key} per key and {queue.rate_period.total_seconds():g} s",
                queue.rate_limit_per_key is not None,
            ),
            (f"max length {queue.max_length}", queue.max_length is not None),
            ("fair", queue.fair),
        )
        if is_set
    )


def _some(names: list[str]) -> str:
    """The first three names, and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _limit_option(help: str, *, minimum: int = 0) -> Any:
    return typer.Option(min=minimum, max=2**31 - 1, help=help, show_default=False)


@queue_commands.command("create")
def create_queue(
    name: QueueName,
    dead_letter_queue: Annotated[
        str | None, typer.Option(help='The queue for tasks that fail permanently; "" for none.', show_default=False)
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="The maximum number of attempts.", show_default=False)
    ] = None,
    initial_interval: Annotated[timedelta | None, duration_option("The delay before the second attempt.")] = None,
    max_interval: Annotated[timedelta | None, duration_option("The maximum delay between attempts.")] = None,
    factor: Annotated[
        float | None, typer.Option(help="The delay is multiplied by this after each attempt.", show_default=False)
    ] = None,
    jitter: Annotated[
        float | None, typer.Option(help="The share of a delay, from 0 to 1, that is random.", show_default=False)
    ] = None,
    timeout: Timeout = None,
    heartbeat: Annotated[timedelta | None, duration_option("How long a lease lasts without a heartbeat.")] = None,
    retention: Annotated[timedelta | None, duration_option("How long finished tasks are kept.")] = None,
    keep_history: Annotated[
        bool | None,
        typer.Option(
            "--keep-history/--no-keep-history",
            help="Keep the inputs of succeeded tasks.",
            show_default=False,
        ),
    ] = None,
    max_running: Annotated[
        int | None, _limit_option("How many tasks may run at once, over all workers; 0 for no limit.")
    ] = None,
    max_running_per_key: Annotated[
        int | None, _limit_option("How many tasks with the same concurrency key may run at once.", minimum=1)
    ] = None,
    rate_limit: Annotated[
        int | None, _limit_option("How many tasks may start in a rate period, over all workers; 0 for no limit.")
    ] = None,
    rate_period: Annotated[timedelta | None, duration_option("The length of a rate period.")] = None,
    rate_limit_per_key: Annotated[
        int | None, _limit_option("How many tasks with the same concurrency key may start in it; 0 for no limit.")
    ] = None,
    max_length: Annotated[
        int | None, _limit_option("How many tasks may be pending in the queue; 0 for no limit.")
    ] = None,
    fair: Annotated[
        bool | None,
        typer.Option("--fair/--no-fair", help="Serve the concurrency keys in turn.", show_default=False),
    ] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Create a queue, or change the given settings of an existing one. A new limit applies from the next claim on.

    The retry policy is replaced as a whole: if one of its five settings is given, the others get their defaults.
    """
    policy: dict[str, Any] = {
        "max_attempts": max_attempts, "initial_interval": initial_interval, "max_interval": max_interval,
        "factor": factor, "jitter": jitter,
    }  # fmt: skip
    policy = {part: value for part, value in policy.items() if value is not None}
    queue = Queue(
        name=name,
        dead_letter_queue=dead_letter_queue,
        retry=RetryPolicy(**policy) if policy else None,
        timeout=timeout,
        heartbeat=heartbeat,
        retention=retention,
        keep_history=keep_history,
        max_running=max_running,
        max_running_per_key=max_running_per_key,
        rate_limit=rate_limit,
        rate_period=rate_period,
        max_length=max_length,
        rate_limit_per_key=rate_limit_per_key,
        fair=fair,
    )
    settings = {key: str(value) for key, value in vars(queue).items() if value is not None and key != "name"}
    change(dsn, statements.create_queue(queue), "create_queue", queue=name, settings=settings)
    if as_json:
        echo_json({"queue": name})
    else:
        echo(f"queue {name}: created or updated")


@queue_commands.command("pause")
def pause_queue(name: QueueName, key: _Key = None, dsn: Dsn = None, as_json: Json = False) -> None:
    """Pause a queue, or one concurrency key of it: no task starts. Running tasks continue."""
    statement = statements.pause_queue(name) if key is None else statements.pause_key(name, key)
    changed = change(dsn, statement, "pause_queue" if key is None else "pause_key", queue=name, key=key)
    if as_json:
        echo_json({"queue": name, "key": key, "changed": changed})
    else:
        echo(f"{_name(name, key)}: {'paused' if changed else 'already paused'}")


@queue_commands.command("resume")
def resume_queue(name: QueueName, key: _Key = None, dsn: Dsn = None, as_json: Json = False) -> None:
    """Resume a paused queue, or one paused concurrency key of it."""
    statement = statements.resume_queue(name) if key is None else statements.resume_key(name, key)
    changed = change(dsn, statement, "resume_queue" if key is None else "resume_key", queue=name, key=key)
    if as_json:
        echo_json({"queue": name, "key": key, "changed": changed})
    else:
        echo(f"{_name(name, key)}: {'resumed' if changed else 'was not paused'}")


def _name(queue: str, key: str | None) -> str:
    return f"queue {queue}" if key is None else f"queue {queue}, key {key}"


@queue_commands.command("drop")
def drop_queue(
    name: QueueName,
    force: Annotated[bool, typer.Option("--force", help="Cancel the live tasks of the queue.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Drop a queue. Its finished tasks stay in the history until their retention ends."""
    change(dsn, statements.drop_queue(name, force), "drop_queue", queue=name, force=force)
    if as_json:
        echo_json({"queue": name})
    else:
        echo(f"queue {name}: dropped")
