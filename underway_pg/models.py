"""The typed results of the calls of the SQL contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from .settings import RetryPolicy

__all__ = [
    "AuditEntry",
    "BlockedReason",
    "ClaimedTask",
    "Enqueued",
    "Event",
    "FailedTask",
    "FailureGroup",
    "FoundTasks",
    "Health",
    "JobStats",
    "QueueDepth",
    "QueueStats",
    "RelatedTask",
    "ScheduleStats",
    "State",
    "SyncChanges",
    "SyncResult",
    "TaskCount",
    "TaskInfo",
    "TaskStats",
    "TaskSummary",
    "TaskTotals",
    "WorkerCounters",
    "WorkerStats",
]

State = Literal["pending", "in_progress", "waiting", "succeeded", "failed", "cancelled"]

FINAL_STATES: frozenset[State] = frozenset(("succeeded", "failed", "cancelled"))


class ClaimedTask(NamedTuple):
    """A task as `dequeue` returns it. Most columns are bytes, which are decoded when a handler reads them.

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
    """The result of an enqueue with a unique key.

    `id` is the task that has the key. `created` is true if this call created it, `replaced` if this call replaced its
    input and options. If both are false, the task existed and was not changed.
    """

    id: int
    created: bool
    replaced: bool


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """Everything that is stored about one task, live or finished.

    `errors` holds the errors of its failed attempts, the oldest first. JSON that Python cannot parse (a number of more
    than 4300 digits, very deep nesting) is returned as text. The history may forget the task after `kept_until`. A task
    whose first attempt no worker has begun by `expires_at` is cancelled with the `reason` expired.
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
    kept_until: datetime | None
    worker: str | None
    unique_key: str | None
    concurrency_key: str | None
    expires_at: datetime | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class BlockedReason:
    """A reason why a task is not running, or the statement that it is running or final.

    `code` is for programs, `reason` is a sentence for people, and `details` holds the values in that sentence.
    """

    code: str
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """A task in a list, live or finished, without its input, output and errors.

    `reason` is "expired" if it was cancelled because no worker began it in time. `error` is the type and message of its
    last error, at most 200 characters.
    """

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
    worker: int | None
    expires_at: datetime | None
    reason: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class FoundTasks:
    """The tasks that a search has found, the newest first.

    `next_before` is None when there are no more tasks. Otherwise the search goes on with it as `before`, even if it has
    found no task so far: it reads a bounded number of tasks each time.
    """

    tasks: list[TaskSummary]
    next_before: int | None


@dataclass(frozen=True, kw_only=True)
class TaskCount:
    """How many tasks match a filter; `capped` if there may be more."""

    count: int
    capped: bool


@dataclass(frozen=True, kw_only=True)
class RelatedTask:
    """A task that is related to another one.

    `relation` is "after" (the other one comes after it), "before", "callback" (of the batch `batch`), "dead letter" or
    "dead letter of". `state` is None when the history does not have the task any more.
    """

    task: int
    relation: str
    batch: int | None
    state: State | None
    job: str | None


@dataclass(frozen=True, kw_only=True)
class TaskStats:
    """What happened to tasks in a step of time, in a queue, or of a job.

    Of `at` (the beginning of the step), `queue` and `job` those are set by which the statistics are divided; `job` is
    empty for tasks without one. `retried` counts failed attempts that are tried again. `started` counts attempts that
    began in the time and have ended. The percentiles are in seconds, and None without data.
    """

    at: datetime | None = None
    queue: str | None = None
    job: str | None = None
    enqueued: int
    started: int
    succeeded: int
    failed: int
    retried: int
    cancelled: int
    expired: int
    run_p50: float | None
    run_p95: float | None
    run_p99: float | None
    wait_p50: float | None
    wait_p95: float | None
    wait_p99: float | None


@dataclass(frozen=True, kw_only=True)
class TaskTotals:
    """What has happened to the tasks of a queue and job since the installation.

    The histograms have 28 counts, not cumulative: up to 0.001 seconds, up to twice that, and so on; the last one is of
    what took longer than 0.001 * 2**26 seconds. `run_seconds` and `wait_seconds` are sums.
    """

    queue: str
    job: str
    enqueued: int
    started: int
    succeeded: int
    failed: int
    retried: int
    cancelled: int
    expired: int
    run_seconds: float
    wait_seconds: float
    run_histogram: list[int]
    wait_histogram: list[int]


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """How many live tasks there were: the greatest numbers in the step that begins at `at`, None without a sample."""

    at: datetime
    ready: int | None
    scheduled: int | None
    in_progress: int | None
    waiting: int | None
    oldest_ready_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened, such as a task that failed permanently (`kind` is "task_failed")."""

    id: int
    at: datetime
    kind: str
    queue: str | None
    job: str | None
    task: int | None
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Failed attempts with the same queue, job and error.

    In `message`, numbers and quoted values are replaced by `*`.
    """

    queue: str
    job: str | None
    error_type: str | None
    message: str | None
    failures: int
    failed_permanently: int
    tasks: int
    first_at: datetime
    last_at: datetime
    last_task: int


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """An action of a person: who did it, with which login role, from where ("dashboard", "cli"), and what."""

    id: int
    at: datetime
    actor: str
    role: str
    source: str
    action: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """The settings of a queue, and the number of its tasks in each state.

    `scheduled` tasks are pending and not due yet. `parked` tasks are due, but their concurrency key is full, paused or
    out of tokens; in a fair queue they are counted as `ready`. `waiting` tasks depend on others. `dead_letters` counts
    the live tasks of this queue that are dead letters of other tasks. `expired` tasks are about to be cancelled, and
    are counted nowhere else. A limit of None means that there is no limit. `capped` is true if a number may be higher
    than it says, because at most 10,000 tasks are counted. `counted_at` is when they were counted: now, or a second or
    more ago if the table of live tasks has more than 20,000 rows.
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
    expired: int
    capped: bool
    counted_at: datetime


@dataclass(frozen=True, kw_only=True)
class JobStats:
    """A job that the database knows: its queue, and its settings as in `JobPolicy`. None is the setting of the queue.

    `registered_at` is when it was first registered, `updated_at` when it was last changed.
    """

    job: str
    queue: str
    retry: RetryPolicy | None
    timeout: timedelta | None
    heartbeat: timedelta | None
    retention: timedelta | None
    priority: int | None
    dead_letter_queue: str | None
    concurrency_key: str | None
    expires: timedelta | None
    owner: str | None
    registered_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class BatchStats:
    """A batch and its progress.

    `progress` is the fraction of its tasks that are final, from 0 to 1. `state` is "live"; or "succeeded" when all
    tasks have succeeded; or "failed" when all are final and some have not succeeded, which a retry may change.
    `on_success`, `on_final` and `on_failure` are the ids of the callbacks.
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
    """A schedule: its settings, its next and last time, its last task and its last error.

    `next_at` is None if no time is left. `last_error` is an object with type, message and hint; it is None after a
    time that succeeded.
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
class SyncChanges:
    """The names of an application's queues, jobs or schedules, by what a sync did with them.

    `vanished` ones are in the database, but the application that declared them no longer does. `removed` ones were in
    that state, and this call deleted them.
    """

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What `App.sync` did. A queue never vanishes: the database does not know who declared it."""

    queues: SyncChanges
    jobs: SyncChanges
    schedules: SyncChanges


@dataclass(frozen=True, kw_only=True)
class WorkerStats:
    """A registered worker, and the number of tasks that it has claimed.

    `lost` is true if the worker has not been seen for a minute. `stop_asked_at` is when `stop_workers` asked it to
    stop. `skipped_jobs` are jobs that it does not know. `version` is that of its package or program.
    """

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
    skipped_jobs: list[str]
    version: str | None


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of a worker.

    `ready` is true while the worker claims tasks: it is registered, has reached the database within the last five
    seconds, serves at least one queue, and is not shutting down. `last_claim_at` is the time of its last claim, even if
    that returned no task. `schema_version` is the number of the newest migration that this package contains.
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
