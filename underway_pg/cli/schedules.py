"""Commands about schedules: list them, add, remove, pause, resume, run and sync them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Literal

import typer

from .. import statements
from ..errors import ScheduleNotFound
from ..models import ScheduleStats
from ..settings import Options, Schedule
from .application import Application, import_application
from .cron import Cron, Zone, in_words
from .database import ask, ask_with_time
from .options import (
    Dsn,
    Headers,
    Input,
    JobName,
    Json,
    Priority,
    QueueName,
    Timeout,
    duration_option,
    parse_headers,
    parse_input,
    time_option,
)
from .output import exactly, relative, say, say_json, say_table

__all__ = ["commands", "schedule_commands"]

commands = typer.Typer()
schedule_commands = typer.Typer(help="Add, remove, pause, resume, run and sync schedules.")

_Schedule = Annotated[str, typer.Argument(metavar="NAME", help="The name of a schedule.")]


@commands.command()
def schedules(dsn: Dsn = None, as_json: Json = False) -> None:
    """List the schedules with their last and next times."""
    found, now = ask_with_time(dsn, statements.schedules())
    if as_json:
        say_json([asdict(schedule) for schedule in found])
        return
    say_table(
        ["schedule", "queue", "job", "cron", "in words", "zone", "state", "next", "last", "last task", "error"],
        [
            [
                each.schedule, each.queue, each.job, each.cron, in_words(each.cron), each.time_zone,
                _schedule_state(each), None if each.paused_at else relative(each.next_at, now),
                relative(each.last_at, now), each.last_task, (each.last_error or {}).get("message"),
            ]
            for each in found
        ],
        "no schedules; add one: underway schedule add NAME QUEUE CRON",
    )  # fmt: skip


def _schedule_state(schedule: ScheduleStats) -> str:
    if schedule.paused_at:
        return "paused"
    if schedule.last_error:
        return "failing"
    return "on" if schedule.next_at else "over"


@schedule_commands.command("add")
def add_schedule(
    name: _Schedule,
    queue: QueueName,
    cron: Cron,
    input: Input = "{}",
    zone: Zone = None,
    job: JobName = None,
    catch_up: Annotated[
        Literal["skip", "once", "all"], typer.Option(help="What to do about times at which no worker was there.")
    ] = "once",
    catch_up_limit: Annotated[
        int, typer.Option(min=1, max=1000, help="How many missed times all means at most.")
    ] = 100,
    overlap: Annotated[
        Literal["allow", "skip"], typer.Option(help="Whether a time comes while the previous task is live.")
    ] = "allow",
    jitter: Annotated[timedelta | None, duration_option("Start each task up to so much later, by chance.")] = None,
    starts_at: Annotated[datetime | None, time_option("No time before.")] = None,
    ends_at: Annotated[datetime | None, time_option("No time after.")] = None,
    priority: Priority = 0,
    timeout: Timeout = None,
    retention: Annotated[timedelta | None, duration_option("How long a task is kept when it is finished.")] = None,
    header: Headers = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Add a schedule, or replace the one of this name."""
    schedule = Schedule(
        name=name, queue=queue, cron=cron, input=parse_input(input), job=job, time_zone=zone, catch_up=catch_up,
        catch_up_limit=catch_up_limit, overlap=overlap, jitter=jitter or 0, starts_at=starts_at, ends_at=ends_at,
        options=Options(
            priority=priority, timeout=timeout, retention=retention, headers=parse_headers(header) if header else None
        ),
    )  # fmt: skip
    next_at, now = ask_with_time(dsn, statements.schedule(schedule))
    if as_json:
        say_json({"schedule": name, "next_at": next_at})
    else:
        say(f"schedule {name} is there; its next time is {exactly(next_at, now) or 'over'}")


@schedule_commands.command("remove")
def remove_schedule(name: _Schedule, dsn: Dsn = None) -> None:
    """Remove a schedule. The tasks that it has enqueued stay."""
    if not ask(dsn, statements.unschedule(name)):
        raise ScheduleNotFound(f"schedule {name!r} does not exist", "underway schedules lists them.")
    say(f"schedule {name} is gone")


@schedule_commands.command("pause")
def pause_schedule(name: _Schedule, dsn: Dsn = None) -> None:
    """Let a schedule enqueue nothing until it is resumed."""
    changed = ask(dsn, statements.pause_schedule(name))
    say(f"schedule {name} {'is paused' if changed else 'was paused already'}")


@schedule_commands.command("resume")
def resume_schedule(name: _Schedule, dsn: Dsn = None) -> None:
    """Let a paused schedule go on with its next time; those in between are left out."""
    changed = ask(dsn, statements.resume_schedule(name))
    say(f"schedule {name} {'goes on' if changed else 'was not paused'}")


@schedule_commands.command("run")
def run_schedule(name: _Schedule, dsn: Dsn = None, as_json: Json = False) -> None:
    """Enqueue the task of a schedule now, beside its times, and print its id."""
    id = ask(dsn, statements.run_schedule_now(name))
    if as_json:
        say_json({"id": id})
    else:
        say(str(id))


@schedule_commands.command("sync")
def sync_schedules(
    application: Application,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove those that the App declared earlier and does not any more.")
    ] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Put the schedules that an application declares into the database, as its worker does when it starts."""
    with import_application(application, dsn) as app:
        synced = asdict(app.sync_schedules(remove=remove))
    if as_json:
        say_json(synced)
        return
    for what, names in synced.items():
        for name in names:
            say(f"{what}: {name}")
    if not any(synced.values()):
        say("the application declares no schedules")
