"""Waiting for the end of tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg

from ... import connections, statements
from ...connections import READ_ONLY, Dsn, after_fork, answer_within, connect_async, is_outage, unavailable
from ...connections.primitives import keep_for_ever, wait_for_event_async
from ...errors import DatabaseRefusal, DatabaseUnavailable
from ...models import TaskInfo
from ...statements import Statement
from ..execute import execute_async
from ..waiter import TaskWaiter

__all__ = ["AsyncWaits"]


class AsyncWaits:
    """All the waiting of one client for the end of tasks, over one LISTEN connection.

    The problem: a connection for each call would exhaust the server when a thousand calls wait at once, and a task or
    a thread in the background would have to be ended by somebody. So one of the callers that wait, the leader, listens
    for all of them: it reads how the tasks ended, and wakes the callers that wait for them. When its own tasks have
    ended, another caller becomes the leader and takes the connection over. The last caller closes it.

    No end is missed: a caller that joins reads the states of its tasks first, and a new connection listens before it
    reads the states of all tasks.
    """

    def __init__(
        self, dsn: Dsn, run: Callable[[Statement[Any], float | None], Awaitable[Any]], poll_interval: float
    ) -> None:
        self._dsn = dsn
        self._run = run
        self._poll_interval = poll_interval
        self._start()
        after_fork(self)

    def _start(self) -> None:
        self._leading = threading.Lock()  # held by the leader
        self._joining = threading.RLock()  # for the dictionaries and what they hold, for a moment
        self._events: dict[TaskWaiter, asyncio.Event] = {}
        self._waiters: dict[int, set[TaskWaiter]] = {}  # by task
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._poll_at = 0.0

    def _after_fork(self) -> None:
        if self._connection is not None:
            keep_for_ever([self._connection])
        self._start()

    async def wait(self, waiter: TaskWaiter) -> None:
        """Wait until the tasks of a waiter are final. Raises WaitTimeout and DatabaseUnavailable."""
        event = self._join(waiter)
        try:
            if not waiter.done:
                limit = None if waiter.timeout is None else max(1.0, waiter.timeout)
                await self._read(lambda statement: self._run(statement, limit), [waiter])
            while not waiter.done:
                if self._leading.acquire(blocking=False):
                    try:
                        await self._lead(waiter)
                    finally:
                        self._leading.release()
                else:
                    await wait_for_event_async(event, waiter.seconds_left())
                    event.clear()
        finally:
            self._leave(waiter)
            self._hand_over()

    def _join(self, waiter: TaskWaiter) -> asyncio.Event:
        event = asyncio.Event()
        with self._joining:
            self._events[waiter] = event
            for task in waiter.tasks:
                self._waiters.setdefault(task, set()).add(waiter)
        return event

    def _leave(self, waiter: TaskWaiter) -> None:
        with self._joining:
            del self._events[waiter]
            for task in waiter.tasks:
                self._waiters[task].discard(waiter)
                if not self._waiters[task]:
                    del self._waiters[task]

    def _hand_over(self) -> None:
        """Wake one caller, which leads if nobody does. Without any, close the connection."""
        if not self._events and self._leading.acquire(blocking=False):
            if not self._events:
                self._close()
            self._leading.release()
        with self._joining:
            event = next(iter(self._events.values()), None)
        if event is not None:
            event.set()

    async def _lead(self, own: TaskWaiter) -> None:
        """Listen for all callers until one's own tasks have ended."""
        while not own.done:
            left = own.seconds_left()
            try:
                connection = await self._listen(left)
            except DatabaseUnavailable as error:
                self._fail_all(error)
                return
            try:
                pause = self._poll_at - time.monotonic()
                if pause <= 0:
                    self._poll_at = time.monotonic() + self._poll_interval
                    with answer_within(_patience(left), connection):
                        await self._read(partial(execute_async, connection), list(self._events))
                    continue
                ended = await self._notified(connection, pause if left is None else min(pause, left))
                if ended:
                    with answer_within(_patience(left), connection):
                        self._record(await execute_async(connection, statements.task_infos(ended)))
            except psycopg.Error as error:
                self._close()
                if not is_outage(error):
                    raise
            except BaseException:
                self._close()
                raise

    async def _listen(self, timeout: float | None) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            connection = await connect_async(self._dsn, timeout=timeout)
            self._connection, self._poll_at = connection, 0.0
            try:
                with answer_within(_patience(timeout), connection):
                    await connection.execute("listen underway_finished")
            except READ_ONLY as error:
                self._close()
                raise unavailable(error) from error
            except BaseException:
                self._close()
                raise
        return self._connection

    async def _notified(self, connection: psycopg.AsyncConnection[Any], seconds: float) -> list[int]:
        """Listen, at most for some seconds. Returns the tasks that have ended and that somebody waits for."""
        heard: set[int] = set()
        async for notification in connection.notifies(timeout=seconds, stop_after=1):
            if notification.payload.isdecimal():
                heard.add(int(notification.payload))
        return [task for task in heard if task in self._waiters]

    async def _read(self, run: Callable[[Statement[Any]], Awaitable[Any]], waiters: list[TaskWaiter]) -> None:
        """Have the end of the open tasks notified, and read those that have ended already."""
        with self._joining:
            tasks = list({task for waiter in waiters for task in waiter.open})
        try:
            ended = await run(statements.watch(tasks))
        except DatabaseRefusal as error:  # one of the tasks does not exist: find out whose
            if len(waiters) == 1:
                self._fail(waiters[0], error)
                return
            for waiter in waiters:
                await self._read(run, [waiter])
            return
        if ended:
            self._record(await run(statements.task_infos(ended)))

    def _record(self, found: list[TaskInfo]) -> None:
        with self._joining:
            for task in found:
                for waiter in tuple(self._waiters.get(task.id, ())):
                    waiter.record(task)
                    if waiter.done:
                        self._events[waiter].set()

    def _fail(self, waiter: TaskWaiter, error: Exception) -> None:
        waiter.fail(error)
        with self._joining:
            if waiter in self._events:
                self._events[waiter].set()

    def _fail_all(self, error: DatabaseUnavailable) -> None:
        for waiter in list(self._events):
            own = DatabaseUnavailable(*error.args)
            own.__cause__ = error.__cause__
            self._fail(waiter, own)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()


def _patience(left: float | None) -> float:
    """How many seconds the server may take to answer a caller that waits so much longer."""
    return connections.SILENT_AFTER if left is None else min(connections.SILENT_AFTER, max(1.0, left))
