"""Enqueues that wait for a connection at the same moment share one statement, and so one commit."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

from ..connections import after_fork
from ..errors import DatabaseUnavailable
from ..statements import Statement, enqueue_tasks

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
        self._waiting: dict[asyncio.Future[int], Statement[int]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._under_way = 0

    def _after_fork(self) -> None:
        self._start()

    async def enqueue(self, statement: Statement[Any]) -> Any:
        """Run a statement of a single task, or enqueue its task together with others. Returns its id."""
        if self._under_way < self._limit:
            self._under_way += 1
            try:
                return await self._run(statement)
            finally:
                self._under_way -= 1
                self._start_waiting()
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[result] = statement
        try:
            return await result
        finally:
            self._waiting.pop(result, None)  # it is there after a cancellation only

    def _start_waiting(self) -> None:
        if self._waiting and self._under_way < self._limit:
            self._under_way += 1
            taken = {result: self._waiting.pop(result) for result in list(self._waiting)[:_MAX_TASKS]}
            running = asyncio.get_running_loop().create_task(self._run_taken(taken))
            self._running.add(running)
            running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._under_way -= 1
        if not running.cancelled():
            self._start_waiting()

    async def _run_taken(self, taken: dict[asyncio.Future[int], Statement[int]]) -> None:
        single = {result: statement for result, statement in taken.items() if not result.cancelled()}
        try:
            if single:
                await self._run_together(single)
        except BaseException:
            for result in single:
                result.cancel()
            raise

    async def _run_together(self, single: dict[asyncio.Future[int], Statement[int]]) -> None:
        statements = list(single.values())
        try:
            ids = [await self._run(statements[0])] if len(statements) == 1 else await self._run(_together(statements))
        except Exception as error:
            if len(single) > 1 and not isinstance(error, DatabaseUnavailable):
                for result, statement in single.items():
                    await self._run_together({result: statement})
                return
            for result in single:
                if not result.done():
                    result.set_exception(_copy(error))
            return
        for result, id in zip(single, ids, strict=True):
            if not result.done():
                result.set_result(id)


def _together(single: list[Statement[int]]) -> Statement[list[int]]:
    return enqueue_tasks([new.single for each in single if (new := each.new_tasks) and new.single is not None])


def _copy(error: Exception) -> Exception:
    """An error of its own for each caller: a traceback belongs to one."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
