"""The calls of the SQL contract as typed values: the text, the parameters, and how to read the answer. No I/O here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from .errors import InputError
from .models import (
    FINAL_STATES,
    AuditEntry,
    BatchStats,
    BlockedReason,
    ClaimedTask,
    Enqueued,
    Event,
    FailedTask,
    FailureGroup,
    JobStats,
    QueueDepth,
    QueueStats,
    RelatedTask,
    ScheduleStats,
    State,
    TaskCount,
    TaskInfo,
    TaskStats,
    TaskSummary,
    TaskTotals,
    WorkerStats,
)
from .settings import (
    Duration,
    JobPolicy,
    NewTask,
    OptionMapping,
    Options,
    Queue,
    RetryPolicy,
    Schedule,
    exact_time,
    interval,
    interval_text,
)
from .wire import uuid_text

__all__ = ["NewTasks", "Statement", "convert_each", "dump_json", "load_json", "short"]

T = TypeVar("T")
U = TypeVar("U")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Statement(Generic[T]):
    """One call: `sql` with `parameters` gives rows, and `read` makes of them what the caller gets.

    `as_bytes` leaves jsonb, uuid, interval and timestamptz as they come (`binary`). `enqueues` says that the queue of a
    new task, or of a schedule, has to exist. `new_tasks` describes the tasks that it enqueues.
    """

    sql: str
    parameters: Mapping[str, Any]
    read: Callable[[list[Row]], T]
    as_bytes: bool = False
    enqueues: bool = False
    new_tasks: NewTasks[T] | None = None


@dataclass(frozen=True)
class NewTasks(Generic[T]):
    """The tasks of a statement: how many, and their queue and job where one is given for all of them.

    `with_headers` makes the statement again, with more headers for each task. Headers that a task has already stay.
    `single` is the task of an `enqueue` that may share a statement with others: not one that may have to wait for other
    transactions, because of its unique key or its dependencies.
    """

    count: int
    queue: str | None
    job: str | None
    with_headers: Callable[[Mapping[str, Any]], Statement[T]]
    single: NewTask | None = None


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

# PostgreSQL keeps no NUL character in a text. An even number of backslashes before it is text about a NUL, not a NUL.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def dump_json(value: Any) -> str:
    """A value as JSON text that PostgreSQL takes as jsonb.

    Raises InputError for what JSON cannot carry: other types, NaN and infinities, NUL characters, lone surrogates.
    """
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{short(value)} cannot be kept as JSON: {error}") from error
    if "u0000" in text and _NUL.search(text):
        raise InputError(f"{short(value)} cannot be kept as JSON: it holds a NUL character")
    return text


def load_json(text: str | None) -> Any:
    """The value of JSON text from the database; the text itself where Python cannot read it.

    That is a number of more than 4300 digits, or nesting that is deeper than the recursion limit.
    """
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def short(value: Any) -> str:
    """A value in a message, of at most 200 characters."""
    try:
        text = repr(value)
    except Exception:  # somebody else's code, and only for a message
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 200 else text[:197] + "..."


def convert_each(what: str, items: Iterable[T], convert: Callable[[T], U]) -> list[U]:
    """Convert each of several items. An InputError says which one it concerns, counted from 1 as the database does."""
    if not isinstance(items, Iterable):
        raise InputError(f"{short(items)} is not a list; give one, with a {what} in it for each task")
    converted = []
    for number, item in enumerate(items, start=1):
        try:
            converted.append(convert(item))
        except InputError as error:
            raise InputError(f"{what} {number}: {error}") from error
    return converted


def _scalar(rows: list[Row]) -> Any:
    return rows[0][0]


def _column(rows: list[Row]) -> list[Any]:
    return [row[0] for row in rows]


def _nothing(rows: list[Row]) -> None:
    return None


# Fields of the models that are jsonb.
_JSON = frozenset({"input", "output", "headers", "progress", "errors", "dead_letter", "details", "last_error"})

# Not every driver has a form of its own for them: enums and JSON.
_AS_TEXT = _JSON | {"state"}

# Fields that are intervals. They are read in seconds: as text their form depends on IntervalStyle, which not every
# driver understands.
_INTERVALS = frozenset({"timeout", "heartbeat", "retention", "rate_period", "jitter", "expires"})


def _column_of(name: str) -> str:
    if name in _INTERVALS:
        return f"extract(epoch from {name})::float8"
    return f"{name}::text" if name in _AS_TEXT else name


def _columns(kind: type) -> str:
    return ", ".join(_column_of(field.name) for field in fields(kind))


def _value_of(name: str, value: Any) -> Any:
    if name in _INTERVALS:
        return None if value is None else timedelta(seconds=value)
    return load_json(value) if name in _JSON else value


_CLAIMED = ", ".join(ClaimedTask._fields)


def _composite(fields: Mapping[str, Any]) -> str:
    """The fields of a composite type as its text."""
    return f"({','.join(map(str, fields.values()))})"


_OPTIONS: dict[str, tuple[Any, OptionMapping]] = {
    field.name: (field.default, field.metadata["sql"]) for field in fields(Options)
}

# Values that have another form as a parameter than in a JSON object, by their type in SQL.
_AS_PARAMETER: dict[str, Callable[[Any], str]] = {
    "text::underway.retry_policy": _composite,
    "text::bigint[]": lambda ids: _ids(ids),
}


def _given_options(options: Options) -> list[tuple[OptionMapping, Any]]:
    """The options that differ from their defaults, with their values as JSON. Most tasks have few of them."""
    given = []
    for name, (default, mapping) in _OPTIONS.items():
        value = getattr(options, name)
        if value is not default and value != default:
            if mapping.if_time is not None and isinstance(value, datetime):
                mapping = mapping.if_time
            given.append((mapping, value if mapping.as_json is None else mapping.as_json(value)))
    return given


def _arguments(options: Options, job: str | None) -> tuple[str, dict[str, Any]]:
    """The options as arguments of a call, and their parameters; only those that are given, because each one costs."""
    sql, parameters = [], {}
    if job is not None:
        sql.append(", job => %(job)s")
        parameters["job"] = job
    for mapping, value in _given_options(options):
        sql.append(f", {mapping.argument} => %({mapping.argument})s::{mapping.cast}")
        convert = _AS_PARAMETER.get(mapping.cast)
        if convert is not None:
            value = convert(value)
        parameters[mapping.argument] = dump_json(value) if isinstance(value, dict) else value
    return "".join(sql), parameters


def enqueue(queue: str | None, input: Any, job: str | None, options: Options) -> Statement[int]:
    """A new task; returns its id."""
    arguments, parameters = _arguments(options, job)
    waits = options.unique_key is not None or bool(options.after)
    return Statement(
        f"select underway.enqueue(%(queue)s, %(input)s::jsonb{arguments})",
        {"queue": queue, "input": dump_json(input), **parameters},
        _scalar,
        enqueues=True,
        new_tasks=NewTasks(
            1,
            queue,
            job,
            lambda more: enqueue(queue, input, job, options.with_headers(more)),
            None if waits else NewTask(queue=queue, input=input, job=job, options=options),
        ),
    )


def enqueue_many(
    queue: str | None,
    inputs: Iterable[Any],
    job: str | None,
    options: Options,
    unique_keys: Iterable[str | None] | None = None,
) -> Statement[list[int]]:
    """New tasks with the same options but for their unique keys; returns their ids in the order of the inputs."""
    inputs = _repeatable(inputs)
    unique_keys = None if unique_keys is None else _repeatable(unique_keys)
    call = "select underway.enqueue_many"
    return Statement(
        *_for_many(call, queue, inputs, job, options, unique_keys),
        _scalar,
        enqueues=True,
        new_tasks=NewTasks(
            len(inputs),
            queue,
            job,
            lambda more: enqueue_many(queue, inputs, job, options.with_headers(more), unique_keys),
        ),
    )


def enqueue_unique(
    queue: str | None, inputs: Iterable[Any], unique_keys: Iterable[str | None], job: str | None, options: Options
) -> Statement[list[Enqueued]]:
    """New tasks for the inputs whose unique keys are free; returns for each input whether a task was added."""
    inputs, unique_keys = _repeatable(inputs), _repeatable(unique_keys)
    call = "select id, created, replaced from underway.enqueue_unique"
    return Statement(
        *_for_many(call, queue, inputs, job, options, unique_keys),
        lambda rows: [Enqueued(*row) for row in rows],
        enqueues=True,
        new_tasks=NewTasks(
            len(inputs),
            queue,
            job,
            lambda more: enqueue_unique(queue, inputs, unique_keys, job, options.with_headers(more)),
        ),
    )


def _for_many(
    call: str,
    queue: str | None,
    inputs: Iterable[Any],
    job: str | None,
    options: Options,
    unique_keys: Iterable[str | None] | None,
) -> tuple[str, dict[str, Any]]:
    if options.unique_key is not None:
        raise InputError(
            f"unique_key {options.unique_key!r} is one key for several tasks; give unique_keys, one for each"
        )
    arguments, parameters = _arguments(options, job)
    if unique_keys is not None:
        arguments += ", unique_keys => %(unique_keys)s::text::text[]"
        parameters["unique_keys"] = _texts(unique_keys)
    return f"{call}(%(queue)s, %(inputs)s::text::jsonb[]{arguments})", {
        "queue": queue,
        "inputs": _texts(convert_each("input", inputs, dump_json)),
        **parameters,
    }


def enqueue_tasks(tasks: Iterable[NewTask]) -> Statement[list[int]]:
    """New tasks of any jobs and queues; returns their ids in order."""
    tasks = _repeatable(tasks)
    call = "select underway.enqueue_many(%(tasks)s::jsonb)"
    return Statement(
        call,
        {"tasks": _objects(tasks)},
        _scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, lambda more: enqueue_tasks(_with_headers(tasks, more))),
    )


def enqueue_batch(
    tasks: Iterable[NewTask],
    on_success: NewTask | None,
    on_final: NewTask | None,
    on_failure: NewTask | None,
    name: str | None,
    retention: Duration | None,
) -> Statement[int]:
    """New tasks as a batch, and tasks that start when it is finished; returns the id of the batch."""
    tasks = _repeatable(tasks)
    given = {"tasks": _objects(tasks)}
    callbacks = {"on_success": on_success, "on_final": on_final, "on_failure": on_failure}
    optional = {event: dump_json(_object(task)) for event, task in callbacks.items() if task is not None}
    named = {name: value for name, value in (("name", name), ("retention", interval(retention))) if value is not None}
    arguments = [f"{event} => %({event})s::jsonb" for event in optional] + [f"{name} => %({name})s" for name in named]
    call = ", ".join(["%(tasks)s::jsonb", *arguments])

    def with_headers(more: Mapping[str, Any]) -> Statement[int]:
        success, final, failure = (
            None if task is None else _with_headers([task], more)[0] for task in (on_success, on_final, on_failure)
        )
        return enqueue_batch(_with_headers(tasks, more), success, final, failure, name, retention)

    return Statement(
        f"select underway.enqueue_batch({call})",
        {**given, **optional, **named},
        _scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, with_headers),
    )


def extend_batch(batch: int, tasks: Iterable[NewTask]) -> Statement[list[int]]:
    """More tasks of a batch; gives their ids in order."""
    tasks = _repeatable(tasks)
    return Statement(
        "select underway.extend_batch(%(batch)s::bigint, %(tasks)s::jsonb)",
        {"batch": batch, "tasks": _objects(tasks)},
        _scalar,
        enqueues=True,
        new_tasks=NewTasks(len(tasks), None, None, lambda more: extend_batch(batch, _with_headers(tasks, more))),
    )


def cancel_batch(batch: int) -> Statement[int]:
    """Cancel the live tasks of a batch; gives how many there were."""
    return Statement("select underway.cancel_batch(%(batch)s::bigint)", {"batch": batch}, _scalar)


def _repeatable(items: Iterable[T]) -> Sequence[T]:
    """The items of an iterator, so that they can be read again. What is no iterable as it is: it is refused later."""
    return items if isinstance(items, Sequence) or not isinstance(items, Iterable) else list(items)


def _with_headers(tasks: Iterable[NewTask], more: Mapping[str, Any]) -> list[NewTask]:
    return [replace(task, options=task.options.with_headers(more)) for task in tasks]


def _objects(tasks: Iterable[NewTask]) -> str:
    return dump_json(convert_each("task", tasks, _object))


def _object(task: NewTask) -> dict[str, Any]:
    """A task as the JSON object that the database takes."""
    if not isinstance(task, NewTask):
        raise InputError(f"{short(task)} is not a NewTask; make one with Job.task")
    given = {"queue": task.queue, "input": task.input, "job": task.job}
    given = {name: value for name, value in given.items() if value is not None or name == "input"}
    return given | {mapping.argument: value for mapping, value in _given_options(task.options)}


def dequeue(queues: Sequence[str], max_tasks: int, worker: int | None = None) -> Statement[list[ClaimedTask]]:
    """Claim ready tasks; gives them in the order in which they are to run."""
    return Statement(
        f"select {_CLAIMED} from underway.dequeue(%(queues)s::text[], %(max_tasks)s::integer, %(worker)s)",
        {"queues": list(queues), "max_tasks": max_tasks, "worker": worker},
        lambda rows: list(map(ClaimedTask._make, rows)),
        as_bytes=True,
    )


def complete(task: int, lease: bytes, output: Any = None) -> Statement[None]:
    """Report a task as done. `output` is any value that JSON can carry."""
    return Statement(
        "select underway.complete(%(task)s::bigint, %(lease)s::uuid, %(output)s::jsonb)",
        {"task": task, "lease": uuid_text(lease), "output": None if output is None else dump_json(output)},
        _nothing,
    )


def complete_many(tasks: list[int], leases: list[bytes], outputs: list[str | None]) -> Statement[list[int]]:
    """Report a batch of tasks as done; gives the ids that were settled. `outputs` are JSON texts."""
    return Statement(
        """select * from underway.complete_many(%(tasks)s::text::bigint[], %(leases)s::text::uuid[],
            %(outputs)s::text::jsonb[])""",
        {"tasks": _ids(tasks), "leases": _leases(leases), "outputs": _outputs(outputs)},
        _column,
    )


# Arrays as text: element by element, as psycopg dumps a list, they cost a worker more than all else about a short task.


def _ids(ids: Iterable[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


def _leases(leases: Iterable[bytes]) -> str:
    return "{" + ",".join(map(uuid_text, leases)) + "}"


def _outputs(outputs: list[str | None]) -> str | None:
    return None if all(output is None for output in outputs) else _texts(outputs)


def _texts(texts: Iterable[str | None]) -> str:
    return "{" + ",".join("null" if text is None else _quoted(text) for text in texts) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def fail_many(
    tasks: list[int],
    leases: list[bytes],
    errors: list[str],
    retryable: list[bool],
    retry_after: list[timedelta | None],
) -> Statement[list[FailedTask]]:
    """Report failed attempts. `errors` are JSON texts. Returns the tasks that were settled."""
    return Statement(
        """select id, state::text, ready_at from underway.fail_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(errors)s::jsonb[], %(retryable)s::boolean[],
            %(retry_after)s::interval[])""",
        {
            "tasks": _ids(tasks),
            "leases": _leases(leases),
            "errors": errors,
            "retryable": retryable,
            "retry_after": retry_after,
        },
        lambda rows: list(map(FailedTask._make, rows)),
    )


def snooze_many(tasks: list[int], leases: list[bytes], delays: list[timedelta]) -> Statement[list[int]]:
    """Put tasks back for later. Returns the ids of the tasks whose leases were valid."""
    return Statement(
        """select id from underway.snooze_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(delays)s::interval[])""",
        {"tasks": _ids(tasks), "leases": _leases(leases), "delays": delays},
        _column,
    )


def release_many(tasks: list[int], leases: list[bytes]) -> Statement[list[int]]:
    """Give tasks back without using up an attempt; gives the ids that were given back."""
    return Statement(
        "select * from underway.release_many(%(tasks)s::text::bigint[], %(leases)s::text::uuid[])",
        {"tasks": _ids(tasks), "leases": _leases(leases)},
        _column,
    )


def heartbeat(tasks: list[int], leases: list[bytes]) -> Statement[list[int]]:
    """Renew leases; gives the ids that are still held."""
    return Statement(
        "select * from underway.heartbeat(%(tasks)s::text::bigint[], %(leases)s::text::uuid[])",
        {"tasks": _ids(tasks), "leases": _leases(leases)},
        _column,
    )


def end_sessions(sessions: Sequence[tuple[int, int]]) -> Statement[int]:
    """End sessions of this role that are still there; gives how many."""
    return Statement(
        """select pg_terminate_backend(a.pid)
        from unnest(%(pids)s::integer[], %(started_at)s::bigint[]) as lost(pid, started_at)
        join pg_stat_activity a on a.pid = lost.pid
        where (extract(epoch from a.backend_start) * 1000000)::bigint = lost.started_at""",
        {"pids": [pid for pid, _ in sessions], "started_at": [started_at for _, started_at in sessions]},
        len,
    )


def report_progress_many(tasks: list[int], leases: list[bytes], progress: list[str]) -> Statement[list[int]]:
    """Store the progress of running tasks, as JSON texts. Returns the ids of the tasks whose progress was stored."""
    return Statement(
        """select * from underway.report_progress_many(
            %(tasks)s::text::bigint[], %(leases)s::text::uuid[], %(progress)s::text::jsonb[])""",
        {"tasks": _ids(tasks), "leases": _leases(leases), "progress": _texts(progress)},
        _column,
    )


def register_worker(name: str, queues: Sequence[str], concurrency: int, version: str | None = None) -> Statement[int]:
    """Make a worker known; gives its id."""
    return Statement(
        "select underway.register_worker(%(name)s, %(queues)s::text[], %(concurrency)s::integer, %(version)s)",
        {"name": name, "queues": list(queues), "concurrency": concurrency, "version": version},
        _scalar,
    )


def max_output_size() -> Statement[int]:
    """How many bytes of text an output may have."""
    return Statement("select max_output_size from underway.settings", {}, _scalar)


def unregister_worker(worker: int) -> Statement[None]:
    """A worker has stopped."""
    return Statement("select underway.unregister_worker(%(worker)s)", {"worker": worker}, _nothing)


def set_idle(worker: int, idle: bool) -> Statement[None]:
    """Say whether a worker sleeps and wants to be notified."""
    return Statement("select underway.set_idle(%(worker)s, %(idle)s)", {"worker": worker, "idle": idle}, _nothing)


def set_skipped_jobs(worker: int, jobs: list[str]) -> Statement[None]:
    """Record which jobs a worker does not know, for `why`."""
    return Statement(
        "select underway.set_skipped_jobs(%(worker)s, %(jobs)s::text[])", {"worker": worker, "jobs": jobs}, _nothing
    )


def maintain(worker: int, queues: Sequence[str], *, at_once: bool = False) -> Statement[tuple[float, str, list[str]]]:
    """Do all chores, unless a session did them less than a second ago; then look. Returns what `look` does."""
    return _look(f"underway.maintain(%(worker)s, {at_once}) as done", "done -> 'to_vacuum'", worker, queues)


def look(worker: int, queues: Sequence[str]) -> Statement[tuple[float, str, list[str]]]:
    """Run the schedules that are due, then look what is due next.

    Returns the seconds until a task of the queues may be ready, at most one; the state of the worker: "known",
    "stopping" or "unknown"; and the names of the tables that should be vacuumed.
    """
    return _look("underway.run_schedules()", "null", worker, queues)


def _look(chores: str, to_vacuum: str, worker: int, queues: Sequence[str]) -> Statement[tuple[float, str, list[str]]]:
    return Statement(
        f"""select extract(epoch from underway.next_wakeup(%(queues)s::text[]))::float8,
            underway.worker_state(%(worker)s), {to_vacuum}
        from {chores}""",
        {"worker": worker, "queues": list(queues)},
        lambda rows: (rows[0][0], rows[0][1], rows[0][2] or []),
    )


def stop_workers(worker: int | None, queue: str | None, all_workers: bool) -> Statement[int]:
    """Ask workers to stop; gives how many were asked."""
    return Statement(
        "select underway.stop_workers(%(worker)s::bigint, %(queue)s, %(all_workers)s)",
        {"worker": worker, "queue": queue, "all_workers": all_workers},
        _scalar,
    )


def configure(max_input_size: int | str | None, max_output_size: int | str | None) -> Statement[None]:
    """Change settings of the whole schema; those that are None keep their values."""
    return Statement(
        "select underway.configure(%(max_input_size)s::text, %(max_output_size)s::text)",
        {"max_input_size": max_input_size, "max_output_size": max_output_size},
        _nothing,
    )


def create_queue(queue: Queue) -> Statement[None]:
    """Create a queue or change the settings that are given."""
    return Statement(
        """select underway.create_queue(%(name)s, dead_letter_queue => %(dead_letter_queue)s,
            retry_policy => %(retry)s::underway.retry_policy, timeout => %(timeout)s, heartbeat => %(heartbeat)s,
            retention => %(retention)s, keep_history => %(keep_history)s, max_running => %(max_running)s::integer,
            max_running_per_key => %(max_running_per_key)s::integer, rate_limit => %(rate_limit)s::integer,
            rate_period => %(rate_period)s, max_length => %(max_length)s::integer,
            rate_limit_per_key => %(rate_limit_per_key)s::integer, fair => %(fair)s::boolean)""",
        {
            "name": queue.name,
            "dead_letter_queue": queue.dead_letter_queue,
            "retry": None if queue.retry is None else _composite(queue.retry.fields()),
            "timeout": interval(queue.timeout),
            "heartbeat": interval(queue.heartbeat),
            "retention": interval(queue.retention),
            "keep_history": queue.keep_history,
            "max_running": queue.max_running,
            "max_running_per_key": queue.max_running_per_key,
            "rate_limit": queue.rate_limit,
            "rate_period": interval(queue.rate_period),
            "max_length": queue.max_length,
            "rate_limit_per_key": queue.rate_limit_per_key,
            "fair": queue.fair,
        },
        _nothing,
    )


# The settings of a queue, in the order of the fields of `Queue`.
_QUEUE_SETTINGS = [field.name for field in fields(Queue) if field.name not in ("name", "executor")]

# A retry policy in numbers, which `_retry_policy` reads.
_RETRY_POLICY = """array[({0}).max_attempts, extract(epoch from ({0}).initial_interval),
    extract(epoch from ({0}).max_interval), ({0}).factor, ({0}).jitter]::float8[]"""


def _retry_policy(numbers: list[Any]) -> RetryPolicy | None:
    max_attempts, initial_interval, max_interval, factor, jitter = numbers
    return None if max_attempts is None else RetryPolicy(
        max_attempts=int(max_attempts), initial_interval=initial_interval, max_interval=max_interval, factor=factor,
        jitter=jitter,
    )  # fmt: skip


def queue_settings() -> Statement[list[Queue]]:
    """The settings of every queue."""
    columns = {name: _column_of(name) for name in _QUEUE_SETTINGS} | {"retry": _RETRY_POLICY.format("retry_policy")}
    return Statement(
        f"select queue, {', '.join(columns.values())} from underway.queue_list",
        {},
        lambda rows: [Queue(**_with_retry(["name", *columns], row)) for row in rows],
    )


def _with_retry(names: Iterable[str], row: Row) -> dict[str, Any]:
    found = {name: _value_of(name, value) for name, value in zip(names, row, strict=True)}
    return {**found, "retry": _retry_policy(found["retry"])}


_JOB_SETTINGS = {
    "retry": "underway.retry_policy", "timeout": "interval", "heartbeat": "interval", "retention": "interval",
    "priority": "integer", "dead_letter_queue": "text", "concurrency_key": "text", "expires": "interval",
    "owner": "text",
}  # fmt: skip


def register_jobs(jobs: Sequence[JobPolicy]) -> Statement[None]:
    """Store what is declared of jobs, each as a whole."""
    columns = {name.replace("retry", "retry_policy"): kind for name, kind in _JOB_SETTINGS.items()}
    return Statement(
        f"""select underway.register_job(j.name, j.queue, {", ".join(f"{name} => j.{name}" for name in columns)})
        from jsonb_to_recordset(%(jobs)s::jsonb)
            as j (name text, queue text, {", ".join(f"{name} {kind}" for name, kind in columns.items())})""",
        {"jobs": dump_json([_policy(job) for job in jobs])},
        _nothing,
    )


def _policy(job: JobPolicy) -> dict[str, Any]:
    """The settings of a job as the JSON object that `register_jobs` reads."""
    given = {field.name: value for field in fields(job) if (value := getattr(job, field.name)) is not None}
    for name in given.keys() & {"timeout", "heartbeat", "retention", "expires"}:
        given[name] = interval_text(given[name])
    if "retry" in given:
        given["retry_policy"] = given.pop("retry").fields()
    return given


def unregister_job(name: str) -> Statement[bool]:
    """Forget the settings of a job; gives whether it was registered."""
    return Statement("select underway.unregister_job(%(name)s)", {"name": name}, _scalar)


def jobs() -> Statement[list[JobStats]]:
    """Every registered job."""
    names = [field.name for field in fields(JobStats)]
    columns = {name: _column_of(name) for name in names} | {"retry": _RETRY_POLICY.format("retry_policy")}
    return Statement(
        f"select {', '.join(columns.values())} from underway.job_list order by job",
        {},
        lambda rows: [JobStats(**_with_retry(columns, row)) for row in rows],
    )


def missing(queues: Sequence[str], jobs: Sequence[str]) -> Statement[tuple[list[str], list[str]]]:
    """Those of these queues that do not exist, and those of these jobs that are not registered."""
    return Statement(
        """select
            array(
                select name from unnest(%(queues)s::text[]) name
                where not exists (select from underway.queue_list q where q.queue = name)
            ),
            array(
                select name from unnest(%(jobs)s::text[]) name
                where not exists (select from underway.job_list j where j.job = name)
            )""",
        {"queues": list(queues), "jobs": list(jobs)},
        lambda rows: (rows[0][0], rows[0][1]),
    )


def schema_version() -> Statement[tuple[int, int]]:
    """The newest migration of the schema, and the newest one of the oldest package that works with it."""
    return Statement("select version, oldest_package from underway.schema_version()", {}, lambda rows: rows[0])


def shard() -> Statement[int]:
    """The number of the database among the shards of an application."""
    return Statement("select underway.shard()", {}, _scalar)


def pause_queue(name: str) -> Statement[bool]:
    """Stop claims from a queue; gives whether it was running."""
    return Statement("select underway.pause_queue(%(name)s)", {"name": name}, _scalar)


def resume_queue(name: str) -> Statement[bool]:
    """Let claims from a queue go on; gives whether it was paused."""
    return Statement("select underway.resume_queue(%(name)s)", {"name": name}, _scalar)


def pause_key(queue: str, key: str) -> Statement[bool]:
    """Stop claims of the tasks with a concurrency key; gives whether it was running."""
    return Statement("select underway.pause_key(%(queue)s, %(key)s)", {"queue": queue, "key": key}, _scalar)


def resume_key(queue: str, key: str) -> Statement[bool]:
    """Let claims of a paused concurrency key go on; gives whether it was paused."""
    return Statement("select underway.resume_key(%(queue)s, %(key)s)", {"queue": queue, "key": key}, _scalar)


def drop_queue(name: str, force: bool) -> Statement[None]:
    """Remove a queue; by force with its live tasks."""
    return Statement("select underway.drop_queue(%(name)s, %(force)s)", {"name": name, "force": force}, _nothing)


def schedule(schedule: Schedule) -> Statement[datetime | None]:
    """Create or replace a schedule; gives its next time."""
    for mapping, _ in _given_options(schedule.options):
        if mapping.no_schedule is not None:
            raise InputError(f"schedule {schedule.name!r} has the option {mapping.argument}; {mapping.no_schedule}")
    arguments, parameters = _arguments(schedule.options, schedule.job)
    return Statement(
        f"""select underway.schedule(%(name)s, %(queue)s, %(cron)s, %(time_zone)s, %(input)s::jsonb,
            catch_up => %(catch_up)s, catch_up_limit => %(catch_up_limit)s::integer, overlap => %(overlap)s,
            jitter => %(jitter)s, starts_at => %(starts_at)s, ends_at => %(ends_at)s, owner => %(owner)s{arguments})""",
        {
            "name": schedule.name,
            "queue": schedule.queue,
            "cron": schedule.cron,
            "time_zone": schedule.time_zone,
            "input": dump_json(schedule.input),
            "catch_up": schedule.catch_up,
            "catch_up_limit": schedule.catch_up_limit,
            "overlap": schedule.overlap,
            "jitter": interval(schedule.jitter),
            "starts_at": exact_time("starts_at", schedule.starts_at),
            "ends_at": exact_time("ends_at", schedule.ends_at),
            "owner": schedule.owner,
            **parameters,
        },
        _scalar,
        enqueues=True,
    )


def unschedule(name: str) -> Statement[bool]:
    """Remove a schedule; gives whether there was one."""
    return Statement("select underway.unschedule(%(name)s)", {"name": name}, _scalar)


def pause_schedule(name: str) -> Statement[bool]:
    """Let a schedule enqueue nothing; gives whether it was running."""
    return Statement("select underway.pause_schedule(%(name)s)", {"name": name}, _scalar)


def resume_schedule(name: str) -> Statement[bool]:
    """Let a paused schedule go on; gives whether it was paused."""
    return Statement("select underway.resume_schedule(%(name)s)", {"name": name}, _scalar)


def run_schedule_now(name: str) -> Statement[int]:
    """Enqueue the task of a schedule now; gives its id."""
    return Statement("select underway.run_schedule_now(%(name)s)", {"name": name}, _scalar)


def cron_preview(cron: str, time_zone: str | None, after: datetime | None, count: int) -> Statement[list[datetime]]:
    """The next times of a cron expression, after a time or now."""
    return Statement(
        """select * from underway.cron_preview(%(cron)s, %(time_zone)s,
            coalesce(%(after)s, clock_timestamp()), %(count)s::integer)""",
        {"cron": cron, "time_zone": time_zone, "after": exact_time("after", after), "count": count},
        _column,
    )


def cancel(task: int) -> Statement[bool]:
    """Cancel a live task; gives whether something changed."""
    return Statement("select underway.cancel(%(task)s::bigint)", {"task": task}, _scalar)


def retry(task: int) -> Statement[None]:
    """Make a failed or cancelled task pending again."""
    return Statement("select underway.retry(%(task)s::bigint)", {"task": task}, _nothing)


def redrive(queue: str, max_tasks: int) -> Statement[int]:
    """Move dead letters back to where they came from; gives how many went."""
    return Statement(
        "select underway.redrive(%(queue)s, %(max_tasks)s::integer)", {"queue": queue, "max_tasks": max_tasks}, _scalar
    )


def reschedule(task: int, run_at: datetime) -> Statement[datetime]:
    """Make a pending task ready at another time; gives when it will be."""
    return Statement(
        "select underway.reschedule(%(task)s::bigint, %(run_at)s)", {"task": task, "run_at": run_at}, _scalar
    )


def reprioritize(task: int, priority: int) -> Statement[None]:
    """Give a pending task another priority."""
    return Statement(
        "select underway.reprioritize(%(task)s::bigint, %(priority)s::integer)",
        {"task": task, "priority": priority},
        _nothing,
    )


def delete_task(task: int) -> Statement[None]:
    """Remove a finished task from the history."""
    return Statement("select underway.delete_task(%(task)s::bigint)", {"task": task}, _nothing)


def watch(tasks: list[int]) -> Statement[list[int]]:
    """Ask that the finish of tasks be announced; gives those that are final already."""
    return Statement(
        """select asked.task, underway.watch(asked.task)::text
        from unnest(%(tasks)s::bigint[]) as asked (task)""",
        {"tasks": tasks},
        lambda rows: [task for task, state in rows if state in FINAL_STATES],
    )


def task_info(task: int) -> Statement[TaskInfo | None]:
    """All that is known of a task, or None."""
    several = task_infos([task])
    return Statement(several.sql, several.parameters, lambda rows: next(iter(several.read(rows)), None))


def task_infos(tasks: list[int]) -> Statement[list[TaskInfo]]:
    """All that is known of tasks, of those that exist."""
    return _task_infos("unnest(%(tasks)s::bigint[]) as asked (task)", {"tasks": tasks})


def every_task() -> Statement[list[TaskInfo]]:
    """All that is known of all tasks, live and finished: for tests, where they are few."""
    return _task_infos("(select l.id as task from underway.task_list l order by l.id) asked", {})


def _task_infos(asked: str, parameters: Mapping[str, Any]) -> Statement[list[TaskInfo]]:
    return Statement(
        f"select {_columns(TaskInfo)} from {asked}, underway.task_info(asked.task)",
        parameters,
        _listed(TaskInfo),
    )


def why(task: int) -> Statement[list[BlockedReason]]:
    """Why a task does not run: each reason."""
    return Statement(
        f"select {_columns(BlockedReason)} from underway.why(%(task)s::bigint)", {"task": task}, _listed(BlockedReason)
    )


def _listed(kind: type[T]) -> Callable[[list[Row]], list[T]]:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]

    def read(row: Row) -> T:
        return kind(**{name: _value_of(name, value) for name, value in zip(names, row, strict=True)})

    return lambda rows: list(map(read, rows))


def tasks(queue: str | None, state: State | None, limit: int) -> Statement[list[TaskSummary]]:
    """The newest tasks, live or finished, of a queue and in a state where these are given."""
    where = [
        condition
        for condition, given in (("queue = %(queue)s", queue), ("state = %(state)s::underway.task_state", state))
        if given is not None
    ]
    return Statement(
        f"select {_columns(TaskSummary)} from underway.task_list"
        + (" where " + " and ".join(where) if where else "")
        + " order by id desc limit %(limit)s",
        {"queue": queue, "state": state, "limit": limit},
        _listed(TaskSummary),
    )


def queues() -> Statement[list[QueueStats]]:
    """Every queue with what lies in it."""
    return Statement(f"select {_columns(QueueStats)} from underway.queue_stats order by queue", {}, _listed(QueueStats))


def batches(limit: int) -> Statement[list[BatchStats]]:
    """The newest batches with how far they are."""
    return Statement(
        f"select {_columns(BatchStats)} from underway.batch_stats order by batch desc limit %(limit)s",
        {"limit": limit},
        _listed(BatchStats),
    )


def batch(batch: int) -> Statement[BatchStats | None]:
    """A batch with how far it is, or None."""
    return Statement(
        f"select {_columns(BatchStats)} from underway.batch_stats where batch = %(batch)s::bigint",
        {"batch": batch},
        lambda rows: next(iter(_listed(BatchStats)(rows)), None),
    )


def schedules() -> Statement[list[ScheduleStats]]:
    """Every schedule."""
    return Statement(
        f"select {_columns(ScheduleStats)} from underway.schedule_stats order by schedule", {}, _listed(ScheduleStats)
    )


def workers() -> Statement[list[WorkerStats]]:
    """Every worker that is known."""
    return Statement(f"select {_columns(WorkerStats)} from underway.worker_stats order by id", {}, _listed(WorkerStats))


def stats() -> Statement[dict[str, float]]:
    """The whole installation in a few numbers."""
    return Statement("select underway.stats()::text", {}, lambda rows: load_json(_scalar(rows)))


# Statistics, searches and events.


def _period(since: datetime, until: datetime) -> dict[str, Any]:
    return {"since": exact_time("since", since), "until": exact_time("until", until)}


_STATS = ", ".join(field.name for field in fields(TaskStats) if field.name not in ("at", "queue", "job"))


def _task_stats(keys: Sequence[str], call: str, parameters: Mapping[str, Any]) -> Statement[list[TaskStats]]:
    names = [*keys, *_STATS.split(", ")]
    return Statement(
        f"select {', '.join(names)} from underway.{call}",
        parameters,
        lambda rows: [TaskStats(**dict(zip(names, row, strict=True))) for row in rows],
    )


def stats_over_time(
    since: datetime,
    until: datetime,
    step: Duration | None = None,
    queue: str | None = None,
    job: str | None = None,
) -> Statement[list[TaskStats]]:
    """What happened to tasks, step by step; without a step there are about a hundred rows."""
    return _task_stats(
        ["at"],
        "stats_over_time(%(since)s, %(until)s, %(step)s::interval, %(queue)s::text, %(job)s::text)",
        {**_period(since, until), "step": interval(step), "queue": queue, "job": job},
    )


def stats_by_queue(since: datetime, until: datetime, job: str | None = None) -> Statement[list[TaskStats]]:
    """What happened to the tasks of each queue."""
    return _task_stats(
        ["queue"], "stats_by_queue(%(since)s, %(until)s, %(job)s::text)", {**_period(since, until), "job": job}
    )


def stats_by_job(since: datetime, until: datetime, queue: str | None = None) -> Statement[list[TaskStats]]:
    """What happened to the tasks of each job and queue."""
    return _task_stats(
        ["job", "queue"],
        "stats_by_job(%(since)s, %(until)s, %(queue)s::text)",
        {**_period(since, until), "queue": queue},
    )


def stats_total() -> Statement[list[TaskTotals]]:
    """What has happened to the tasks of each queue and job since the installation."""
    return Statement(
        f"select {_columns(TaskTotals)} from underway.stats_total order by queue, job", {}, _listed(TaskTotals)
    )


def queue_depth_over_time(
    since: datetime, until: datetime, step: Duration | None = None, queue: str | None = None
) -> Statement[list[QueueDepth]]:
    """How many live tasks there were, step by step."""
    return Statement(
        f"select {_columns(QueueDepth)} from underway.queue_depth_over_time("
        "%(since)s, %(until)s, %(step)s::interval, %(queue)s::text)",
        {**_period(since, until), "step": interval(step), "queue": queue},
        _listed(QueueDepth),
    )


def _filter(given: Mapping[str, Any]) -> str:
    """The filter of a search as JSON. Times may be given as datetimes with a time zone."""
    return dump_json(
        {
            key: exact_time(key, value).isoformat() if isinstance(value, datetime) else value  # type: ignore[union-attr]
            for key, value in given.items()
        }
    )


def find_tasks(
    filter: Mapping[str, Any], before: int | None = None, max_tasks: int = 50, max_read: int = 20_000
) -> Statement[tuple[list[int], int | None]]:
    """The ids of the newest tasks that match, and where the search goes on; None at the end."""
    return Statement(
        """select tasks, next_before from underway.find_tasks(
            %(filter)s::jsonb, %(before)s::bigint, %(max_tasks)s::integer, %(max_read)s::integer)""",
        {"filter": _filter(filter), "before": before, "max_tasks": max_tasks, "max_read": max_read},
        lambda rows: (rows[0][0], rows[0][1]),
    )


def task_summaries(tasks: Sequence[int]) -> Statement[list[TaskSummary]]:
    """These tasks, live or finished, as far as they exist, the newest first."""
    return Statement(
        f"select {_columns(TaskSummary)} from underway.task_list where id = any(%(tasks)s::bigint[]) order by id desc",
        {"tasks": list(tasks)},
        _listed(TaskSummary),
    )


def count_tasks(filter: Mapping[str, Any], max_count: int = 10_000) -> Statement[TaskCount]:
    """How many tasks match, counted up to a number."""
    return Statement(
        "select count, capped from underway.count_tasks(%(filter)s::jsonb, %(max_count)s::integer)",
        {"filter": _filter(filter), "max_count": max_count},
        lambda rows: TaskCount(count=rows[0][0], capped=rows[0][1]),
    )


def task_dependencies(task: int) -> Statement[list[RelatedTask]]:
    """The tasks that are related to a task."""
    return Statement(
        f"select {_columns(RelatedTask)} from underway.task_dependencies(%(task)s::bigint)",
        {"task": task},
        _listed(RelatedTask),
    )


def _many(call: str, tasks: Sequence[int]) -> Statement[list[int]]:
    return Statement(f"select * from underway.{call}(%(tasks)s::text::bigint[])", {"tasks": _ids(tasks)}, _column)


def cancel_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Cancel at most 1000 tasks; gives the ids of the cancelled ones."""
    return _many("cancel_many", tasks)


def retry_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Make the failed and cancelled ones of at most 1000 tasks pending again; gives their ids."""
    return _many("retry_many", tasks)


def delete_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Remove the finished ones of at most 1000 tasks from the history; gives their ids."""
    return _many("delete_many", tasks)


def redrive_many(tasks: Sequence[int]) -> Statement[list[int]]:
    """Move the dead letters among at most 1000 tasks back to where they came from; gives the ids of the letters."""
    return _many("redrive_many", tasks)


def run_again(task: int, input: str | None = None) -> Statement[int]:
    """Enqueue a copy of a task, with another input (JSON text) if one is given; gives its id."""
    return Statement(
        "select underway.run_again(%(task)s::bigint, %(input)s::jsonb)", {"task": task, "input": input}, _scalar
    )


def last_event() -> Statement[int]:
    """The id of the newest event; 0 without any."""
    return Statement("select underway.last_event()", {}, _scalar)


def events_after(after: int, kinds: Sequence[str] | None = None, max_events: int = 1000) -> Statement[list[Event]]:
    """The events with a higher id, the oldest first, of all kinds or of some."""
    return Statement(
        f"""select {_columns(Event)} from underway.events_after(
            %(after)s::bigint, %(kinds)s::text[], %(max_events)s::integer)""",
        {"after": after, "kinds": None if kinds is None else list(kinds), "max_events": max_events},
        _listed(Event),
    )


def failure_groups(since: datetime, queue: str | None = None, max_read: int = 10_000) -> Statement[list[FailureGroup]]:
    """The failed attempts since a time, grouped by queue, job and error, the most frequent first."""
    return Statement(
        f"""select {_columns(FailureGroup)} from underway.failure_groups(
            %(since)s, %(queue)s::text, %(max_read)s::integer)""",
        {"since": exact_time("since", since), "queue": queue, "max_read": max_read},
        _listed(FailureGroup),
    )


def record_action(actor: str, source: str, action: str, details: Mapping[str, Any]) -> Statement[int]:
    """Record what a person does, in the transaction that does it; gives the id of the record."""
    return Statement(
        "select underway.record_action(%(actor)s, %(source)s, %(action)s, %(details)s::jsonb)",
        {"actor": actor, "source": source, "action": action, "details": dump_json(dict(details))},
        _scalar,
    )


def audit(before: int | None = None, limit: int = 50) -> Statement[list[AuditEntry]]:
    """The newest recorded actions of people, below an id if one is given."""
    return Statement(
        f"""select {_columns(AuditEntry)} from underway.audit_list
        where %(before)s::bigint is null or id < %(before)s::bigint order by id desc limit %(limit)s""",
        {"before": before, "limit": limit},
        _listed(AuditEntry),
    )


def database_health() -> Statement[dict[str, Any]]:
    """The state of the database as far as it concerns the queue."""
    return Statement("select underway.database_health()::text", {}, lambda rows: load_json(_scalar(rows)))
