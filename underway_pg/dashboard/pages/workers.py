"""The page Workers: who is alive, how busy they are, and what they run."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import statements
from ..database import Queries
from ..merging import merging
from ..page import Done, action, confirm, page, url

__all__ = ["routes"]

# Running tasks that are read, and how many of them are shown for each worker.
_TASKS = 500
_SHOWN = 5


@page(
    "workers.html", title="Workers",
    merge=merging(
        "workers", order=lambda worker: (not worker.lost, worker.name, worker.id), unions=("tasks", "versions"),
        sums=("alive", "lost", "running", "concurrency"),
    ),
)  # fmt: skip
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """All workers: those that are lost first, then by name."""
    workers = await db.rows("select * from underway.worker_stats order by lost desc, name, id limit 500")
    tasks: dict[int, list[Any]] = defaultdict(list)
    for task in await db.rows(
        """select t.id, t.job, t.queue, t.started_at, t.attempt, t.worker
        from underway.find_tasks('{"state": ["in_progress"]}', max_tasks => %(limit)s) f
        join underway.task_list t on t.id = any (f.tasks)
        order by t.started_at""",
        {"limit": _TASKS},
    ):
        tasks[task.worker].append(task)
    return {
        "workers": workers,
        "tasks": {worker: found[:_SHOWN] for worker, found in tasks.items()},
        "versions": sorted({worker.version for worker in workers if worker.version and not worker.lost}),
        "alive": sum(not worker.lost for worker in workers),
        "lost": sum(worker.lost for worker in workers),
        "running": sum(worker.in_progress for worker in workers),
        "concurrency": sum(worker.concurrency or 0 for worker in workers if not worker.lost),
    }


@page("confirm.html", live=False)
async def ask_stop(request: Request, db: Queries) -> Response:
    """Ask before a worker is stopped."""
    worker = await db.row("select * from underway.worker_stats where id = %(id)s", {"id": request.path_params["id"]})
    if worker is None:
        raise HTTPException(404, f"There is no worker with the id {request.path_params['id']}.")
    return await confirm(
        request,
        title=f"Ask worker {worker.name} to stop?",
        text=(
            "It claims no more tasks, finishes those that run within its shutdown_timeout, and gives the rest back to"
            " their queues. Nothing starts it again except what started it before."
        ),
        action=url(request, "worker_stop", id=worker.id),
        name="stop_workers",
        button="Ask it to stop",
        details=[("Running tasks", worker.in_progress), ("Queues", ", ".join(worker.queues))],
        back=url(request, "workers"),
    )


@action("stop_workers")
async def stop(request: Request, form: FormData, db: Queries) -> Done:
    """Ask a worker to shut down."""
    asked = await db.run(statements.stop_workers(request.path_params["id"], None, False))
    name = await db.value("select name from underway.worker_stats where id = %(id)s", {"id": request.path_params["id"]})
    text = f"Worker {name} was asked to stop." if asked else "This worker was asked before, or is no longer registered."
    return Done(text, url(request, "workers"), {"worker": name})


routes = [
    Route("/workers", show, name="workers"),
    Route("/workers/{id:int}/stop", ask_stop, name="worker_ask_stop"),
    Route("/workers/{id:int}/stop", stop, methods=["POST"], name="worker_stop"),
]
