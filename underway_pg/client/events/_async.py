"""Reading events one after the other, over a connection that listens for them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable

import psycopg

from ... import connections, statements
from ...connections import Dsn, answer_within, connect_async, is_outage, unavailable
from ...connections.primitives import wait_for_event_async
from ...errors import DatabaseUnavailable
from ...models import Event
from ..execute import execute_async
from .window import PAGE, REREAD_EVERY, Window, check_kinds

__all__ = ["read_events_async"]

logger = logging.getLogger(__name__)

# Seconds. Failed attempts are not notified, and poolers deliver no notifications.
_POLL_INTERVAL = 1.0

# Seconds. After a notification the reader waits for more of them, instead of reading after each.
_GATHER = 0.05

# Seconds between two attempts to connect again; the pause doubles up to the maximum.
_FIRST_PAUSE = 0.5
_MAX_PAUSE = 30.0


async def read_events_async(
    dsn: Dsn, kinds: Iterable[str] | None = None, after: int | None = None, timeout: float | None = None
) -> AsyncIterator[Event]:
    """The events of some kinds as they happen; see `AsyncClient.events`."""
    chosen = check_kinds(kinds, after)
    ends_at = None if timeout is None else time.monotonic() + timeout
    window: Window | None = None
    pause = _FIRST_PAUSE
    while True:
        try:
            async with await connect_async(dsn) as connection:
                with answer_within(connections.SILENT_AFTER, connection):
                    await connection.execute("listen underway_event")
                    if window is None:
                        window = Window(after, await execute_async(connection, statements.last_event()))
                window.reread_at = 0.0  # what happened while there was no connection was not notified
                while True:
                    await _begin(connection, window)
                    while window.has_more:
                        with answer_within(connections.SILENT_AFTER, connection):
                            page = await execute_async(connection, statements.events_after(window.place, chosen, PAGE))
                        for event in window.take(page):
                            yield event
                    window.end(time.monotonic())
                    pause = _FIRST_PAUSE
                    left = float("inf") if ends_at is None else ends_at - time.monotonic()
                    if left <= 0:
                        return
                    await _wait(connection, min(left, _POLL_INTERVAL))
        except psycopg.Error as error:
            if not is_outage(error) or (isinstance(error, DatabaseUnavailable) and window is None):
                raise
            if window is None:
                raise unavailable(error) from error
            logger.warning("reading events: cannot reach the database, retrying: %s", str(error).strip())
        if ends_at is not None and time.monotonic() + pause > ends_at:
            return
        await wait_for_event_async(asyncio.Event(), pause)
        pause = min(2 * pause, _MAX_PAUSE)


async def _begin(connection: psycopg.AsyncConnection[object], window: Window) -> None:
    """Begin to read: from the highest id on, or every few seconds the last minute."""
    if time.monotonic() < window.reread_at:
        window.begin(None)
    else:
        with answer_within(connections.SILENT_AFTER, connection):
            last = await execute_async(connection, statements.last_event())
        window.begin(last)


async def _wait(connection: psycopg.AsyncConnection[object], seconds: float) -> None:
    """Wait for a notification, at most some seconds."""
    notified = False
    async for _ in connection.notifies(timeout=min(seconds, REREAD_EVERY), stop_after=1):
        notified = True
    if notified:
        async for _ in connection.notifies(timeout=_GATHER):
            pass
