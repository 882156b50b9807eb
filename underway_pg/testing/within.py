"""The connection of a test as the one that handlers get for their transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg

from ..errors import ConfigurationError

__all__ = ["Within"]


class Within:
    """The connection of the test, for the transactions of handlers: they are savepoints there."""

    def __init__(self, within: Any) -> None:
        self._within = within

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection of the test, if it is a plain one."""
        if not isinstance(self._within, psycopg.Connection):
            raise self._unusable()
        yield self._within

    @asynccontextmanager
    async def async_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """The connection of the test, if it is an async one."""
        if not isinstance(self._within, psycopg.AsyncConnection):
            raise self._unusable()
        yield self._within

    def _unusable(self) -> ConfigurationError:
        return ConfigurationError(
            "context.transaction() gives a psycopg connection, and the test runs within a"
            f" {type(self._within).__name__}"
        )
