"""FastAPI and Starlette: the connections of an application, and for a small site a worker, in a web server.

`Depends(app.async_client)` is the dependency for the client; it needs nothing from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Unpack

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from .app import App
from .errors import ConfigurationError
from .service.health import worker_health as describe_health
from .worker import Worker, WorkerOptions

__all__ = ["underway_lifespan", "worker_health"]

logger = logging.getLogger(__name__)


def underway_lifespan(
    app: App, *, worker: bool = False, **settings: Unpack[WorkerOptions]
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """A lifespan for FastAPI(lifespan=...) or Starlette(lifespan=...): the server closes the connections of `app`.

    With `worker`, each process of the server also runs a worker, on the event loop of the server and with these
    settings, which are those of `WorkerSettings`. The server does not start if the worker cannot, for example because
    of SchemaMissing. When the server stops, running tasks may continue for `shutdown_timeout`. The worker handles no
    signals. If it ends before the server does, it logs an error, and `worker_health` responds with 503.

    In a lifespan of your own, enter it after what the handlers need, and yield in it:
    `async with open_pool(), underway_lifespan(app, worker=True)(web): yield`.
    """
    if settings and not worker:
        raise ConfigurationError(f"{', '.join(settings)}: a setting of the worker; add worker=True")

    @asynccontextmanager
    async def lifespan(web: Starlette) -> AsyncIterator[None]:
        async with app, contextlib.AsyncExitStack() as stack:
            for each in map(app.shard, app.shards) if app.shards else [app]:
                await each.async_client()  # raises ConfigurationError now where no database is given
            web.state.underway_workers = []
            if worker:
                running = _run_beside(await app.worker_async(**settings))
                web.state.underway_workers.append(await stack.enter_async_context(running))
            yield

    return lifespan


@asynccontextmanager
async def _run_beside(worker: Worker) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """Run a worker while the block runs, which begins when the worker has started. Raises why it could not start."""
    running = asyncio.create_task(worker.run(), name=f"underway worker {worker.name}")
    try:
        started = asyncio.create_task(worker.started.wait())
        try:
            await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
        if running.done():
            running.result()
        running.add_done_callback(_log_end)
        yield worker, running
    finally:
        running.remove_done_callback(_log_end)
        worker.stop()
        if not running.done():
            await running  # a cancellation of this task makes the worker give everything back at once


def _log_end(running: asyncio.Task[None]) -> None:
    error = None if running.cancelled() else running.exception()
    logger.error(
        "%s has ended before the web server; restart the server to start it again", running.get_name(), exc_info=error
    )


async def worker_health(request: Request) -> Response:
    """A route: responds with 200 while the worker of this process runs, and with 503 when it has ended.

    The JSON is that of `underway worker --health-port`; "ready" is false while the database is unavailable.
    """
    if not hasattr(request.app.state, "underway_workers"):
        raise ConfigurationError(
            "underway_lifespan does not run here: give it to the application that the server serves, and in tests use"
            " TestClient in a with block"
        )
    workers = [
        {**describe_health(worker), **({"alive": False, "ready": False} if running.done() else {})}
        for worker, running in request.app.state.underway_workers
    ]
    report: dict[str, Any] = {key: all(worker[key] for worker in workers) for key in ("alive", "ready")}
    body = json.dumps({**report, "workers": workers}, default=str)
    return Response(body, 200 if report["alive"] else 503, media_type="application/json")
