"""Async handlers: each is a task of the event loop, with a copy of the worker's context."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Collection, Iterable
from typing import Any

from ..attempt import Attempt
from ..context import CURRENT
from ..execution import call, output_text, run_async
from ..parts import let_go
from ..stacks import waiting_stack
from . import OnEnd

__all__ = ["LoopExecutor"]

# A handler that never waits ends before `start` returns, and costs no turn of the loop.
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


_END_WITHIN = 1.0  # seconds


class LoopExecutor:
    """Runs async handlers on the loop that runs when this is made. `held` are the attempts of the worker."""

    def __init__(self, on_end: OnEnd, held: Collection[Attempt]) -> None:
        self._on_end = on_end
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._abandoned: list[asyncio.Task[None]] = []

    def start(self, attempt: Attempt) -> None:
        """Start the handler in a task of its own; until Python 3.12 it begins with the next turn of the loop."""
        assert attempt.job is not None
        task = asyncio.Task(
            self._run(attempt), loop=self._loop, name=attempt.job.name, context=self._context.copy(), **_EAGER
        )
        if not task.done():
            attempt.handle = task

    async def _run(self, attempt: Attempt) -> None:
        output = error = None
        try:
            if attempt.environment.middleware:
                output = await run_async(attempt)
            else:
                CURRENT.set(attempt)
                output = output_text(attempt, await call(attempt))
        except BaseException as raised:  # it belongs to the attempt, whatever it is
            error = raised
        attempt.handle = None
        if attempt.deadline:  # it is not short, and may have blocked the loop for longer than its timeout
            attempt.check_timeout()
        self._on_end(attempt, output, error)

    def stop(self, attempt: Attempt) -> bool:
        """Cancel the handler, and once more if it goes on."""
        if attempt.stop_level == 2:
            if attempt.handle is not None:
                self._abandoned.append(attempt.handle)
            return False
        if attempt.handle is not None:
            # A task that is cancelled before its first step never runs, and would not report its end.
            self._loop.call_soon(attempt.handle.cancel)
        return True

    def stack(self, attempt: Attempt) -> str:
        """Where the handler waits."""
        return "" if attempt.handle is None else waiting_stack(attempt.handle.get_coro())

    def running_now(self, attempts: Iterable[Attempt]) -> Attempt | None:
        """Which of these attempts has the handler that holds the loop at this moment. For other threads."""
        task = asyncio.current_task(self._loop)
        return None if task is None else next((attempt for attempt in attempts if attempt.handle is task), None)

    async def close(self) -> None:
        """Cancel the handlers that still run, and let go of those that go on all the same."""
        running = [attempt.handle for attempt in self._held if attempt.is_live and attempt.executor is self]
        tasks = [task for task in running if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_WITHIN)
        for task in [*self._abandoned, *tasks]:
            if not task.done():
                let_go(task)
