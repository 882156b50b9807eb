"""Commands that show tasks: list them, show one in full, explain why it does not run, wait for its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import Client, execute
from ..errors import TaskNotFound
from ..models import TaskInfo, TaskSummary
from .bulk import matching
from .database import database_time, require_dsn
from .databases import Databases, on_databases
from .filters import TaskFilter, with_filter
from .options import Dsn, Json, TaskId, duration_option
from .output import absolute_time, echo, echo_json, echo_table, relative

__all__ = ["commands", "no_task", "show_tasks", "summaries"]

commands = typer.Typer()

# Seconds. To list all tasks may take as long as it takes.
_UNLIMITED = 7 * 86400.0

_Tasks = Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="The ids of tasks.")]


@commands.command()
@with_filter
@on_databases
def tasks(
    filter: TaskFilter,
    databases: Databases,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="The maximum number of tasks.")] = 50,
    all_tasks: Annotated[bool, typer.Option("--all", help="List all that match; --limit has no effect.")] = False,
    as_json: Json = False,
) -> None:
    """List the newest tasks, live and finished. Each filter that is given must match."""

    def newest(connection: psycopg.Connection[Any]) -> tuple[list[TaskSummary], datetime]:
        now = database_time(connection)
        chunks = matching(connection, filter.conditions(now), limit=None if all_tasks else limit)
        return [task for ids in chunks for task in summaries(connection, ids)], now

    answers = databases.read(newest, seconds=_UNLIMITED) if all_tasks else databases.read(newest)
    found = [(shard, task) for shard, (tasks, _) in answers.items() for task in tasks]
    if databases.several:  # each database gives its own in this order
        found.sort(key=lambda pair: pair[1].enqueued_at, reverse=True)
    found = found if all_tasks else found[:limit]
    if as_json:
        databases.show_json("tasks", [(shard, asdict(task)) for shard, task in found])
    else:
        _, now = next(iter(answers.values()))
        show_tasks(databases, found, now)


def summaries(connection: psycopg.Connection[Any], ids: list[int]) -> list[TaskSummary]:
    """The tasks with these ids that exist, the newest first."""
    return execute(connection, statements.task_summaries(ids)) if ids else []


_COLUMNS = [
    "id", "queue", "job", "state", "attempt", "priority", "enqueued", "due", "started", "finished", "dead letter of",
    "error",
]  # fmt: skip


def _row(task: TaskSummary, now: datetime) -> list[object]:
    return [
        task.id, task.queue, task.job, task.state, task.attempt, task.priority, relative(task.enqueued_at, now),
        relative(task.ready_at, now) if task.state == "pending" else None, relative(task.started_at, now),
        relative(task.finished_at, now), task.dead_letter_of, task.error,
    ]  # fmt: skip


def show_tasks(databases: Databases, tasks: list[tuple[str, TaskSummary]], now: datetime, *, err: bool = False) -> None:
    """Print tasks as a table, each given with its database."""
    databases.show(_COLUMNS, [(shard, _row(task, now)) for shard, task in tasks], "no tasks", err=err)


@commands.command()
@on_databases
def task(id: TaskId, databases: Databases, as_json: Json = False) -> None:
    """Show one task in full."""

    def look(connection: psycopg.Connection[Any]) -> tuple[TaskInfo, datetime]:
        found, now = execute(connection, statements.task_info(id)), database_time(connection)
        if found is None:
            raise no_task(connection, id)
        return found, now

    found, now = databases.with_task(id, look)
    if as_json:
        echo_json(asdict(found))
    else:
        echo(_shown(found, now))


def _shown(task: TaskInfo, now: datetime) -> str:
    """One task in full, as text."""
    letter = task.dead_letter or {}
    facts = {
        "task": task.id,
        "queue": task.queue,
        "job": task.job,
        "state": f"{task.state} ({task.reason})" if task.reason else task.state,
        "attempt": task.attempt if task.max_attempts is None else f"{task.attempt} of {task.max_attempts}",
        "priority": task.priority,
        "dead letter": f"of task {letter.get('task')} of queue {letter.get('queue')}" if letter else None,
        "unique key": task.unique_key,
        "concurrency": task.concurrency_key,
        "worker": task.worker,
        "enqueued": absolute_time(task.enqueued_at, now),
        "due": absolute_time(task.ready_at, now) if task.state == "pending" else None,
        "expires": absolute_time(task.expires_at, now) if task.attempt == 0 else None,
        "started": absolute_time(task.started_at, now),
        "lease until": absolute_time(task.lease_expires_at, now),
        "finished": absolute_time(task.finished_at, now),
        "kept until": absolute_time(task.kept_until, now),
    }
    lines = [f"{name:<12} {value}" for name, value in facts.items() if value is not None]
    for name in ("input", "output", "headers", "progress"):
        value = getattr(task, name)
        if value is not None or name == "input":
            lines += [name, _indented(json.dumps(value, indent=2, ensure_ascii=False))]
    for error in [*(task.errors or ()), *([letter["error"]] if letter.get("error") else ())]:
        whose = f"of task {letter.get('task')}, " if error is letter.get("error") else ""
        lines.append(f"error {whose}attempt {error.get('attempt')}, {error.get('failed_at')}")
        lines.append(_indented(_error_words(error)))
        if error.get("traceback"):
            lines.append(_indented(error["traceback"].rstrip()))
    return "\n".join(lines)


def _error_words(error: Mapping[str, Any]) -> str:
    return f"{error.get('type', 'error')}: {error.get('message', '')}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


@commands.command()
@on_databases
def why(id: TaskId, databases: Databases, as_json: Json = False) -> None:
    """Explain why a task is not running."""
    found = databases.with_task(id, lambda connection: execute(connection, statements.why(id)))
    if as_json:
        echo_json([asdict(reason) for reason in found])
    else:
        echo_table(["code", "reason"], [[reason.code, reason.reason] for reason in found], "no reason found")


@commands.command()
def wait(
    ids: _Tasks,
    timeout: Annotated[timedelta | None, duration_option("The maximum time to wait.")] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Wait until tasks are final, and show how they ended. The exit code is 0 if all of them succeeded."""
    from rich.console import Console  # imported late, because it takes long
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    # On stderr, so that the result on stdout can be redirected.
    progress = Progress(
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with Client(require_dsn(dsn)) as client, progress:
        bar = progress.add_task("", total=len(set(ids)))
        seconds = None if timeout is None else timeout.total_seconds()
        ended = list(client.wait_for_many(ids, timeout=seconds, on_final=lambda _: progress.advance(bar)).values())
    if as_json:
        echo_json([asdict(task) for task in ended])
    else:
        echo_table(
            ["id", "queue", "job", "state", "attempt", "result"],
            [[task.id, task.queue, task.job, task.state, task.attempt, _result(task)] for task in ended],
        )
    if any(task.state != "succeeded" for task in ended):
        raise typer.Exit(1)


def _result(task: TaskInfo) -> str | None:
    """The output of a final task, or its last error, in one line."""
    if task.state == "failed" and task.errors:
        return " ".join(_error_words(task.errors[-1]).split())
    return None if task.output is None else json.dumps(task.output, ensure_ascii=False)


def no_task(connection: psycopg.Connection[Any], id: int) -> TaskNotFound:
    """The error that a task does not exist. The database knows if it was moved to another one."""
    try:
        execute(connection, statements.why(id))
    except TaskNotFound as error:
        return error
    return TaskNotFound(f"task {id} has only just been committed", "Ask again.")
