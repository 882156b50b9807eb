"""Async handlers: each is a task of the event loop, with a copy of the worker's context."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

from ..attempt import Attempt, AttemptState
from ..execution import run_async
from ..stacks import waiting_stack
from . import OnEnd

__all__ = ["LoopExecutor"]

# A handler that never waits ends before `start` returns, and costs no turn of the loop.
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


_END_WITHIN = 1.0  # seconds


class LoopExecutor:
    """Runs async handlers on the loop that runs when this is made."""

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._tasks: dict[asyncio.Task[None], Attempt] = {}

    def start(self, attempt: Attempt) -> None:
        """Start the handler in a task of its own; until Python 3.12 it begins with the next turn of the loop."""
        assert attempt.job is not None
        task = asyncio.Task(
            self._run(attempt), loop=self._loop, name=attempt.job.name, context=self._context.copy(), **_EAGER
        )
        if not task.done():
            attempt.handle = task
            self._tasks[task] = attempt

    async def _run(self, attempt: Attempt) -> None:
        output = error = None
        try:
            output = await run_async(attempt)
        except BaseException as raised:  # it belongs to the attempt, whatever it is
            error = raised
        self._tasks.pop(attempt.handle, None)
        attempt.handle = None
        self._on_end(attempt, output, error)

    def stop(self, attempt: Attempt) -> bool:
        """Cancel the handler, and once more if it goes on."""
        if attempt.stop_level == 2:
            return False
        if attempt.handle is not None:
            # A task that is cancelled before its first step never runs, and would not report its end.
            self._loop.call_soon(attempt.handle.cancel)
        return True

    def stack(self, attempt: Attempt) -> str:
        """Where the handler waits."""
        return "" if attempt.handle is None else waiting_stack(attempt.handle.get_coro())

    def running_now(self) -> Attempt | None:
        """The attempt whose handler holds the loop at this moment. May be called in another thread."""
        task = asyncio.current_task(self._loop)
        return None if task is None else self._tasks.get(task)

    async def close(self) -> None:
        """Cancel the handlers that still run."""
        running = [task for task, attempt in self._tasks.items() if attempt.state is not AttemptState.ABANDONED]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_END_WITHIN)
