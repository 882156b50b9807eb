"""The pages Jobs and Job: rates, run times and settings, and where each setting comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from ... import statements
from ...models import JobStats
from ...settings import Queue, RetryPolicy
from ..activity import by_job, finished_by_hour
from ..database import Queries, Row
from ..formats import NOTHING, duration
from ..merging import merging
from ..page import dashboard_of, page
from ..redaction import redact_texts
from .overview import SPANS, charts_over_time, span_of

__all__ = ["routes"]


@page(
    "jobs.html", title="Jobs",
    merge=merging("jobs", order=lambda job: (-_finished(job.stats), job.name, job.shard)),
)  # fmt: skip
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """Jobs that are registered or have run within the time span."""
    span = span_of(request, "24h")
    stats: dict[str, Any] = {}
    for row in await by_job(db, span.since, span.until):
        # The queue in which most tasks of a job are run stands for all of them.
        if row.job:
            stats.setdefault(row.job, row)
    registered = {job.job: job for job in await db.run(statements.jobs())}
    names = sorted(registered.keys() | stats.keys(), key=lambda name: (-_finished(stats.get(name)), name))
    lines = await finished_by_hour(db, "job", names)
    jobs = [
        Row(name=name, registered=registered.get(name), stats=stats.get(name), line=lines.get(name, []))
        for name in names
    ]
    return {"jobs": jobs, "span": span, "spans": SPANS}


def _finished(row: Any) -> int:
    return 0 if row is None else int(row.succeeded + row.failed + row.retried)


class Setting(NamedTuple):
    """A setting of a job as the tasks of the job get it: its value in words, and who has set it."""

    name: str
    value: str
    source: str


@page("job.html")
async def show_one(request: Request, db: Queries) -> dict[str, Any]:
    """One job."""
    name = request.query_params.get("name", "")
    span = span_of(request, "24h")
    given = {"job": name, "since": span.since}
    job = next((job for job in await db.run(statements.jobs()) if job.job == name), None)
    by_queue = [row for row in await by_job(db, span.since, span.until) if row.job == name]
    if job is None and not by_queue:
        raise HTTPException(404, f"No job named {name} is registered, and none has run lately.")
    charts, _ = await charts_over_time(db, span, None, name, depth=False)
    groups = await db.rows("select * from underway.failure_groups(%(since)s)", given)
    failures = [group for group in groups if group.job == name][:10]
    await redact_texts(dashboard_of(request).redaction, db, failures, "message", task="last_task")
    queues = await db.run(statements.queue_settings([job.queue])) if job is not None else []
    return {
        "title": name,
        "job": job,
        "settings": _settings(job, queues[0]) if job is not None and queues else [],
        "by_queue": by_queue,
        "charts": charts,
        "failures": failures,
        "skipped_by": await db.rows(
            "select id, name from underway.worker_stats where %(job)s = any (skipped_jobs) and not lost order by id",
            given,
        ),
        "span": span,
        "spans": SPANS,
    }


def _settings(job: JobStats, queue: Queue) -> list[Setting]:
    """The settings that apply to a task of the job which has none of its own."""
    own: dict[str, tuple[Any, Any, Callable[[Any], str]]] = {
        "Retries": (job.retry, queue.retry, _retries),
        "Timeout": (job.timeout, queue.timeout, duration),
        "Lease without a heartbeat": (job.heartbeat, queue.heartbeat, duration),
        "Finished tasks are kept for": (job.retention, queue.retention, duration),
        "Dead-letter queue": (job.dead_letter_queue, queue.dead_letter_queue, _text),
    }
    found = [
        Setting(
            name, words(of_queue if of_job is None else of_job), f"queue {queue.name}" if of_job is None else "the job"
        )
        for name, (of_job, of_queue, words) in own.items()
    ]
    at_enqueue = {
        "Priority": ("0" if job.priority is None else str(job.priority), job.priority),
        "Concurrency key": (_text(job.concurrency_key), job.concurrency_key),
        "Expires": ("never" if job.expires is None else f"after {duration(job.expires)}", job.expires),
    }
    return found + [
        Setting(name, words, "the default" if of_job is None else "the job")
        for name, (words, of_job) in at_enqueue.items()
    ]


def _text(value: str | None) -> str:
    return value or "none"


def _retries(policy: RetryPolicy | None) -> str:
    """A retry policy in words."""
    if policy is None:
        return NOTHING
    if policy.max_attempts == 1:
        return "1 attempt"
    first, longest = duration(policy.initial_interval), duration(policy.max_interval)
    return (
        f"{policy.max_attempts} attempts; the first delay is {first}, each is {policy.factor:g} times as long, at most"
        f" {longest}, and up to {policy.jitter * 100:g} % shorter by chance"
    )


routes = [Route("/jobs", show, name="jobs"), Route("/jobs/one", show_one, name="job")]
