"""The actions of one task, each of which is shown as a command and as SQL too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import statements
from ...errors import InputError
from .. import json_view
from ..database import Queries
from ..page import Done, action, confirm, dashboard_of, page, url

__all__ = ["action_routes", "actions_of"]


@dataclass(frozen=True, kw_only=True)
class TaskAction:
    """An action on one task. `sql` and `command` do the same elsewhere.

    With `route` the action is a button, which leads to a page that asks first if `ask` is true. Without it, the page of
    the task has a form for the action.
    """

    name: str
    label: str
    function: str
    sql: str
    command: str
    route: str | None = None
    ask: bool = False
    kind: str = ""


_LIVE = ("pending", "in_progress", "waiting")
_FINAL = ("succeeded", "failed", "cancelled")

# The actions with the states in which they are possible. An id stands for {id}.
_ACTIONS = (
    (("failed", "cancelled"), TaskAction(
        name="retry", label="Retry", function="retry", sql="select underway.retry({id});",
        command="underway retry {id}", route="task_retry", kind="primary",
    )),
    (("pending",), TaskAction(
        name="redrive", label="Redrive", function="redrive_many", sql="select underway.redrive_many(array[{id}]);",
        command="underway redrive {id}", route="task_redrive", kind="primary",
    )),
    (_LIVE, TaskAction(
        name="cancel", label="Cancel", function="cancel", sql="select underway.cancel({id});",
        command="underway cancel {id}", route="task_cancel", ask=True, kind="danger",
    )),
    (("pending",), TaskAction(
        name="reschedule", label="Reschedule", function="reschedule",
        sql="select underway.reschedule({id}, now() + interval '1 hour');", command="underway reschedule {id} 1h",
    )),
    (("pending",), TaskAction(
        name="reprioritize", label="Change the priority", function="reprioritize",
        sql="select underway.reprioritize({id}, 10);", command="underway reprioritize {id} 10",
    )),
    ((*_LIVE, *_FINAL), TaskAction(
        name="run_again", label="Run again", function="run_again", sql="select underway.run_again({id});",
        command="underway run-again {id}", route="task_again", ask=True,
    )),
    (_FINAL, TaskAction(
        name="delete", label="Delete", function="delete_task", sql="select underway.delete_task({id});",
        command="underway delete {id}", route="task_delete", ask=True, kind="danger",
    )),
)  # fmt: skip


def actions_of(task: Any) -> list[TaskAction]:
    """The actions that the state of a task allows, with its id in their SQL and commands."""
    return [
        replace(each, sql=each.sql.format(id=task.id), command=each.command.format(id=task.id))
        for states, each in _ACTIONS
        if task.state in states and (each.name != "redrive" or task.dead_letter is not None)
    ]


def _id(request: Request) -> int:
    id: int = request.path_params["id"]
    if id >= 2**63:
        raise HTTPException(404, f"There is no task {id}.")
    return id


@action("retry")
async def retry(request: Request, form: FormData, db: Queries) -> Done:
    """Make a failed or cancelled task pending again."""
    await db.run(statements.retry(_id(request)))
    return Done(f"Task {_id(request)} is pending again.")


@action("redrive_many")
async def redrive(request: Request, form: FormData, db: Queries) -> Done:
    """Move a dead letter back."""
    rows = await db.rows("select underway.redrive_many(array[%(id)s::bigint]) as id", {"id": _id(request)})
    if not rows:
        raise InputError(
            f"task {_id(request)} was not moved; its queue may have been dropped, or another task has its unique key"
        )
    return Done(f"Dead letter {_id(request)} was moved back.", url(request, "tasks", {"dead_letter": "yes"}))


@action("cancel")
async def cancel(request: Request, form: FormData, db: Queries) -> Done:
    """Cancel a live task."""
    changed = await db.run(statements.cancel(_id(request)))
    text = f"Task {_id(request)} is cancelled." if changed else f"Task {_id(request)} was final before."
    return Done(text, url(request, "task", id=_id(request)))


@action("delete_task")
async def delete(request: Request, form: FormData, db: Queries) -> Done:
    """Remove a final task."""
    await db.run(statements.delete_task(_id(request)))
    return Done(f"Task {_id(request)} is deleted.", url(request, "tasks"))


@action("reschedule")
async def reschedule(request: Request, form: FormData, db: Queries) -> Done:
    """Make a pending task ready at another time."""
    at = _run_at(str(form.get("run_at", "")).strip(), str(form.get("delay", "")))
    ready_at = await db.run(statements.reschedule(_id(request), at))
    text = f"Task {_id(request)} is ready at {ready_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
    return Done(text, details={"run_at": at.isoformat()})


_DELAYS = {"": None, "now": 0, "5m": 300, "1h": 3600, "6h": 6 * 3600, "1d": 86400, "7d": 7 * 86400}


def _run_at(text: str, delay: str) -> datetime:
    """A time as the form has it: a delay from the list, or a time in UTC."""
    if not text:
        if delay not in _DELAYS or _DELAYS[delay] is None:
            raise InputError("no time was given; choose a delay, or write a time as 2030-01-31 09:00")
        return datetime.now(UTC) + timedelta(seconds=_DELAYS[delay] or 0)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text[:50]!r} is not a time; write it as 2030-01-31 09:00, in UTC") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@action("reprioritize")
async def reprioritize(request: Request, form: FormData, db: Queries) -> Done:
    """Give a pending task another priority."""
    text = str(form.get("priority", "")).strip()
    try:
        priority = int(text[:10])
    except ValueError:
        raise InputError(f"the priority is {text[:50]!r}; give a whole number from -100 to 100") from None
    await db.run(statements.reprioritize(_id(request), priority))
    return Done(f"Task {_id(request)} has priority {priority}.", details={"priority": priority})


async def _input_of(request: Request, db: Queries) -> tuple[Any, bool]:
    text = await db.row("select input::text as input from underway.task_info(%(id)s)", {"id": _id(request)})
    if text is None:
        raise HTTPException(404, f"There is no task {_id(request)}.")
    return json_view.parse(text.input)


@action("run_again")
async def run_again(request: Request, form: FormData, db: Queries) -> Done:
    """Enqueue a copy of a task, with an edited input if there is one."""
    text, edited = str(form.get("input", "")).strip(), None
    if text:
        value, whole = json_view.parse(text)
        if not whole:
            raise InputError("the input is not JSON; check its quotes, commas and brackets")
        original, parsed = await _input_of(request, db)
        value = dashboard_of(request).redaction.restore(value, original)
        edited = None if parsed and value == original else statements.dump_json(value)
    new = await db.value("select underway.run_again(%(id)s, %(input)s::jsonb)", {"id": _id(request), "input": edited})
    return Done(
        f"Task {new} is a copy of task {_id(request)}.",
        url(request, "task", id=new),
        {"new": new, "edited": bool(edited)},
    )


@page("run_again.html", live=False)
async def ask_again(request: Request, db: Queries) -> dict[str, Any]:
    """A form with the input of a task."""
    value, whole = await _input_of(request, db)
    redaction = dashboard_of(request).redaction
    return {
        "title": f"Run task {_id(request)} again",
        "id": _id(request),
        "text": json_view.pretty(redaction.apply(value)) if whole else None,
        "redacted": bool(redaction) and whole and redaction.apply(value) != value,
        "rows": max(8, min(30, json.dumps(value, indent=1).count("\n") + 2)) if whole else 0,
    }


def _ask(name: str, text: str) -> Any:
    @page("confirm.html", live=False)
    async def ask(request: Request, db: Queries) -> Response:
        """Ask before an action."""
        row = await db.row("select * from underway.task_info(%(id)s)", {"id": _id(request)})
        chosen = next((each for each in actions_of(row) if each.name == name), None) if row else None
        if chosen is None:
            raise HTTPException(
                404 if row is None else 400,
                f"Task {_id(request)} cannot be {name}led any more." if row else f"There is no task {_id(request)}.",
            )
        facts: Sequence[tuple[str, Any]] = [("State", row.state), ("Job", row.job or "none"), ("Queue", row.queue)]
        return await confirm(
            request,
            title=f"{chosen.label} task {_id(request)}?",
            text=text,
            action=url(request, f"task_{name}", id=_id(request)),
            name=chosen.function,
            button=chosen.label,
            details=list(facts),
            back=url(request, "task", id=_id(request)),
        )

    return ask


_CANCEL = "It will not run. If it is running, its worker is told at the next heartbeat and drops the result."
_DELETE = "It is removed from the history with its input, output and errors. This cannot be undone."

action_routes = [
    *(
        Route(f"/tasks/{{id:int}}/{name}", endpoint, methods=["POST"], name=f"task_{name}")
        for name, endpoint in (
            ("retry", retry),
            ("redrive", redrive),
            ("cancel", cancel),
            ("delete", delete),
            ("reschedule", reschedule),
            ("reprioritize", reprioritize),
            ("again", run_again),
        )
    ),
    Route("/tasks/{id:int}/cancel", _ask("cancel", _CANCEL), name="task_ask_cancel"),
    Route("/tasks/{id:int}/delete", _ask("delete", _DELETE), name="task_ask_delete"),
    Route("/tasks/{id:int}/again", ask_again, name="task_ask_again"),
]
