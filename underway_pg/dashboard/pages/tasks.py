"""The page Tasks: search tasks, and act on those that were found."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from ...errors import InputError, InvalidArgument
from ..bulk import OPERATIONS
from ..database import Queries, Row
from ..filters import STATES, TIMES, TaskFilter
from ..merging import merging
from ..page import Contexts, dashboard_of, page, url
from ..redaction import redact_texts

__all__ = ["read_filter", "routes"]

_PAGE = 50  # tasks of a page
_READ = 20_000  # tasks that a page reads at most to find them
_COUNT = 10_000  # where counting ends


def read_filter(request: Request) -> TaskFilter:
    """The filter in the address. Raises InputError for a search that redaction forbids."""
    found = TaskFilter.read(request.query_params)
    if {"input", "error"} & set(found.values) and dashboard_of(request).redaction:
        raise InputError("this dashboard redacts values, so tasks cannot be searched by their inputs or errors")
    return found


def _merge(contexts: Contexts) -> dict[str, Any]:
    """The newest tasks of all databases. The places where their lists go on, and operations on many, are of one."""
    newest = merging(
        "tasks", order=lambda task: task.enqueued_at, reverse=True, most=_PAGE, unions=("queues", "jobs"), older=None,
        newest=None, operations={},
    )  # fmt: skip
    counts = [context["count"] for context in contexts.values() if context["count"]]
    count = Row(count=sum(each.count for each in counts), capped=any(each.capped for each in counts))
    return newest(contexts) | {"count": count, "more": any(context["older"] for context in contexts.values())}


@page("tasks.html", title="Tasks", merge=_merge)
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The page."""
    problem, tasks, next_before, count = None, [], None, None
    before = request.query_params.get("before") or None
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        raise HTTPException(400, "The parameter before is not the number of a task.")
    wanted = TaskFilter.read(request.query_params)
    try:
        text = read_filter(request).as_json()
        async with db.connection.transaction():
            found = await db.row(
                "select tasks, next_before from underway.find_tasks(%(filter)s, %(before)s, %(page)s, %(read)s)",
                {"filter": text, "before": before, "page": _PAGE, "read": _READ},
            )
            count = await db.row(
                "select count, capped from underway.count_tasks(%(filter)s, %(max)s)", {"filter": text, "max": _COUNT}
            )
        next_before = found.next_before
        tasks = await db.rows(
            "select * from underway.task_list where id = any(%(ids)s::bigint[]) order by id desc", {"ids": found.tasks}
        )
        await redact_texts(dashboard_of(request).redaction, db, tasks, "error")
    except (InputError, InvalidArgument) as error:
        problem = str(error)
    states = wanted.values.get("state") or STATES
    return {
        "filter": wanted,
        "problem": problem,
        "tasks": tasks,
        "count": count,
        "read": _READ,
        "states": STATES,
        "times": TIMES,
        "queues": [row.queue for row in await db.rows("select queue from underway.queue_list order by queue")],
        "jobs": [row.job for row in await db.rows("select job from underway.job_list order by job limit 1000")],
        "operations": {
            name: kind
            for name, kind in OPERATIONS.items()
            if set(kind.states) & set(states) and (not kind.dead_letter or any(task.dead_letter_of for task in tasks))
        },
        "more": False,
        "older": url(request, "tasks", wanted.with_(before=next_before)) if next_before else None,
        "newest": url(request, "tasks", wanted.values) if before else None,
        "status": 400 if problem else 200,
    }


routes = [Route("/tasks", show, name="tasks")]
