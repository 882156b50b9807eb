"""The page Overview: what happens now, what happened, and what needs attention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from ... import statements
from ..attention import findings
from ..charts import Chart, Series, time_chart
from ..database import Queries
from ..formats import duration
from ..page import page

__all__ = ["SPANS", "charts_over_time", "routes", "span_of"]

# The time spans of the charts: their names in the address, and in words.
SPANS = {
    "1h": ("1 hour", timedelta(hours=1)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}


@dataclass(frozen=True)
class Span:
    """The chosen time span."""

    name: str
    words: str
    since: datetime
    until: datetime

    @property
    def keep(self) -> float:
        """How many seconds old the statistics of this span may be: 5 of an hour, at most 60."""
        return min(60.0, (self.until - self.since).total_seconds() / 720)


def span_of(request: Request, default: str = "1h") -> Span:
    """The time span that the query of a request chooses with `span`. Raises HTTPException 400 for an unknown one."""
    name = request.query_params.get("span", default)
    if name not in SPANS:
        raise HTTPException(400, f"There is no time span {name!r}. Use one of {', '.join(SPANS)}.")
    until = datetime.now(UTC)
    return Span(name, SPANS[name][0], until - SPANS[name][1], until)


async def charts_over_time(
    db: Queries, span: Span, queue: str | None = None, job: str | None = None, *, depth: bool = True
) -> tuple[list[Chart], list[Any]]:
    """The charts of a time span, and the rows of statistics that they show.

    They are throughput, failures, run time, waiting time and, with `depth`, backlog and the age of its oldest task.
    """
    chosen = {"since": span.since, "until": span.until, "queue": queue, "job": job}
    sql = "select * from underway.stats_over_time(%(since)s, %(until)s, null, %(queue)s, %(job)s)"
    rows = await db.cached_rows(span.keep, (span.name, queue, job), sql, chosen)
    times = [row.at for row in rows]
    per_step = f"tasks per {duration(times[1] - times[0])}" if len(times) > 1 else "tasks"

    def column(name: str) -> list[float | None]:
        return [getattr(row, name) for row in rows]

    charts = [
        time_chart(
            "Throughput",
            times,
            [
                Series("succeeded", column("succeeded"), 3, "bar"),
                Series("failed", column("failed"), 2, "bar"),
                Series("enqueued", column("enqueued"), 1),
            ],
            unit=per_step,
        ),
        time_chart(
            "Failures",
            times,
            [
                Series("failed permanently", column("failed"), 2, "bar"),
                Series("will be retried", column("retried"), 4, "bar"),
            ],
            unit=per_step.replace("tasks", "attempts"),
        ),
        time_chart(
            "Run time",
            times,
            [Series("p50", column("run_p50"), 1), Series("p95", column("run_p95"), 5)],
            unit="of an attempt",
            durations=True,
        ),
        time_chart(
            "Waiting time",
            times,
            [Series("p50", column("wait_p50"), 1), Series("p95", column("wait_p95"), 5)],
            unit="from ready to started",
            durations=True,
        ),
    ]
    if depth:
        charts += await _depth(db, span, chosen)
    return charts, rows


async def _depth(db: Queries, span: Span, chosen: dict[str, Any]) -> list[Chart]:
    sql = "select * from underway.queue_depth_over_time(%(since)s, %(until)s, null, %(queue)s)"
    rows = await db.cached_rows(span.keep, (span.name, chosen["queue"]), sql, chosen)
    times = [row.at for row in rows]
    return [
        time_chart(
            "Backlog",
            times,
            [
                Series("ready", [row.ready for row in rows], 1),
                Series("in progress", [row.in_progress for row in rows], 3),
                Series("waiting", [row.waiting for row in rows], 5),
            ],
            unit="tasks",
        ),
        time_chart(
            "Oldest ready task",
            times,
            [Series("age", [row.oldest_ready_seconds for row in rows], 2)],
            unit="how long it has been ready",
            durations=True,
        ),
    ]


@page("overview.html", title="Overview")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The page."""
    span, queue = span_of(request), request.query_params.get("queue") or None
    queues = await db.run(statements.queues())
    if queue is not None and queue not in {each.queue for each in queues}:
        raise HTTPException(404, f"There is no queue named {queue}.")
    charts, rows = await charts_over_time(db, span, queue)
    activity = await db.cached_rows(
        span.keep,
        span.name,
        "select * from underway.stats_by_queue(%(since)s, %(until)s)",
        {"since": span.since, "until": span.until},
    )
    by_queue = {row.queue: row for row in activity}
    shown = [each for each in queues if queue in (None, each.queue)]
    # Dead letters wait for people, so they are no backlog.
    letters = {each.dead_letter_queue for each in queues} - {queue}
    backlog = [each for each in shown if each.queue not in letters]
    oldest = min((each.oldest_ready_at for each in backlog if each.oldest_ready_at), default=None)
    failed, succeeded = sum(row.failed for row in rows), sum(row.succeeded for row in rows)
    return {
        "span": span,
        "spans": SPANS,
        "queue": queue,
        "names": [each.queue for each in queues],
        "charts": charts,
        "totals": {
            "ready": sum(each.ready for each in backlog),
            "in_progress": sum(each.in_progress for each in shown),
            "scheduled": sum(each.scheduled for each in shown),
            "waiting": sum(each.waiting for each in shown),
            "capped": any(getattr(each, "capped", False) for each in shown),
            "succeeded": succeeded,
            "failed": failed,
            "rate": failed / (failed + succeeded) if failed else 0.0,
        },
        "oldest": oldest,
        "findings": await findings(request, db, queues),
        "queues": sorted(
            ((each, by_queue.get(each.queue)) for each in shown),
            key=lambda pair: -(pair[1].succeeded + pair[1].failed if pair[1] else 0),
        )[:12],
        "more_queues": max(0, len(shown) - 12),
    }


routes = [Route("/", show, name="overview")]
