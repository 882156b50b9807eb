"""Results, until the database knows them: each kind is sent in batches, bounded in tasks and in bytes.

When the server refuses a batch, each half of it is sent alone, until the bad result is alone and fails by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import psycopg

from .. import statements
from ..connections import Session
from ..errors import DatabaseRefusal
from ..models import FailedTask
from ..statements import Statement
from .attempt import Attempt
from .reports import Failed, completed, failed, released, snoozed
from .shared import Shared

__all__ = ["Settler"]

A = TypeVar("A")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_REFUSED = (DatabaseRefusal, psycopg.Error)


class Listeners(Protocol):
    """Who is told what the database made of results."""

    def failed(self, result: Failed, settled: FailedTask) -> None:
        """A failed attempt is recorded."""

    def lost(self, attempt: Attempt) -> None:
        """A task was not held any more."""

    def refused(self, attempt: Attempt, error: DatabaseRefusal | psycopg.Error) -> None:
        """The database refuses a result, alone too."""


@dataclass(frozen=True)
class _Kind(Generic[R, A]):
    """How results of one kind are sent, and what to do with the answers, which the statement gives by task."""

    statement: Callable[[list[R]], Statement[list[A]]]
    id: Callable[[A], int]
    attempt: Callable[[R], Attempt]
    size: Callable[[R], int]
    settled: Callable[[R, A], None] | None
    refused: Callable[[R, DatabaseRefusal | psycopg.Error], None]


class Settler:
    """Put results into these lists, and set `settle_wanted`.

    succeeded  with the output as JSON text
    failed     what is retried, or fails permanently
    snoozed    with the delay
    released   what is given back, started or not
    lost_sessions  server sessions of broken transactions. They are ended first, because they hold locks
    """

    def __init__(self, shared: Shared, listeners: Listeners) -> None:
        self.succeeded: list[tuple[Attempt, str | None]] = []
        self.failed: list[Failed] = []
        self.snoozed: list[tuple[Attempt, timedelta]] = []
        self.released: list[Attempt] = []
        self.lost_sessions: list[Session] = []
        self._shared = shared
        self._listeners = listeners
        refused = listeners.refused
        self._success = _Kind[tuple[Attempt, str | None], int](
            statement=completed,
            id=int,
            attempt=lambda result: result[0],
            size=lambda result: len(result[1] or ""),
            settled=None,
            refused=lambda result, error: refused(result[0], error),
        )
        self._failure = _Kind[Failed, FailedTask](
            statement=failed,
            id=lambda answer: answer.id,
            attempt=lambda result: result.attempt,
            size=lambda result: len(result.text),
            settled=listeners.failed,
            refused=self._failure_refused,
        )
        self._snooze = _Kind[tuple[Attempt, timedelta], int](
            statement=snoozed,
            id=int,
            attempt=lambda result: result[0],
            size=lambda result: 0,
            settled=None,
            refused=lambda result, error: refused(result[0], error),
        )
        self._release = _Kind[Attempt, int](
            statement=released,
            id=int,
            attempt=lambda result: result,
            size=lambda result: 0,
            settled=None,
            refused=self._let_lapse,
        )

    async def run(self) -> None:
        """Settle what ends, until the worker stops and holds nothing."""
        shared = self._shared
        # A claim that is under way when the worker stops may still bring tasks, to be given back.
        while not shared.stops or shared.held or shared.claiming or self.lost_sessions:
            await shared.settle_wanted.wait()
            shared.settle_wanted.clear()
            await self._end_lost_sessions()
            if self.failed or self.snoozed:
                await self._send_all(self.failed, self._failure)
                await self._send_all(self.snoozed, self._snooze)
                shared.tick_wanted.set()  # some of it may be due again soon
            await self._send_all(self.released, self._release)
            await self._send_all(self.succeeded, self._success)

    async def _end_lost_sessions(self) -> None:
        while self.lost_sessions:
            lost, self.lost_sessions = self.lost_sessions, []
            try:
                if ended := await self._shared.database.report(statements.end_sessions(lost)):
                    logger.warning("worker %s: ended %s lost sessions of handlers", self._shared.name, ended)
            except psycopg.errors.InsufficientPrivilege as error:
                logger.warning("worker %s: cannot end a lost session: %s", self._shared.name, str(error).strip())

    async def _send_all(self, results: list[R], kind: _Kind[R, A]) -> None:
        taken, results[:] = results[:], []
        for batch in _batches(taken, kind.size, self._shared.settings.max_settlement_bytes):
            await self._send(batch, kind)

    async def _send(self, results: list[R], kind: _Kind[R, A], tries: int = 0) -> None:
        settings, observer = self._shared.settings, self._shared.observer
        sent_at = time.monotonic() if observer is not None else 0.0
        try:
            answers = await self._shared.database.report(kind.statement(results))
        except _REFUSED as error:
            if (error.sqlstate or "").startswith("42"):
                raise  # it is not about a result: the schema is another one
            if len(results) > 1:
                middle = len(results) // 2
                await self._send(results[:middle], kind)
                await self._send(results[middle:], kind)
            elif isinstance(error, psycopg.errors.QueryCanceled) and tries < settings.result_retries:
                await asyncio.sleep(settings.result_retry_pause)  # the server may only have been slow
                await self._send(results, kind, tries + 1)
            else:
                kind.refused(results[0], error)
        else:
            if observer is not None:
                observer.sent(time.monotonic() - sent_at)
            self._settled(results, kind, answers)

    def _settled(self, results: list[R], kind: _Kind[R, A], answers: list[A]) -> None:
        attempts = list(map(kind.attempt, results))
        self._shared.forget(*attempts)
        by_task = {kind.id(answer): answer for answer in answers}
        if len(by_task) < len(attempts):
            for attempt in attempts:
                if attempt.task.id not in by_task:
                    self._listeners.lost(attempt)
        if kind.settled is not None:
            for result, attempt in zip(results, attempts, strict=True):
                if (answer := by_task.get(attempt.task.id)) is not None:
                    kind.settled(result, answer)
        if kind is self._success:
            self._shared.counters.succeeded += len(by_task)
        if (observer := self._shared.observer) is not None and kind is not self._failure:
            settled = [attempt for attempt in attempts if attempt.task.id in by_task]
            if kind is self._snooze:
                observer.ended("skipped", [attempt for attempt in settled if attempt.skipped])
                observer.ended("snoozed", [attempt for attempt in settled if not attempt.skipped])
            else:
                observer.ended("succeeded" if kind is self._success else "released", settled)

    def _failure_refused(self, result: Failed, error: DatabaseRefusal | psycopg.Error) -> None:
        if result.escaped:
            self._let_lapse(result.attempt, error)
        else:
            self.failed.append(result.escape())
            self._shared.settle_wanted.set()

    def _let_lapse(self, attempt: Attempt, error: DatabaseRefusal | psycopg.Error) -> None:
        """Give up reporting the end of a task. Its lease will lapse, and the database takes it back."""
        logger.error(
            "task %s: its end cannot be recorded, and its lease will lapse: %s",
            attempt.task.id, str(error).strip(), extra={"task": attempt.task.id},
        )  # fmt: skip
        self._shared.forget(attempt)
        if self._shared.observer is not None:
            self._shared.observer.ended("lost", [attempt])


def _batches(results: list[R], size: Callable[[R], int], limit: int) -> list[list[R]]:
    """Results in batches of at most `limit` characters, unless one alone is larger."""
    batches: list[list[R]] = []
    total = limit + 1
    for result in results:
        more = size(result)
        if total + more > limit:
            batches.append([])
            total = 0
        batches[-1].append(result)
        total += more
    return batches
