"""How many tasks to claim, whether to ask for notifications, and when to look again. No I/O: events in, steps out.

Problem: claims are efficient only in batches, a sleeping worker must be woken by the next task, and a busy one must not
pay for notifications that it does not need.

Idea: a claim that returns as many tasks as it asked for means a backlog: claim again as soon as there is room. A claim
that returns fewer means that the queue is empty: declare the worker idle, so that enqueueing notifies it, and claim
once more, because what was enqueued before the declaration was not announced. A worker is declared busy again
after it has found full claims for a while, or when it passes a notification on.

Invariant: when a worker sleeps without a backlog, the database knows that it is idle, and it has claimed since then.

Where many workers are idle, two are notified of a task. Such a worker answers for the queue: until a claim has returned
less than it asked for, there may be a task that nobody else knows of. If it has no room to claim, it passes the
notification on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from .attempt import Attempt
from .settings import WorkerSettings

__all__ = ["Lane", "Prefetch", "Step"]


@dataclass(eq=False)
class Lane:
    """Queues whose tasks share a number of slots of this worker.

    serving         those of `queues` that exist
    ready           claimed, and not started
    running         how many handlers occupy a slot
    backlog_likely  the last claim may have left tasks
    answers_for     queues of which this worker was notified, and few others; a task may be in each
    """

    queues: list[str]
    concurrency: int
    serving: list[str] = field(default_factory=list)
    ready: deque[Attempt] = field(default_factory=deque)
    running: int = 0
    backlog_likely: bool = True
    answers_for: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin with all queues."""
        self.serving = list(self.queues)

    @classmethod
    def of(cls, settings: WorkerSettings) -> list[Lane]:
        """One lane for all queues, or one for each queue that has a concurrency of its own."""
        if settings.lanes:
            return [cls([queue], concurrency) for queue, concurrency in settings.lanes.items()]
        return [cls(settings.queue_names, settings.concurrency)]


@dataclass(frozen=True)
class Step:
    """What the worker does next. `claim`: claim again. `idle`: tell the database first that it is idle, or is not.

    `tick`: run the maintenance now, or with `tick_after` after so many seconds. `stop`: a draining worker is done.
    """

    claim: bool = False
    idle: bool | None = None
    tick: bool = False
    tick_after: float | None = None
    stop: bool = False


class _Drain(Enum):
    """How far a draining worker is that finds nothing: the maintenance may bring callbacks of batches."""

    WORKING = auto()
    MAINTENANCE_WANTED = auto()
    MAINTENANCE_DONE = auto()


_NOTHING = Step()
_CLAIM = Step(claim=True)
_TICK = Step(tick=True)


class Prefetch:
    """The state of one worker's claims. Times are those of one clock."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._mean = 0.0  # seconds that a handler runs
        self._cautious_until = 0.0
        self._idle = False
        self._notified = False  # since the last claim
        self._due_unclaimed = False  # maintenance found due tasks that no claim has returned yet
        self._last_short_claim = 0.0
        self._claimed_at = 0.0
        self._drain = _Drain.WORKING

    def room(self, lane: Lane, now: float) -> int:
        """How many tasks to claim for a lane: for its free slots, and what will run within `prefetch_seconds`."""
        if not lane.serving:
            return 0
        ahead = 0
        if self._mean and now > self._cautious_until:
            ahead = int(self._settings.prefetch_seconds * lane.concurrency / self._mean)
            ahead = min(ahead, 2 * self._settings.max_claim)
        if len(lane.ready) > ahead // 2:
            return 0
        return min(self._settings.max_claim, lane.concurrency + ahead - lane.running - len(lane.ready))

    def claiming(self, lane: Lane, now: float) -> None:
        """A claim begins. What becomes ready from now on may be missed by it."""
        lane.backlog_likely = False
        self._claimed_at = now

    def claimed(self, lane: Lane, count: int, room: int, now: float, *, retried: bool = False) -> Step:
        """A claim for `room` tasks has returned `count`. `retried`: a task among them was tried before."""
        if retried:
            # It may be the task that kills its worker: the fewer others are claimed with it, the better.
            self._cautious_until = now + self._settings.cautious_for
        if count:
            self._drain = _Drain.WORKING
        if count == room:
            lane.backlog_likely = True
            was_short = now - self._last_short_claim <= self._settings.busy_after
            idle = False if self._idle and not was_short else None
            return Step(claim=self.room(lane, now) > 0, idle=idle)
        self._last_short_claim = now
        if not self._idle:
            return Step(idle=True, claim=True)
        step = _NOTHING
        if count == 0 and self._due_unclaimed:
            # What was due was claimed by others, or another session holds its row locked, perhaps for minutes.
            step = Step(tick_after=self._settings.recheck_locked_after)
        elif self._due_unclaimed or (count == 0 and self._notified):
            step = _TICK  # the next task may be due in a moment
        self._notified = self._due_unclaimed = False
        return step

    @property
    def is_idle(self) -> bool:
        """Whether the database knows this worker to be idle."""
        return self._idle

    def declared(self, idle: bool) -> None:
        """The database knows whether the worker is idle."""
        self._idle = idle

    def forgotten(self) -> Step:
        """The database has removed this worker from its list; it is registered again, and not idle there."""
        self._idle = False
        return _CLAIM

    def notified(self) -> Step:
        """A task is ready."""
        self._notified = True
        return _CLAIM

    def ended(self, seconds: float) -> None:
        """A handler has ended after so many seconds."""
        self._mean = self._mean + 0.05 * (seconds - self._mean) if self._mean else seconds

    def waited(self) -> None:
        """Tasks have waited in the buffer for too long: they are not as short as they seemed."""
        self._mean = max(self._mean, self._settings.release_prefetched_after)

    def found_nothing(self) -> Step:
        """A draining worker holds nothing, and no lane has found anything."""
        if self._drain is _Drain.MAINTENANCE_DONE:
            return Step(stop=True)
        self._drain = _Drain.MAINTENANCE_WANTED
        return _TICK

    @property
    def wants_maintenance(self) -> bool:
        """Whether the next tick must do all maintenance, even if it was done a moment ago."""
        return self._drain is _Drain.MAINTENANCE_WANTED

    def ticked(self, pause: float, now: float, *, forced: bool, full: bool) -> tuple[Step, float]:
        """A tick found that a task is due in `pause` seconds. Returns what to do, and when to tick again at the latest.

        `forced`: it did the maintenance that `wants_maintenance` asked for. `full`: no lane has room.
        """
        claim = False
        if forced and self._drain is _Drain.MAINTENANCE_WANTED:
            self._drain = _Drain.MAINTENANCE_DONE
            claim = True
        if pause <= 0 or full:
            # Something is due, or could not start anyway: the claim that finds too little asks for another tick.
            self._due_unclaimed = True
            return _CLAIM, self._settings.poll_interval
        if now - self._claimed_at > self._settings.idle_claim_interval:
            claim = True  # only a claim learns that a queue was dropped
        return Step(claim=claim), pause
