"""Which tasks are enqueued: a list of them, and assertions that show what was enqueued instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import statements
from ..errors import InputError
from ..models import FINAL_STATES, TaskInfo
from ..statements import dump_json, short
from .binding import AnyJob, Place

__all__ = [
    "assert_enqueued",
    "assert_enqueued_async",
    "assert_not_enqueued",
    "assert_not_enqueued_async",
    "enqueued",
    "enqueued_async",
]

_SHOWN = 5  # tasks in a message


def enqueued(job: AnyJob | None = None, *, queue: str | None = None, within: Any = None) -> list[TaskInfo]:
    """The tasks that are enqueued and not final, in the order in which they were enqueued.

    `job` is a job or the name of one, `within` a connection or session whose open transaction may have enqueued them.
    """
    return _live(Place.of(job, within).run(statements.every_task()), job, queue)


async def enqueued_async(job: AnyJob | None = None, *, queue: str | None = None, within: Any = None) -> list[TaskInfo]:
    """The tasks that are enqueued and not final, as `enqueued`, on an async connection or session."""
    return _live(await Place.of(job, within).run_async(statements.every_task()), job, queue)


def assert_enqueued(
    job: AnyJob,
    /,
    *args: Any,
    queue: str | None = None,
    times: int | None = None,
    within: Any = None,
    **arguments: Any,
) -> TaskInfo:
    """Assert that a task of a job with these arguments is enqueued and not final. Returns the first of them.

    Arguments that are left out may have any value. An argument matches if the handler would receive an equal value, or
    if it equals the stored JSON. There must be at least one task, or as many as `times`. `within` is a connection or
    session whose open transaction may have enqueued them.

    Raises AssertionError, with what is enqueued instead, and InputError for an argument that the job does not take.
    """
    wanted = _Wanted(job, args, arguments, queue, _at_least_1(times))
    return wanted.check(Place.of(job, within).run(statements.every_task()))[0]


async def assert_enqueued_async(
    job: AnyJob,
    /,
    *args: Any,
    queue: str | None = None,
    times: int | None = None,
    within: Any = None,
    **arguments: Any,
) -> TaskInfo:
    """Assert that a task is enqueued, as `assert_enqueued`, on an async connection or session."""
    wanted = _Wanted(job, args, arguments, queue, _at_least_1(times))
    return wanted.check(await Place.of(job, within).run_async(statements.every_task()))[0]


def assert_not_enqueued(
    job: AnyJob, /, *args: Any, queue: str | None = None, within: Any = None, **arguments: Any
) -> None:
    """Assert that no task of a job with these arguments is enqueued and not final."""
    _Wanted(job, args, arguments, queue, 0).check(Place.of(job, within).run(statements.every_task()))


async def assert_not_enqueued_async(
    job: AnyJob, /, *args: Any, queue: str | None = None, within: Any = None, **arguments: Any
) -> None:
    """Assert that no task is enqueued, as `assert_not_enqueued`, on an async connection or session."""
    _Wanted(job, args, arguments, queue, 0).check(await Place.of(job, within).run_async(statements.every_task()))


def _at_least_1(times: int | None) -> int | None:
    if times is not None and times < 1:
        raise InputError(f"times is {times}; for no task use assert_not_enqueued")
    return times


def _live(tasks: list[TaskInfo], job: AnyJob | None, queue: str | None) -> list[TaskInfo]:
    name = job if job is None or isinstance(job, str) else job.job.name
    return [
        task
        for task in tasks
        if task.state not in FINAL_STATES and name in (None, task.job) and queue in (None, task.queue)
    ]


class _Wanted:
    """The tasks that an assertion wants, and how others differ from them."""

    def __init__(
        self, job: AnyJob, args: tuple[Any, ...], arguments: Mapping[str, Any], queue: str | None, times: int | None
    ) -> None:
        self._job = None if isinstance(job, str) else job.job
        self._name = job if isinstance(job, str) else job.job.name
        self._queue = queue
        self._times = times
        if self._job is not None:
            self._arguments = self._job.arguments.by_name(args, arguments, partial=True)
        elif args:
            raise InputError(f"job {self._name!r} is given by its name; give its arguments by their names too")
        else:
            self._arguments = dict(arguments)

    def check(self, tasks: list[TaskInfo]) -> list[TaskInfo]:
        """The tasks that are wanted. Raises AssertionError when there are too few or too many."""
        live = [task for task in tasks if task.state not in FINAL_STATES]
        found = [task for task in live if not self._differences(task)]
        if found if self._times is None else len(found) == self._times:
            return found
        raise AssertionError(self._message(found, live, [task for task in tasks if task.state in FINAL_STATES]))

    def _differences(self, task: TaskInfo) -> list[str]:
        """How a task differs from what is wanted: nothing for one that is."""
        if task.job != self._name:
            return [f"it is of job {task.job}"]
        found = [f"it is in queue {task.queue}"] if self._queue not in (None, task.queue) else []
        stored = task.input if isinstance(task.input, dict) else {}
        received = stored
        if self._job is not None:
            try:
                read = self._job.arguments.from_input(dump_json(task.input).encode())
                received = {**self._job.arguments.defaults, **read}
            except InputError as error:
                found.append(f"the job cannot read its input: {error}")
        for name, value in self._arguments.items():
            if name not in received:
                found.append(f"{name} is missing")
            elif not (received[name] == value or (name in stored and stored[name] == value)):
                found.append(f"{name} is {short(received[name])}")
        return found

    def _message(self, found: list[TaskInfo], live: list[TaskInfo], finished: list[TaskInfo]) -> str:
        what = f"job {self._name}" + (f" in queue {self._queue}" if self._queue is not None else "")
        if self._arguments:
            what += " with " + ", ".join(f"{name}={short(value)}" for name, value in self._arguments.items())
        number = {0: "no task", 1: "1 task"}.get(len(found), f"{len(found)} tasks")
        expected = "at least 1" if self._times is None else self._times
        lines = [f"{number} enqueued of {what}; expected {expected}"]
        lines += [f"  found: {_described(task)}" for task in found[:_SHOWN]]
        others = sorted(
            (task for task in live if task not in found),
            key=lambda task: (task.job != self._name, len(self._differences(task)), -task.id),
        )
        lines += [f"  enqueued: {_described(task)}: {', '.join(self._differences(task))}" for task in others[:_SHOWN]]
        if len(others) > _SHOWN:
            lines.append(f"  and {len(others) - _SHOWN} others that differ more")
        lines += [
            f"  not live: {_described(task)} has {task.state}"
            for task in [task for task in finished if task.job == self._name][-_SHOWN:]
        ]
        if len(lines) == 1:
            lines.append("  no task is live; those of an open transaction are seen with within=connection only")
        return "\n".join(lines)


def _described(task: TaskInfo) -> str:
    return f"task {task.id} {task.job}({short(task.input)}) in queue {task.queue}"
