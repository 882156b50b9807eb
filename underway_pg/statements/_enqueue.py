"""New tasks, one or many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..models import Enqueued
from ..settings import NewTask, Options
from ._base import NewTasks, Statement, T, convert_each, dump_json, scalar
from ._literals import text_array
from ._options import option_arguments, task_objects

__all__ = ["add_headers", "enqueue", "enqueue_many", "enqueue_tasks", "enqueue_unique", "repeatable"]


def enqueue(queue: str | None, input: Any, job: str | None, options: Options) -> Statement[int]:
    """A new task; returns its id."""
    arguments, parameters = option_arguments(options, job)
    waits = options.unique_key is not None or bool(options.after)
    return Statement(
        f"select underway.enqueue(%(queue)s, %(input)s::jsonb{arguments})",
        {"queue": queue, "input": dump_json(input), **parameters},
        scalar,
        enqueues=True,
        new_tasks=NewTasks(
            1,
            queue,
            job,
            lambda more: enqueue(queue, input, job, options.with_headers(more)),
            None if waits else NewTask(queue=queue, input=input, job=job, options=options),
        ),
    )


def enqueue_many(
    queue: str | None,
    inputs: Iterable[Any],
    job: str | None,
    options: Options,
    unique_keys: Iterable[str | None] | None = None,
) -> Statement[list[int]]:
    """New tasks with the same options but for their unique keys; returns their ids in the order of the inputs."""
    inputs = repeatable(inputs)
    unique_keys = None if unique_keys is None else repeatable(unique_keys)
    call = "select underway.enqueue_many"
    return Statement(
        *_for_many(call, queue, inputs, job, options, unique_keys),
        scalar,
        enqueues=True,
        new_tasks=NewTasks(
            len(inputs),
            queue,
            job,
            lambda more: enqueue_many(queue, inputs, job, options.with_headers(more), unique_keys),
        ),
    )


def enqueue_unique(
    queue: str | None, inputs: Iterable[Any], unique_keys: Iterable[str | None], job: str | None, options: Options
) -> Statement[list[Enqueued]]:
    """New tasks for the inputs whose unique keys are free; returns for each input whether a task was added."""
    inputs, unique_keys = repeatable(inputs), repeatable(unique_keys)
    call = "select id, created, replaced from underway.enqueue_unique"
    return Statement(
        *_for_many(call, queue, inputs, job, options, unique_keys),
        lambda rows: [Enqueued(*row) for row in rows],
        enqueues=True,
        new_tasks=NewTasks(
            len(inputs),
            queue,
            job,
            lambda more: enqueue_unique(queue, inputs, unique_keys, job, options.with_headers(more)),
        ),
    )


def _for_many(
    call: str,
    queue: str | None,
    inputs: Iterable[Any],
    job: str | None,
    options: Options,
    unique_keys: Iterable[str | None] | None,
) -> tuple[str, dict[str, Any]]:
    if options.unique_key is not None:
        raise InputError(
            f"unique_key {options.unique_key!r} is one key for several tasks; give unique_keys, one for each"
        )
    arguments, parameters = option_arguments(options, job)
    if unique_keys is not None:
        arguments += ", unique_keys => %(unique_keys)s::text::text[]"
        parameters["unique_keys"] = text_array(unique_keys)
    return f"{call}(%(queue)s, %(inputs)s::text::jsonb[]{arguments})", {
        "queue": queue,
        "inputs": text_array(convert_each("input", inputs, dump_json)),
        **parameters,
    }


def enqueue_tasks(tasks: Iterable[NewTask]) -> Statement[list[int]]:
    """New tasks of any jobs and queues; returns their ids in order."""
    tasks = repeatable(tasks)
    call = "select underway.enqueue_many(%(tasks)s::jsonb)"
    return Statement(
        call,
        {"tasks": task_objects(tasks)},
        scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, lambda more: enqueue_tasks(add_headers(tasks, more))),
    )


def repeatable(items: Iterable[T]) -> Sequence[T]:
    """The items, so that they can be read twice. What is not iterable stays as it is; it is refused later."""
    return items if isinstance(items, Sequence) or not isinstance(items, Iterable) else list(items)


def add_headers(tasks: Iterable[NewTask], more: Mapping[str, Any]) -> list[NewTask]:
    """The same tasks with more headers. Headers that a task has already stay."""
    return [replace(task, options=task.options.with_headers(more)) for task in tasks]
