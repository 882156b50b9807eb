"""Schedules and cron expressions."""

from __future__ import annotations

from datetime import datetime

from ..errors import InputError
from ..models import ScheduleStats
from ..settings import Schedule, exact_time, interval
from ._base import Statement, dump_json, first_column, scalar
from ._options import given_options, option_arguments
from ._rows import columns_of, read_as

__all__ = [
    "cron_preview",
    "pause_schedule",
    "resume_schedule",
    "run_schedule_now",
    "schedule",
    "schedules",
    "unschedule",
]


def schedule(schedule: Schedule) -> Statement[datetime | None]:
    """Create or replace a schedule; gives its next time."""
    for mapping, _ in given_options(schedule.options):
        if mapping.no_schedule is not None:
            raise InputError(f"schedule {schedule.name!r} has the option {mapping.argument}; {mapping.no_schedule}")
    arguments, parameters = option_arguments(schedule.options, schedule.job)
    return Statement(
        f"""select underway.schedule(%(name)s, %(queue)s, %(cron)s, %(time_zone)s, %(input)s::jsonb,
            catch_up => %(catch_up)s, catch_up_limit => %(catch_up_limit)s::integer, overlap => %(overlap)s,
            jitter => %(jitter)s, starts_at => %(starts_at)s, ends_at => %(ends_at)s, owner => %(owner)s{arguments})""",
        {
            "name": schedule.name,
            "queue": schedule.queue,
            "cron": schedule.cron,
            "time_zone": schedule.time_zone,
            "input": dump_json(schedule.input),
            "catch_up": schedule.catch_up,
            "catch_up_limit": schedule.catch_up_limit,
            "overlap": schedule.overlap,
            "jitter": interval(schedule.jitter),
            "starts_at": exact_time("starts_at", schedule.starts_at),
            "ends_at": exact_time("ends_at", schedule.ends_at),
            "owner": schedule.owner,
            **parameters,
        },
        scalar,
        enqueues=True,
    )


def unschedule(name: str) -> Statement[bool]:
    """Remove a schedule; gives whether there was one."""
    return Statement("select underway.unschedule(%(name)s)", {"name": name}, scalar)


def pause_schedule(name: str) -> Statement[bool]:
    """Let a schedule enqueue nothing; gives whether it was running."""
    return Statement("select underway.pause_schedule(%(name)s)", {"name": name}, scalar)


def resume_schedule(name: str) -> Statement[bool]:
    """Let a paused schedule go on; gives whether it was paused."""
    return Statement("select underway.resume_schedule(%(name)s)", {"name": name}, scalar)


def run_schedule_now(name: str) -> Statement[int]:
    """Enqueue the task of a schedule now; gives its id."""
    return Statement("select underway.run_schedule_now(%(name)s)", {"name": name}, scalar)


def schedules() -> Statement[list[ScheduleStats]]:
    """Every schedule."""
    return Statement(
        f"select {columns_of(ScheduleStats)} from underway.schedule_stats order by schedule", {}, read_as(ScheduleStats)
    )


def cron_preview(cron: str, time_zone: str | None, after: datetime | None, count: int) -> Statement[list[datetime]]:
    """The next times of a cron expression, after a time or now."""
    return Statement(
        """select * from underway.cron_preview(%(cron)s, %(time_zone)s,
            coalesce(%(after)s, clock_timestamp()), %(count)s::integer)""",
        {"cron": cron, "time_zone": time_zone, "after": exact_time("after", after), "count": count},
        first_column,
    )
