"""`TaskHandle`: the id of an enqueued task, which also waits for the task's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar

__all__ = ["TaskHandle", "WaitsForTasks"]

R = TypeVar("R")


class WaitsForTasks(Protocol):
    """What waits for tasks by their ids. An `App` does."""

    def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final. Returns its output."""

    async def wait_for_async(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final, in async code."""


class TaskHandle(int, Generic[R]):
    """The id of an enqueued task: an int that can be used wherever an id is wanted, and that waits for the result.

    The type parameter is what the job's function returns; `read` makes it of the task's output, which is plain JSON. A
    handle that is pickled or copied becomes a plain int.
    """

    _waits: WaitsForTasks
    _read: Callable[[Any], R]

    def __new__(cls, id: int, waits: WaitsForTasks, read: Callable[[Any], R]) -> Self:
        """Make a handle of a task id."""
        handle = super().__new__(cls, id)
        handle._waits = waits
        handle._read = read
        return handle

    @property
    def id(self) -> int:
        """The id of the task, as a plain int."""
        return int(self)

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the task is final. Returns what the job's function returned.

        The output is validated by the return annotation of the function; without one, or with Any, it is plain JSON.
        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout, TaskNotFound or InvalidOutput.
        """
        return self._read(await self._waits.wait_for_async(self.id, timeout=timeout))

    def wait(self, timeout: float | None = None) -> R:
        """Wait until the task is final, as `result` does, in plain code."""
        return self._read(self._waits.wait_for(self.id, timeout=timeout))

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (self.id,)
