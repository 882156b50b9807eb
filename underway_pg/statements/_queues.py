"""Queues, jobs, and the settings of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..models import JobStats, QueueStats
from ..settings import JobPolicy, Queue, interval, interval_text
from ._base import Statement, dump_json, nothing, scalar
from ._literals import composite
from ._rows import RETRY_POLICY, column_of, columns_of, read_as, read_settings

__all__ = [
    "configure",
    "create_queue",
    "drop_queue",
    "jobs",
    "missing",
    "pause_key",
    "pause_queue",
    "queue_settings",
    "queues",
    "register_jobs",
    "resume_key",
    "resume_queue",
    "schema_version",
    "unregister_job",
]


def configure(max_input_size: int | str | None, max_output_size: int | str | None) -> Statement[None]:
    """Change settings of the whole schema; those that are None keep their values."""
    return Statement(
        "select underway.configure(%(max_input_size)s::text, %(max_output_size)s::text)",
        {"max_input_size": max_input_size, "max_output_size": max_output_size},
        nothing,
    )


def schema_version() -> Statement[tuple[int, int]]:
    """The newest migration of the schema, and the newest one of the oldest package that works with it."""
    return Statement("select version, oldest_package from underway.schema_version()", {}, lambda rows: rows[0])


def shard() -> Statement[int]:
    """The number of the database among the shards of an application."""
    return Statement("select underway.shard()", {}, scalar)


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
            "retry": None if queue.retry is None else composite(queue.retry.fields()),
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
        nothing,
    )


# The settings of a queue, in the order of the fields of `Queue`.
_QUEUE_SETTINGS = [field.name for field in fields(Queue) if field.name not in ("name", "executor")]


def queue_settings(names: list[str] | None = None) -> Statement[list[Queue]]:
    """The settings of those of these queues that exist, or of all."""
    columns = {name: column_of(name) for name in _QUEUE_SETTINGS} | {"retry": RETRY_POLICY.format("retry_policy")}
    return Statement(
        f"select queue, {', '.join(columns.values())} from underway.queue_list"
        " where %(names)s::text[] is null or queue = any (%(names)s)",
        {"names": names},
        lambda rows: [Queue(**read_settings(["name", *columns], row)) for row in rows],
    )


def pause_queue(name: str) -> Statement[bool]:
    """Stop claims from a queue; gives whether it was running."""
    return Statement("select underway.pause_queue(%(name)s)", {"name": name}, scalar)


def resume_queue(name: str) -> Statement[bool]:
    """Let claims from a queue go on; gives whether it was paused."""
    return Statement("select underway.resume_queue(%(name)s)", {"name": name}, scalar)


def pause_key(queue: str, key: str) -> Statement[bool]:
    """Stop claims of the tasks with a concurrency key; gives whether it was running."""
    return Statement("select underway.pause_key(%(queue)s, %(key)s)", {"queue": queue, "key": key}, scalar)


def resume_key(queue: str, key: str) -> Statement[bool]:
    """Let claims of a paused concurrency key go on; gives whether it was paused."""
    return Statement("select underway.resume_key(%(queue)s, %(key)s)", {"queue": queue, "key": key}, scalar)


def drop_queue(name: str, force: bool) -> Statement[None]:
    """Remove a queue; by force with its live tasks."""
    return Statement("select underway.drop_queue(%(name)s, %(force)s)", {"name": name, "force": force}, nothing)


def queues() -> Statement[list[QueueStats]]:
    """Every queue with what lies in it."""
    return Statement(
        f"select {columns_of(QueueStats)} from underway.queue_stats order by queue", {}, read_as(QueueStats)
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
        nothing,
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
    return Statement("select underway.unregister_job(%(name)s)", {"name": name}, scalar)


def jobs() -> Statement[list[JobStats]]:
    """Every registered job."""
    names = [field.name for field in fields(JobStats)]
    columns = {name: column_of(name) for name in names} | {"retry": RETRY_POLICY.format("retry_policy")}
    return Statement(
        f"select {', '.join(columns.values())} from underway.job_list order by job",
        {},
        lambda rows: [JobStats(**read_settings(columns, row)) for row in rows],
    )
