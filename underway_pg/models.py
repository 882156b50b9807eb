"""What the calls of the SQL contract return, as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

__all__ = [
    "BlockedReason",
    "ClaimedTask",
    "Enqueued",
    "FailedTask",
    "Health",
    "QueueStats",
    "ScheduleStats",
    "ScheduleSyncResult",
    "State",
    "TaskInfo",
    "TaskSummary",
    "WorkerCounters",
    "WorkerStats",
]

State = Literal["pending", "in_progress", "waiting", "succeeded", "failed", "cancelled"]

FINAL_STATES: frozenset[State] = frozenset(("succeeded", "failed", "cancelled"))


class ClaimedTask(NamedTuple):
    """A task as `dequeue` hands it to a worker; most of it as bytes, since few handlers look at it.

    `input`, `headers` and `dead_letter` are jsonb, `lease` is a uuid, `timeout` and `heartbeat` are intervals and
    `enqueued_at` is a timestamptz, each in PostgreSQL's binary format.
    """

    id: int
    queue: str
    job: str | None
    input: bytes
    attempt: int
    lease: bytes
    timeout: bytes
    heartbeat: bytes
    headers: bytes | None
    priority: int
    enqueued_at: bytes
    dead_letter: bytes | None
    max_attempts: int


class FailedTask(NamedTuple):
    """What has become of a task whose attempt failed: pending, ready at a time; or failed."""

    id: int
    state: State
    ready_at: datetime | None


@dataclass(frozen=True)
class Enqueued:
    """What an enqueue with a unique key gave: the task that has the key, and whether it is new or was changed."""

    id: int
    created: bool
    replaced: bool


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """All that is known of one task, live or finished. `errors` holds its failed attempts, the oldest first.

    JSON that Python cannot read (a number of more than 4300 digits, very deep nesting) is given as its text.
    """

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
    unique_key: str | None
    concurrency_key: str | None


@dataclass(frozen=True, kw_only=True)
class BlockedReason:
    """Why a task does not run, or that it does: a `code` for programs, a sentence for people, and the numbers in it."""

    code: str
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
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
    unique_key: str | None
    concurrency_key: str | None


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """A queue, and how many tasks lie in it: ready, parked, scheduled for later, in progress, waiting; dead letters.

    `parked` are due too, but their concurrency key is taken or paused; in a fair queue they count as ready. A limit
    that is None is none.
    """

    queue: str
    paused_at: datetime | None
    dead_letter_queue: str | None
    timeout: timedelta
    heartbeat: timedelta
    retention: timedelta
    keep_history: bool
    ready: int
    scheduled: int
    in_progress: int
    waiting: int
    dead_letters: int
    oldest_ready_at: datetime | None
    workers: int
    max_running: int | None
    max_running_per_key: int
    rate_limit: int | None
    rate_period: timedelta
    max_length: int | None
    parked: int
    paused_keys: list[str]
    rate_limit_per_key: int | None
    fair: bool


@dataclass(frozen=True, kw_only=True)
class BatchStats:
    """A batch, and how far it is: `progress` is the part of its tasks that are final, from 0 to 1.

    `state` is "live", "succeeded" or "failed": all are final, and not all have succeeded, which a retry may change.
    `on_success`, `on_final` and `on_failure` are the ids of the tasks that wait, or have waited, for that.
    """

    batch: int
    name: str | None
    state: str
    tasks: int
    live: int
    succeeded: int
    failed: int
    cancelled: int
    progress: float
    on_success: int | None
    on_final: int | None
    on_failure: int | None
    created_at: datetime
    failed_at: datetime | None
    final_at: datetime | None
    succeeded_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ScheduleStats:
    """A schedule: what it says, its next and its last time, its last task, and its last error until a time succeeds.

    `next_at` is None when no time comes any more. `last_error` is an object with type, message and hint.
    """

    schedule: str
    queue: str
    job: str | None
    cron: str
    time_zone: str
    next_at: datetime | None
    last_at: datetime | None
    last_task: int | None
    last_error: dict[str, Any] | None
    last_error_at: datetime | None
    paused_at: datetime | None
    starts_at: datetime | None
    ends_at: datetime | None
    catch_up: str
    catch_up_limit: int
    overlap: str
    jitter: timedelta
    owner: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class ScheduleSyncResult:
    """What became of the schedules that an application declares, by their names.

    `vanished` ones are in the database and not declared any more; `removed` ones were, and are gone.
    """

    created: list[str]
    updated: list[str]
    unchanged: list[str]
    vanished: list[str]
    removed: list[str]


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
    stop_asked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a worker is.

    `ready` says that it claims: it is registered, has reached the database lately, has queues and does not stop.
    `last_claim_at` is the last time that it has asked for tasks, whether there were any or not. `schema_version` is the
    number of the newest migration that it knows.
    """

    ready: bool
    stopping: bool
    worker: str
    queues: list[str]
    running: int
    schema_version: int
    last_claim_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class WorkerCounters:
    """What a worker has done since it started, and what it holds now.

    `failed` counts tasks that failed permanently, `retried` failed attempts that are tried again. `prefetched` tasks
    are claimed and have not started.
    """

    claimed: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    running: int = 0
    prefetched: int = 0
