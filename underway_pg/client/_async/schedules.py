"""The calls about schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ... import statements
from ...models import ScheduleStats
from ...settings import Schedule
from .calls import Calls

__all__ = ["ScheduleCalls"]


class ScheduleCalls(Calls):
    """The calls about schedules."""

    async def schedule(self, schedule: Schedule, *, connection: Any = None) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return await self.run(statements.schedule(schedule), connection)

    async def unschedule(self, name: str, *, connection: Any = None) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return await self.run(statements.unschedule(name), connection)

    async def pause_schedule(self, name: str, *, connection: Any = None) -> bool:
        """Let a schedule enqueue nothing until it is resumed. Returns whether it was running."""
        return await self.run(statements.pause_schedule(name), connection)

    async def resume_schedule(self, name: str, *, connection: Any = None) -> bool:
        """Let a paused schedule go on with its next time. Returns whether it was paused."""
        return await self.run(statements.resume_schedule(name), connection)

    async def run_schedule_now(self, name: str, *, connection: Any = None) -> int:
        """Enqueue the task of a schedule now, beside its times. Returns the id of the task."""
        return await self.run(statements.run_schedule_now(name), connection)

    async def schedules(self, *, connection: Any = None) -> list[ScheduleStats]:
        """Every schedule, with its last and its next time."""
        return await self.run(statements.schedules(), connection)

    async def cron_preview(
        self,
        cron: str,
        time_zone: str | None = None,
        *,
        after: datetime | None = None,
        count: int = 5,
        connection: Any = None,
    ) -> list[datetime]:
        """The next times that a cron expression names on the clocks of a zone (UTC by default), after now or a time."""
        return await self.run(statements.cron_preview(cron, time_zone, after, count), connection)
