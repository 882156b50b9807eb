"""Django's connections: where they lead, statements on them, and their care around each handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

import psycopg
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import connections, reset_queries, transaction
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from ..client import AsyncClient, Client
from ..errors import Snooze
from ..statements import Statement
from ..worker import Context
from ..worker.transaction import HandlerConnections

__all__ = ["AliasAsyncClient", "AliasClient", "HandlerDatabase", "close_idle_connections", "read_dsn"]

T = TypeVar("T")

_LIBPQ_OPTIONS = frozenset(option.keyword.decode() for option in Conninfo.get_defaults())


def read_dsn(alias: str) -> str:
    """How to connect to a database of Django, which is the test database while tests run."""
    wrapper = connections[alias]
    options = {key: value for key, value in wrapper.get_connection_params().items() if key in _LIBPQ_OPTIONS}
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        options["options"] = f"{options.get('options', '')} -c role={role}".strip()
    return make_conninfo(**options)


class AliasClient(Client):
    """A client whose statements run on Django's connection of an alias, in whatever transaction that is in.

    It waits for tasks on connections of its own.
    """

    def __init__(self, alias: str, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._alias = alias

    def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run one statement, on Django's connection if no other is given."""
        if connection is None:
            if statement.enqueues and self._before_enqueue is not None:
                self._before_enqueue()
            connection = self._alias
        return super().run(statement, connection)


class AliasAsyncClient(AsyncClient):
    """The same for async code; Django's connection is used in a thread, as by Django's own async calls."""

    def __init__(self, alias: str, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._alias = alias

    async def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run one statement, on Django's connection if no other is given."""
        if connection is None:
            if statement.enqueues and self._before_enqueue is not None:
                await self._before_enqueue()
            connection = self._alias
        return await super().run(statement, connection)


class HandlerDatabase:
    """Middleware that gives each handler working connections of Django, as each request of a web process has them.

    Before a handler and after it, connections that are broken or older than CONN_MAX_AGE are closed. After an error all
    are closed: a handler that was interrupted in the middle of a query leaves a connection that looks usable to Django.
    A handler that runs inside a transaction of its caller, as in a TestCase, keeps that connection.

    An async handler has a thread of its own for its calls of Django, and so connections of its own. These are closed
    when it ends. In a plain handler `context.transaction()` is a transaction of Django's connection.
    """

    # Of threads that wait for their next task. They end without closing their connections.
    _idle: ClassVar[WeakSet[Any]] = WeakSet()

    def __init__(self, context: Context, alias: str) -> None:
        self._context = context
        self._alias = alias
        self._thread = ThreadSensitiveContext()
        # Those of the thread that makes this one: a plain handler's own thread, or that of the event loop.
        self._outer = _as_plain_code(_open_transactions)

    def __enter__(self) -> None:
        self._idle.difference_update(self._own())
        self._close(only_old=True)
        attempt = self._context._attempt
        if attempt.environment.connections is not None:
            own = _HandlerTransactions(self._alias, attempt.environment.connections)
            attempt.environment = replace(attempt.environment, connections=own)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close(only_old=kind is None or issubclass(kind, Snooze))
        self._idle.update(each for each in self._own() if each.connection is not None)
        reset_queries()  # those that DEBUG collects

    def _own(self) -> list[Any]:
        return [each for each in connections.all(initialized_only=True) if each not in self._outer]

    def _close(self, *, only_old: bool) -> None:
        for each in self._own():
            if only_old:
                each.close_if_unusable_or_obsolete()
            else:
                each.close()

    async def __aenter__(self) -> None:
        await self._thread.__aenter__()  # type: ignore[no-untyped-call]
        if self._outer:
            SyncToAsync.context_to_thread_executor[self._thread] = _LoopThread()

    async def __aexit__(self, *error: Any) -> None:
        try:
            # Without an executor the handler has not used Django's connections.
            if not self._outer and self._thread in SyncToAsync.context_to_thread_executor:
                await sync_to_async(connections.close_all)()
        finally:
            await self._thread.__aexit__(*error)  # type: ignore[no-untyped-call]


class _LoopThread(Executor):
    """Runs calls in the thread of the event loop, where the transaction of the test is. The loop waits meanwhile."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call the function now."""
        future: Future[T] = Future()
        try:
            future.set_result(_as_plain_code(partial(function, *args, **kwargs)))
        except BaseException as error:
            future.set_exception(error)
        return future


def _as_plain_code(function: Callable[[], T]) -> T:
    """Call a function as if no event loop ran in this thread: Django would refuse, or have other connections."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return function()
    finally:
        asyncio._set_running_loop(loop)


def _open_transactions() -> list[Any]:
    return [each for each in connections.all(initialized_only=True) if each.in_atomic_block]


async def close_idle_connections() -> None:
    """Close the connections of all threads in which no handler runs."""
    await asyncio.to_thread(_close_idle)


def _close_idle() -> None:
    while HandlerDatabase._idle:
        wrapper = HandlerDatabase._idle.pop()
        wrapper.inc_thread_sharing()
        wrapper.close()


class _HandlerTransactions(HandlerConnections):
    """Where `context.transaction()` gets its connection: a plain handler's is Django's, an async handler's is not."""

    def __init__(self, alias: str, others: HandlerConnections) -> None:
        self._alias = alias
        self._others = others

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Django's connection, in a block of `atomic`."""
        with transaction.atomic(using=self._alias, durable=True):
            yield connections[self._alias].connection

    def async_connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """A connection of psycopg, of the worker."""
        return self._others.async_connection()
