"""The calls that read statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ... import statements
from ...models import FailureGroup, QueueDepth, TaskStats, TaskTotals
from ...settings import Duration
from .calls import Calls

__all__ = ["StatisticsCalls"]


class StatisticsCalls(Calls):
    """The calls that read statistics."""

    async def stats(self, *, connection: Any = None) -> dict[str, float]:
        """The whole installation in a few numbers."""
        return await self.run(statements.stats(), connection)

    async def stats_over_time(
        self,
        since: datetime,
        until: datetime,
        *,
        step: Duration | None = None,
        queue: str | None = None,
        job: str | None = None,
        connection: Any = None,
    ) -> list[TaskStats]:
        """What happened to tasks, step by step, the oldest first. Without a step there are about a hundred of them."""
        return await self.run(statements.stats_over_time(since, until, step, queue, job), connection)

    async def stats_by_queue(
        self, since: datetime, until: datetime, *, job: str | None = None, connection: Any = None
    ) -> list[TaskStats]:
        """What happened to the tasks of each queue."""
        return await self.run(statements.stats_by_queue(since, until, job), connection)

    async def stats_by_job(
        self, since: datetime, until: datetime, *, queue: str | None = None, connection: Any = None
    ) -> list[TaskStats]:
        """What happened to the tasks of each job and queue."""
        return await self.run(statements.stats_by_job(since, until, queue), connection)

    async def stats_total(self, *, connection: Any = None) -> list[TaskTotals]:
        """What has happened to the tasks of each queue and job since the installation: counters for metrics."""
        return await self.run(statements.stats_total(), connection)

    async def queue_depth_over_time(
        self,
        since: datetime,
        until: datetime,
        *,
        step: Duration | None = None,
        queue: str | None = None,
        connection: Any = None,
    ) -> list[QueueDepth]:
        """How many live tasks there were, step by step, the oldest first."""
        return await self.run(statements.queue_depth_over_time(since, until, step, queue), connection)

    async def failure_groups(
        self, since: datetime, *, queue: str | None = None, connection: Any = None
    ) -> list[FailureGroup]:
        """The failed attempts since a time, grouped by queue, job and error, the most frequent first."""
        return await self.run(statements.failure_groups(since, queue), connection)

    async def database_health(self, *, connection: Any = None) -> dict[str, Any]:
        """The state of the database as far as it concerns the queue."""
        return await self.run(statements.database_health(), connection)
