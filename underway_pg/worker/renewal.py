"""Renewing leases, in a thread with a connection of its own: neither a blocked loop nor a slow claim delays it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import psycopg

from .. import connections, statements
from ..client import execute
from ..errors import UnderwayError
from .attempt import Attempt, AttemptState
from .deadlines import Deadlines
from .shared import Shared

__all__ = ["Renewer"]

_END_WITHIN = 1.0  # seconds


class Renewer(threading.Thread):
    """The thread. It connects when the first lease is due: a worker of short tasks needs no such connection.

    While the loop is blocked, the leases of tasks that have not started are not renewed: other workers may take them.
    `on_renewed` is called on the loop with the attempts and the ids that are still held.
    """

    def __init__(
        self,
        dsn: Any,
        shared: Shared,
        deadlines: Deadlines,
        on_renewed: Callable[[list[Attempt], set[int]], None],
    ) -> None:
        super().__init__(name="underway-renewal", daemon=True)
        self._dsn = dsn
        self._application_name = f"underway worker {shared.name}"
        self._database = shared.database
        self._held = shared.held
        self._silent_after = shared.settings.silent_after
        self._deadlines = deadlines
        self._on_renewed = on_renewed
        self._loop = asyncio.get_running_loop()
        self._due: SimpleQueue[list[Attempt] | None] = SimpleQueue()
        self._closed = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None

    def renew(self, attempts: list[Attempt]) -> None:
        """Renew the leases of attempts soon. May be called in any thread."""
        self._due.put(attempts)

    def close(self) -> None:
        """End the thread, also one that waits for an answer, and its connection. Waits for that."""
        self._closed.set()
        self._due.put(None)
        self.join(_END_WITHIN)
        if self.is_alive() and (connection := self._connection) is not None:
            connections.sever(connection)
            self.join(_END_WITHIN)

    def run(self) -> None:
        """Renew all that is due in one statement, as long as the worker lives."""
        pause = 0.1
        try:
            while (due := self._take()) is not None:
                try:
                    self._renew(due)
                    pause = 0.1
                except (psycopg.Error, UnderwayError) as error:
                    self._disconnect()
                    if self._closed.is_set():
                        break
                    self._loop.call_soon_threadsafe(self._database.unavailable, error)
                    self._due.put(due)
                    self._closed.wait(pause)
                    pause = min(2 * pause, 2.0)
        except RuntimeError:  # the loop is closed
            if not self._loop.is_closed():
                raise
        finally:
            self._disconnect()

    def _take(self) -> list[Attempt] | None:
        """All that is due; None at the end."""
        due: dict[Attempt, None] = {}
        batch = self._due.get()
        while batch is not None:
            due.update(dict.fromkeys(batch))
            try:
                batch = self._due.get_nowait()
            except Empty:
                return list(due)
        return None

    def _renew(self, due: list[Attempt]) -> None:
        due = [attempt for attempt in due if attempt in self._held]
        renewed = [
            attempt for attempt in due if not (attempt.state is AttemptState.CLAIMED and self._deadlines.is_blocked)
        ]
        if renewed:
            kept = self._heartbeat([each.task.id for each in renewed], [each.task.lease for each in renewed])
            self._loop.call_soon_threadsafe(self._database.reached)
            self._loop.call_soon_threadsafe(self._on_renewed, renewed, set(kept))

    def _heartbeat(self, ids: list[int], leases: list[bytes]) -> list[int]:
        if self._connection is None:
            self._connection = connections.connect(self._dsn, application_name=self._application_name)
        with connections.answer_within_sync(self._silent_after, self._connection):
            return execute(self._connection, statements.heartbeat(ids, leases))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
