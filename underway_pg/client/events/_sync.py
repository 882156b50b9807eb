# Generated from _async.py by tools/async_to_sync.py: change that one, then run `make sync-client`.

"""Reading events one after the other, over a connection that listens for them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator

import psycopg

from ... import connections, statements
from ...connections import Dsn, answer_within_sync, connect, is_outage
from ...connections.primitives import wait_for_event
from ...models import Event
from ..execute import execute
from .window import PAGE, REREAD_EVERY, Window, check_kinds

__all__ = ["read_events"]

logger = logging.getLogger(__name__)

# Seconds. Failed attempts are not notified, and poolers deliver no notifications.
_POLL_INTERVAL = 1.0

# Seconds. After a notification the reader waits for more of them, instead of reading after each.
_GATHER = 0.05

# Seconds between two attempts to connect again; the pause doubles up to the maximum.
_FIRST_PAUSE = 0.5
_MAX_PAUSE = 30.0


def read_events(
    dsn: Dsn, kinds: Iterable[str] | None = None, after: int | None = None, timeout: float | None = None
) -> Iterator[Event]:
    """The events of some kinds as they happen; see `AsyncClient.events`."""
    chosen = check_kinds(kinds, after)
    ends_at = None if timeout is None else time.monotonic() + timeout
    window: Window | None = None
    pause = _FIRST_PAUSE
    while True:
        try:
            with connect(dsn) as connection:
                connection.execute("listen underway_event")
                if window is None:
                    window = Window(after, execute(connection, statements.last_event()))
                window.reread_at = 0.0  # what happened while there was no connection was not notified
                while True:
                    _begin(connection, window)
                    while window.has_more:
                        with answer_within_sync(connections.SILENT_AFTER, connection):
                            page = execute(connection, statements.events_after(window.place, chosen, PAGE))
                        for event in window.take(page):
                            yield event
                    window.end(time.monotonic())
                    pause = _FIRST_PAUSE
                    left = float("inf") if ends_at is None else ends_at - time.monotonic()
                    if left <= 0:
                        return
                    _wait(connection, min(left, _POLL_INTERVAL))
        except psycopg.OperationalError as error:
            if window is None or not is_outage(error):
                raise
            logger.warning("reading events: cannot reach the database, retrying: %s", str(error).strip())
        if ends_at is not None and time.monotonic() + pause > ends_at:
            return
        wait_for_event(threading.Event(), pause)
        pause = min(2 * pause, _MAX_PAUSE)


def _begin(connection: psycopg.Connection[object], window: Window) -> None:
    """Begin to read: from the highest id on, or every few seconds the last minute."""
    if time.monotonic() < window.reread_at:
        window.begin(None)
    else:
        with answer_within_sync(connections.SILENT_AFTER, connection):
            last = execute(connection, statements.last_event())
        window.begin(last)


def _wait(connection: psycopg.Connection[object], seconds: float) -> None:
    """Wait for a notification, at most some seconds."""
    notified = False
    for _ in connection.notifies(timeout=min(seconds, REREAD_EVERY), stop_after=1):
        notified = True
    if notified:
        for _ in connection.notifies(timeout=_GATHER):
            pass
