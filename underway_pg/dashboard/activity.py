"""The statistics that the lists of queues and jobs show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from .database import Queries

__all__ = ["by_job", "finished_by_hour"]

# Lines on one page; each is a query of its own.
_LINES = 40


async def by_job(db: Queries, since: datetime, until: datetime, queue: str | None = None) -> list[Any]:
    """What happened to the tasks of each job and queue in a time, most first.

    A day or more begins at the full hour before: then the sums of hours are read, which are sixty times fewer than
    those of minutes.
    """
    if until - since >= timedelta(days=1):
        since = since.replace(minute=0, second=0, microsecond=0)
    return await db.rows(
        """select * from underway.stats_by_job(%(since)s, %(until)s, %(queue)s)
        order by succeeded + failed + retried desc, job, queue""",
        {"since": since, "until": until, "queue": queue},
    )


async def finished_by_hour(db: Queries, by: Literal["queue", "job"], names: Sequence[str]) -> dict[str, list[int]]:
    """For each of these queues or jobs how many attempts ended in each hour of the last day."""
    now = datetime.now(UTC)
    arguments = {"queue": "n.name, null", "job": "null, n.name"}[by]
    rows = await db.rows(
        f"""select n.name, array_agg(s.succeeded + s.failed + s.retried order by s.at) as finished
        from unnest(%(names)s::text[]) as n (name)
        cross join lateral underway.stats_over_time(%(since)s, %(now)s, '1 hour', {arguments}) s
        group by n.name""",
        {"names": list(names[:_LINES]), "since": now - timedelta(hours=23), "now": now},
    )
    return {row.name: row.finished for row in rows}
