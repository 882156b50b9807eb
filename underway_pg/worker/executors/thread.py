"""Threads for plain handlers. They are daemons: one that does not end never keeps the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from ..attempt import Attempt
from ..execution import run_plain
from ..stacks import thread_stack
from . import OnEnd

__all__ = ["DaemonExecutor", "ThreadExecutor", "Threads"]

K = TypeVar("K")


class Threads(Generic[K]):
    """A pool that grows to as many threads as there are calls at once, and reuses them.

    `collect` is called on the loop with what has ended: the key of each call, its result, and what it raised instead.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        collect: Callable[[list[tuple[K, Any, BaseException | None]]], None],
    ) -> None:
        self._loop = loop
        self._context = contextvars.copy_context()
        self._collect = collect
        self._calls: SimpleQueue[tuple[K, Callable[[], Any], contextvars.Context] | None] = SimpleQueue()
        self._ended: deque[tuple[K, Any, BaseException | None]] = deque()
        self._busy: dict[int, K | None] = {}
        self._told = False
        self._free = 0
        self._started = 0

    def call(self, key: K, function: Callable[[], Any]) -> None:
        """Call a function in a thread. Called on the loop."""
        self._calls.put((key, function, self._context.copy()))
        if self._free > 0:
            self._free -= 1
        else:
            self._started += 1
            threading.Thread(target=self._work, name=f"underway-{self._started}", daemon=True).start()

    def thread_of(self, key: K) -> int | None:
        """The thread that is in the call of a key now; None when none is."""
        return next((thread for thread, other in self._busy.copy().items() if other is key), None)

    def close(self) -> None:
        """Let the threads end, each after the call that it may be in."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        thread = threading.get_ident()
        while (call := self._calls.get()) is not None:
            key, function, context = call
            self._busy[thread] = key
            try:
                self._ended.append((key, context.run(function), None))
            except BaseException as error:  # whatever it is, it belongs to the caller
                self._ended.append((key, None, error))
            self._busy[thread] = None
            del call, key, function, context
            # The loop is told once for all that ends until it looks: waking it costs more than most calls.
            if not self._told:
                self._told = True
                try:
                    self._loop.call_soon_threadsafe(self._gather)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _gather(self) -> None:
        self._told = False  # before looking: what ends from here on tells again
        ended = []
        while self._ended:
            ended.append(self._ended.popleft())
        self._free += len(ended)
        self._collect(ended)


class ThreadExecutor:
    """Runs plain handlers in threads. One that ignores its `wait_cancelled` cannot be stopped."""

    def __init__(self, on_end: OnEnd) -> None:
        def collect(ended: list[tuple[Attempt, Any, BaseException | None]]) -> None:
            for each in ended:
                on_end(*each)

        self._threads: Threads[Attempt] = Threads(asyncio.get_running_loop(), collect)

    def start(self, attempt: Attempt) -> None:
        """Start the handler in a thread."""
        self._threads.call(attempt, partial(run_plain, attempt))

    def stop(self, attempt: Attempt) -> bool:
        """`request_stop` has told the handler; nothing harder is left."""
        return attempt.stop_level == 0

    def stack(self, attempt: Attempt) -> str:
        """Where the handler is."""
        return thread_stack(self._threads.thread_of(attempt))

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.close()


class DaemonExecutor(ThreadPoolExecutor):
    """What `asyncio.to_thread` of handlers runs in: a thread for each call, which keeps no process from ending."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function in a thread; the future has what it gives."""
        future: Future[Any] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        threading.Thread(target=work, name="underway-to-thread", daemon=True).start()
        return future
