"""`TaskHandle`: the id of an enqueued task, which also waits for the task's result."""

from __future__ import annotations

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

    The type parameter is what the job's function returns. A handle that is pickled or copied becomes a plain int.
    """

    _clients: Clients

    def __new__(cls, id: int, clients: Clients) -> Self:
        """Make a handle of a task id."""
        handle = super().__new__(cls, id)
        handle._clients = clients
        return handle

    @property
    def id(self) -> int:
        """The id of the task, as a plain int."""
        return int(self)

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the task is final. Returns its output, as JSON carries it.

        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout or TaskNotFound.
        """
        output: R = await (await self._clients.async_client()).wait_for(self.id, timeout=timeout)
        return output

    def wait(self, timeout: float | None = None) -> R:
        """Wait until the task is final, as `result` does, in plain code."""
        output: R = self._clients.client.wait_for(self.id, timeout=timeout)
        return output

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (self.id,)
