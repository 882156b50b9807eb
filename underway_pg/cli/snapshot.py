"""What `top` shows, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from .. import statements
from ..client import execute
from ..models import QueueStats, TaskStats, TaskSummary, WorkerStats
from .database import database_time
from .rates import Period, added

__all__ = ["Snapshot"]

_SHOWN = 20  # running tasks, and failures


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of all queues and workers, the newest running tasks, and the failures of the last hour.

    `rates` is what happened to the tasks of each queue within `seconds`; `totals` are those of `underway.stats()`.
    """

    at: datetime
    totals: dict[str, float]
    queues: list[QueueStats]
    seconds: float
    rates: list[TaskStats]
    workers: list[WorkerStats]
    running: list[TaskSummary]
    failures: list[TaskSummary]

    @classmethod
    def read(cls, connection: psycopg.Connection[Any]) -> Snapshot:
        """Read it, in bounded work: the history is not counted."""
        now = database_time(connection)
        period = Period.last(timedelta(minutes=1), now)
        hour = now - timedelta(hours=1)
        return cls(
            at=now,
            totals=execute(connection, statements.stats()),
            queues=execute(connection, statements.queues()),
            seconds=period.seconds,
            rates=execute(connection, statements.stats_by_queue(period.since, period.until)),
            workers=execute(connection, statements.workers()),
            running=_tasks(connection, {"state": ["in_progress"]}),
            failures=_tasks(connection, {"state": ["failed"], "finished_after": hour}),
        )

    @classmethod
    def of(cls, snapshots: Mapping[str, Snapshot]) -> Snapshot:
        """Those of several databases in one: figures added, and each name with that of its database before it."""
        if len(snapshots) == 1:
            return next(iter(snapshots.values()))
        each = list(snapshots.values())
        return cls(
            at=each[0].at,
            totals=added([one.totals for one in each]),
            queues=_named(snapshots, "queues", "queue"),
            seconds=each[0].seconds,
            rates=_named(snapshots, "rates", "queue"),
            workers=_named(snapshots, "workers", "name"),
            running=_named(snapshots, "running", "queue"),
            failures=_named(snapshots, "failures", "queue"),
        )


def _named(snapshots: Mapping[str, Snapshot], part: str, name: str) -> list[Any]:
    """A part of all snapshots, each row with the name of its database before its own."""
    return [
        replace(row, **{name: f"{shard}: {getattr(row, name)}"})
        for shard, snapshot in snapshots.items()
        for row in getattr(snapshot, part)
    ]


def _tasks(connection: psycopg.Connection[Any], conditions: dict[str, Any]) -> list[TaskSummary]:
    found, _ = execute(connection, statements.find_tasks(conditions, max_tasks=_SHOWN))
    return execute(connection, statements.task_summaries(found)) if found else []
