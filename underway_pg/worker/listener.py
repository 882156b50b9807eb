"""LISTEN: ready tasks, looks that others have done, and cancellations. Without it a worker polls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

import psycopg
from psycopg import sql

from .. import connections
from ..connections import Dsn
from .shared import Shared

__all__ = ["Listener"]

logger = logging.getLogger(__name__)


class Listener:
    """Listens over a connection of its own, and connects again when that breaks.

    When LISTEN is active, the worker claims, because earlier notifications were missed. `on_notify` gets the later
    ones. A server that does not answer for `silent_after` seconds counts as lost.
    """

    def __init__(self, dsn: Dsn, shared: Shared, on_notify: Callable[[psycopg.Notify], None]) -> None:
        self._dsn = dsn
        self._shared = shared
        self._name = shared.name
        self._silent_after = shared.settings.silent_after
        self._on_notify = on_notify
        self._pause = 0.1
        self._is_lost = False

    async def run(self) -> None:
        """Listen until this is cancelled."""
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                if not self._is_lost:  # once for an outage
                    self._is_lost = True
                    reason = str(error).strip().partition("\n")[0]
                    logger.warning("worker %s: LISTEN connection lost, reconnecting: %s", self._name, reason)
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))
            self._pause = min(2 * self._pause, 5.0)

    async def _listen(self) -> None:
        application_name = f"underway worker {self._name}"
        async with await connections.connect_async(self._dsn, application_name=application_name) as connection:
            if connections.is_pooled(connection):
                # The notifications would go to the next client of the server's session.
                logger.info(
                    "worker %s: connected through a pooler, LISTEN unavailable, polling; set listen_dsn", self._name
                )
                await asyncio.Event().wait()
            with connections.answer_within(self._silent_after, connection):
                await connection.execute("listen underway_ready")
                await connection.execute("listen underway_look")
                await connection.execute("listen underway_cancelled")
            self._pause = 0.1
            self._is_lost = False
            channel = ""
            while True:
                with connections.answer_within(self._silent_after, connection):
                    if channel == self._shared.channel:
                        await connection.execute("")  # does the server still answer?
                    else:  # at first, and when the worker was registered again
                        channel = self._shared.channel
                        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                        self._shared.claim_wanted.set()
                async with contextlib.aclosing(connection.notifies(timeout=self._silent_after)) as notifications:
                    async for notification in notifications:
                        self._on_notify(notification)
