"""The pages Batches and Batch: progress, callbacks, and the tasks that are live or did not succeed."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import statements
from ..database import Queries
from ..formats import NOTHING
from ..merging import merging
from ..page import Done, action, confirm, dashboard_of, page, url
from ..redaction import redact_texts

__all__ = ["routes"]

_PAGE = 50


@page(
    "batches.html", title="Batches",
    merge=merging("batches", order=lambda batch: batch.created_at, reverse=True, most=_PAGE, older=None),
)  # fmt: skip
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The newest batches."""
    before = _before(request)
    batches = await db.rows(
        """select * from underway.batch_stats where %(before)s::bigint is null or batch < %(before)s
        order by batch desc limit %(limit)s""",
        {"before": before, "limit": _PAGE + 1},
    )
    return {
        "batches": batches[:_PAGE],
        "older": batches[_PAGE - 1].batch if len(batches) > _PAGE else None,
        "first": before is None,
    }


def _before(request: Request) -> int | None:
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def _batch(db: Queries, id: int) -> Any:
    batch = await db.row("select * from underway.batch_stats where batch = %(id)s", {"id": id})
    if batch is None:
        raise HTTPException(404, f"There is no batch {id}. Batches are removed when their retention is over.")
    return batch


@page("batch.html")
async def show_one(request: Request, db: Queries) -> dict[str, Any]:
    """One batch."""
    id, before = request.path_params["id"], _before(request)
    batch = await _batch(db, id)
    tasks = await db.rows(
        """select t.* from underway.batch_tasks(%(id)s, %(before)s, %(limit)s) as b (task)
        join lateral (select * from underway.task_list l where l.id = b.task limit 1) t on true
        order by b.task desc""",
        {"id": id, "before": before, "limit": _PAGE + 1},
    )
    await redact_texts(dashboard_of(request).redaction, db, tasks, "error")
    callbacks = await db.rows(
        """select c.event, c.task, t.state::text as state, t.job, t.queue
        from (values ('on success', %(success)s::bigint), ('at the end', %(final)s), ('on failure', %(failure)s))
            as c (event, task)
        left join lateral (select l.* from underway.task_list l where l.id = c.task limit 1) t on true
        where c.task is not null""",
        {"success": batch.on_success, "final": batch.on_final, "failure": batch.on_failure},
    )
    return {
        "title": f"Batch {id}" + (f": {batch.name}" if batch.name else ""),
        "batch": batch,
        "callbacks": callbacks,
        "tasks": tasks[:_PAGE],
        "older": tasks[_PAGE - 1].id if len(tasks) > _PAGE else None,
        "first": before is None,
    }


@page("confirm.html", live=False)
async def ask_cancel(request: Request, db: Queries) -> Response:
    """Ask before the live tasks of a batch are cancelled."""
    batch = await _batch(db, request.path_params["id"])
    return await confirm(
        request,
        title=f"Cancel batch {batch.batch}?",
        text="Its live tasks are cancelled. Those that run are interrupted, and their results are refused.",
        action=url(request, "batch_cancel", id=batch.batch),
        name="cancel_batch",
        button=f"Cancel {batch.live} live tasks",
        details=[
            ("Name", batch.name or NOTHING),
            ("Tasks", batch.tasks),
            ("Live", batch.live),
            ("Succeeded", batch.succeeded),
        ],
        back=url(request, "batch", id=batch.batch),
    )


@action("cancel_batch")
async def cancel(request: Request, form: FormData, db: Queries) -> Done:
    """Cancel the live tasks of a batch."""
    id = request.path_params["id"]
    cancelled = await db.run(statements.cancel_batch(id))
    return Done(f"Tasks of batch {id} cancelled: {cancelled}.", url(request, "batch", id=id), {"cancelled": cancelled})


routes = [
    Route("/batches", show, name="batches"),
    Route("/batches/{id:int}", show_one, name="batch"),
    Route("/batches/{id:int}/cancel", ask_cancel, name="batch_ask_cancel"),
    Route("/batches/{id:int}/cancel", cancel, methods=["POST"], name="batch_cancel"),
]
