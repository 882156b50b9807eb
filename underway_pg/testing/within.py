"""The connection of a test as the one that handlers get for their transactions."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg

from ..errors import ConfigurationError

__all__ = ["Within", "is_django"]


class Within:
    """The connection of the test, for the transactions of handlers: they are savepoints there."""

    def __init__(self, within: Any) -> None:
        self._within = within

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection of the test, for a plain handler."""
        found = _driver_connection(self._within)
        if not isinstance(found, psycopg.Connection):
            raise self._unusable("psycopg.Connection", found)
        yield found

    @asynccontextmanager
    async def async_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """The connection of the test, for an async handler."""
        run_sync = getattr(self._within, "run_sync", None)
        found = _driver_connection(self._within) if run_sync is None else await run_sync(_driver_connection)
        if not isinstance(found, psycopg.AsyncConnection):
            raise self._unusable("psycopg.AsyncConnection", found)
        yield found

    def _unusable(self, wanted: str, found: object) -> ConfigurationError:
        kind = type(found)
        return ConfigurationError(
            f"context.transaction() gives this handler a {wanted}, and the connection of the test is a"
            f" {kind.__module__}.{kind.__qualname__}: run this task without within=, or test the handler with"
            " context(connection=...)"
        )


def _driver_connection(within: Any) -> Any:
    """The driver's connection below one of Django or SQLAlchemy, which are recognised by what they have."""
    if isinstance(within, (psycopg.Connection, psycopg.AsyncConnection)):
        return within
    if is_django(within):
        connection = sys.modules["django.db"].connections[within] if isinstance(within, str) else within
        connection.ensure_connection()
        return connection.connection
    connection = getattr(within, "connection", within)  # of a session of SQLAlchemy it is a method
    return (
        _driver_connection(connection()) if callable(connection) else getattr(connection, "driver_connection", within)
    )


def is_django(within: Any) -> bool:
    """Whether this is a connection of Django, or its alias: it belongs to a thread."""
    return isinstance(within, str) or hasattr(within, "ensure_connection")
