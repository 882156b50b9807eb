"""Threads for plain handlers. They are daemon threads: one that does not end never keeps the process from exiting."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn

from ..attempt import Attempt
from ..execution import run_plain
from ..stacks import thread_stack
from . import OnEnd

__all__ = ["AttemptThreads", "DaemonExecutor", "ThreadExecutor", "exit_fork"]


class ThreadExecutor:
    """Runs plain handlers in threads. One that ignores its `wait_cancelled` cannot be stopped."""

    def __init__(self, on_end: OnEnd) -> None:
        self._threads = AttemptThreads(on_end)

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


class AttemptThreads:
    """A pool that grows to as many threads as there are calls at once, and reuses them.

    Each call runs in a fresh copy of the context in which the pool was made. `on_end` is called on the loop with what a
    call has returned or raised.
    """

    def __init__(self, on_end: OnEnd) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._on_end = on_end
        self._calls: SimpleQueue[tuple[Attempt, Callable[[], str | None], contextvars.Context] | None] = SimpleQueue()
        self._ended: deque[tuple[Attempt, str | None, BaseException | None]] = deque()
        self._busy: dict[int, Attempt | None] = {}
        self._is_woken = False
        self._free = 0
        self._started = 0

    def call(self, attempt: Attempt, function: Callable[[], str | None]) -> None:
        """Call a function in a thread. To be called on the loop."""
        self._calls.put((attempt, function, self._context.copy()))
        if self._free > 0:
            self._free -= 1
        else:
            self._started += 1
            threading.Thread(target=self._work, name=f"underway-{self._started}", daemon=True).start()

    def thread_of(self, attempt: Attempt) -> int | None:
        """The thread that runs the call of an attempt now; None before and after that."""
        return next((thread for thread, other in self._busy.copy().items() if other is attempt), None)

    def close(self) -> None:
        """Let each thread end, after the call that it may be running."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        thread, process = threading.get_ident(), os.getpid()
        while (call := self._calls.get()) is not None:
            attempt, function, context = call
            self._busy[thread] = attempt
            output = error = None
            try:
                output = context.run(function)
            except BaseException as raised:  # whatever it is, it belongs to the attempt
                error = raised
            if os.getpid() != process:
                exit_fork(error)
            self._ended.append((attempt, output, error))
            self._busy[thread] = None
            del call, attempt, function, context, output, error
            # One wakeup for all that ends until the loop reads them: waking it costs more than most calls.
            if not self._is_woken:
                self._is_woken = True
                try:
                    self._loop.call_soon_threadsafe(self._report)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _report(self) -> None:
        self._is_woken = False  # before reading: what ends from here on wakes the loop again
        while self._ended:
            self._free += 1
            self._on_end(*self._ended.popleft())


def exit_fork(error: BaseException | None) -> NoReturn:
    """End a fork made by a handler that has returned to us, as by `sys.exit`: it must not go on as the worker."""
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


class DaemonExecutor(ThreadPoolExecutor):
    """What `asyncio.to_thread` and name resolution run in: as many threads as asyncio's own default, but daemons."""

    def __init__(self) -> None:
        super().__init__()
        self._limit = min(32, (os.cpu_count() or 1) + 4)  # as ThreadPoolExecutor has it
        self._lock = threading.Lock()
        self._started = 0
        self._idle = 0
        self._is_shut_down = False
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function in a thread; the future has its result."""
        future: Future[Any] = Future()
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("the executor was shut down")
            self._calls.put((future, partial(fn, *args, **kwargs)))
            if self._idle > 0:
                self._idle -= 1
            elif self._started < self._limit:
                self._started += 1
                threading.Thread(target=self._work, name=f"underway-to-thread-{self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let each thread end after the call that it may be running. Waits for none."""
        with self._lock:
            self._is_shut_down = True
            for _ in range(self._started):
                self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            result = error = None
            if is_wanted := future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as raised:  # it belongs to the caller
                    error = raised
            with self._lock:
                self._idle += 1  # before the caller has the result, and may submit the next call
            if error is not None:
                future.set_exception(error)
            elif is_wanted:
                future.set_result(result)
            del item, future, call, result, error
