"""The lifespan of an application around the work of a worker. A stop of the worker cuts it short."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from .shared import Shared

__all__ = ["Lifespan", "LifespanCancelled"]

logger = logging.getLogger(__name__)


class LifespanCancelled(Exception):
    """The worker was stopped while its lifespan started; the start was cancelled."""


class Lifespan:
    """Opens and closes the context manager of the application, in the task of the worker.

    Its start is cancelled by the first stop. Its end is cancelled after the shutdown timeout. If the worker gives
    everything back at once, the end has one step of stopping.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any], shared: Shared) -> None:
        self._manager = manager
        self._shared = shared
        self._starting: asyncio.Timeout | None = None
        self._ending: asyncio.Timeout | None = None

    async def __aenter__(self) -> Any:
        try:
            async with asyncio.timeout(None) as limit:
                self._starting = limit
                return await self._manager.__aenter__()
        except TimeoutError:
            if not limit.expired():
                raise  # its own
            logger.warning("worker %s: stopped while the lifespan started; the start is cancelled", self._shared.name)
            raise LifespanCancelled from None
        finally:
            self._starting = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        settings = self._shared.settings
        seconds = settings.stop_step if self._shared.forced else settings.shutdown_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                self._ending = limit
                return await self._manager.__aexit__(kind, error, trace)
        except TimeoutError:
            if not limit.expired():
                raise  # its own
            logger.warning("worker %s: the lifespan does not end; its end is cancelled", self._shared.name)
            return None
        finally:
            self._ending = None

    def stop(self) -> None:
        """The worker is asked to stop: cancel the start."""
        if self._starting is not None and not self._starting.expired():
            self._starting.reschedule(0)

    def force(self) -> None:
        """The worker is asked to give everything back at once: the end has one step of stopping left."""
        if self._ending is not None and not self._ending.expired():
            sooner = asyncio.get_running_loop().time() + self._shared.settings.forced_stop_step
            self._ending.reschedule(min(sooner, self._ending.when() or sooner))
