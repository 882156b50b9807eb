"""What the calls of the SQL contract return, as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

__all__ = ["ClaimedTask", "FailedTask", "ListedTask", "QueueStats", "State", "TaskInfo", "WorkerStats"]

State = Literal["pending", "in_progress", "waiting", "succeeded", "failed", "cancelled"]

FINAL_STATES: frozenset[State] = frozenset(("succeeded", "failed", "cancelled"))


class ClaimedTask(NamedTuple):
    """A task as `dequeue` hands it to a worker. `lease` is None for a task of a settled batch that was lost."""

    id: int
    queue: str
    job: str | None
    input: Any
    attempt: int
    lease: UUID | None
    timeout: timedelta
    heartbeat: timedelta
    headers: dict[str, Any] | None
    priority: int
    enqueued_at: datetime
    dead_letter: dict[str, Any] | None


class FailedTask(NamedTuple):
    """What became of a failed attempt: pending again at `ready_at`, or failed for good."""

    id: int
    state: State
    ready_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """All that is known of one task, live or finished. `errors` holds its failed attempts, the oldest first."""

    id: int
    queue: str
    job: str | None
    state: State
    priority: int
    attempt: int
    max_attempts: int | None
    input: Any
    output: Any
    headers: dict[str, Any] | None
    progress: Any
    errors: list[dict[str, Any]] | None
    dead_letter: dict[str, Any] | None
    enqueued_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    worker: str | None


@dataclass(frozen=True, kw_only=True)
class ListedTask:
    """A task in a list: live or finished, without its payload."""

    id: int
    queue: str
    job: str | None
    state: State
    priority: int
    attempt: int
    enqueued_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    dead_letter_of: int | None


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """A queue, and how many tasks lie in it: ready, scheduled for later, in progress, waiting; dead letters."""

    queue: str
    paused_at: datetime | None
    dead_letter_queue: str | None
    timeout: timedelta
    heartbeat: timedelta
    ttl: timedelta
    ready: int
    scheduled: int
    in_progress: int
    waiting: int
    dead_letters: int
    oldest_ready_at: datetime | None
    workers: int


@dataclass(frozen=True, kw_only=True)
class WorkerStats:
    """A worker that is known, what it holds, and whether it is lost: not seen for a minute."""

    id: int
    name: str
    queues: list[str]
    concurrency: int | None
    idle: bool
    started_at: datetime
    seen_at: datetime
    lost: bool
    in_progress: int
    oldest_started_at: datetime | None
