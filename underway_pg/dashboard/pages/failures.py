"""The page Failures: the failed attempts of a while, grouped by their error."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..page import dashboard_of, page
from ..redaction import MARK, redact_texts
from .overview import SPANS, charts_over_time, span_of

__all__ = ["routes"]

# Events that are read; the newest of them are grouped.
_READ = 10_000


def _searched(group: Any) -> str | None:
    """The text that a search for the tasks of a group looks for.

    It is the longest part of the message in which no number or quoted value was replaced by an asterisk.
    """
    message = "" if MARK in (group.message or "") else group.message or ""
    return max((part.strip() for part in message.split("*")), key=len) or group.error_type or None


@page("failures.html", title="Failures")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """Groups of failures, most frequent first, and the failures over time."""
    span = span_of(request, "24h")
    queue = request.query_params.get("queue") or None
    given = {"since": span.since, "queue": queue, "read": _READ}
    charts, _ = await charts_over_time(db, span, queue, depth=False)
    groups = await db.rows("select * from underway.failure_groups(%(since)s, %(queue)s, %(read)s)", given)
    redaction = dashboard_of(request).redaction
    await redact_texts(redaction, db, groups, "message", task="last_task")
    for group in groups:
        # A search by errors could guess a value that is redacted.
        group.filter = (
            None
            if redaction
            else {
                "state": "failed",
                "job": group.job or None,
                "queue": group.queue,
                "error": _searched(group),
                "finished_after": span.since.replace(microsecond=0).isoformat(),
            }
        )
    return {
        "groups": groups,
        "capped": sum(group.failures for group in groups) >= _READ,
        "charts": [chart for chart in charts if chart.title == "Failures"],
        "queues": [row.queue for row in await db.rows("select queue from underway.queue_list order by queue")],
        "queue": queue,
        "span": span,
        "spans": SPANS,
    }


routes = [Route("/failures", show, name="failures")]
