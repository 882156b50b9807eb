"""The settings of queues, tasks and schedules: `RetryPolicy`, `Queue`, `Options`, `NewTask` and `Schedule`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from .errors import InputError

__all__ = ["Executor", "NewTask", "Options", "Queue", "RetryPolicy", "Schedule", "ScheduleSettings"]

Duration = float | timedelta
"""A length of time: seconds, or a timedelta."""

OnConflict = Literal["return", "error", "replace"]
"""What becomes of an enqueue whose unique key is taken."""

UniqueUntil = Literal["finish", "start"]
"""How long a task holds its unique key: until it is final, or until it begins."""

AfterFailure = Literal["wait", "fail", "run"]
"""What becomes of a task when one that it comes after does not succeed."""


Executor = Literal["async", "thread", "process"]
"""Where a handler runs: on the event loop, in a thread of the worker, or in a process of its own."""


def interval(value: Duration | None) -> timedelta | None:
    """A duration as a timedelta; None stays None and means that the queue decides."""
    return value if value is None or isinstance(value, timedelta) else timedelta(seconds=value)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a task is tried, and how long it waits in between.

    After attempt n: `target = min(initial_interval * factor ** (n - 1), max_interval)`; the delay is uniform in
    `[target * (1 - jitter), target]`. The database checks the bounds.
    """

    max_attempts: int = 5
    initial_interval: Duration = 1
    max_interval: Duration = 60
    factor: float = 2.0
    jitter: float = 0.5

    def parts(self) -> tuple[int, timedelta | None, timedelta | None, float, float]:
        """The arguments of the SQL function `underway.retry_policy`, in order."""
        return (
            self.max_attempts, interval(self.initial_interval), interval(self.max_interval), self.factor, self.jitter
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue and its settings. What is None keeps what the database has, or the default for a new queue.

    `dead_letter_queue=""` takes the dead-letter queue away. With `keep_history=False` the history keeps
    only the state and the output of tasks that succeed, for a day at most; failed and cancelled ones are kept whole.

    The limits hold over all workers. At most `max_running` tasks run at once, and at most `max_running_per_key` (1 by
    default) of those that share a concurrency key. `rate_limit` tasks start in each `rate_period` (seconds or a
    timedelta; 1 s by default), evenly, or after a rest at once, and `rate_limit_per_key` of each concurrency key. When
    `max_length` tasks wait, due or not, enqueueing is refused. 0 takes a limit away, except max_running_per_key, which
    is at least 1. With `fair=True` the concurrency keys are served in turn, those tasks that have none as one key more.
    A change counts from the next claim on, one of max_length from the next enqueue.

    With `executor="process"` plain functions whose jobs say nothing else run in processes, and not in threads. That is
    for the workers of this application; the database does not know of it.
    """

    name: str
    dead_letter_queue: str | None = None
    retry: RetryPolicy | None = None
    timeout: Duration | None = None
    heartbeat: Duration | None = None
    retention: Duration | None = None
    keep_history: bool | None = None
    max_running: int | None = None
    max_running_per_key: int | None = None
    rate_limit: int | None = None
    rate_period: Duration | None = None
    max_length: int | None = None
    rate_limit_per_key: int | None = None
    fair: bool | None = None
    executor: Literal["thread", "process"] = "thread"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a task is enqueued. What is None is as its queue says.

    `delay` (from now) or `run_at` (a time with a zone) put it off; of `priority`, from -100 to 100, higher runs first;
    `headers` is a mapping for tracing and metadata that the handler sees.

    At most one live task of a queue has a `unique_key`. With `unique_for` the key is taken for that long, even if the
    task succeeds before; with `unique_until="start"` it is free as soon as the task begins. When the key is taken,
    `on_conflict` says what happens: "return" the id of the task that holds it, "error", or "replace" that task while it
    is pending. Tasks that share a `concurrency_key` take turns.

    A task with `after`, ids of other tasks, waits until all of those have succeeded. When one fails or is cancelled,
    `after_failure` says what happens: "wait" until that one is retried and succeeds, "fail" too, or "run" all the same
    when all are final.
    """

    delay: Duration | None = None
    run_at: datetime | None = None
    priority: int = 0
    retry: RetryPolicy | None = None
    timeout: Duration | None = None
    heartbeat: Duration | None = None
    retention: Duration | None = None
    headers: Mapping[str, Any] | None = None
    unique_key: str | None = None
    on_conflict: OnConflict = "return"
    unique_for: Duration | None = None
    unique_until: UniqueUntil = "finish"
    concurrency_key: str | None = None
    after: Sequence[int] | None = None
    after_failure: AfterFailure = "wait"

    def __post_init__(self) -> None:
        if not -100 <= self.priority <= 100:
            raise InputError(f"priority is {self.priority}; give an integer from -100 to 100, where higher runs first")


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task that is not enqueued yet, as batches take it; `Job.task` makes one from the arguments of a job.

    `input` is any value that JSON can carry.
    """

    queue: str
    input: Any = field(default_factory=dict)
    job: str | None = None
    options: Options = Options()


class ScheduleSettings(TypedDict, total=False):
    """When a schedule runs, beside its cron expression, as `App.schedule` and `Job.schedule` take it.

    time_zone     the time zone of the expression: a place such as Europe/Berlin; UTC by default
    catch_up      what to do about times at which no worker was running: "skip" them, enqueue the latest "once" (the
                  default), or enqueue "all", at most `catch_up_limit` (100) of them
    overlap       "skip" skips a time while the task of the previous one is live; "allow" is the default
    jitter        delay each task by a random time up to this
    starts_at     the first moment at which a time may come; `@every` counts from it
    ends_at       the last moment at which a time may come
    """

    time_zone: str | None
    catch_up: Literal["skip", "once", "all"]
    catch_up_limit: int
    overlap: Literal["allow", "skip"]
    jitter: Duration
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule: at each time of its cron expression a task with this input. `ScheduleSettings` says what is optional.

    `options` are those of its tasks, without delay and run_at. `owner` is the application that declares it.
    """

    name: str
    queue: str
    cron: str
    input: Any = field(default_factory=dict)
    job: str | None = None
    options: Options = Options()
    time_zone: str | None = None
    catch_up: Literal["skip", "once", "all"] = "once"
    catch_up_limit: int = 100
    overlap: Literal["allow", "skip"] = "allow"
    jitter: Duration = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    owner: str | None = None
