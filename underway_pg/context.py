"""What a handler may know and do: `Context`, taken by a job as its first parameter."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NoReturn, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from . import connections, statements
from .client import execute, execute_async
from .connections import AnyConnection, ServerUnresponsive, Session
from .errors import InputError, Snooze
from .models import ClaimedTask
from .wire import json_value, time

__all__ = ["Context"]

_PROGRESS_BYTES = 32768

# A connection is broken only while it is that of the handler, and not of the next one in the pool.
_ABANDONING = threading.Lock()


class Connections(Protocol):
    """Where a handler's own transactions come from: the pools of the worker."""

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A connection for a handler that runs in a thread."""

    def async_connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """A connection for a handler that runs on the event loop."""


class Context:
    """The task that a handler runs, and what the handler may do about it.

    `state` is what was given to the application. `output`, when it is set, is the output of the task in a
    `transaction()`; elsewhere what the handler returns is.
    """

    __slots__ = (
        "_asked_at",
        "_completed",
        "_connection",
        "_connections",
        "_interrupted",
        "_lost",
        "_progress",
        "_silent",
        "_task",
        "_wakeups",
        "output",
        "state",
    )

    def __init__(self, task: ClaimedTask, state: Any, connections: Connections) -> None:
        self.state: Any = state
        self.output: Any = None
        self._task = task
        self._connections = connections
        self._connection: AnyConnection | None = None
        self._asked_at: float | None = None
        self._silent = False
        self._lost: tuple[Session, ...] = ()
        self._wakeups: SimpleQueue[None] | None = None
        self._interrupted: str | None = None
        self._completed = False
        self._progress: str | None = None

    @property
    def id(self) -> int:
        """The id of the task."""
        return self._task.id

    @property
    def queue(self) -> str:
        """The queue of the task."""
        return self._task.queue

    @property
    def job(self) -> str | None:
        """The name of the job, as the task has it."""
        return self._task.job

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._task.attempt

    @property
    def priority(self) -> int:
        """The priority of the task; higher runs first."""
        return self._task.priority

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of the task; empty when it has none."""
        return json_value(self._task.headers) or {}

    @property
    def dead_letter(self) -> dict[str, Any] | None:
        """What is known of the failed task, where this one is its dead letter."""
        letter: dict[str, Any] | None = json_value(self._task.dead_letter)
        return letter

    @property
    def enqueued_at(self) -> datetime:
        """When the task was enqueued, in UTC."""
        return time(self._task.enqueued_at)

    @property
    def batch(self) -> int | None:
        """The id of the batch that the task has waited for; None for a task that is no callback of a batch."""
        return self.headers.get("batch")

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that enqueued the task; None when it was no schedule."""
        return self.headers.get("schedule")

    @property
    def scheduled_at(self) -> datetime | None:
        """The time of its schedule that the task is for; None when it was no schedule that enqueued it."""
        return None if self.schedule is None else datetime.fromisoformat(self.headers["scheduled_at"])

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: the task was cancelled or lost, has timed out, or the worker stops."""
        return self._interrupted is not None

    def wait_cancelled(self, seconds: float | None = None) -> bool:
        """Wait in a thread until the handler should stop, at most so long. Returns whether it should."""
        # Few handlers wait, so the queue is made by those that do. It exists before `cancelled` is read; `interrupt`
        # does the two in the opposite order. In a process a signal handler calls `interrupt` in the middle of this
        # wait: an Event would wait there for its own lock.
        if self._wakeups is None:
            self._wakeups = SimpleQueue()
        if not self.cancelled:
            try:
                self._wakeups.get(timeout=None if seconds is None else max(0.0, seconds))
            except Empty:
                return self.cancelled
            self._wakeups.put(None)  # for the next thread that waits
        return True

    def interrupt(self, reason: str) -> None:
        """Tell the handler to stop; called by the worker. The first reason stays."""
        if self._interrupted is None:
            self._interrupted = reason
            if self._wakeups is not None:
                self._wakeups.put(None)

    def abandon(self) -> None:
        """Break the transaction that the handler is in, where it waits perhaps for ever; called by the worker."""
        with _ABANDONING:
            if self._connection is not None:
                connections.sever(self._connection)
                self._lose(self._connection)

    def abandon_if_silent(self) -> None:
        """Break the transaction when what we asked at its beginning or end has no answer; called now and then."""
        asked_at = self._asked_at
        if asked_at is not None and monotonic() - asked_at > connections.SILENT_AFTER:
            self._silent = True
            self.abandon()

    def take_lost(self) -> tuple[Session, ...]:
        """The sessions of broken transactions, which the server may keep, with their locks; each is told once."""
        with _ABANDONING:
            lost, self._lost = self._lost, ()
        return lost

    def _lose(self, connection: AnyConnection) -> None:
        self._connection = None
        if (session := connections.session(connection)) is not None:
            self._lost += (session,)

    def snooze(self, delay: float | timedelta) -> NoReturn:
        """End this attempt and put the task back for `delay` (seconds or timedelta); the attempt does not count."""
        raise Snooze(delay)

    def progress(self, value: Any) -> None:
        """Say how far the task is, in anything that JSON can carry, such as `{"percent": 40}`.

        It is seen within about a second; of several in between, the last. Raises InputError for what JSON cannot
        carry, and for more than 32 KiB.
        """
        text = statements.dump_json(value)
        if len(text.encode()) > _PROGRESS_BYTES:
            raise InputError(f"a progress of {len(text.encode())} bytes is too large; keep it within {_PROGRESS_BYTES}")
        self._progress = text

    def transaction(self) -> _Transaction:
        """A transaction in which the handler's own writes and its completion commit together, or not at all.

        Use `with` in a plain handler and `async with` in an async one; it gives the psycopg connection. When the block
        ends the task is complete, with `context.output` as its output. A lost lease raises LeaseLost and rolls back.
        """
        return _Transaction(self)


class _Watch:
    """Has the worker look after the connection of a transaction while the block runs.

    From `_asked_at` on we wait for an answer. It is None while the handler itself is at work, which takes as long as it
    takes. Raises ServerUnresponsive.
    """

    __slots__ = ("_connection", "_context")

    def __init__(self, context: Context, connection: AnyConnection) -> None:
        self._context = context
        self._connection = connection

    def __enter__(self) -> None:
        context = self._context
        context._silent = False
        context._asked_at = monotonic()
        with _ABANDONING:
            context._connection = self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        context = self._context
        context._asked_at = None
        with _ABANDONING:
            # Also one that is open, but was left in the middle of something: it is of no use to anybody.
            if context._connection is not None and self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
                context._lose(self._connection)
            context._connection = None
        if context._silent and isinstance(error, psycopg.OperationalError):
            raise ServerUnresponsive(f"no answer for {connections.SILENT_AFTER:g} s") from error


class _Transaction:
    """Both forms of `Context.transaction`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sync = self._open()
        self._async = self._open_async()

    def _completion(self) -> statements.Statement[None]:
        context = self._context
        return statements.complete(context.id, context._task.lease, context.output)

    @contextmanager
    def _open(self) -> Iterator[psycopg.Connection[Any]]:
        context = self._context
        with context._connections.connection() as connection, _Watch(context, connection):
            with connection.transaction():
                context._asked_at = None
                try:
                    yield connection
                finally:
                    context._asked_at = monotonic()
                execute(connection, self._completion())
            context._completed = True

    @asynccontextmanager
    async def _open_async(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        context = self._context
        async with context._connections.async_connection() as connection:
            with _Watch(context, connection):
                async with connection.transaction():
                    context._asked_at = None
                    try:
                        yield connection
                    finally:
                        context._asked_at = monotonic()
                    await execute_async(connection, self._completion())
                context._completed = True

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._sync.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._sync.__exit__(*error)

    async def __aenter__(self) -> psycopg.AsyncConnection[Any]:
        return await self._async.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._async.__aexit__(*error)
