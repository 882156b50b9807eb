"""Run the parts of a worker together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["run_together"]

_END_WITHIN = 5.0  # seconds until parts that ignore their cancellation are left
_CANCEL_AGAIN_AFTER = 0.2


async def run_together(
    *parts: Coroutine[Any, Any, None], on_cancel: Callable[[], None]
) -> asyncio.CancelledError | None:
    """Run coroutines until one of them has ended, then cancel the others. Raises what it raised.

    When this is cancelled it calls `on_cancel`, and goes on until a part has ended by itself; it returns the
    cancellation, for the caller to raise it. A second cancellation ends everything.
    """
    tasks = {asyncio.create_task(part) for part in parts}
    cancelled = None
    try:
        while True:
            try:
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                if cancelled is not None:
                    raise
                cancelled = error
                on_cancel()
            else:
                break
        for task in ended:
            task.result()
    finally:
        await _end(tasks)
    return cancelled


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended, but not for ever."""
    end_at = time.monotonic() + _END_WITHIN
    # More than once: until Python 3.12, asyncio.wait_for may lose a cancellation, and psycopg waits by it.
    while (running := {task for task in tasks if not task.done()}) and time.monotonic() < end_at:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_AFTER)
