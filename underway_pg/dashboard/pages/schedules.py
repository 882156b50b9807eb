"""The pages Schedules and Schedule: their times in words, their tasks, and run now, pause and resume."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Any

from psycopg.types.json import Jsonb
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from ... import statements
from ...cron import in_words
from ..database import Queries
from ..merging import merging
from ..page import Done, action, dashboard_of, page, url
from ..redaction import redact_texts

__all__ = ["routes"]

_PREVIEWED = 10

# The newest tasks of the queue and job of a schedule; those that it has enqueued are picked from them.
_SEARCHED = 200
_SHOWN = 25

# Seconds after its time from which on a schedule is late.
_LATE = 60


def _order(schedule: Any) -> tuple[Any, ...]:
    never = datetime.max.replace(tzinfo=UTC)
    return schedule.last_error is None, schedule.paused_at is not None, schedule.next_at or never, schedule.schedule


@page("schedules.html", title="Schedules", merge=merging("schedules", order=_order))
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """All schedules: failing ones first, then in the order of their next times."""
    schedules = await db.rows(
        """select s.*, last.state::text as last_state
        from underway.schedule_stats s
        left join lateral (select t.state from underway.task_list t where t.id = s.last_task limit 1) last on true
        order by s.last_error is null, s.paused_at is not null, s.next_at, s.schedule
        limit 500"""
    )
    now = datetime.now(UTC)
    for schedule in schedules:
        _describe(schedule, now)
    return {"schedules": schedules}


def _describe(schedule: Any, now: datetime) -> None:
    """Add the expression in words, and whether the schedule is late."""
    schedule.words = in_words(schedule.cron) or schedule.cron
    schedule.late = (
        schedule.next_at is not None and schedule.paused_at is None and (now - schedule.next_at).total_seconds() > _LATE
    )


@page("schedule.html")
async def show_one(request: Request, db: Queries) -> dict[str, Any]:
    """One schedule, its next times, and the tasks that it has enqueued."""
    name = request.query_params.get("name", "")
    schedule = await db.row("select * from underway.schedule_stats where schedule = %(name)s", {"name": name})
    if schedule is None:
        raise HTTPException(404, f"There is no schedule named {name}.")
    _describe(schedule, datetime.now(UTC))
    tasks = await _tasks(db, schedule)
    await redact_texts(dashboard_of(request).redaction, db, tasks, "message")
    return {"title": name, "schedule": schedule, "next": await _next(db, schedule), "tasks": tasks}


async def _next(db: Queries, schedule: Any) -> list[tuple[datetime, str]]:
    """The next times, each with the clock of the schedule's zone: the one that is stored, and those after it."""
    if schedule.next_at is None:
        return []
    later = await db.run(statements.cron_preview(schedule.cron, schedule.time_zone, schedule.next_at, _PREVIEWED - 1))
    try:
        zone: tzinfo = zoneinfo.ZoneInfo(schedule.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # the server knows zones that this machine does not
        zone = UTC
    return [
        (at, f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}")
        for at in [schedule.next_at, *later]
        if schedule.ends_at is None or at <= schedule.ends_at
    ]


async def _tasks(db: Queries, schedule: Any) -> list[Any]:
    """The newest tasks of a schedule, which is in their headers."""
    wanted = {"queue": [schedule.queue]} if schedule.queue else {}
    if schedule.job:
        wanted["job"] = [schedule.job]
    tasks = await db.rows(
        """select i.id, i.state::text as state, i.headers ->> 'scheduled_at' as scheduled_at, i.enqueued_at,
            i.started_at, i.finished_at, i.errors -> -1 ->> 'type' as error_type,
            left(i.errors -> -1 ->> 'message', 200) as message
        from underway.find_tasks(%(filter)s, max_tasks => %(searched)s) f
        cross join lateral unnest(f.tasks || %(last)s::bigint[]) as found (id)
        cross join lateral underway.task_info(found.id) i
        where i.headers ->> 'schedule' = %(name)s
        group by i.id, 2, 3, 4, 5, 6, 7, 8
        order by i.id desc
        limit %(shown)s""",
        {
            "filter": Jsonb(wanted),
            "searched": _SEARCHED,
            "last": [] if schedule.last_task is None else [schedule.last_task],
            "name": schedule.schedule,
            "shown": _SHOWN,
        },
    )
    for task in tasks:
        try:
            task.scheduled_at = datetime.fromisoformat(task.scheduled_at)
        except (TypeError, ValueError):  # it was run by hand, or has headers of its own
            task.scheduled_at = None
    return tasks


@action("run_schedule_now")
async def run_now(request: Request, form: FormData, db: Queries) -> Done:
    """Enqueue a task of a schedule now."""
    name = str(form.get("name", ""))
    task = await db.run(statements.run_schedule_now(name))
    return Done(
        f"Task {task} of schedule {name} is enqueued.", url(request, "task", id=task), {"schedule": name, "task": task}
    )


@action("pause_schedule")
async def pause(request: Request, form: FormData, db: Queries) -> Done:
    """Stop a schedule for now."""
    name = str(form.get("name", ""))
    changed = await db.run(statements.pause_schedule(name))
    text = f"Schedule {name} is paused." if changed else f"Schedule {name} was paused before."
    return Done(text, details={"schedule": name})


@action("resume_schedule")
async def resume(request: Request, form: FormData, db: Queries) -> Done:
    """Let a schedule go on."""
    name = str(form.get("name", ""))
    changed = await db.run(statements.resume_schedule(name))
    text = f"Schedule {name} is resumed." if changed else f"Schedule {name} was not paused."
    return Done(text, details={"schedule": name})


routes = [
    Route("/schedules", show, name="schedules"),
    Route("/schedules/one", show_one, name="schedule"),
    Route("/schedules/run", run_now, methods=["POST"], name="schedule_run"),
    Route("/schedules/pause", pause, methods=["POST"], name="schedule_pause"),
    Route("/schedules/resume", resume, methods=["POST"], name="schedule_resume"),
]
