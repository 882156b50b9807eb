"""What the parts of a worker share: the attempts that it holds, and the events that wake the parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ..job import Job
from ..models import WorkerCounters
from .attempt import Attempt
from .database import Database
from .observer import Observer
from .prefetch import Lane, Prefetch, Step
from .settings import WorkerSettings

__all__ = ["Shared"]


@dataclass
class Counters:
    """What a worker has done since it started; counted when the database has accepted the result."""

    claimed: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0


@dataclass(eq=False)
class Shared:
    """The state of one run of a worker. It changes on its loop only; the threads of deadlines and renewals read `held`.

    id          the worker's row in the database
    held        attempts whose outcome the database does not know yet
    abandoned   attempts whose handlers did not stop and still run
    claiming    whether a claim is under way
    stops       how often the worker was asked to stop
    forced      whether it gives everything back at once
    skipped     jobs whose tasks it has put back for other workers
    observer    counts for metrics, if these are served
    """

    settings: WorkerSettings
    name: str
    database: Database
    jobs: Mapping[str, Job[..., Any]]
    lanes: list[Lane]
    prefetch: Prefetch
    id: int = 0
    held: set[Attempt] = field(default_factory=set)
    abandoned: set[Attempt] = field(default_factory=set)
    counters: Counters = field(default_factory=Counters)
    skipped: set[str] = field(default_factory=set)
    observer: Observer | None = None
    claiming: bool = False
    stops: int = 0
    forced: bool = False
    claim_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    settle_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    tick_wanted: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, settings: WorkerSettings, name: str, database: Database, jobs: Mapping[str, Job[..., Any]]) -> Shared:
        """The state of a worker that has not begun."""
        return cls(settings, name, database, jobs, Lane.of(settings), Prefetch(settings))

    @property
    def serves(self) -> bool:
        """Whether it claims: it does not stop, and has a queue that exists."""
        return not self.stops and any(lane.serving for lane in self.lanes)

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing, and the database knows that it is idle."""
        return self.prefetch.is_idle and not self.held

    def stats(self) -> WorkerCounters:
        """The counters, and what is held now."""
        return WorkerCounters(
            **vars(self.counters), running=self.running, prefetched=sum(len(lane.ready) for lane in self.lanes)
        )

    @property
    def channel(self) -> str:
        """Where this worker and few others are notified of a task, if many workers are idle."""
        return f"underway_ready_{self.id}"

    def notified(self, notification: psycopg.Notify) -> None:
        """A task of a queue is ready."""
        queue = notification.payload
        if notification.channel == self.channel:
            next(lane for lane in self.lanes if queue in lane.queues).answers_for.add(queue)
        self.follow(self.prefetch.notified())

    @property
    def running(self) -> int:
        """How many handlers occupy a slot."""
        return sum(lane.running for lane in self.lanes)

    def follow(self, step: Step) -> None:
        """Wake the parts that a step of the prefetching names."""
        if step.claim:
            self.claim_wanted.set()
        if step.tick:
            self.tick_wanted.set()
        if step.tick_after is not None:
            asyncio.get_running_loop().call_later(step.tick_after, self.tick_wanted.set)

    def forget(self, *attempts: Attempt) -> None:
        """The worker does not hold these tasks any more."""
        self.held.difference_update(attempts)
        self.settle_wanted.set()  # this may be all that a stop waits for
        if self.settings.drain or any(lane.backlog_likely for lane in self.lanes):
            self.claim_wanted.set()
