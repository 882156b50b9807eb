"""Statistics, events, and the record of what people did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from ..models import AuditEntry, Event, FailureGroup, QueueDepth, TaskStats, TaskTotals
from ..settings import Duration, exact_time, interval
from ._base import Statement, dump_json, load_json, scalar
from ._rows import columns_of, read_as

__all__ = [
    "audit",
    "database_health",
    "events_after",
    "failure_groups",
    "last_event",
    "queue_depth_over_time",
    "record_action",
    "stats",
    "stats_by_job",
    "stats_by_queue",
    "stats_over_time",
    "stats_total",
]


def stats() -> Statement[dict[str, float]]:
    """The whole installation in a few numbers."""
    return Statement("select underway.stats()::text", {}, lambda rows: load_json(scalar(rows)))


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
        f"select {columns_of(TaskTotals)} from underway.stats_total order by queue, job", {}, read_as(TaskTotals)
    )


def queue_depth_over_time(
    since: datetime, until: datetime, step: Duration | None = None, queue: str | None = None
) -> Statement[list[QueueDepth]]:
    """How many live tasks there were, step by step."""
    return Statement(
        f"select {columns_of(QueueDepth)} from underway.queue_depth_over_time("
        "%(since)s, %(until)s, %(step)s::interval, %(queue)s::text)",
        {**_period(since, until), "step": interval(step), "queue": queue},
        read_as(QueueDepth),
    )


def last_event() -> Statement[int]:
    """The id of the newest event; 0 without any."""
    return Statement("select underway.last_event()", {}, scalar)


def events_after(after: int, kinds: Sequence[str] | None = None, max_events: int = 1000) -> Statement[list[Event]]:
    """The events with a higher id, the oldest first, of all kinds or of some."""
    return Statement(
        f"""select {columns_of(Event)} from underway.events_after(
            %(after)s::bigint, %(kinds)s::text[], %(max_events)s::integer)""",
        {"after": after, "kinds": None if kinds is None else list(kinds), "max_events": max_events},
        read_as(Event),
    )


def failure_groups(since: datetime, queue: str | None = None, max_read: int = 10_000) -> Statement[list[FailureGroup]]:
    """The failed attempts since a time, grouped by queue, job and error, the most frequent first."""
    return Statement(
        f"""select {columns_of(FailureGroup)} from underway.failure_groups(
            %(since)s, %(queue)s::text, %(max_read)s::integer)""",
        {"since": exact_time("since", since), "queue": queue, "max_read": max_read},
        read_as(FailureGroup),
    )


def record_action(actor: str, source: str, action: str, details: Mapping[str, Any]) -> Statement[int]:
    """Record what a person does, in the transaction that does it; gives the id of the record."""
    return Statement(
        "select underway.record_action(%(actor)s, %(source)s, %(action)s, %(details)s::jsonb)",
        {"actor": actor, "source": source, "action": action, "details": dump_json(dict(details))},
        scalar,
    )


def audit(before: int | None = None, limit: int = 50) -> Statement[list[AuditEntry]]:
    """The newest recorded actions of people, below an id if one is given."""
    return Statement(
        f"""select {columns_of(AuditEntry)} from underway.audit_list
        where %(before)s::bigint is null or id < %(before)s::bigint order by id desc limit %(limit)s""",
        {"before": before, "limit": limit},
        read_as(AuditEntry),
    )


def database_health() -> Statement[dict[str, Any]]:
    """The state of the database as far as it concerns the queue."""
    return Statement("select underway.database_health()::text", {}, lambda rows: load_json(scalar(rows)))
