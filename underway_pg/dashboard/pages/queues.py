"""The page Queues: each queue with what lies in it."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import statements
from ..database import Queries
from ..page import Done, action, confirm, page, url

__all__ = ["routes"]


@page("queues.html", title="Queues")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """All queues."""
    return {"queues": await db.run(statements.queues())}


@action("pause_queue")
async def pause(request: Request, form: FormData, db: Queries) -> Done:
    """Stop claims from a queue."""
    name = request.path_params["name"]
    changed = await db.run(statements.pause_queue(name))
    return Done(f"Queue {name} is paused." if changed else f"Queue {name} was paused before.")


@action("resume_queue")
async def resume(request: Request, form: FormData, db: Queries) -> Done:
    """Let claims go on."""
    name = request.path_params["name"]
    changed = await db.run(statements.resume_queue(name))
    return Done(f"Queue {name} is running." if changed else f"Queue {name} was running before.")


@page("confirm.html")
async def ask_pause(request: Request, db: Queries) -> Response:
    """Ask before a queue is paused."""
    name = request.path_params["name"]
    return await confirm(
        request, title=f"Pause queue {name}?", text="Workers finish what they run, and claim nothing more from it.",
        action=url(request, "queue_pause", name=name), name="pause_queue", button="Pause", back=url(request, "queues"),
    )  # fmt: skip


routes = [
    Route("/queues", show, name="queues"),
    Route("/queues/{name:path}/pause", pause, methods=["POST"], name="queue_pause"),
    Route("/queues/{name:path}/pause", ask_pause, name="queue_ask_pause"),
    Route("/queues/{name:path}/resume", resume, methods=["POST"], name="queue_resume"),
]
