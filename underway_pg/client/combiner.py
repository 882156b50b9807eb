"""Enqueues that wait for a connection at the same moment share one statement, and so one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .. import statements
from ..connections import after_fork
from ..errors import DatabaseUnavailable
from ..settings import NewTask
from ..statements import Statement

__all__ = ["Combiner"]

_MAX_TASKS = 500  # of one statement


class Combiner:
    """Enqueues single tasks with `run`, in at most `limit` statements at once.

    While so many are under way, the tasks of further calls wait, and the next statement takes all of them. A statement
    that is refused is repeated task by task, so that each call gets its own id or its own error.
    """

    def __init__(self, run: Callable[[Statement[Any]], Awaitable[Any]], limit: int) -> None:
        self._run = run
        self._limit = limit
        self._start()
        after_fork(self)

    def _start(self) -> None:
        self._waiting: dict[asyncio.Future[int], NewTask] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._under_way = 0

    def _after_fork(self) -> None:
        self._start()

    async def enqueue(self, statement: Statement[int], task: NewTask) -> int:
        """Enqueue a task, alone with its statement or together with others. Returns its id."""
        if self._under_way < self._limit:
            self._under_way += 1
            try:
                return int(await self._run(statement))
            finally:
                self._under_way -= 1
                self._start_waiting()
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[result] = task
        try:
            return await result
        finally:
            self._waiting.pop(result, None)  # it is there after a cancellation only

    def _start_waiting(self) -> None:
        if self._waiting and self._under_way < self._limit:
            self._under_way += 1
            running = asyncio.get_running_loop().create_task(self._run_waiting())
            self._running.add(running)
            running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._under_way -= 1
        if not running.cancelled():
            self._start_waiting()

    async def _run_waiting(self) -> None:
        results = list(self._waiting)[:_MAX_TASKS]
        tasks = [self._waiting.pop(result) for result in results]
        try:
            await self._enqueue_many(results, tasks)
        except BaseException:
            for result in results:
                result.cancel()
            raise

    async def _enqueue_many(self, results: list[asyncio.Future[int]], tasks: list[NewTask]) -> None:
        try:
            ids = await self._run(statements.enqueue_tasks(tasks))
        except Exception as error:
            if len(tasks) == 1 or isinstance(error, DatabaseUnavailable):
                for result in results:
                    if not result.done():
                        result.set_exception(_copy(error))
                return
            for result, task in zip(results, tasks, strict=True):
                await self._enqueue_many([result], [task])
            return
        for result, id in zip(results, ids, strict=True):
            if not result.done():
                result.set_result(id)


def _copy(error: Exception) -> Exception:
    """An error of its own for each caller: a traceback belongs to one."""
    import copy

    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
