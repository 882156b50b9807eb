"""The time spans that pages show, and lines of the last day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from starlette.requests import Request

from .database import Queries

__all__ = ["SPANS", "Span", "finished_by_hour", "last_day", "span_of"]

SPANS = {"1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

# Lines on one page; each is a query of its own.
_LINES = 40


class Span(NamedTuple):
    """A time span with its name."""

    name: str
    since: datetime
    now: datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.now - self.since).total_seconds()


def span_of(request: Request, usual: str = "24h") -> Span:
    """The time span that the query of a request chooses.

    A day or more begins at a full hour, and is a little longer than that: then the statistics read the sums of hours, which
    are sixty times fewer than those of minutes.
    """
    chosen = request.query_params.get("span", usual)
    chosen = chosen if chosen in SPANS else usual
    now = datetime.now(UTC)
    whole = now.replace(minute=0, second=0, microsecond=0) if SPANS[chosen] >= timedelta(days=1) else now
    return Span(chosen, whole - SPANS[chosen], now)


def last_day() -> Span:
    """The last 24 hours, to the minute."""
    now = datetime.now(UTC)
    return Span("24h", now - SPANS["24h"], now)


async def finished_by_hour(db: Queries, by: Literal["queue", "job"], names: Sequence[str]) -> dict[str, list[int]]:
    """For each of these queues or jobs how many attempts ended in each hour of the last day."""
    now = datetime.now(UTC)
    argument = {"queue": "n.name, null", "job": "null, n.name"}[by]
    rows = await db.rows(
        f"""select n.name, array_agg(s.succeeded + s.failed + s.retried order by s.at) as finished
        from unnest(%(names)s::text[]) as n (name)
        cross join lateral underway.stats_over_time(%(since)s, %(now)s, '1 hour', {argument}) s
        group by n.name""",
        {"names": list(names[:_LINES]), "since": now - timedelta(hours=23), "now": now},
    )
    return {row.name: row.finished for row in rows}
