"""How a client runs a statement: over its pool, or in the caller's transaction."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg

from ...checks import check_number
from ...connections import (
    READ_ONLY,
    AsyncPool,
    Dsn,
    answer_while_alive,
    answer_within,
    dsn_of_pool,
    is_outage,
    unavailable,
)
from ...connections.sessions import may_have_committed
from ...errors import ConfigurationError, DatabaseUnavailable
from ...statements import Statement
from ..combiner import Combiner
from ..enqueueing import EnqueueMiddleware, around_enqueue
from ..execute import execute_async
from .waiting import AsyncWaits

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

__all__ = ["Calls"]

T = TypeVar("T")

# Seconds. Without a timeout a call waits this long for a free connection.
_FREE_CONNECTION = 30.0


class Calls:
    """Runs statements of the SQL contract; the base of a client's calls."""

    def __init__(
        self,
        dsn: Dsn | None = None,
        *,
        pool: AsyncConnectionPool[Any] | None = None,
        pool_size: int = 4,
        timeout: float | None = None,
        poll_interval: float = 1.0,
        before_enqueue: Callable[[], Awaitable[Any]] | None = None,
        enqueue_middleware: Sequence[EnqueueMiddleware] = (),
    ) -> None:
        if dsn is None and pool is None:
            raise ConfigurationError("a client needs a dsn or a pool")
        source = dsn if dsn is not None else dsn_of_pool(pool)
        check_number("pool_size", pool_size, int, 1)
        check_number("poll_interval", poll_interval, float, 0)
        self._source = source
        self._own_pool = AsyncPool(source, max_size=pool_size)
        self._pool = self._own_pool if pool is None else pool
        self._timeout = timeout
        self._before_enqueue = before_enqueue
        self._enqueue_middleware = enqueue_middleware
        self._waits = AsyncWaits(source, self._run_within, poll_interval)
        # async only
        self._combiner = Combiner(self._run_own, limit=2)
        # end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The client can be used again, with new ones."""
        self.drain()

    def drain(self) -> None:
        """Close the idle connections, from any thread."""
        self._own_pool.drain()

    def within(self, timeout: float | None) -> Self:
        """The same client with another timeout for its calls, in seconds."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    async def _run_within(self, statement: Statement[T], timeout: float | None) -> T:
        """Run a statement on a connection of the client, also where a subclass runs others elsewhere."""
        limits = [limit for limit in (timeout, self._timeout) if limit is not None]
        return await Calls.run(self.within(min(limits, default=None)), statement)

    async def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run one statement of the SQL contract; all other calls do it by this one."""
        with around_enqueue(self._enqueue_middleware, statement) as around:
            return around.done(await self._run(around.statement, connection))

    async def _run(self, statement: Statement[T], connection: Any) -> T:
        if connection is not None:
            return await execute_async(connection, statement)
        if statement.enqueues and self._before_enqueue is not None:
            await self._before_enqueue()
        # async only
        if statement.new_tasks is not None and statement.new_tasks.single is not None and self._timeout is None:
            id: T = await self._combiner.enqueue(statement)
            return id
        # end
        return await self._run_own(statement)

    async def _run_own(self, statement: Statement[T]) -> T:
        with suppress(psycopg.errors.AdminShutdown, psycopg.errors.IdleSessionTimeout, READ_ONLY):
            return await self._run_pooled(statement)
        # The server ended the session, most likely while it was idle, and did not commit, or it is a primary no more:
        # once more, in a new session.
        try:
            return await self._run_pooled(statement)
        except psycopg.Error as error:
            if not is_outage(error) or isinstance(error, DatabaseUnavailable):
                raise
            raise unavailable(error) from error

    async def _run_pooled(self, statement: Statement[T]) -> T:
        timeout, started_at = self._timeout, time.monotonic()
        try:
            async with self._pool.connection(_FREE_CONNECTION if timeout is None else timeout) as pooled:
                try:
                    if timeout is None:
                        with answer_while_alive(pooled):
                            return await execute_async(pooled, statement)
                    with answer_within(max(0.0, timeout - (time.monotonic() - started_at)), pooled):
                        return await execute_async(pooled, statement)
                except READ_ONLY:
                    await pooled.close()  # a pool of the caller would keep it
                    raise
        except (psycopg.errors.AdminShutdown, psycopg.errors.IdleSessionTimeout) as error:
            self.drain()  # the other idle sessions have ended too, or will
            if self._pool is not self._own_pool or may_have_committed(pooled):
                raise unavailable(error) from error
            raise
        except READ_ONLY:
            raise
        except psycopg.Error as error:
            if not is_outage(error) or isinstance(error, DatabaseUnavailable):
                raise
            raise unavailable(error) from error
