"""The steps of moving tasks between two databases: check these, create what is missing, pause, carry the tasks over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..errors import DatabaseRefusal
from ..settings import JobPolicy, Queue
from . import calls
from .bulk import Interruption, progress_bar
from .database import record
from .errors import WrongUsage
from .output import amount, print_error

__all__ = [
    "MoveOutcome", "MoveSettings", "Route", "create_missing", "find_missing", "move_batches", "open_route",
    "pause_source", "some", "stopped",
]  # fmt: skip

Connection = psycopg.Connection[Any]

# How many tasks move in one transaction of each database, unless their inputs are large.
BATCH = 1000

# Seconds between two looks at the tasks that still run.
_POLL = 0.5


@dataclass(frozen=True, kw_only=True)
class Route:
    """What moves from where to where. `source_shard` and `target_shard` are the numbers of the databases."""

    queue: str
    key: str | None
    source: Connection
    source_shard: int
    target: Connection
    target_shard: int

    def status(self) -> calls.MoveStatus:
        """The live tasks at the source."""
        return execute(self.source, calls.move_status(self.queue, self.key, self.target_shard))

    def details(self) -> dict[str, Any]:
        """What moves, for the record of actions and for JSON."""
        return {"queue": self.queue, "key": self.key, "from": self.source_shard, "to": self.target_shard}

    def __str__(self) -> str:
        tasks = f"queue {self.queue}" if self.key is None else f"queue {self.queue}, key {self.key}"
        return f"{tasks}, from shard {self.source_shard} to shard {self.target_shard}"


@dataclass(frozen=True, kw_only=True)
class MoveSettings:
    """What the target lacks of the queue: queues and jobs to create. `different` are settings that both have."""

    queues: list[Queue]
    jobs: list[JobPolicy]
    different: list[str]


@dataclass
class MoveOutcome:
    """What was moved, and the tasks that the target has refused."""

    moved: int = 0
    refused: set[int] = field(default_factory=set)
    interrupted: bool = False


def open_route(queue: str, key: str | None, source: Connection, target: Connection) -> Route:
    """Check that tasks can move between the two databases. Raises WrongUsage."""
    sides = {"source": execute(source, calls.move_side()), "target": execute(target, calls.move_side())}
    for title, side in sides.items():
        if not side.permitted:
            raise WrongUsage(
                f"the user {side.user} may not move tasks at the {title}: grant underway_operator to {side.user}"
            )
    there, here = sides["source"], sides["target"]
    if there.version != here.version:
        raise WrongUsage(
            f"the schema has version {there.version} at the source and {here.version} at the target: run underway"
            " migrate for the older one"
        )
    if there.encoding != here.encoding:
        raise WrongUsage(
            f"the encoding is {there.encoding} at the source and {here.encoding} at the target: tasks move between"
            " databases with the same encoding only"
        )
    if there.shard == here.shard:
        raise WrongUsage(
            f"source and target both have shard number {there.shard}, or are the same database: ids are kept, so the"
            " target needs a number of its own, which underway migrate --shard gives to a new database"
        )
    return Route(queue=queue, key=key, source=source, source_shard=there.shard, target=target, target_shard=here.shard)


def find_missing(route: Route) -> MoveSettings:
    """The queue, its jobs and their dead-letter queues, as far as the target lacks them."""
    stored = {queue.name: queue for queue in execute(route.source, statements.queue_settings())}
    present = {queue.name: queue for queue in execute(route.target, statements.queue_settings())}
    jobs = [
        JobPolicy(name=job.job, **{each.name: getattr(job, each.name) for each in fields(JobPolicy)[1:]})
        for job in execute(route.source, statements.jobs())
        if job.queue == route.queue
    ]
    missing_jobs = set(execute(route.target, statements.missing([], [job.name for job in jobs]))[1])
    jobs = [job for job in jobs if job.name in missing_jobs]
    queues: list[Queue] = []

    def add(name: str | None) -> None:
        """Add a queue after its dead-letter queue, which must exist first. The database refuses cycles of them."""
        if name and name not in present and stored[name] not in queues:
            add(stored[name].dead_letter_queue)
            queues.append(stored[name])

    for name in (route.queue, *(job.dead_letter_queue for job in jobs)):
        add(name)
    different = [
        each.name
        for each in fields(Queue)
        if route.queue in present
        and getattr(stored[route.queue], each.name) != getattr(present[route.queue], each.name)
    ]
    return MoveSettings(queues=queues, jobs=jobs, different=different)


def some(tasks: list[int] | None) -> str:
    """The first five ids."""
    return ", ".join(map(str, (tasks or [])[:5])) + (", ..." if tasks and len(tasks) > 5 else "")


def stopped(message: str) -> typer.Exit:
    """Print why the command ends; the exit code is 1."""
    print_error(message)
    return typer.Exit(1)


def create_missing(route: Route, settings: MoveSettings) -> None:
    """Create at the target what it lacks."""
    if not (settings.queues or settings.jobs):
        return
    with route.target.transaction():
        for queue in settings.queues:
            execute(route.target, statements.create_queue(queue))
        execute(route.target, statements.register_jobs(settings.jobs))
        created = {"queues": [each.name for each in settings.queues], "jobs": [each.name for each in settings.jobs]}
        record(route.target, "create_for_move", {**route.details(), **created})


def pause_source(route: Route, wait: float, partial: bool) -> None:
    """Pause the source and wait for what runs there. If that takes too long, resume it and stop, unless `partial`."""
    with route.source.transaction():
        paused = execute(route.source, calls.pause_to_move(route.queue, route.key))
        record(route.source, "pause_to_move", route.details())
    deadline = time.monotonic() + wait
    try:
        while (status := route.status()).running and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL, left))
        if status.running and not partial:
            raise stopped(
                f"{amount(status.running, 'task')} still running after {wait:g} s: {some(status.running_tasks)};"
                f" nothing was moved{', and the source was resumed' if paused else ''}. Give them longer with --wait,"
                " cancel them, or move the others with --partial"
            )
    except BaseException:  # Ctrl-C, too
        if paused:
            _resume(route)
        raise


def _resume(route: Route) -> None:
    with route.source.transaction():
        if route.key is None:
            execute(route.source, statements.resume_queue(route.queue))
        else:
            execute(route.source, statements.resume_key(route.queue, route.key))
        record(route.source, "resume_after_move", route.details())


def move_batches(route: Route) -> MoveOutcome:
    """Move the tasks that there are now. A second pass finds those that other sessions had locked."""
    outcome, status = MoveOutcome(), route.status()
    with progress_bar("move", status.movable + status.on_the_way) as advance, Interruption() as interruption:
        try:
            for _ in range(2):
                after = 0
                while (batch := _next(route, after, status.last_task or 0)).last_task is not None:
                    after = batch.last_task
                    if batch.id is not None:
                        _deliver(route, batch, outcome, advance)
                    if interruption.asked:
                        outcome.interrupted = True
                        return outcome
        except (DatabaseRefusal, psycopg.Error):
            print_error(
                f"{amount(outcome.moved, 'task')} moved before this error; the same command goes on where it stopped:"
            )
            raise
    return outcome


def _next(route: Route, after: int, up_to: int) -> calls.MoveBatch:
    """Step 1: the source gives tasks away, and stores them as a batch. An unfinished batch comes again."""
    statement = calls.begin_move_batch(route.target_shard, route.queue, route.key, after, up_to, BATCH)
    return execute(route.source, statement)


def _deliver(route: Route, batch: calls.MoveBatch, outcome: MoveOutcome, advance: Callable[[int], object]) -> None:
    """Step 2: the target gets the batch, once. Step 3: the source forgets it, and takes back what was refused."""
    details = {**route.details(), "batch": batch.id, "tasks": batch.count}
    with route.target.transaction():
        refused = execute(route.target, calls.receive_move_batch(route.source_shard, batch))
        record(route.target, "receive_move", {**details, "refused": refused})
    with route.source.transaction():
        execute(route.source, calls.confirm_move_batch(route.target_shard, batch, refused))
        record(route.source, "move", {**details, "refused": refused})
    outcome.moved += (batch.count or 0) - len(refused)
    outcome.refused.update(refused)
    advance(batch.count or 0)
