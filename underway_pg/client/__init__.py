"""Clients: the calls of the SQL contract, over a pool or in the caller's transaction."""

from ._async import AsyncClient
from ._sync import Client
from .borrowed import check_connection
from .enqueueing import EnqueueCall, EnqueueMiddleware, around_enqueue
from .execute import execute, execute_async
from .handle import TaskHandle, WaitsForTasks

__all__ = [
    "AsyncClient",
    "Client",
    "EnqueueCall",
    "EnqueueMiddleware",
    "TaskHandle",
    "WaitsForTasks",
    "around_enqueue",
    "check_connection",
    "execute",
    "execute_async",
]
