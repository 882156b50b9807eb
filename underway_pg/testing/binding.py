"""Which application a test uses, and where the statements of the application and of the testing kit run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .. import connections
from ..app import App
from ..binding import Binding
from ..client import AsyncClient, Client, check_connection, execute, execute_async
from ..connections import Dsn
from ..errors import ConfigurationError
from ..job import BoundJob
from ..statements import Statement

__all__ = ["After", "AnyJob", "Place", "bind", "use"]

T = TypeVar("T")

AnyJob: TypeAlias = BoundJob[Any, Any] | str

_BOUND: list[App] = []


@contextmanager
def bind(app: App, *, dsn: str | None = None, within: Any = None) -> Iterator[App]:
    """Make an application the one that the functions of this package use in the block.

    dsn      the application uses this database in the block, as with `app.override`; else its own
    within   all that the application enqueues or asks in the block runs on this connection or session, in its open
             transaction; what the functions of this package do too
    """
    with use(app, dsn=dsn, within=within):
        _BOUND.append(app)
        try:
            yield app
        finally:
            _BOUND.remove(app)


class Place(NamedTuple):
    """Where statements run: `within` a connection or session of the test, else on connections of the application."""

    known_app: App | None
    within: Any

    @classmethod
    def of(cls, target: App | AnyJob | None, within: Any) -> Place:
        """The place for a job, which has an application, for an application, or for the one that is bound."""
        app: Any = target if isinstance(target, App) else _BOUND[-1] if _BOUND else None
        if isinstance(target, BoundJob):
            app = target.job.app
            within = target._connection if within is None else within
        return cls(app, app._binding.within if within is None and app is not None else within)

    @property
    def app(self) -> App:
        """The application. Raises ConfigurationError if none is given and none is bound."""
        if self.known_app is None:
            raise ConfigurationError(
                "no application is bound to a test database: pass it, as in run_pending(app), or use the fixture"
                " `underway`, or `with underway_pg.testing.bind(app, dsn=...)`"
            )
        return self.known_app

    def run(self, statement: Statement[T]) -> T:
        """Run a statement."""
        return self.app.client.run(statement) if self.within is None else execute(self.within, statement)

    async def run_async(self, statement: Statement[T]) -> T:
        """Run a statement, in async code."""
        if self.within is None:
            return await (await self.app.async_client()).run(statement)
        return await _execute_async(self.within, statement)


@contextmanager
def use(app: App, *, dsn: str | None = None, within: Any = None, after: After | None = None) -> Iterator[None]:
    """Let an application run its statements elsewhere in the block, and follow its enqueues by something."""
    if dsn is None and after is None and within is app._binding.within:
        yield
        return
    outer = app._binding
    with app._use(
        _TestBinding(
            dsn or (lambda: connections.read_dsn(outer.dsn)),
            within=within,
            after=after,
            pool=outer._pool if dsn is None else None,
            async_pool=outer._async_pool if dsn is None else None,
            **app._bind.keywords,
        )
    ):
        yield


class After(NamedTuple):
    """What follows an enqueue: it is called with the connection of the caller, or None."""

    plain: Callable[[Any], None]
    asynchronous: Callable[[Any], Awaitable[None]]


class _TestBinding(Binding):
    """A database whose statements run within a connection of the test, or are followed by something."""

    def __init__(self, dsn: Any, *, within: Any, after: After | None, **others: Any) -> None:
        super().__init__(dsn, **others)
        self.within = within
        self.after = after
        self.loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):
            self.loop = asyncio.get_running_loop()

    def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run a statement on a connection of the caller, or where the test wants it."""
        return self.client.run(statement, connection)

    async def run_async(self, statement: Statement[T], connection: Any = None) -> T:
        """Run a statement on a connection of the caller, or where the test wants it, in async code."""
        return await (await self.async_client()).run(statement, connection)

    def _new_client(self) -> Client:
        return _TestClient(self, self.dsn, pool=self._pool, before_enqueue=self._prepare, **self._client_settings)

    def _new_async_client(self, dsn: Dsn) -> AsyncClient:
        return _TestAsyncClient(
            self, dsn, pool=self._async_pool, before_enqueue=self._prepare_async, **self._client_settings
        )


class _TestClient(Client):
    def __init__(self, binding: _TestBinding, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._binding = binding

    def _run(self, statement: Statement[T], connection: Any) -> T:
        within, after = self._binding.within, self._binding.after
        if connection is not None:
            answer = _execute(connection, statement, self._binding.loop)
        elif within is None:
            answer = super()._run(statement, None)
        else:
            if statement.enqueues and self._before_enqueue is not None:
                self._before_enqueue()
            answer = _execute(within, statement, self._binding.loop)
        if statement.enqueues and after is not None:
            after.plain(connection)
        return answer


class _TestAsyncClient(AsyncClient):
    def __init__(self, binding: _TestBinding, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._binding = binding

    async def _run(self, statement: Statement[T], connection: Any) -> T:
        within, after = self._binding.within, self._binding.after
        if connection is not None:
            answer = await _execute_async(connection, statement)
        elif within is None:
            answer = await super()._run(statement, None)
        else:
            if statement.enqueues and self._before_enqueue is not None:
                await self._before_enqueue()
            answer = await _execute_async(within, statement)
        if statement.enqueues and after is not None:
            await after.asynchronous(connection)
        return answer


# The connection of a test is of plain code or of async code, and a handler may be of the other kind.


def _execute(connection: Any, statement: Statement[T], loop: asyncio.AbstractEventLoop | None) -> T:
    if loop is None or check_connection(connection).run is not None:
        return execute(connection, statement)
    with suppress(RuntimeError):
        if asyncio.get_running_loop() is loop:
            raise ConfigurationError(
                "plain code on the event loop cannot use the async connection of this test: use enqueue_async, or the"
                " same call of an AsyncClient"
            )
    return asyncio.run_coroutine_threadsafe(execute_async(connection, statement), loop).result()


async def _execute_async(connection: Any, statement: Statement[T]) -> T:
    if check_connection(connection).run_async is None:
        return execute(connection, statement)
    return await execute_async(connection, statement)
