"""The command `move`: take the pending tasks of a queue, or of one of its concurrency keys, to another database."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import statements
from ..client import execute
from . import calls
from .database import connect
from .errors import WrongUsage
from .moving import (
    MoveOutcome,
    MoveSettings,
    Route,
    create_missing,
    find_missing,
    move_batches,
    open_route,
    pause_source,
    some,
    stopped,
)
from .options import Json, seconds_option
from .output import amount, echo, echo_json, print_error

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def move(
    queue: Annotated[
        str, typer.Option("--queue", metavar="NAME", help="The queue whose tasks move.", allow_from_autoenv=False)
    ],
    source: Annotated[str, typer.Option("--from", metavar="DSN", help="The database that has the tasks.")],
    target: Annotated[str, typer.Option("--to", metavar="DSN", help="The database that they move to.")],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="Only the tasks with this concurrency key.", show_default=False, allow_from_autoenv=False
        ),
    ] = None,
    wait: Annotated[float, seconds_option("How long to wait for tasks that run.")] = 60.0,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial", help="Leave tasks that cannot be moved: running ones, and those of batches and dependencies."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", allow_from_autoenv=False, help="Do not ask. Scripts need it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would move, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Move the pending tasks of a queue, or of one of its concurrency keys, to another database, with their ids.

    It creates the queue and its jobs at the target if they are missing, pauses the queue or the key at the source,
    waits for the tasks that run, and moves the others, 1,000 in a transaction of each database. The pause stays. The
    same command goes on where it was interrupted or killed, and moves what was enqueued at the source meanwhile.

    The two databases need different shard numbers (underway migrate --shard). Finished tasks and schedules stay.
    """
    if not (yes or dry_run or sys.stdin.isatty()):
        raise WrongUsage("move asks before it begins, and there is no terminal to ask on: add --yes, or --dry-run")
    with connect(source) as source_connection, connect(target) as target_connection:
        route = open_route(queue, key, source_connection, target_connection)
        status = route.status()
        settings = find_missing(route)
        if not as_json:
            _show_plan(route, status, settings, err=not dry_run)
        if status.dependent and not (partial or dry_run):
            raise stopped(
                f"{amount(status.dependent, 'task')} of batches or dependencies cannot be moved:"
                f" {some(status.dependent_tasks)}; wait until they have ended, or move the others with --partial"
            )
        if dry_run or status.movable + status.running + status.on_the_way == 0:
            _report(route, status, settings, MoveOutcome(), as_json, done=False)
            return
        if not yes and not typer.confirm(f"move {amount(status.movable + status.on_the_way, 'task')}?", err=True):
            raise typer.Exit(1)
        create_missing(route, settings)
        pause_source(route, wait, partial)
        outcome = move_batches(route)
        _report(route, route.status(), settings, outcome, as_json, done=True)


def _show_plan(route: Route, status: calls.MoveStatus, settings: MoveSettings, *, err: bool) -> None:
    echo(f"{route}: {amount(status.movable, 'task')} to move", err=err)
    if status.on_the_way:
        echo(f"{amount(status.on_the_way, 'task')} on the way since an earlier move was interrupted", err=err)
    if status.running:
        echo(f"{amount(status.running, 'task')} running: {some(status.running_tasks)}", err=err)
    if status.dependent:
        echo(f"{amount(status.dependent, 'task')} of batches or dependencies, which cannot be moved", err=err)
    for title, names in (("queues", settings.queues), ("jobs", settings.jobs)):
        if names:
            echo(f"{title} to be created at the target: {', '.join(each.name for each in names)}", err=err)
    if settings.different:
        echo(f"settings of the queue that differ at the target, and stay: {', '.join(settings.different)}", err=err)
    if schedules := _schedules(route):
        echo(f"schedules that enqueue into it at the source, and stay: {', '.join(schedules)}", err=err)


def _schedules(route: Route) -> list[str]:
    return [each.schedule for each in execute(route.source, statements.schedules()) if each.queue == route.queue]


def _paused_at_target(route: Route) -> bool:
    found = next(each for each in execute(route.target, statements.queues()) if each.queue == route.queue)
    return found.paused_at is not None or route.key in found.paused_keys


def _report(
    route: Route, status: calls.MoveStatus, settings: MoveSettings, outcome: MoveOutcome, as_json: bool, *, done: bool
) -> None:
    """Say what was moved and what is left. The exit code is 1 if the target has refused tasks."""
    left = {"movable": status.movable, "running": status.running, "dependent": status.dependent}
    if as_json:
        echo_json({
            **route.details(), "moved": outcome.moved, "refused": sorted(outcome.refused), "left": left,
            "on_the_way": status.on_the_way, "queues_to_create": [each.name for each in settings.queues],
            "jobs_to_create": [each.name for each in settings.jobs], "schedules": _schedules(route),
            "interrupted": outcome.interrupted,
        })  # fmt: skip
    elif done:
        echo(f"{amount(outcome.moved, 'task')} moved to shard {route.target_shard}")
        if any(left.values()):
            echo(f"left at the source: {', '.join(f'{count:,} {name}' for name, count in left.items() if count)}")
        what = f"queue {route.queue}" if route.key is None else f"key {route.key} of queue {route.queue}"
        echo(f"{what} stays paused at the source; the same command moves what is enqueued there from now on")
        if _paused_at_target(route):
            echo(f"{what} is paused at the target, too: underway queue resume {route.queue}")
    if outcome.refused:
        print_error(
            f"{amount(len(outcome.refused), 'task')} refused by the target and put back, because another task has the"
            f" unique key: {some(sorted(outcome.refused))}"
        )
    if outcome.interrupted:
        print_error("stopped by Ctrl-C; the same command goes on")
        raise typer.Exit(130)
    if outcome.refused:
        raise typer.Exit(1)
