"""When something is due for an attempt: its timeout, the next step of stopping it, the renewal of its lease.

Problem: an async handler may block the event loop, and then nothing on the loop is on time. Leases of all tasks of the
worker would lapse, and nobody would learn which handler is to blame.

Idea: a thread with one heap of times. It never waits for the database or for a handler. What is due for a handler it
sends to the loop; renewals it hands to a second thread (renewal.py). It also measures how long the loop does not
answer.

Invariant: each held attempt that was claimed a second ago has an entry in the heap, at the earlier of
`attempt.deadline` and `attempt.renew_at`, or earlier. An attempt that is not held any more loses its entry when that is
due. Younger attempts have no entry unless their limits are as short: an entry keeps its attempts in memory, and most
tasks have ended by then.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..wire import seconds
from .attempt import Attempt
from .executors.loop import LoopExecutor
from .shared import Shared
from .stacks import thread_stack

if TYPE_CHECKING:
    from .renewal import Renewer

__all__ = ["DeadlineHeap", "Deadlines"]

logger = logging.getLogger(__name__)

_ADMIT_AFTER = 0.5  # seconds; how old an attempt is that gets an entry, and how often such attempts are looked for
_NEVER = float("inf")


class DeadlineHeap:
    """The times at which attempts are due. No clock and no lock of its own."""

    def __init__(self, is_held: Callable[[Attempt], bool]) -> None:
        self._is_held = is_held
        self._heap: list[tuple[float, int, list[Attempt]]] = []
        self._numbers = itertools.count()

    @property
    def next_at(self) -> float:
        """When the first entry is due."""
        return self._heap[0][0] if self._heap else _NEVER

    def add(self, at: float, attempts: list[Attempt]) -> None:
        """Look at these attempts at a time."""
        heapq.heappush(self._heap, (at, next(self._numbers), attempts))

    def pop(self, now: float) -> tuple[list[Attempt], list[Attempt]]:
        """The held attempts that have reached their deadline, and those whose leases are to be renewed.

        All held attempts keep an entry, however slow it is to stop or to renew them. The caller adds one for a deadline
        that it moves on.
        """
        expired, renewals = [], []
        later: defaultdict[float, dict[Attempt, None]] = defaultdict(dict)
        while self._heap and self._heap[0][0] <= now:
            for attempt in heapq.heappop(self._heap)[2]:
                if not self._is_held(attempt):
                    continue
                attempt.set_deadlines()
                if attempt.renew_at <= now:
                    renewals.append(attempt)
                    attempt.renew_at = now + seconds(attempt.task.heartbeat) / 3
                at = attempt.renew_at
                if attempt.is_live and attempt.deadline <= now:
                    expired.append(attempt)
                elif attempt.is_live:
                    at = min(at, attempt.deadline)
                later[at][attempt] = None
        for at, attempts in later.items():
            self.add(at, list(attempts))
        return expired, renewals


class Deadlines(threading.Thread):
    """The thread. `on_expired` is called on the loop; what is to be renewed goes to `renewer`, again and again."""

    def __init__(
        self, name: str, shared: Shared, handlers: LoopExecutor, on_expired: Callable[[list[Attempt]], None]
    ) -> None:
        super().__init__(name="underway-deadlines", daemon=True)
        self._worker = name
        self._handlers = handlers
        self._held = shared.held
        self._on_expired = on_expired
        self._block_warning = shared.settings.block_warning
        self.renewer: Renewer
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._heap = DeadlineHeap(shared.held.__contains__)
        self._admit_at = _NEVER
        self._changed = threading.Condition()
        self._closed = False
        self._asked_at: float | None = None  # a question to the loop that it has not answered
        self._answered_at = 0.0
        self._blamed: Attempt | None = None
        self._is_blocked = False

    @property
    def is_blocked(self) -> bool:
        """Whether a handler blocks the loop now."""
        return self._is_blocked

    def claimed(self, attempts: list[Attempt], now: float) -> None:
        """Watch attempts that have just been claimed together."""
        limits = {(attempt.task.timeout, attempt.task.heartbeat) for attempt in attempts}
        first = min(min(seconds(timeout), seconds(heartbeat) / 3) for timeout, heartbeat in limits)
        if first <= 2 * _ADMIT_AFTER:
            for attempt in attempts:
                attempt.set_deadlines()
            self.watch(attempts, now + first)
            return
        with self._changed:  # the thread may be in the middle of `_admit`
            if self._admit_at == _NEVER:
                self._admit_at = now + _ADMIT_AFTER
                self._changed.notify()

    def watch(self, attempts: Iterable[Attempt], at: float) -> None:
        """Look at attempts at a time, whatever else is known of them."""
        with self._changed:
            sooner = at < self._heap.next_at
            self._heap.add(at, list(attempts))
            if sooner:
                self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Sleep until something is due; while the worker holds tasks, also ask the loop whether it is free."""
        check_at = 0.0
        try:
            while True:
                with self._changed:
                    if self._closed:
                        return
                    next_at = min(self._heap.next_at, self._admit_at)
                    pause = min(next_at - self._now(), self._block_warning / 4 if self._held else _NEVER)
                    if pause > 0:
                        self._changed.wait(None if pause == _NEVER else pause)
                    self._admit(self._now())
                    expired, renewals = self._heap.pop(self._now())
                if expired:
                    self._loop.call_soon_threadsafe(self._on_expired, expired)
                if renewals:
                    self.renewer.renew(renewals)
                if self._now() >= check_at:
                    check_at = self._now() + self._block_warning / 4
                    self._check_loop()
                    for attempt in list(self._held):
                        attempt.sever_if_silent()
        except RuntimeError:  # the loop is closed
            if not self._loop.is_closed():
                raise

    def _admit(self, now: float) -> None:
        """Give an entry to each attempt that has none and is old enough. Not one by one, but every half second."""
        if now < self._admit_at:
            return
        without = [attempt for attempt in list(self._held) if not attempt.renew_at]
        if old := [attempt for attempt in without if attempt.claimed_at <= now - _ADMIT_AFTER]:
            self._heap.add(now, old)
        self._admit_at = now + _ADMIT_AFTER if without else _NEVER

    def _now(self) -> float:
        return time.monotonic()

    def _check_loop(self) -> None:
        """Log once who blocks the loop, and on the loop how long that took."""
        now = self._now()
        asked_at = self._asked_at  # once: the loop may answer meanwhile
        if asked_at is None:
            if self._held:
                self._asked_at = now
                self._loop.call_soon_threadsafe(self._answer, now)
            return
        if now - asked_at < self._block_warning or self._is_blocked:
            return
        self._is_blocked = True
        self._blamed = blamed = self._handlers.running_now(list(self._held))
        stack = thread_stack(self._loop_thread).rstrip()
        logger.warning(
            "worker %s: the event loop has been blocked for %.1f s by %s; use a plain function, or await"
            " asyncio.to_thread(...), for code that blocks. Stack:\n%s",
            self._worker, now - asked_at, _title(blamed), stack,
            extra={"task": None if blamed is None else blamed.task.id},
        )  # fmt: skip

    def _answer(self, asked_at: float) -> None:
        if self._is_blocked:
            logger.warning(
                "worker %s: the event loop was blocked for %.1f s by %s",
                self._worker, self._now() - asked_at, _title(self._blamed),
                extra={"task": None if self._blamed is None else self._blamed.task.id},
            )  # fmt: skip
        self._is_blocked = False
        self._asked_at = self._blamed = None


def _title(attempt: Attempt | None) -> str:
    if attempt is None:
        return "something other than a handler's own task"
    job = attempt.task.job if attempt.job is None else attempt.job.name
    return f"task {attempt.task.id} ({job}, attempt {attempt.task.attempt})"
