"""The settings of queues, tasks and schedules: `RetryPolicy`, `Queue`, `Options`, `NewTask` and `Schedule`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from .checks import check_duration, check_kind, check_number
from .errors import ConfigurationError, InputError

__all__ = [
    "Executor",
    "JobOptions",
    "JobPolicy",
    "NewTask",
    "Options",
    "Queue",
    "RetryPolicy",
    "Schedule",
    "ScheduleSettings",
    "TaskOptions",
]

Duration = float | timedelta
"""A length of time: seconds, or a timedelta."""

OnConflict = Literal["return", "error", "replace"]
"""What an enqueue does when its unique key is taken."""

UniqueUntil = Literal["finish", "start"]
"""How long a task holds its unique key: until it is final, or until it begins."""

AfterFailure = Literal["wait", "fail", "run"]
"""What happens to a task when one of the tasks that it depends on does not succeed."""

Executor = Literal["async", "thread", "process"]
"""Where a handler runs: on the event loop, in a thread of the worker, or in a process of its own."""


def interval(value: Duration | None) -> timedelta | None:
    """A duration as a timedelta; None stays None and means that the job or the queue decides."""
    return value if value is None or isinstance(value, timedelta) else timedelta(seconds=value)


def interval_text(value: Duration | None) -> str:
    """A duration as text that PostgreSQL reads as an interval; empty for None."""
    length = interval(value)
    return "" if length is None else f"{length.total_seconds():.6f} s"


def exact_time(name: str, at: datetime | None) -> datetime | None:
    """A time that means one moment. Raises InputError when it has no time zone."""
    if at is not None and at.tzinfo is None:
        raise InputError(f"{name} {at} has no time zone; give one, such as datetime.timezone.utc")
    return at


_RETRY = "a RetryPolicy, such as RetryPolicy(max_attempts=3)"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a task is tried, how long it waits in between, and after which errors.

    After attempt n: `target = min(initial_interval * factor ** (n - 1), max_interval)`; the delay is uniform in
    `[target * (1 - jitter), target]`. The database checks the upper bounds.

    `retry_on` and `give_up_on` are classes of exceptions. If `retry_on` is given, a task is retried only after an error
    that is an instance of one of them. After an error that is an instance of one in `give_up_on`, the task fails for
    good, even if `retry_on` covers the error as well. Both concern the exceptions that a handler raises; a timeout and
    a process that died are retried as usual. The worker applies them, so they belong to the policy of a job or of a
    queue of the application: the database does not know them.
    """

    max_attempts: int = 5
    initial_interval: Duration = 1
    max_interval: Duration = 60
    factor: float = 2.0
    jitter: float = 0.5
    retry_on: tuple[type[BaseException], ...] = ()
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        check_number("max_attempts", self.max_attempts, int, 1)
        check_duration("initial_interval", self.initial_interval)
        check_duration("max_interval", self.max_interval)
        check_number("factor", self.factor, float, 0)
        check_number("jitter", self.jitter, float, 0)
        for name in ("retry_on", "give_up_on"):
            classes = getattr(self, name)
            if not isinstance(classes, tuple) or not all(
                isinstance(each, type) and issubclass(each, BaseException) for each in classes
            ):
                raise ConfigurationError(f"{name} is {classes!r}; give a tuple of exception classes")

    def fields(self) -> dict[str, Any]:
        """The fields of the SQL type `underway.retry_policy`, in order."""
        return {
            "max_attempts": self.max_attempts,
            "initial_interval": interval_text(self.initial_interval),
            "max_interval": interval_text(self.max_interval),
            "factor": self.factor,
            "jitter": self.jitter,
        }


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

    def __post_init__(self) -> None:
        check_kind("the name of a queue", self.name, str, "a string")
        for name in ("timeout", "heartbeat", "retention", "rate_period"):
            check_duration(name, getattr(self, name))
        if self.retry is not None:
            check_kind("retry", self.retry, RetryPolicy, _RETRY)
        for name in ("max_running", "max_running_per_key", "rate_limit", "rate_limit_per_key", "max_length"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), int, 0)


@dataclass(frozen=True, kw_only=True)
class JobPolicy:
    """What the database knows of a job: its queue and its settings. A setting that is None is that of the queue.

    A task that is enqueued without a queue goes to that of its job. Of a task that says nothing else, `retry`,
    `timeout`, `heartbeat`, `retention` and `dead_letter_queue` are looked up when they are needed, so that a change
    applies to the backlog. `priority`, `concurrency_key` and `expires` are applied when a task is enqueued. `owner` is
    the application that declares the job.
    """

    name: str
    queue: str
    retry: RetryPolicy | None = None
    timeout: Duration | None = None
    heartbeat: Duration | None = None
    retention: Duration | None = None
    priority: int | None = None
    dead_letter_queue: str | None = None
    concurrency_key: str | None = None
    expires: Duration | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.expires, datetime):
            raise ConfigurationError(
                f"job {self.name}: expires is {self.expires}; a job takes a duration, and only a task a point in time"
            )
        check_duration("expires", self.expires)
        for name in ("dead_letter_queue", "concurrency_key"):
            if getattr(self, name) is not None:
                check_kind(name, getattr(self, name), str, "a string")


@dataclass(frozen=True)
class OptionMapping:
    """How an option is sent to the database: the name of its SQL argument, its type, and how its value becomes JSON.

    `no_schedule` says why the tasks of a schedule cannot have it. `if_time` is for a value that is a point in time.
    """

    argument: str
    cast: str = "text"
    as_json: Callable[[Any], Any] | None = None
    no_schedule: str | None = None
    if_time: OptionMapping | None = None


_WHEN = "its cron expression says when its tasks run"
_KEY = "overlap='skip' keeps its tasks from running at once"
_AFTER = "its tasks run at its times"
_EACH = "give a duration, which counts for each of its tasks"


def _sql(
    argument: str,
    cast: str = "text",
    as_json: Callable[[Any], Any] | None = None,
    *,
    no_schedule: str | None = None,
    if_time: OptionMapping | None = None,
) -> dict[str, OptionMapping]:
    return {"sql": OptionMapping(argument, cast, as_json, no_schedule, if_time)}


def _time(argument: str, no_schedule: str) -> OptionMapping:
    return OptionMapping(argument, "text::timestamptz", lambda at: f"{exact_time(argument, at)}", no_schedule)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a task is enqueued. An option that is None has the value of the job, else that of the queue.

    `delay` (from now) or `run_at` (a time with a zone) put it off; of `priority`, from -100 to 100, higher runs first;
    `headers` is a mapping for tracing and metadata that the handler sees. A task that no worker has begun when it
    `expires` is cancelled: a duration, counted from when it is due, or a point in time.

    At most one live task of a queue has a `unique_key`. With `unique_for` the key is taken for that long, even if the
    task succeeds before; with `unique_until="start"` it is free as soon as the task starts. When the key is taken,
    `on_conflict` says what happens: "return" the id of the task that holds it, "error", or "replace" that task while it
    is pending. Tasks that share a `concurrency_key` take turns.

    A task with `after`, ids of other tasks, waits until all of those have succeeded. When one fails or is cancelled,
    `after_failure` says what happens: "wait" until that one is retried and succeeds, "fail" too, or "run" all the same
    when all are final.

    `shard` is the database, by its name in `App(dsns=...)`, of an application with several.
    """

    # The metadata of a field, if it has some, is its way into SQL: `statements` reads it. `TaskOptions` has the same
    # names for callers.
    delay: Duration | None = field(
        default=None, metadata=_sql("delay", "text::interval", interval_text, no_schedule=_WHEN)
    )
    run_at: datetime | None = field(default=None, metadata={"sql": _time("run_at", _WHEN)})
    expires: Duration | datetime | None = field(
        default=None,
        metadata=_sql("expires", "text::interval", interval_text, if_time=_time("expires_at", _EACH)),
    )
    priority: int | None = field(default=None, metadata=_sql("priority", "integer"))
    retry: RetryPolicy | None = field(
        default=None, metadata=_sql("retry_policy", "text::underway.retry_policy", RetryPolicy.fields)
    )
    timeout: Duration | None = field(default=None, metadata=_sql("timeout", "text::interval", interval_text))
    heartbeat: Duration | None = field(default=None, metadata=_sql("heartbeat", "text::interval", interval_text))
    retention: Duration | None = field(default=None, metadata=_sql("retention", "text::interval", interval_text))
    headers: Mapping[str, Any] | None = field(default=None, metadata=_sql("headers", "text::jsonb", dict))
    unique_key: str | None = field(default=None, metadata=_sql("unique_key", no_schedule=_KEY))
    on_conflict: OnConflict = field(default="return", metadata=_sql("on_conflict", no_schedule=_KEY))
    unique_for: Duration | None = field(
        default=None, metadata=_sql("unique_for", "text::interval", interval_text, no_schedule=_KEY)
    )
    unique_until: UniqueUntil = field(default="finish", metadata=_sql("unique_until", no_schedule=_KEY))
    concurrency_key: str | None = field(default=None, metadata=_sql("concurrency_key", no_schedule=_KEY))
    after: Sequence[int] | None = field(
        default=None, metadata=_sql("after", "text::bigint[]", list, no_schedule=_AFTER)
    )
    after_failure: AfterFailure = field(default="wait", metadata=_sql("after_failure", no_schedule=_AFTER))
    shard: str | None = None

    def __post_init__(self) -> None:
        wanted = "an integer from -100 to 100, where higher runs first"
        if self.priority is not None:
            check_kind("priority", self.priority, int, wanted)
            if not -100 <= self.priority <= 100:
                raise InputError(f"priority is {self.priority}; give {wanted}")
        if not isinstance(self.expires, datetime):
            check_duration("expires", self.expires)
        for name in ("delay", "timeout", "heartbeat", "retention", "unique_for"):
            check_duration(name, getattr(self, name))
        if self.retry is not None:
            check_kind("retry", self.retry, RetryPolicy, _RETRY)

    def with_headers(self, more: Mapping[str, Any]) -> Options:
        """These options with more headers; the ones that they have already stay."""
        return replace(self, headers={**more, **(self.headers or {})})


class TaskOptions(TypedDict, total=False):
    """The options of `Options` as keywords, as `Job.options` takes them; None means not given."""

    delay: Duration | None
    run_at: datetime | None
    expires: Duration | datetime | None
    priority: int | None
    retry: RetryPolicy | None
    timeout: Duration | None
    heartbeat: Duration | None
    retention: Duration | None
    headers: Mapping[str, Any] | None
    unique_key: str | None
    on_conflict: OnConflict | None
    unique_for: Duration | None
    unique_until: UniqueUntil | None
    concurrency_key: str | None
    after: Sequence[int] | None
    after_failure: AfterFailure | None
    shard: str | None


class JobOptions(TaskOptions, total=False):
    """What `App.job` takes: the settings of the job (see `JobPolicy`), and options that its tasks have by default."""

    dead_letter_queue: str | None


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task that is not enqueued yet, as batches take it; `Job.task` makes one from the arguments of a job.

    `input` is any value that JSON can carry. Without a `queue`, it goes to that of its job.
    """

    queue: str | None = None
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
    shard         the database of an application with several, by name, or "every" for each of them; the home by default
    """

    time_zone: str | None
    catch_up: Literal["skip", "once", "all"]
    catch_up_limit: int
    overlap: Literal["allow", "skip"]
    jitter: Duration
    starts_at: datetime | None
    ends_at: datetime | None
    shard: str | None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule: at each time of its cron expression a task with this input. `ScheduleSettings` says what is optional.

    `options` are those of its tasks, without delay and run_at. Without a `queue` they go to that of the job. `owner` is
    the application that declares it.
    """

    name: str
    queue: str | None = None
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
    shard: str | None = None
    owner: str | None = None
