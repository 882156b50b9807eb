"""Live updates: a stream of ticks for each viewer. One connection to each database listens for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import psycopg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..connections import Dsn, connect_async
from ..errors import UnderwayError
from .page import dashboard_of

__all__ = ["Ticker", "routes"]

logger = logging.getLogger(__name__)

# Seconds between two ticks if nothing happens, at least between two because of events, and between attempts to listen.
_INTERVAL = 5.0
_SHORTEST = 1.5
_RECONNECT = 10.0


class Ticker:
    """Wakes all viewers every few seconds, and soon after an event. It runs while there are viewers."""

    def __init__(self, *dsns: Dsn) -> None:
        self._dsns = dsns
        self._viewers: set[asyncio.Event] = set()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._happened = asyncio.Event()

    async def ticks(self) -> AsyncIterator[None]:
        """A tick whenever the viewer should look again. Ends when the dashboard closes."""
        viewer = asyncio.Event()
        self._viewers.add(viewer)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        try:
            while not self._closed:
                await viewer.wait()
                viewer.clear()
                if not self._closed:
                    yield
        finally:
            self._viewers.discard(viewer)
            if not self._viewers and self._running is not None:
                self._running.cancel()
                self._running = None

    def nudge(self) -> None:
        """Wake the viewers soon: something has changed."""
        self._happened.set()

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for viewer in self._viewers:
            viewer.set()

    async def _run(self) -> None:
        listeners = [asyncio.create_task(self._listen(dsn)) for dsn in self._dsns]
        try:
            while not self._closed:
                await asyncio.sleep(_SHORTEST)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._happened.wait(), _INTERVAL - _SHORTEST)
                self._happened.clear()
                self._wake()
        finally:
            for listener in listeners:
                listener.cancel()

    async def _listen(self, dsn: Dsn) -> None:
        while True:
            try:
                async with await connect_async(dsn, application_name="underway dashboard events") as connection:
                    await connection.execute("listen underway_event")
                    async for _ in connection.notifies():
                        self._happened.set()
            except (psycopg.Error, UnderwayError, OSError) as error:
                logger.debug("dashboard: no notifications, updates every %s s: %s", _INTERVAL, error)
            await asyncio.sleep(_RECONNECT)


async def live(request: Request) -> Response:
    """A stream of server-sent events, each named `tick`."""

    async def stream() -> AsyncIterator[str]:
        yield "retry: 5000\n\n"
        async for _ in dashboard_of(request).ticker.ticks():
            yield "event: tick\ndata: \n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


routes = [Route("/live", live, name="live")]
