"""The statements of a worker: sent again while the database is unavailable. One line says when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Self, TypeVar

import psycopg

from .. import connections, statements
from ..client import execute_async
from ..connections import Dsn
from ..statements import Statement
from .settings import WorkerSettings

__all__ = ["Database", "GaveUp"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, connections.READ_ONLY)


class GaveUp(Exception):
    """The worker stops, and the database is still unavailable."""


class Database:
    """Two connections of a worker: one claims while the other settles.

    `on_unresponsive` is called when the server has not answered in time: other connections may be as dead.
    """

    def __init__(self, dsn: Dsn, name: str, settings: WorkerSettings, on_unresponsive: Callable[[], None]) -> None:
        self._name = name
        self._settings = settings
        self._on_unresponsive = on_unresponsive
        self._pool = connections.AsyncPool(dsn, max_size=2, application_name=f"underway worker {name}")
        self._away_since: float | None = None
        self._away_for: set[str | None] = set()  # SQLSTATEs that were logged since then
        self.reached_at: float | None = None
        self.give_up_at = float("inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._pool.drain()

    @property
    def is_reachable(self) -> bool:
        """Whether the database has answered lately."""
        return self.reached_at is not None and time.monotonic() - self.reached_at < self._settings.unready_after

    def unavailable(self, error: BaseException) -> None:
        """Log that the database cannot be reached; once for each reason, whichever part of the worker notices it."""
        reason, words = getattr(error, "sqlstate", None), str(error).strip().partition("\n")[0]
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._away_for = {reason}
            logger.warning("worker %s: cannot reach the database, retrying: %s", self._name, words)
        elif reason not in self._away_for:
            self._away_for.add(reason)
            logger.warning("worker %s: the database is still unavailable: %s", self._name, words)

    def heard(self) -> None:
        """A notification has arrived."""
        self.reached_at = time.monotonic()

    def reached(self) -> None:
        """The database has answered."""
        self.reached_at = time.monotonic()
        if self._away_since is not None:
            logger.warning(
                "worker %s: the database is back after %.1f s", self._name, self.reached_at - self._away_since
            )
            self._away_since = None

    async def run(self, statement: Statement[T]) -> T:
        """Run a statement that may be repeated; it is sent again after every operational error."""
        return await self._run(statement, transient_only=False)

    async def report(self, statement: Statement[T]) -> T:
        """Run a statement with results of tasks. Raises what is about the results: they would be refused again."""
        return await self._run(statement, transient_only=True)

    async def _run(self, statement: Statement[T], *, transient_only: bool) -> T:
        pause, patience = 0.1, self._settings.silent_after
        silent: list[connections.Session] = []
        while True:
            session = None
            try:
                async with self._pool.connection(timeout=self._settings.connect_timeout) as connection:
                    session = connections.session(connection)
                    with connections.answer_within(patience, connection):
                        if silent:
                            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                                await execute_async(connection, statements.end_sessions(silent))
                            silent = []
                        answer = await execute_async(connection, statement)
                self.reached()
                return answer
            except _UNAVAILABLE as error:
                transient = connections.is_passing(error)
                if transient_only and not transient:
                    raise
                if time.monotonic() > self.give_up_at:
                    raise GaveUp from error
                if isinstance(error, connections.ServerUnresponsive):
                    silent += [session] if session is not None else []
                    patience *= 2  # it may only be slow
                    self._on_unresponsive()
                if transient:
                    self.unavailable(error)
                else:
                    logger.warning("worker %s: a statement failed, retrying: %s", self._name, str(error).strip())
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, self._settings.connect_timeout)
