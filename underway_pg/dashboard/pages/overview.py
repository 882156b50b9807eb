"""The page Overview: what happens now, what happened, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from ... import statements
from ..attention import findings
from ..charts import Chart, Series, time_chart
from ..database import Queries, Row
from ..formats import duration
from ..page import Contexts, page

__all__ = ["SPANS", "charts_over_time", "routes", "span_of"]

# The time spans of the charts: their names in the address, and in words.
SPANS = {
    "1h": ("1 hour", timedelta(hours=1)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}


# Queues that the page lists.
_QUEUES = 12


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
    charts = [*_counts(rows), *_durations(rows)]
    return [*charts, *_depth(await _depth_rows(db, span, queue))] if depth else charts, rows


async def _depth_rows(db: Queries, span: Span, queue: str | None) -> list[Any]:
    return await db.cached_rows(
        span.keep,
        (span.name, queue),
        "select * from underway.queue_depth_over_time(%(since)s, %(until)s, null, %(queue)s)",
        {"since": span.since, "until": span.until, "queue": queue},
    )


def _column(rows: Sequence[Any], name: str) -> list[float | None]:
    return [getattr(row, name) for row in rows]


def _counts(rows: Sequence[Any]) -> list[Chart]:
    times = [row.at for row in rows]
    per_step = f"tasks per {duration(times[1] - times[0])}" if len(times) > 1 else "tasks"
    return [
        time_chart(
            "Throughput",
            times,
            [
                Series("succeeded", _column(rows, "succeeded"), 3, "bar"),
                Series("failed", _column(rows, "failed"), 2, "bar"),
                Series("enqueued", _column(rows, "enqueued"), 1),
            ],
            unit=per_step,
        ),
        time_chart(
            "Failures",
            times,
            [
                Series("failed permanently", _column(rows, "failed"), 2, "bar"),
                Series("will be retried", _column(rows, "retried"), 4, "bar"),
            ],
            unit=per_step.replace("tasks", "attempts"),
        ),
    ]


def _durations(rows: Sequence[Any]) -> list[Chart]:
    times = [row.at for row in rows]
    return [
        time_chart(
            "Run time",
            times,
            [Series("p50", _column(rows, "run_p50"), 1), Series("p95", _column(rows, "run_p95"), 5)],
            unit="of an attempt",
            durations=True,
        ),
        time_chart(
            "Waiting time",
            times,
            [Series("p50", _column(rows, "wait_p50"), 1), Series("p95", _column(rows, "wait_p95"), 5)],
            unit="from ready to started",
            durations=True,
        ),
    ]


def _depth(rows: Sequence[Any]) -> list[Chart]:
    times = [row.at for row in rows]
    return [
        time_chart(
            "Backlog",
            times,
            [
                Series("ready", _column(rows, "ready"), 1),
                Series("in progress", _column(rows, "in_progress"), 3),
                Series("waiting", _column(rows, "waiting"), 5),
            ],
            unit="tasks",
        ),
        time_chart(
            "Oldest ready task",
            times,
            [Series("age", _column(rows, "oldest_ready_seconds"), 2)],
            unit="how long it has been ready",
            durations=True,
        ),
    ]


_TOTALS = ("ready", "in_progress", "scheduled", "waiting", "succeeded", "failed")


def _merge(contexts: Contexts) -> dict[str, Any]:
    """The overview of all databases. Percentiles cannot be added, so their charts are of one database each."""
    found = list(contexts.values())
    rows, depth = (_added([context[part] for context in found]) for part in ("rows", "depth"))
    totals = {name: sum(context["totals"][name] for context in found) for name in _TOTALS}
    ended = totals["failed"] + totals["succeeded"]
    totals["rate"] = totals["failed"] / ended if totals["failed"] else 0.0
    totals["capped"] = any(context["totals"]["capped"] for context in found)
    queues = [(shard, *each) for shard, context in contexts.items() for _, *each in context["queues"]]
    return {
        **found[0],
        "names": sorted({name for context in found for name in context["names"]}),
        "charts": [*_counts(rows), *_depth(depth)],
        "totals": totals,
        "oldest": min((context["oldest"] for context in found if context["oldest"]), default=None),
        "findings": sorted(
            (
                replace(each, title=f"{shard}: {each.title}")
                for shard, context in contexts.items()
                for each in context["findings"]
            ),
            key=lambda finding: finding.kind != "bad",
        ),
        "queues": sorted(queues, key=_activity)[:_QUEUES],
        "more_queues": sum(context["more_queues"] for context in found) + max(0, len(queues) - _QUEUES),
    }


def _added(lists: Sequence[Sequence[Any]]) -> list[Row]:
    """The rows of several databases, those of the same time added; of ages the highest."""
    added: dict[datetime, Row] = {}
    for row in (row for rows in lists for row in rows):
        other = added.setdefault(row.at, row)
        if other is not row:
            sums = {
                name: max(value or 0, getattr(other, name) or 0)
                if name == "oldest_ready_seconds"
                else (value or 0) + (getattr(other, name) or 0)
                for name, value in vars(row).items()
                if name != "at"
            }
            added[row.at] = Row(at=row.at, **sums)
    return [added[at] for at in sorted(added)]


def _activity(listed: tuple[Any, ...]) -> int:
    """What a list of queues is sorted by: those with most tasks that ended come first."""
    stats = listed[-1]
    return -(stats.succeeded + stats.failed) if stats else 0


@page("overview.html", title="Overview", merge=_merge)
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
        "rows": rows,
        "depth": await _depth_rows(db, span, queue),
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
        "queues": sorted(((None, each, by_queue.get(each.queue)) for each in shown), key=_activity)[:_QUEUES],
        "more_queues": max(0, len(shown) - _QUEUES),
    }


routes = [Route("/", show, name="overview")]
