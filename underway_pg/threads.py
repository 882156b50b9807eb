"""Threads for plain handlers. They are daemons: one that does not end never keeps the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Threads"]

T = TypeVar("T")


class Threads:
    """A pool that grows to as many threads as there are calls at once, and reuses them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._free = 0
        self._started = 0

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function in a thread. Called on the loop; the future is done there."""
        future: asyncio.Future[T] = self._loop.create_future()
        context = contextvars.copy_context()
        self._calls.put((lambda: context.run(function), future))
        if self._free > 0:
            self._free -= 1
        else:
            self._started += 1
            threading.Thread(target=self._work, name=f"underway-{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end, each after the call that it may be in."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, future = call
            try:
                outcome: tuple[Any, BaseException | None] = (function(), None)
            except BaseException as error:  # whatever it is, it belongs to the caller
                outcome = (None, error)
            try:
                self._loop.call_soon_threadsafe(self._settle, future, *outcome)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _settle(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._free += 1
        if future.done():
            return
        # A future takes no StopIteration; neither would a coroutine.
        if isinstance(error, StopIteration):
            cause, error = error, RuntimeError(f"the handler raised {error!r}")
            error.__cause__ = cause
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
