"""The connections of a worker's handlers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Self

import psycopg

from ._async import AsyncPool
from ._sync import Pool
from .dsn import Dsn

__all__ = ["HandlerConnections"]


class HandlerConnections:
    """The connections of handlers for their own transactions: one for each handler that is in one.

    There is no limit. A handler that was abandoned in its transaction keeps its connection from nobody.
    """

    def __init__(self, dsn: Dsn, application_name: str = "underway worker") -> None:
        self._sync = Pool(dsn, application_name=application_name)
        self._async = AsyncPool(dsn, application_name=application_name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.drain()

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """One for a handler in a thread."""
        return self._sync.connection()

    def async_connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """One for a handler on the event loop."""
        return self._async.connection()

    def drain(self) -> None:
        """Close the idle connections: they may be as dead as another one was."""
        self._async.drain()
        self._sync.drain()
