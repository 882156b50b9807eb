"""Tasks that a caller waits for, apart from the connection: which are not final yet, and when to give up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import TaskCancelled, TaskFailed, WaitTimeout
from ..models import FINAL_STATES, TaskInfo

__all__ = ["TaskWaiter", "output_of"]

# How many tasks a message names.
_NAMED = 5


class TaskWaiter:
    """Tasks that one caller waits for. `open` are those that are not known to be final.

    `timeout` is in seconds, from now on. `on_final` is called with each task that is final.
    """

    def __init__(
        self,
        tasks: Iterable[int],
        timeout: float | None = None,
        on_final: Callable[[TaskInfo], None] | None = None,
    ) -> None:
        self.tasks = list(dict.fromkeys(tasks))
        self.open = set(self.tasks)
        self._final: dict[int, TaskInfo] = {}
        self._error: Exception | None = None
        self._on_final = on_final
        self.timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def done(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._error is not None or not self.open

    @property
    def final(self) -> dict[int, TaskInfo]:
        """How the tasks ended that have, in the order in which they were given. Raises the error of `fail`."""
        if self._error is not None:
            raise self._error
        return {task: self._final[task] for task in self.tasks if task in self._final}

    def record(self, task: TaskInfo) -> None:
        """Record what was read of a task. One that is not final (any more) stays open."""
        if task.id in self.open and task.state in FINAL_STATES:
            self._final[task.id] = task
            self.open.remove(task.id)
            if self._on_final is not None:
                self._on_final(task)

    def fail(self, error: Exception) -> None:
        """End the waiting with an error."""
        self._error = self._error or error

    def seconds_left(self) -> float | None:
        """Until the timeout; None without one. Raises WaitTimeout when it has passed."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(self._late())
        return left

    def _late(self) -> str:
        waiting = [task for task in self.tasks if task in self.open]
        names = ", ".join(map(str, waiting[:_NAMED])) + (", ..." if len(waiting) > _NAMED else "")
        which = f"task {names}" if len(self.tasks) == 1 else f"{len(waiting)} of {len(self.tasks)} tasks ({names})"
        was, goes = ("was", "it goes") if len(waiting) == 1 else ("were", "they go")
        return f"{which} {was} not final after {self.timeout:g} s; {goes} on"


def output_of(task: TaskInfo) -> Any:
    """The output of a final task. Raises TaskFailed or TaskCancelled if it did not succeed."""
    if task.state == "failed":
        raise TaskFailed(task.id, (task.errors or [{}])[-1])
    if task.state == "cancelled":
        raise TaskCancelled(f"task {task.id} was cancelled")
    return task.output
