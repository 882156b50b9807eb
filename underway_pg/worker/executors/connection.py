"""The connections of handlers in a process for their transactions: a new one each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg

from ... import connections
from ...connections import AnyConnection, Session

__all__ = ["NewConnections"]


class NewConnections:
    """Opens a connection for each transaction. `announce` is called with its session before it is used."""

    def __init__(self, dsn: Callable[[], str], announce: Callable[[Session], None]) -> None:
        self._dsn = dsn
        self._announce = announce

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for a plain handler."""
        with connections.connect(self._dsn, application_name="underway worker") as connection:
            self._announce_session(connection)
            yield connection

    @asynccontextmanager
    async def async_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for an event loop that the handler runs."""
        async with await connections.connect_async(self._dsn, application_name="underway worker") as connection:
            self._announce_session(connection)
            yield connection

    def _announce_session(self, connection: AnyConnection) -> None:
        if (session := connections.session(connection)) is not None:
            self._announce(session)
