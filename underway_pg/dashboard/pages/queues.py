"""The pages Queues and Queue: what is in each queue, its limits, its keys, and its settings."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import statements
from ...errors import ConfigurationError, DatabaseRefusal, InputError
from ..activity import by_job, finished_by_hour
from ..database import Queries
from ..merging import merging
from ..page import Done, action, confirm, page, render, url
from ..settings_form import QueueForm
from .overview import SPANS, charts_over_time, span_of

__all__ = ["routes"]

# Tasks that are read to find the concurrency keys in use.
_KEYS_FROM = 500


@page("queues.html", title="Queues", merge=merging("queues", order=lambda queue: (queue.queue, queue.shard)))
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """All queues, with their rates in the last hour and their throughput in the last day."""
    now = datetime.now(UTC)
    queues = await db.rows("select * from underway.queue_stats order by queue")
    rates = await db.rows(
        "select * from underway.stats_by_queue(%(since)s, %(now)s)", {"since": now - timedelta(hours=1), "now": now}
    )
    by_queue = {rate.queue: rate for rate in rates}
    lines = await finished_by_hour(db, "queue", [queue.queue for queue in queues])
    for queue in queues:
        queue.rate, queue.line = by_queue.get(queue.queue), lines.get(queue.queue, [])
    return {"queues": queues}


@page("queue.html")
async def show_one(request: Request, db: Queries) -> dict[str, Any]:
    """One queue: its figures, charts, limits, keys and jobs."""
    name = request.query_params.get("name", "")
    queue = await _queue(db, name)
    span = span_of(request, "24h")
    charts, _ = await charts_over_time(db, span, name)
    return {
        "title": name,
        "queue": queue,
        "span": span,
        "spans": SPANS,
        "charts": charts,
        "jobs": await by_job(db, span.since, span.until, name),
        "registered": await db.rows(
            "select job from underway.job_list where queue = %(queue)s order by job limit 200", {"queue": name}
        ),
        "keys": await _keys(db, name),
        "workers": await db.rows(
            "select * from underway.worker_stats where %(queue)s = any (queues) and not lost order by id limit 50",
            {"queue": name},
        ),
        "settings": QueueForm.of(queue),
    }


async def _queue(db: Queries, name: str) -> Any:
    queue = await db.row(
        """select *, (retry_policy).max_attempts as max_attempts, (retry_policy).factor as factor,
            (retry_policy).initial_interval as initial_interval, (retry_policy).max_interval as max_interval,
            (retry_policy).jitter as jitter
        from underway.queue_stats where queue = %(name)s""",
        {"name": name},
    )
    if queue is None:
        raise HTTPException(404, f"There is no queue named {name}.")
    return queue


async def _keys(db: Queries, queue: str) -> list[tuple[str, int, int]]:
    """The concurrency keys of the newest live tasks, with their running and their pending tasks, most first."""
    found = await db.rows(
        """select t.concurrency_key as key, t.state = 'in_progress' as running, count(*) as tasks
        from unnest(array['in_progress', 'pending']) as wanted (state)
        cross join lateral underway.find_tasks(
            jsonb_build_object('queue', jsonb_build_array(%(queue)s::text), 'state', jsonb_build_array(wanted.state)),
            max_tasks => %(limit)s
        ) f
        join underway.task_list t on t.id = any (f.tasks)
        where t.concurrency_key is not null
        group by 1, 2""",
        {"queue": queue, "limit": _KEYS_FROM},
    )
    running: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    for row in found:
        (running if row.running else pending)[row.key] += row.tasks
    names = sorted(running.keys() | pending.keys(), key=lambda key: (-running[key], -pending[key], key))
    return [(key, running[key], pending[key]) for key in names[:50]]


@page("queue_edit.html", live=False)
async def edit(request: Request, db: Queries) -> dict[str, Any]:
    """The form with the settings of a queue."""
    name = request.query_params.get("name", "")
    return await _form(db, name, QueueForm.of(await _queue(db, name)))


async def _form(db: Queries, name: str, form: QueueForm) -> dict[str, Any]:
    others = await db.rows(
        "select queue from underway.queue_list where queue <> %(name)s order by queue", {"name": name}
    )
    return {"title": f"Settings of {name}", "name": name, "form": form, "others": [row.queue for row in others]}


@action("create_queue")
async def save(request: Request, form: FormData, db: Queries) -> Done | Response:
    """Change those settings that differ from what the form showed; others may have been changed meanwhile."""
    name = _name(form)
    stored = QueueForm.of(await _queue(db, name))
    given = QueueForm.read(form)
    changed = given.changes()
    if not given.errors and not changed:
        return Done(f"Nothing was changed in queue {name}.", url(request, "queue", {"name": name}))
    if not given.errors:
        try:
            async with db.connection.transaction():
                await db.run(statements.create_queue(given.queue(name, stored)))
        except (DatabaseRefusal, InputError, ConfigurationError) as error:
            given.blame(str(error))
    if given.errors:
        return await render(request, "queue_edit.html", status=422, **await _form(db, name, given))
    return Done(
        f"The settings of queue {name} are changed.", url(request, "queue", {"name": name}),
        {"queue": name, "settings": changed},
    )  # fmt: skip


def _name(form: FormData, field: str = "name") -> str:
    return str(form.get(field, ""))


@action("pause_queue")
async def pause(request: Request, form: FormData, db: Queries) -> Done:
    """Stop claims from a queue."""
    name = _name(form)
    changed = await db.run(statements.pause_queue(name))
    text = f"Queue {name} is paused." if changed else f"Queue {name} was paused before."
    return Done(text, details={"queue": name})


@action("resume_queue")
async def resume(request: Request, form: FormData, db: Queries) -> Done:
    """Let claims from a queue go on."""
    name = _name(form)
    changed = await db.run(statements.resume_queue(name))
    text = f"Queue {name} is resumed." if changed else f"Queue {name} was not paused."
    return Done(text, details={"queue": name})


@action("pause_key")
async def pause_key(request: Request, form: FormData, db: Queries) -> Done:
    """Stop claims of the tasks with a concurrency key."""
    name, key = _name(form), _name(form, "key")
    changed = await db.run(statements.pause_key(name, key))
    text = f"Key {key} of queue {name} is paused." if changed else f"Key {key} of queue {name} was paused before."
    return Done(text, details={"queue": name, "key": key})


@action("resume_key")
async def resume_key(request: Request, form: FormData, db: Queries) -> Done:
    """Let claims of the tasks with a concurrency key go on."""
    name, key = _name(form), _name(form, "key")
    changed = await db.run(statements.resume_key(name, key))
    text = f"Key {key} of queue {name} is resumed." if changed else f"Key {key} of queue {name} was not paused."
    return Done(text, details={"queue": name, "key": key})


@page("confirm.html", live=False)
async def ask_pause(request: Request, db: Queries) -> Response:
    """Ask before a queue is paused."""
    name = request.query_params.get("name", "")
    queue = await _queue(db, name)
    return await confirm(
        request,
        title=f"Pause queue {name}?",
        text="Running tasks continue. No worker claims another task of this queue until somebody resumes it.",
        action=url(request, "queue_pause"),
        name="pause_queue",
        button="Pause",
        fields={"name": name},
        details=[("Running", queue.in_progress), ("Ready", queue.ready), ("Workers", queue.workers)],
        back=url(request, "queue", {"name": name}),
        danger=False,
    )


routes = [
    Route("/queues", show, name="queues"),
    Route("/queues/one", show_one, name="queue"),
    Route("/queues/edit", edit, name="queue_edit"),
    Route("/queues/edit", save, methods=["POST"], name="queue_save"),
    Route("/queues/pause", ask_pause, name="queue_ask_pause"),
    Route("/queues/pause", pause, methods=["POST"], name="queue_pause"),
    Route("/queues/resume", resume, methods=["POST"], name="queue_resume"),
    Route("/queues/pause-key", pause_key, methods=["POST"], name="queue_pause_key"),
    Route("/queues/resume-key", resume_key, methods=["POST"], name="queue_resume_key"),
]
