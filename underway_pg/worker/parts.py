"""Run the parts of a worker together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["let_go", "run_to_end", "run_together"]

_END_WITHIN = 5.0  # seconds until parts that ignore their cancellation are left
_CANCEL_AGAIN_AFTER = 0.2


async def run_to_end(coroutine: Coroutine[Any, Any, None], *, on_cancel: Callable[[], None]) -> None:
    """Run a coroutine in a task that the cancellation of this one does not reach. Raises what it raised.

    The first cancellation calls `on_cancel`, which is to make the coroutine end. It is raised when that has ended.
    Further ones change nothing: anyio, for one, repeats a cancellation until the task has ended.
    """
    task = asyncio.create_task(coroutine)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            if cancelled is None:
                cancelled = error
                on_cancel()
    task.result()
    if cancelled is not None:
        raise cancelled


async def run_together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them has ended, then cancel the others. Raises what it raised."""
    tasks = {asyncio.create_task(part) for part in parts}
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended, but not for ever."""
    end_at = time.monotonic() + _END_WITHIN
    # More than once: until Python 3.12, asyncio.wait_for may lose a cancellation, and psycopg waits by it.
    while (running := {task for task in tasks if not task.done()}) and time.monotonic() < end_at:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_AFTER)


def let_go(task: asyncio.Task[None]) -> None:
    """Have `asyncio.run` end without a task that ignores its cancellation: it would wait for it forever."""
    asyncio._unregister_task(task)  # documented for extensions of asyncio
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # the worker has logged it
