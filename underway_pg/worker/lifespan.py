"""The lifespan of an application around the work of a worker. A stop of the worker cuts it short."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from .parts import let_go
from .shared import Shared

__all__ = ["Lifespan", "LifespanCancelled"]

logger = logging.getLogger(__name__)


class LifespanCancelled(Exception):
    """The worker was stopped while its lifespan started; the start was cancelled."""


class Lifespan:
    """Opens and closes the context manager of the application, in a task of its own.

    Its start is cancelled by the first stop. Its end is cancelled after the shutdown timeout; if the worker gives
    everything back at once, after one step of stopping. A lifespan that ignores its cancellation is abandoned after
    one step more, which is why it has its own task. `on_end` is called when it ends before the worker, as when a task
    group in it fails.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any], shared: Shared, on_end: Callable[[], None]) -> None:
        self._manager = manager
        self._shared = shared
        self._on_end = on_end
        self._context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[Any] = loop.create_future()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._forced: asyncio.Future[None] = loop.create_future()
        self._leave: asyncio.Future[None] = loop.create_future()
        self._task: asyncio.Task[None]

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the context of the lifespan, so that it finds what the lifespan has set there."""
        await asyncio.create_task(work, context=self._context)

    async def _hold(self) -> None:
        async with self._manager as state:
            self._started.set_result(state)
            await self._leave

    async def __aenter__(self) -> Any:
        self._task = asyncio.create_task(self._hold(), context=self._context)
        self._task.add_done_callback(self._ended)
        await self._wait(self._started, self._stopped)
        if self._stopped.done() and not self._started.done():
            self._task.cancel()
            await self._wait(self._started, seconds=self._shared.settings.stop_step)
            if not self._started.done() and (not self._task.done() or self._task.cancelled()):
                name = self._shared.name
                logger.warning("worker %s: stopped while the lifespan started; the start is cancelled", name)
                self._abandon()
                raise LifespanCancelled
        if self._task.done():
            self._task.result()  # raises what has kept it from starting
        return self._started.result()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        settings = self._shared.settings
        if self._leave.done():
            pass  # cancelled: the lifespan has ended by itself
        elif isinstance(error, Exception):
            self._leave.set_exception(error)
            self._leave.exception()  # it is raised here too, whether the lifespan receives it or not
        else:
            self._leave.set_result(None)
        if self._shared.forced:
            await self._wait(seconds=settings.stop_step)
        else:
            await self._wait(self._forced, seconds=settings.shutdown_timeout)
            if self._forced.done():
                await self._wait(seconds=settings.forced_stop_step)
        if not self._task.done():
            logger.warning("worker %s: the lifespan does not end; its end is cancelled", self._shared.name)
            self._task.cancel()
            await self._wait(seconds=settings.forced_stop_step)
        if not self._task.done() or self._task.cancelled():
            self._abandon()
            return False
        raised = self._task.exception()
        if raised is not None and raised is not error:
            raise raised
        return raised is None  # if there was an error, the lifespan has swallowed it

    async def _wait(self, *others: asyncio.Future[Any], seconds: float | None = None) -> None:
        """Wait until the task has ended, or another thing has happened, at most some seconds."""
        await asyncio.wait({self._task, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._started.done() and (self._leave.cancelled() or not self._leave.done()):
            self._on_end()

    def _abandon(self) -> None:
        if not self._task.done():
            logger.warning("worker %s: the lifespan ignores its cancellation and is abandoned", self._shared.name)
            let_go(self._task)

    def stop(self) -> None:
        """The worker is asked to stop: cancel the start."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    def force(self) -> None:
        """The worker is asked to give everything back at once: the end has one step of stopping left."""
        if not self._forced.done():
            self._forced.set_result(None)
