"""The transaction of a handler, which completes its task; and the guard that breaks it when the server is silent."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from .. import connections, statements
from ..client import execute, execute_async
from ..connections import AnyConnection, ServerUnresponsive, Session

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["Guard", "HandlerConnections", "Transaction"]

# A connection is severed only while it is that of the handler, and not of the next one in the pool.
_SEVERING = threading.Lock()


class HandlerConnections(Protocol):
    """Where the transactions of handlers get their connections."""

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A connection for a plain handler."""

    def async_connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """A connection for a handler on the event loop."""


class Guard:
    """Watches the connection of one transaction: it can be severed from another thread, and lost sessions are kept.

    `asked_at` is when BEGIN, the completion or COMMIT was sent; None while the handler's own statements run, which have
    no deadline here.
    """

    def __init__(self, attempt: Attempt, connection: AnyConnection) -> None:
        self._attempt = attempt
        self._connection = connection
        self._silent = False
        self._silent_after = attempt.environment.silent_after
        self.asked_at: float | None = monotonic()

    def sever(self) -> None:
        """Break the connection, so that a handler that waits for an answer gets an error."""
        with _SEVERING:
            if self._attempt.guard is self:
                connections.sever(self._connection)
                self._lose()

    def sever_if_silent(self) -> None:
        """Break the connection if BEGIN, the completion or COMMIT has had no answer for too long."""
        asked_at = self.asked_at
        if asked_at is not None and monotonic() - asked_at > self._silent_after:
            self._silent = True
            self.sever()

    def _lose(self) -> None:
        self._attempt.guard = None
        if (session := connections.session(self._connection)) is not None:
            self._attempt.lost_sessions += (session,)

    def __enter__(self) -> None:
        with _SEVERING:
            self._attempt.guard = self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.asked_at = None
        with _SEVERING:
            # Also a connection that is open, but was left in the middle of a transaction.
            if self._attempt.guard is self and self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
                self._lose()
            self._attempt.guard = None
        if self._silent and isinstance(error, psycopg.OperationalError):
            raise ServerUnresponsive(f"no answer for {self._silent_after:g} s") from error


def take_lost_sessions(attempt: Attempt) -> tuple[Session, ...]:
    """The sessions of broken transactions, which the server may keep, with their locks. Each is returned once."""
    with _SEVERING:
        lost, attempt.lost_sessions = attempt.lost_sessions, ()
    return lost


class Transaction:
    """`with` and `async with` of `Context.transaction`."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._sync = self._open()
        self._async = self._open_async()

    def _completion(self) -> statements.Statement[None]:
        task = self._attempt.task
        return statements.complete(task.id, task.lease, self._attempt.context.output)

    @contextmanager
    def _open(self) -> Iterator[psycopg.Connection[Any]]:
        attempt = self._attempt
        pools = attempt.environment.connections
        assert pools is not None
        with pools.connection() as connection:
            guard = Guard(attempt, connection)
            with connections.answer_while_alive(connection), guard:
                with connection.transaction():
                    guard.asked_at = None
                    try:
                        yield connection
                    finally:
                        guard.asked_at = monotonic()
                    execute(connection, self._completion())
                attempt.completed = True

    @asynccontextmanager
    async def _open_async(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        attempt = self._attempt
        pools = attempt.environment.connections
        assert pools is not None
        async with pools.async_connection() as connection:
            guard = Guard(attempt, connection)
            with connections.answer_while_alive(connection), guard:
                async with connection.transaction():
                    guard.asked_at = None
                    try:
                        yield connection
                    finally:
                        guard.asked_at = monotonic()
                    await execute_async(connection, self._completion())
                attempt.completed = True

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._sync.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._sync.__exit__(*error)

    async def __aenter__(self) -> psycopg.AsyncConnection[Any]:
        return await self._async.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._async.__aexit__(*error)
