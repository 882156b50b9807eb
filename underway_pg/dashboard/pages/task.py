"""The page of one task: its life, attempts, values, relations, why it does not run, and its actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ... import statements
from .. import json_view
from ..database import Queries
from ..page import dashboard_of, page
from ..redaction import MARK, Redaction, hide_in_value
from .task_actions import action_routes, actions_of

__all__ = ["routes"]

_JSON = ("input", "output", "headers", "progress", "dead_letter")

_INFO = f"""select id, queue, job, state, priority, attempt, max_attempts, errors::text as errors, enqueued_at,
    ready_at,
    started_at, lease_expires_at, finished_at, kept_until, worker, unique_key, concurrency_key, expires_at, reason,
    {", ".join(f"{name}::text as {name}" for name in _JSON)}
    from underway.task_info(%(id)s)"""


@dataclass(frozen=True)
class Value:
    """A JSON value of a task: as a tree, or as text that cannot be shown as one."""

    name: str
    label: str
    tree: json_view.Tree | None
    note: str = ""


@dataclass(frozen=True)
class Event:
    """Something in the life of a task. `length` is how long what ends here has taken, `kind` its colour."""

    at: datetime
    text: str
    kind: str
    length: timedelta | None = None
    what: str = ""


async def find(request: Request, db: Queries) -> Any:
    """The task of the address, with its JSON as text. Raises HTTPException 404 without one."""
    id = request.path_params["id"]
    found = await db.row(_INFO, {"id": id}) if id < 2**63 else None
    if found is None:
        raise HTTPException(404, f"There is no task {id}. It never existed, or the history has forgotten it.")
    return found


@page("task.html")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The page."""
    task = await find(request, db)
    redaction = dashboard_of(request).redaction
    parsed = {name: json_view.parse(getattr(task, name)) for name in _JSON}
    hide = _hiding(redaction, parsed)
    errors, whole = json_view.parse(task.errors)
    errors = [_error(error, hide) for error in errors] if whole and isinstance(errors, list) else []
    letter = parsed["dead_letter"][0] if parsed["dead_letter"][1] else None
    live = task.state in ("pending", "in_progress", "waiting")
    worker = None
    if task.state == "in_progress":
        worker = await db.row(
            """select w.id, w.name, w.seen_at, w.lost from underway.task_list l
            join underway.worker_stats w on w.id = l.worker where l.id = %(id)s""",
            {"id": task.id},
        )
    return {
        "title": f"Task {task.id}",
        "task": task,
        "is_live": live,
        "values": [_value(name, *parsed[name], redaction, hide) for name in _JSON if getattr(task, name) is not None],
        "errors": list(reversed(errors)),
        "letter_error": _error(letter["error"], hide) if letter and isinstance(letter.get("error"), dict) else None,
        "letter": letter,
        "timeline": _timeline(task, errors),
        "why": await db.run(statements.why(task.id)) if live else [],
        "worker": worker,
        "related": await db.rows("select * from underway.task_dependencies(%(id)s)", {"id": task.id}),
        "actions": actions_of(task),
    }


Hide = Callable[[Any], Any]


def _hiding(redaction: Redaction, parsed: Mapping[str, tuple[Any, bool]]) -> Hide:
    """What hides in the texts of a task what the rules hide in its values."""
    if redaction and not all(whole for _, whole in parsed.values()):
        return lambda value: MARK  # the values are not known
    secrets = redaction.secrets(*(value for value, _ in parsed.values()))
    return lambda value: hide_in_value(value, secrets)


def _error(error: Any, hide: Hide) -> dict[str, Any]:
    """An error of an attempt, with its times and with the texts that may be shown."""
    error = error if isinstance(error, dict) else {}
    texts = {part: str(hide(str(error.get(part) or ""))) for part in ("type", "message", "traceback")}
    times = {part: _time(error.get(part)) for part in ("started_at", "failed_at")}
    return {"attempt": error.get("attempt"), **texts, **times}


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _value(name: str, value: Any, whole: bool, redaction: Redaction, hide: Hide) -> Value:
    label = name.replace("_", " ").capitalize()
    if not whole:
        if redaction:
            return Value(name, label, None, "It is nested too deeply to be redacted, so it is not shown.")
        return Value(name, label, None, "It is nested too deeply, or has too large a number, to be shown as a tree.")
    if name == "dead_letter" and isinstance(value, dict):
        value = {key: each for key, each in value.items() if key != "error"}  # which is shown as an attempt
    return Value(name, label, json_view.tree(_shown(name, value, redaction, hide)))


def _shown(name: str, value: Any, redaction: Redaction, hide: Hide) -> Any:
    """A value as it may be shown. A dead letter has the error of its task, whose texts may repeat what is hidden."""
    value = redaction.apply(value)
    return hide(value) if name == "dead_letter" and redaction else value


def _timeline(task: Any, errors: list[dict[str, Any]]) -> list[Event]:
    """The life of a task, the oldest event first."""
    events = [Event(task.enqueued_at, "Enqueued", "plain")]
    before, missing = task.enqueued_at, 0
    for error in errors:
        started_at, failed_at = error["started_at"], error["failed_at"]
        number = error.get("attempt")
        missing = max(missing, number if isinstance(number, int) else 0)
        if started_at is not None:
            events.append(Event(started_at, f"Attempt {number} started", "info", started_at - before, "waiting"))
        if failed_at is not None:
            ran = None if started_at is None else failed_at - started_at
            events.append(Event(failed_at, f"Attempt {number} failed: {error['type']}", "bad", ran, "running"))
            before = failed_at
    last_failed = task.state == "failed" or (task.state == "pending" and errors)
    if task.started_at is not None and not last_failed and task.attempt > missing:
        events.append(
            Event(task.started_at, f"Attempt {task.attempt} started", "info", task.started_at - before, "waiting")
        )
        before = task.started_at
    if task.finished_at is not None:
        words = {"succeeded": "Succeeded", "failed": "Failed permanently", "cancelled": "Cancelled"}[task.state]
        kind = {"succeeded": "ok", "failed": "bad", "cancelled": "plain"}[task.state]
        ran = task.finished_at - before if task.state == "succeeded" else None
        events.append(
            Event(task.finished_at, words + (f": {task.reason}" if task.reason else ""), kind, ran, "running")
        )
    elif task.state == "pending" and task.ready_at is not None:
        events.append(Event(task.ready_at, "Ready", "violet"))
    return sorted(events, key=lambda event: event.at)


async def raw(request: Request) -> Response:
    """A JSON value of a task as text, redacted."""
    name = request.path_params["name"]
    if name not in _JSON:
        raise HTTPException(404, f"A task has no {name}.")
    dashboard = dashboard_of(request)
    database = await dashboard.databases.of(request)
    assert database is not None  # that of the id
    async with database.reading() as db:
        task = await find(request, db)
    text = getattr(task, name)
    value, whole = json_view.parse(text)
    if whole:
        hide = _hiding(dashboard.redaction, {each: json_view.parse(getattr(task, each)) for each in _JSON})
        text = json_view.pretty(_shown(name, value, dashboard.redaction, hide))
    elif dashboard.redaction:
        raise HTTPException(403, "This value is nested too deeply to be redacted, so it is not shown.")
    # Never as JSON or HTML, which a browser would open by itself.
    file = f'attachment; filename="task-{task.id}-{name}.json.txt"'
    return PlainTextResponse(text, headers={"Content-Disposition": file})


routes = [
    *action_routes,
    Route("/tasks/{id:int}/raw/{name}", raw, name="task_raw"),
    Route("/tasks/{id:int}", show, name="task"),
]
