"""Commands for schedules: list them, add, remove, pause, resume and run them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from .. import statements
from ..cron import in_words
from ..errors import ScheduleNotFound
from ..models import ScheduleStats
from ..settings import Options, Schedule
from .cron import Cron, Zone
from .database import change, with_time
from .databases import Databases, on_databases
from .names import schedule_names
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
from .output import absolute_time, echo, echo_json, relative

__all__ = ["commands", "schedule_commands"]

commands = typer.Typer()
schedule_commands = typer.Typer(help="Add, remove, pause, resume and run schedules.")

_Schedule = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of a schedule.", autocompletion=schedule_names)
]


@commands.command()
@on_databases
def schedules(databases: Databases, as_json: Json = False) -> None:
    """List the schedules with their last and next times."""
    answers = databases.read(lambda connection: with_time(connection, statements.schedules()))
    found = [(shard, schedule, now) for shard, (schedules, now) in answers.items() for schedule in schedules]
    if as_json:
        databases.show_json("schedules", [(shard, asdict(schedule)) for shard, schedule, _ in found])
        return
    databases.show(
        ["schedule", "queue", "job", "cron", "in words", "time zone", "state", "next", "last", "last task", "error"],
        [
            (shard, [
                each.schedule, each.queue, each.job, each.cron, in_words(each.cron), each.time_zone,
                _schedule_state(each), None if each.paused_at else relative(each.next_at, now),
                relative(each.last_at, now), each.last_task, (each.last_error or {}).get("message"),
            ])
            for shard, each, now in found
        ],
        "no schedules; add one: underway schedule add NAME QUEUE CRON",
    )  # fmt: skip


def _schedule_state(schedule: ScheduleStats) -> str:
    if schedule.paused_at:
        return "paused"
    if schedule.last_error:
        return "failing"
    return "active" if schedule.next_at else "ended"


@schedule_commands.command("add")
def add_schedule(
    name: _Schedule,
    queue: QueueName,
    cron: Cron,
    input: Input = "{}",
    zone: Zone = None,
    job: JobName = None,
    catch_up: Annotated[
        Literal["skip", "once", "all"], typer.Option(help="What to do about times that passed while no worker ran.")
    ] = "once",
    catch_up_limit: Annotated[
        int, typer.Option(min=1, max=1000, help="With all: the maximum number of missed times.")
    ] = 100,
    overlap: Annotated[
        Literal["allow", "skip"], typer.Option(help="Whether to enqueue while the previous task is live.")
    ] = "allow",
    jitter: Annotated[timedelta | None, duration_option("Delay each task by a random time up to this.")] = None,
    starts_at: Annotated[datetime | None, time_option("No times before this.")] = None,
    ends_at: Annotated[datetime | None, time_option("No times after this.")] = None,
    priority: Priority = None,
    expires: Annotated[timedelta | None, duration_option("Cancel a task that no worker has begun after this.")] = None,
    timeout: Timeout = None,
    retention: Annotated[timedelta | None, duration_option("How long to keep a task after it has finished.")] = None,
    header: Headers = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Add a schedule, or replace the schedule of this name."""
    schedule = Schedule(
        name=name, queue=queue, cron=cron, input=parse_input(input), job=job, time_zone=zone, catch_up=catch_up,
        catch_up_limit=catch_up_limit, overlap=overlap, jitter=jitter or 0, starts_at=starts_at, ends_at=ends_at,
        options=Options(
            priority=priority, expires=expires, timeout=timeout, retention=retention,
            headers=parse_headers(header) if header else None
        ),
    )  # fmt: skip
    next_at = change(dsn, statements.schedule(schedule), "schedule", schedule=name, queue=queue, cron=cron)
    if as_json:
        echo_json({"schedule": name, "next_at": next_at})
    else:
        words = f"next at {absolute_time(next_at, datetime.now(UTC))}" if next_at else "no next time"
        echo(f"schedule {name}: {words}")


@schedule_commands.command("remove")
def remove_schedule(name: _Schedule, dsn: Dsn = None, as_json: Json = False) -> None:
    """Remove a schedule. Tasks that it has enqueued are kept."""
    if not change(dsn, statements.unschedule(name), "unschedule", schedule=name):
        raise ScheduleNotFound(f"schedule {name!r} does not exist", "`underway schedules` lists the schedules.")
    if as_json:
        echo_json({"schedule": name})
    else:
        echo(f"schedule {name}: removed")


@schedule_commands.command("pause")
def pause_schedule(name: _Schedule, dsn: Dsn = None, as_json: Json = False) -> None:
    """Pause a schedule: it enqueues nothing until it is resumed."""
    changed = change(dsn, statements.pause_schedule(name), "pause_schedule", schedule=name)
    if as_json:
        echo_json({"schedule": name, "changed": changed})
    else:
        echo(f"schedule {name}: {'paused' if changed else 'already paused'}")


@schedule_commands.command("resume")
def resume_schedule(name: _Schedule, dsn: Dsn = None, as_json: Json = False) -> None:
    """Resume a paused schedule at its next time. Times during the pause are skipped."""
    changed = change(dsn, statements.resume_schedule(name), "resume_schedule", schedule=name)
    if as_json:
        echo_json({"schedule": name, "changed": changed})
    else:
        echo(f"schedule {name}: {'resumed' if changed else 'was not paused'}")


@schedule_commands.command("run")
def run_schedule(name: _Schedule, dsn: Dsn = None, as_json: Json = False) -> None:
    """Enqueue the task of a schedule now, in addition to its times, and print the id."""
    id = change(dsn, statements.run_schedule_now(name), "run_schedule_now", schedule=name)
    if as_json:
        echo_json({"id": id})
    else:
        echo(str(id))
