"""Connections with all that this package expects of them, and a small pool of them."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus

from ..errors import DatabaseUnavailable, ServerUnresponsive
from . import sessions
from .dsn import Dsn, conninfo
from .fork import after_fork
from .primitives import AsyncSlots, finish, keep_for_ever
from .sessions import READ_ONLY, answer_within, is_alive, is_garbled, unavailable

__all__ = ["AsyncPool", "connect_async"]


async def connect_async(
    dsn: Dsn, *, application_name: str = "underway client", timeout: float | None = None
) -> psycopg.AsyncConnection[Any]:
    """An async connection with autocommit.

    `application_name` is used unless the dsn or PGAPPNAME has another. `timeout` (seconds, at least 2) is for each
    address of the server, unless the dsn's connect_timeout is shorter. Raises DatabaseUnavailable, and
    ConfigurationError for a dsn that cannot be read.
    """
    text = conninfo(dsn, application_name, timeout)
    try:
        connection = await psycopg.AsyncConnection.connect(text, autocommit=True)
    except psycopg.OperationalError as error:
        raise unavailable(error) from error
    sessions.watch_warnings(connection)
    try:
        await connection.set_isolation_level(sessions.ISOLATION_LEVEL)
        parameters = sessions.session_parameters(connection)
        with answer_within(sessions.setup_timeout(parameters), connection):
            cursor = await connection.execute(sessions.SESSION_SETUP, parameters)
            sessions.record_session(connection, await cursor.fetchone())
    except psycopg.Error as error:
        await connection.close()
        if isinstance(error, psycopg.OperationalError) or is_garbled(error):
            raise unavailable(error) from error
        raise
    except BaseException:  # a cancellation
        await connection.close()
        raise
    return connection


class AsyncPool:
    """Connections that are kept for the next caller, at most `max_size` at once; without it, as many as are in use.

    A caller that finds no idle connection makes one itself, so its error is the caller's, and nothing runs in the
    background that somebody has to end. An idle connection that the server has closed is replaced, with all others
    that are idle, because a restart closes all; so are all after one that was not answered, or takes no writes. In a
    forked process the pool starts empty.
    """

    def __init__(self, dsn: Dsn, *, max_size: int | None = None, application_name: str = "underway client") -> None:
        self._dsn = dsn
        self._max_size = max_size
        self._application_name = application_name
        self._start()
        after_fork(self)

    def _start(self) -> None:
        self._slots = AsyncSlots(self._max_size)
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        # Connections that are in use at a `drain` belong to an earlier generation, and are not kept.
        self._generation = object()
        self._finalizer = weakref.finalize(self, finish, self._idle)

    def _after_fork(self) -> None:
        self._finalizer.detach()
        keep_for_ever(self._idle)
        self._start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.drain()

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection for the block. Raises DatabaseUnavailable, also when none is free within `timeout` seconds."""
        slots, started_at = self._slots, time.monotonic()
        if not await slots.acquire(timeout):
            raise DatabaseUnavailable(
                f"none of the {self._max_size} connections of the pool was free for {timeout:g} s; a larger pool_size"
                " may help"
            )
        try:
            left = None if timeout is None else timeout - (time.monotonic() - started_at)
            generation, process = self._generation, os.getpid()
            connection = await self._take(left)
            try:
                yield connection
            except (ServerUnresponsive, READ_ONLY):
                self.drain()  # the other connections lead to the same server
                raise
            except psycopg.Error as error:
                if is_garbled(error):
                    self.drain()
                    raise unavailable(error) from error
                raise
            finally:
                if os.getpid() != process:  # forked in the block: the connection is that of the parent
                    keep_for_ever([connection])
                elif generation is self._generation and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:
                    await connection.close()
        finally:
            slots.release()

    async def _take(self, timeout: float | None) -> psycopg.AsyncConnection[Any]:
        while self._idle:
            connection = self._idle.pop()
            if is_alive(connection):
                return connection
            await connection.close()
            finish(self._idle)
        return await connect_async(self._dsn, application_name=self._application_name, timeout=timeout)

    def drain(self) -> None:
        """Close the idle connections, and those in use when they are returned. The pool can be used again."""
        self._generation = object()
        finish(self._idle)
