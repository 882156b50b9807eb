"""`TaskHandle`: the id of an enqueued task, which also waits for the task's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from ._async import AsyncClient
    from ._sync import Client

__all__ = ["Clients", "TaskHandle"]

R = TypeVar("R")


class Clients(Protocol):
    """What makes the clients of an application. An `App` is one."""

    @property
    def client(self) -> Client:
        """The client for plain code."""

    async def async_client(self) -> AsyncClient:
        """The client for the running event loop."""


class TaskHandle(int, Generic[R]):
    """The id of an enqueued task: an int that can be used wherever an id is wanted, and that waits for the result.

    The type parameter is what the job's function returns; `read` makes it of the task's output, which is plain JSON. A
    handle that is pickled or copied becomes a plain int.
    """

    _clients: Clients
    _read: Callable[[Any], R]

    def __new__(cls, id: int, clients: Clients, read: Callable[[Any], R]) -> Self:
        """Make a handle of a task id."""
        handle = super().__new__(cls, id)
        handle._clients = clients
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
        return self._read(await (await self._clients.async_client()).wait_for(self.id, timeout=timeout))

    def wait(self, timeout: float | None = None) -> R:
        """Wait until the task is final, as `result` does, in plain code."""
        return self._read(self._clients.client.wait_for(self.id, timeout=timeout))

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (self.id,)
