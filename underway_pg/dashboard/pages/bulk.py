"""Acting on many tasks: a page that shows how many there are, the start, and the progress."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ...errors import InputError
from ..bulk import OPERATIONS, Kind, Operation
from ..database import Queries
from ..filters import TaskFilter, selected
from ..page import Done, action, dashboard_of, database_of, page, url
from .tasks import read_filter

__all__ = ["routes"]

_COUNT = 20_000  # where counting ends; the operation itself goes on to the end


def _kind(name: str) -> Kind:
    if name not in OPERATIONS:
        raise HTTPException(400, f"There is no operation {name!r}. Use {', '.join(OPERATIONS)}.")
    return OPERATIONS[name]


def _narrowed(filter: TaskFilter, kind: Kind) -> str:
    """The filter as JSON, with only those states that the operation changes."""
    states = [state for state in filter.values.get("state") or kind.states if state in kind.states]
    more: dict[str, Any] = {"state": states}
    if kind.dead_letter:
        more["dead_letter"] = True
    return filter.as_json(**more)


@page("bulk_preview.html", live=False)
async def preview(request: Request, db: Queries) -> dict[str, Any] | Response:
    """Say what an operation would change."""
    name = request.query_params.get("all") or request.query_params.get("selected") or ""
    kind = _kind(name)
    try:
        filter = read_filter(request)
        ids = [] if request.query_params.get("all") else request.query_params.getlist("task")
        if not ids and not request.query_params.get("all"):
            raise InputError("no task is selected")
        text = _narrowed(selected(ids) if ids else filter, kind)
    except InputError as error:
        raise HTTPException(400, f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    states = json.loads(text)["state"]
    count = sample = newest = None
    if states:
        count = await db.row(
            "select count, capped from underway.count_tasks(%(filter)s, %(max)s)", {"filter": text, "max": _COUNT}
        )
        found = await db.row("select tasks from underway.find_tasks(%(filter)s, null, 5, 20000)", {"filter": text})
        sample = await db.rows(
            "select * from underway.task_list where id = any(%(ids)s::bigint[]) order by id desc", {"ids": found.tasks}
        )
        newest = sample[0].id if sample else None
    return {
        "title": f"{kind.verb} tasks",
        "name": name,
        "kind": kind,
        "filter": filter,
        "ids": ids,
        "text": text,
        "count": count,
        "sample": sample or [],
        # Tasks that are enqueued after this page was made are left alone.
        "before": None if newest is None else newest + 1,
        "back": url(request, "tasks", filter.values),
    }


def _form_integer(form: FormData, name: str) -> int:
    text = str(form.get(name, ""))
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InputError(f"{name} is {text[:50]!r}; go back and choose the tasks again")
    return int(text)


def _start(name: str) -> Any:
    kind = OPERATIONS[name]

    @action(kind.function)
    async def start(request: Request, form: FormData, db: Queries) -> Done:
        """Start an operation."""
        dashboard = dashboard_of(request)
        try:
            filter = json.loads(str(form.get("filter", "")))
        except (ValueError, RecursionError):
            filter = None
        if not isinstance(filter, dict) or not filter.get("state") or (dashboard.redaction and "input" in filter):
            raise InputError("the filter of this form cannot be used; go back and choose the tasks again")
        operation = Operation(
            database_of(request),
            name,
            json.dumps(filter),
            _form_integer(form, "before"),
            request.state.user.name,
            _form_integer(form, "total"),
            bool(form.get("capped")),
        )
        return Done(
            "",
            url(request, "bulk", id=operation.id),
            {"filter": filter, "expected": operation.total},
            after=lambda: dashboard.bulk.start(operation),
        )

    return start


@page("bulk.html")
async def progress(request: Request, db: Queries) -> dict[str, Any]:
    """How far an operation is."""
    operation = dashboard_of(request).bulk.get(request.path_params["id"])
    if operation is None:
        raise HTTPException(
            404,
            "This operation is not known here: the dashboard was restarted, or another of its processes runs it."
            " The page Audit shows what it has changed.",
        )
    kind = OPERATIONS[operation.kind]
    return {"title": f"{kind.verb} tasks", "operation": operation, "kind": kind}


def _stop(name: str) -> Any:
    @action(OPERATIONS[name].function)
    async def stop(request: Request, form: FormData, db: Queries) -> Response:
        """Stop an operation."""
        bulk = dashboard_of(request).bulk
        if operation := bulk.get(request.path_params["id"]):
            bulk.stop(operation)
        return RedirectResponse(url(request, "bulk", id=request.path_params["id"]), status_code=303)

    return stop


routes = [
    Route("/tasks/act", preview, name="bulk_preview"),
    *(Route(f"/tasks/act/{name}", _start(name), methods=["POST"], name=f"bulk_{name}") for name in OPERATIONS),
    Route("/tasks/act/progress/{id}", progress, name="bulk"),
    *(
        Route(f"/tasks/act/{name}/{{id}}/stop", _stop(name), methods=["POST"], name=f"bulk_stop_{name}")
        for name in OPERATIONS
    ),
]
