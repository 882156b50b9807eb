"""Commands about queues: list them, create, change, pause, resume and drop them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from .. import statements
from ..models import QueueStats
from ..settings import Queue, RetryPolicy
from .database import ask, ask_with_time
from .options import Dsn, Json, QueueName, Timeout, duration_option
from .output import relative, say, say_json, say_table

__all__ = ["commands", "queue_commands"]

commands = typer.Typer()
queue_commands = typer.Typer(help="Create, change, pause, resume and drop queues, and set their limits.")

_Key = Annotated[
    str | None, typer.Option("--key", help="Only the tasks with this concurrency key.", show_default=False)
]


@commands.command()
def queues(dsn: Dsn = None, as_json: Json = False) -> None:
    """List the queues, and what lies in them."""
    found, now = ask_with_time(dsn, statements.queues())
    if as_json:
        say_json([asdict(queue) for queue in found])
        return
    say_table(
        ["queue", "state", "ready", "oldest", "parked", "scheduled", "running", "waiting", "dead letters", "workers",
         "limits", "paused keys", "dead-letter queue"],
        [
            [
                queue.queue, "paused" if queue.paused_at else "open", queue.ready,
                relative(queue.oldest_ready_at, now), queue.parked, queue.scheduled, queue.in_progress, queue.waiting,
                queue.dead_letters, queue.workers, _limits(queue), _some(queue.paused_keys), queue.dead_letter_queue,
            ]
            for queue in found
        ],
        "no queues; create one: underway queue create NAME",
    )  # fmt: skip


def _limits(queue: QueueStats) -> str:
    """The limits of a queue that are not the default, in words."""
    return ", ".join(
        words
        for words, given in (
            (f"{queue.max_running} running", queue.max_running is not None),
            (f"{queue.max_running_per_key} of a key", queue.max_running_per_key != 1),
            (f"{queue.rate_limit} in {queue.rate_period.total_seconds():g} s", queue.rate_limit is not None),
            (
                f"{queue.rate_limit_per_key} of a key in {queue.rate_period.total_seconds():g} s",
                queue.rate_limit_per_key is not None,
            ),
            (f"{queue.max_length} long", queue.max_length is not None),
            ("fair", queue.fair),
        )
        if given
    )


def _some(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _limit_option(help: str, *, least: int = 0) -> Any:
    return typer.Option(min=least, max=2**31 - 1, help=help, show_default=False)


@queue_commands.command("create")
def create_queue(
    name: QueueName,
    dead_letter_queue: Annotated[
        str | None, typer.Option(help='Where tasks go that fail for good; "" for nowhere.', show_default=False)
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="How often a task is tried.", show_default=False)
    ] = None,
    initial_interval: Annotated[timedelta | None, duration_option("The wait after the first failure.")] = None,
    max_interval: Annotated[timedelta | None, duration_option("The longest wait between attempts.")] = None,
    factor: Annotated[float | None, typer.Option(help="By how much the wait grows.", show_default=False)] = None,
    jitter: Annotated[
        float | None, typer.Option(help="The share of a wait that chance may take off.", show_default=False)
    ] = None,
    timeout: Timeout = None,
    heartbeat: Annotated[timedelta | None, duration_option("How long a lease lasts without a heartbeat.")] = None,
    retention: Annotated[timedelta | None, duration_option("How long a finished task is kept.")] = None,
    keep_history: Annotated[
        bool | None,
        typer.Option(
            "--keep-history/--no-keep-history",
            help="Whether the inputs of tasks that succeed are kept.",
            show_default=False,
        ),
    ] = None,
    max_running: Annotated[
        int | None, _limit_option("The most tasks that run at once, over all workers; 0 for no limit.")
    ] = None,
    max_running_per_key: Annotated[
        int | None, _limit_option("The most tasks of one concurrency key that run at once.", least=1)
    ] = None,
    rate_limit: Annotated[
        int | None, _limit_option("The most tasks that start in a rate period, over all workers; 0 for no limit.")
    ] = None,
    rate_period: Annotated[timedelta | None, duration_option("The length of a rate period.")] = None,
    rate_limit_per_key: Annotated[
        int | None, _limit_option("The same for each concurrency key; 0 for no limit.")
    ] = None,
    max_length: Annotated[
        int | None, _limit_option("The most tasks that may wait in the queue; 0 for no limit.")
    ] = None,
    fair: Annotated[
        bool | None,
        typer.Option("--fair/--no-fair", help="Whether its concurrency keys are served in turn.", show_default=False),
    ] = None,
    dsn: Dsn = None,
) -> None:
    """Create a queue, or change the settings that are given. A change of a limit counts from the next claim on.

    A retry policy is changed as a whole: with one of its five settings given, the others have their defaults.
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
    ask(dsn, statements.create_queue(queue))
    say(f"queue {name} is there")


@queue_commands.command("pause")
def pause_queue(name: QueueName, key: _Key = None, dsn: Dsn = None) -> None:
    """Let nobody start tasks of a queue, or those of one concurrency key; what runs, runs on."""
    if key is None:
        what, changed = f"queue {name}", ask(dsn, statements.pause_queue(name))
    else:
        what, changed = f"key {key} of queue {name}", ask(dsn, statements.pause_key(name, key))
    say(f"{what} {'is paused' if changed else 'was paused already'}")


@queue_commands.command("resume")
def resume_queue(name: QueueName, key: _Key = None, dsn: Dsn = None) -> None:
    """Let the tasks of a paused queue run again, or those of one paused concurrency key."""
    if key is None:
        what, changed = f"queue {name}", ask(dsn, statements.resume_queue(name))
    else:
        what, changed = f"key {key} of queue {name}", ask(dsn, statements.resume_key(name, key))
    say(f"{what} {'is open' if changed else 'was open already'}")


@queue_commands.command("drop")
def drop_queue(
    name: QueueName,
    force: Annotated[bool, typer.Option("--force", help="Cancel its live tasks.")] = False,
    dsn: Dsn = None,
) -> None:
    """Remove a queue. Its finished tasks stay in the history for their time."""
    ask(dsn, statements.drop_queue(name, force))
    say(f"queue {name} is gone")
