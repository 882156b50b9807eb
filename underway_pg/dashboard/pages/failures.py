"""The page Failures: the failed attempts of a while, grouped by their error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..page import page

__all__ = ["SPANS", "routes", "span_of"]

SPANS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

# Events that are read; the newest of them are grouped.
_READ = 10_000


def span_of(request: Request, usual: str = "24h") -> tuple[str, timedelta]:
    """The time span that the query of a request chooses, and its length."""
    chosen = request.query_params.get("span", usual)
    chosen = chosen if chosen in SPANS else usual
    return chosen, SPANS[chosen]


def literal_part(message: str) -> str:
    """The longest part of a message in which nothing was replaced by an ellipsis: what a search for it looks for."""
    return max((part.strip() for part in message.split("…")), key=len)


@page("failures.html", title="Failures")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """Groups of failures, most frequent first, and the failures over time."""
    span, length = span_of(request)
    queue = request.query_params.get("queue") or None
    now = datetime.now(UTC)
    since = now - length
    given = {"since": since, "now": now, "queue": queue, "read": _READ}
    groups = await db.rows("select * from underway.failure_groups(%(since)s, %(queue)s, %(read)s)", given)
    for group in groups:
        group.filter = {
            "state": "failed",
            "job": group.job or None,
            "queue": group.queue,
            "error": literal_part(group.message or "") or group.error_type or None,
            "finished_after": since.replace(microsecond=0).isoformat(),
        }
    return {
        "groups": groups,
        "capped": sum(group.failures for group in groups) >= _READ,
        "stats": await db.rows("select * from underway.stats_over_time(%(since)s, %(now)s, null, %(queue)s)", given),
        "queues": [row.queue for row in await db.rows("select queue from underway.queue_list order by queue")],
        "queue": queue,
        "span": span,
        "spans": list(SPANS),
    }


routes = [Route("/failures", show, name="failures")]
