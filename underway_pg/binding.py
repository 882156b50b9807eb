"""The database of an application, and its clients for plain code and for each event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from . import connections, schema
from .client import AsyncClient, Client, EnqueueMiddleware, around_enqueue, execute, execute_async
from .connections import Dsn
from .errors import ConfigurationError
from .models import TaskInfo
from .statements import Statement

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from .embedded import EmbeddedPostgres

__all__ = ["Binding", "Steps"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

Steps = Generator[Statement[Any], Any, None]
"""Statements one after the other, with no I/O: each `yield` gives one, and gets its answer."""


class Binding:
    """A database that an application uses. `within` is the connection on which all of its statements run, if it is one.

    `steps` are run before the first enqueue, and again when `count`, how much the application declares, has changed.
    """

    within: Any = None

    def __init__(
        self,
        dsn: Dsn | None,
        *,
        steps: Callable[[], Steps],
        count: Callable[[], int],
        pool: ConnectionPool[Any] | None = None,
        async_pool: AsyncConnectionPool[Any] | None = None,
        embedded: bool = False,
        enqueue_middleware: Sequence[EnqueueMiddleware] = (),
        **client_settings: Any,
    ) -> None:
        self.given_dsn = dsn
        self._steps = steps
        self._count = count
        self._prepared_for: int | None = None
        self._pool = pool
        self._async_pool = async_pool
        self._use_embedded = embedded
        self._embedded: EmbeddedPostgres | None = None
        self._enqueue_middleware = enqueue_middleware
        self._client_settings = {**client_settings, "enqueue_middleware": enqueue_middleware}
        self._start()
        connections.after_fork(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._preparing = threading.Lock()  # held while plain code runs the first steps
        self._client: Client | None = None
        # For each event loop its client, and the lock under which it runs the first steps.
        self._async_clients: dict[asyncio.AbstractEventLoop, tuple[AsyncClient, asyncio.Lock]] = {}

    def _after_fork(self) -> None:
        self._start()

    def close(self) -> None:
        """Close the connections, also those for async code, and stop the embedded server."""
        with self._lock:
            plain, self._client = self._client, None
            asynchronous = [client for client, _ in self._async_clients.values()]
            embedded, self._embedded = self._embedded, None
            self._async_clients.clear()
            self._prepared_for = None
        for client in (plain, *asynchronous):
            if client is not None:
                client.drain()
        if embedded is not None:
            embedded.stop()

    @property
    def is_used(self) -> bool:
        """Whether something was connected to the database."""
        return bool(self._client or self._async_clients or self._embedded)

    @property
    def has_dsn(self) -> bool:
        """Whether a database is given, by a dsn, a pool or the environment."""
        return bool(self.given_dsn or self._pool or self._async_pool or connections.dsn_of_environment() is not None)

    @property
    def dsn(self) -> Dsn:
        """Where the database is. Starts the embedded server. Raises ConfigurationError where there is none."""
        if self.given_dsn is not None:
            return self.given_dsn
        if self._pool is not None or self._async_pool is not None:
            return connections.dsn_of_pool(self._pool or self._async_pool)
        if self._use_embedded:
            return self._embedded_dsn()
        found = connections.dsn_of_environment()
        if found is None:
            raise ConfigurationError(
                "no database is given: use App(dsn), or set DATABASE_URL=postgresql://user:password@host/database, or"
                " PGHOST and PGDATABASE; App(embedded=True) starts a server whose data is deleted at the end"
            )
        return found

    def _embedded_dsn(self) -> str:
        with self._lock:
            if self._embedded is None:
                from .embedded import EmbeddedPostgres  # needs POSIX, and few need it

                logger.info("starting an embedded PostgreSQL, whose data is deleted at the end")
                embedded = EmbeddedPostgres()
                embedded.start()
                schema.migrate(embedded.dsn)
                self._embedded = embedded
            return self._embedded.dsn

    @property
    def client(self) -> Client:
        """The client for plain code."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def of(self, shard: str) -> Binding:
        """The database of this name, for an application with several. This one, which tests use for all of them."""
        return self

    def client_of(self, id: int) -> Client:
        """The client for plain code of the database that has the task, batch or worker with this id."""
        return self.client

    async def async_client_of(self, id: int) -> AsyncClient:
        """The client for async code of the database that has the task, batch or worker with this id."""
        return await self.async_client()

    def wait_for_many(self, tasks: Iterable[int], timeout: float | None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, `timeout` seconds at most. Returns how each ended, by its id."""
        return self.client.wait_for_many(tasks, timeout=timeout)

    async def wait_for_many_async(self, tasks: Iterable[int], timeout: float | None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, `timeout` seconds at most, in async code."""
        return await (await self.async_client()).wait_for_many(tasks, timeout=timeout)

    def _new_client(self) -> Client:
        return Client(self.dsn, pool=self._pool, before_enqueue=self._prepare, **self._client_settings)

    async def async_client(self) -> AsyncClient:
        """The client for async code, on the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            dsn = await asyncio.to_thread(lambda: self.dsn) if self._use_embedded else self.dsn
            self._add_async_client(loop, dsn)
        return self._async_clients[loop][0]

    def _add_async_client(self, loop: asyncio.AbstractEventLoop, dsn: Dsn) -> None:
        with self._lock:
            for old in [each for each in self._async_clients if each.is_closed()]:
                self._async_clients.pop(old)[0].drain()
            if loop not in self._async_clients:
                self._async_clients[loop] = (self._new_async_client(dsn), asyncio.Lock())

    def _new_async_client(self, dsn: Dsn) -> AsyncClient:
        return AsyncClient(dsn, pool=self._async_pool, before_enqueue=self._prepare_async, **self._client_settings)

    def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run a statement on a connection of the caller, or on one of the client."""
        if connection is None:
            return self.client.run(statement)
        with around_enqueue(self._enqueue_middleware, statement) as around:
            return around.done(execute(connection, around.statement))

    async def run_async(self, statement: Statement[T], connection: Any = None) -> T:
        """Run a statement on a connection of the caller, or on one of the client, in async code."""
        if connection is None:
            return await (await self.async_client()).run(statement)
        with around_enqueue(self._enqueue_middleware, statement) as around:
            return around.done(await execute_async(connection, around.statement))

    def _prepare(self) -> None:
        client = self.client
        if self._is_due:
            with self._preparing, self._first_steps() as steps:
                statement = next(steps)
                while True:
                    statement = steps.send(client.run(statement))

    async def _prepare_async(self) -> None:
        client = await self.async_client()
        if self._is_due:
            async with self._async_clients[asyncio.get_running_loop()][1]:
                with self._first_steps() as steps:
                    statement = next(steps)
                    while True:
                        statement = steps.send(await client.run(statement))

    @property
    def _is_due(self) -> bool:
        return self._prepared_for != self._count()

    @contextmanager
    def _first_steps(self) -> Iterator[Steps]:
        """The steps, to be run in the block until StopIteration. A role without the right goes on without them."""
        count = self._count()
        try:
            yield self._steps() if self._is_due else _no_steps()  # another call may have run them
        except StopIteration:
            pass
        except psycopg.errors.InsufficientPrivilege as error:
            logger.debug("this role may not declare queues and jobs; they have to exist: %s", error)
        self._prepared_for = count


def _no_steps() -> Steps:
    yield from ()
