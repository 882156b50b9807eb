"""Batches of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..models import BatchStats
from ..settings import Duration, NewTask, interval
from ._base import NewTasks, Statement, dump_json, scalar
from ._enqueue import add_headers, repeatable
from ._options import task_object, task_objects
from ._rows import columns_of, read_as

__all__ = ["batch", "batches", "cancel_batch", "enqueue_batch", "extend_batch"]


def enqueue_batch(
    tasks: Iterable[NewTask],
    on_success: NewTask | None,
    on_final: NewTask | None,
    on_failure: NewTask | None,
    name: str | None,
    retention: Duration | None,
) -> Statement[int]:
    """New tasks as a batch, and tasks that start when it is finished; returns the id of the batch."""
    tasks = repeatable(tasks)
    given = {"tasks": task_objects(tasks)}
    callbacks = {"on_success": on_success, "on_final": on_final, "on_failure": on_failure}
    optional = {event: dump_json(task_object(task)) for event, task in callbacks.items() if task is not None}
    named = {name: value for name, value in (("name", name), ("retention", interval(retention))) if value is not None}
    arguments = [f"{event} => %({event})s::jsonb" for event in optional] + [f"{name} => %({name})s" for name in named]
    call = ", ".join(["%(tasks)s::jsonb", *arguments])

    def with_headers(more: Mapping[str, Any]) -> Statement[int]:
        success, final, failure = (
            None if task is None else add_headers([task], more)[0] for task in (on_success, on_final, on_failure)
        )
        return enqueue_batch(add_headers(tasks, more), success, final, failure, name, retention)

    return Statement(
        f"select underway.enqueue_batch({call})",
        {**given, **optional, **named},
        scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, with_headers),
    )


def extend_batch(batch: int, tasks: Iterable[NewTask]) -> Statement[list[int]]:
    """More tasks of a batch; gives their ids in order."""
    tasks = repeatable(tasks)
    return Statement(
        "select underway.extend_batch(%(batch)s::bigint, %(tasks)s::jsonb)",
        {"batch": batch, "tasks": task_objects(tasks)},
        scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, lambda more: extend_batch(batch, add_headers(tasks, more))),
    )


def cancel_batch(batch: int) -> Statement[int]:
    """Cancel the live tasks of a batch; gives how many there were."""
    return Statement("select underway.cancel_batch(%(batch)s::bigint)", {"batch": batch}, scalar)


def batches(limit: int) -> Statement[list[BatchStats]]:
    """The newest batches with how far they are."""
    return Statement(
        f"select {columns_of(BatchStats)} from underway.batch_stats order by batch desc limit %(limit)s",
        {"limit": limit},
        read_as(BatchStats),
    )


def batch(batch: int) -> Statement[BatchStats | None]:
    """A batch with how far it is, or None."""
    return Statement(
        f"select {columns_of(BatchStats)} from underway.batch_stats where batch = %(batch)s::bigint",
        {"batch": batch},
        lambda rows: next(iter(read_as(BatchStats)(rows)), None),
    )
