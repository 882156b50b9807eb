"""The immediate mode: an enqueue runs its task at once, in the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..app import App
from .binding import After, Place, use
from .running import run_pending, run_pending_async

__all__ = ["immediate"]

# A task that a handler enqueues runs when the handler has ended, as with a worker.
_RUNS: ContextVar[bool] = ContextVar("underway_immediate", default=False)


@contextmanager
def immediate(app: App | None = None, *, record_errors: bool = False, limit: int = 1000) -> Iterator[None]:
    """Run tasks at once in the block: each enqueue calls `run_pending`, in the transaction of the caller if it has one.

    The task is stored first, so its arguments pass through JSON, and its options count: one that is delayed does not
    run. What a handler raises comes out of the enqueue, unless `record_errors` is true. What handlers enqueue runs when
    they have ended. `app` is the application, else the one that is bound.
    """
    place = Place.of(app, None)

    def run(connection: Any) -> None:
        __tracebackhide__ = True
        if not _RUNS.get():
            token = _RUNS.set(True)
            try:
                run_pending(place.app, within=connection, record_errors=record_errors, limit=limit)
            finally:
                _RUNS.reset(token)

    async def run_async(connection: Any) -> None:
        __tracebackhide__ = True
        if not _RUNS.get():
            token = _RUNS.set(True)
            try:
                await run_pending_async(place.app, within=connection, record_errors=record_errors, limit=limit)
            finally:
                _RUNS.reset(token)

    with use(place.app, within=place.within, after=After(run, run_async)):
        yield
