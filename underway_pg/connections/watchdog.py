"""Timers for plain code: one thread for the whole process, as an event loop has it for async code."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from .fork import after_fork

__all__ = ["call_later"]


class _Timers:
    """Calls functions at their times, in a daemon thread that starts with the first timer."""

    def __init__(self) -> None:
        self._after_fork()
        after_fork(self)

    def _after_fork(self) -> None:
        self._changed = threading.Condition()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._cancelled: set[int] = set()
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Call a function after some seconds; returns what prevents that."""
        number, at = next(self._numbers), time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._timers, (at, number, call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="underway-timers", daemon=True)
                self._thread.start()
            elif self._timers[0][1] == number:
                self._changed.notify()

        def cancel() -> None:
            with self._changed:
                self._cancelled.add(number)

        return cancel

    def _run(self) -> None:
        with self._changed:
            while True:
                if not self._timers:
                    self._cancelled.clear()
                left = self._timers[0][0] - time.monotonic() if self._timers else None
                if left is not None and left <= 0:
                    _, number, call = heapq.heappop(self._timers)
                    if number in self._cancelled:
                        self._cancelled.remove(number)
                    else:
                        call()
                else:
                    self._changed.wait(left)


_TIMERS = _Timers()


def call_later(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Call a function in another thread after some seconds. Returns a function that prevents it."""
    return _TIMERS.add(seconds, call)
