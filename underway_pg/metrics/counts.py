"""What a worker counts for its metrics. Nothing here needs prometheus-client, which only writes the numbers down.

A worker changes these numbers on its loop, once for all tasks of a statement. Another thread reads them at any time,
also while the loop is blocked: it copies each dictionary and list in one step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ..models import ClaimedTask
from ..worker.attempt import Attempt

__all__ = ["BOUNDS", "OUTCOMES", "Histogram", "TaskCounts", "WorkerCounts", "WorkerSample"]

# Seconds: 1 ms * 2^k, as in the database's statistics, but every second one below 64 ms and above 16 s. Each bound
# costs a time series for each queue and job.
BOUNDS = tuple(0.001 * 2**k for k in (0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22))

OUTCOMES = ("succeeded", "failed", "retried", "snoozed", "skipped", "released", "cancelled", "lost")


@dataclass
class Histogram:
    """How many durations were in each of the intervals between the bounds, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def add(self, other: Histogram) -> None:
        """Add the durations of another histogram."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


@dataclass
class TaskCounts:
    """The tasks of one queue and job: how many were claimed, how they ended, and how long they ran."""

    claimed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    run: Histogram = field(default_factory=Histogram)

    def as_json(self) -> dict[str, Any]:
        """The counts for another process."""
        return {"claimed": self.claimed, "outcomes": dict(self.outcomes), "run": asdict(self.run)}

    def add(self, other: TaskCounts) -> None:
        """Add the tasks of another worker."""
        self.claimed += other.claimed
        self.outcomes.update(other.outcomes)
        self.run.add(other.run)


@dataclass
class WorkerCounts:
    """All that a worker has counted since it started: an `Observer` of it.

    `find_job` gives the name of the job that runs a task, None if it is unknown. Tasks of unknown jobs are counted
    under the name '': a program that enqueues tasks may invent any number of names, and each would stay for ever.
    """

    find_job: Callable[[ClaimedTask], str | None] = lambda task: task.job
    tasks: dict[tuple[str, str], TaskCounts] = field(default_factory=dict)
    claims: Histogram = field(default_factory=Histogram)
    settlements: Histogram = field(default_factory=Histogram)

    # The counts of known jobs by the names that tasks have, so that a job is looked up once and not for each task.
    _known: dict[tuple[str, str | None], TaskCounts] = field(default_factory=dict, repr=False)

    def key(self, task: ClaimedTask) -> tuple[str, str]:
        """The queue and the job under which a task is counted."""
        return task.queue, self.find_job(task) or ""

    def _of(self, task: ClaimedTask) -> TaskCounts:
        found = self._known.get((task.queue, task.job))
        if found is None:
            key = self.key(task)
            found = self.tasks.setdefault(key, TaskCounts())
            if key[1]:
                self._known[task.queue, task.job] = found
        return found

    def claimed(self, tasks: Sequence[ClaimedTask], seconds: float) -> None:
        """A claim has returned these tasks, perhaps none."""
        self.claims.observe(seconds)
        for task in tasks:
            self._of(task).claimed += 1

    def sent(self, seconds: float) -> None:
        """The database has answered a statement that settles tasks."""
        self.settlements.observe(seconds)

    def ended(self, outcome: str, attempts: Iterable[Attempt]) -> None:
        """These attempts are over. Their durations count if their handlers have started and ended."""
        # Most tasks of a statement are of one job: it is looked up when it changes, and the sums are written then.
        queue = job = counts = None
        number, seconds = 0, 0.0
        for attempt in attempts:
            task = attempt.task
            if counts is None or task.job != job or task.queue != queue:
                if counts is not None:
                    counts.outcomes[outcome] += number
                    counts.run.sum += seconds
                queue, job, counts, number, seconds = task.queue, task.job, self._of(task), 0, 0.0
                intervals = counts.run.counts
            number += 1
            started_at, ended_at = attempt.started_at, attempt.ended_at
            if started_at is not None and ended_at:
                seconds += ended_at - started_at
                intervals[bisect_left(BOUNDS, ended_at - started_at)] += 1
        if counts is not None:
            counts.outcomes[outcome] += number
            counts.run.sum += seconds

    def add(self, other: WorkerCounts) -> None:
        """Add what another worker has counted."""
        for key, counts in list(other.tasks.items()):
            self.tasks.setdefault(key, TaskCounts()).add(counts)
        self.claims.add(other.claims)
        self.settlements.add(other.settlements)

    def as_json(self) -> dict[str, Any]:
        """The counts for another process."""
        return {
            "tasks": [[*key, counts.as_json()] for key, counts in list(self.tasks.items())],
            "claims": asdict(self.claims),
            "settlements": asdict(self.settlements),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The counts of another process."""
        return cls(
            tasks={
                (queue, job): TaskCounts(each["claimed"], Counter(each["outcomes"]), Histogram(**each["run"]))
                for queue, job, each in value["tasks"]
            },
            claims=Histogram(**value["claims"]),
            settlements=Histogram(**value["settlements"]),
        )


@dataclass(frozen=True, kw_only=True)
class WorkerSample:
    """How a worker is at one moment. `running` has the number of running handlers by queue and job."""

    worker: str
    version: str
    ready: bool
    concurrency: int
    prefetched: int
    abandoned: int
    running: dict[tuple[str, str], int]

    def as_json(self) -> dict[str, Any]:
        """The sample for another process."""
        return {**vars(self), "running": [[*key, number] for key, number in self.running.items()]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The sample of another process."""
        return cls(**{**value, "running": {(queue, job): number for queue, job, number in value["running"]}})
