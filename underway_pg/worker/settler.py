"""What has ended, until the database knows: each kind is reported by one call for all of it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import psycopg

from .. import statements
from ..connections import Session, is_passing
from ..errors import DatabaseRefusal, LeaseLost
from ..statements import Statement
from .attempt import Held

__all__ = ["Failure", "Settling"]

T = TypeVar("T")
E = TypeVar("E")

logger = logging.getLogger("underway_pg")

# Characters of output that one call reports, unless one output alone is larger: the server takes messages up to 1 GB.
_MOST_OUTPUT = 1 << 24

# How often a single end is reported whose call is canceled, as by a statement_timeout, and the seconds in between.
_TRIES = 3
_PAUSE = 1.0


@dataclass(frozen=True)
class Failure:
    """A failed attempt that is to be reported. `error` is JSON text, and with `escaped` it is ASCII."""

    held: Held
    error: str
    retryable: bool
    after: timedelta | None
    escaped: bool = False

    def escape(self) -> Failure:
        """The same in text that every encoding has, and with no delay but the backoff."""
        return replace(self, error=_NOT_ASCII.sub(_escaped, self.error), after=None, escaped=True)


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def _escaped(match: re.Match[str]) -> str:
    # With two backslashes, which JSON reads as one. An escape of JSON's own is refused like the character itself.
    return "\\" + match[0].encode("ascii", "backslashreplace").decode()


class Do(Protocol):
    """Runs a statement, and sends it again after an error that passes."""

    async def __call__(self, statement: Statement[T], /, *, patient: bool = True) -> T:
        """Returns its answer. With `patient` each OperationalError counts as one that passes."""


@dataclass(frozen=True)
class _How(Generic[E]):
    """How one kind of end is reported: by which call, for which task, and what to do when the server refuses one."""

    statement: Callable[[list[E]], Statement[list[int]]]
    held: Callable[[E], Held]
    refused: Callable[[E, DatabaseRefusal | psycopg.Error], None]


class Settling:
    """The ends that are to be reported: put them into these lists, and settle.

    done      with the output as JSON text
    failed    what is retried, or fails for good
    snoozed   with the delay
    returned  what is given back, begun or not
    lost      sessions that broken transactions have left on the server; they are ended first, for they hold locks

    `settled` is called with tasks that were reported, and the ids of those of them that were still held; `refused` with
    one whose result the database does not accept, and why.
    """

    def __init__(
        self,
        worker: str,
        do: Do,
        settled: Callable[[list[Held], set[int]], None],
        refused: Callable[[Held, DatabaseRefusal | psycopg.Error], None],
    ) -> None:
        self.done: list[tuple[Held, str | None]] = []
        self.failed: list[Failure] = []
        self.snoozed: list[tuple[Held, timedelta]] = []
        self.returned: list[Held] = []
        self.lost: list[Session] = []
        self._worker = worker
        self._do = do
        self._settled = settled
        self._refused = refused
        self._success = _How[tuple[Held, str | None]](
            lambda done: statements.complete_many(
                [held.task.id for held, _ in done],
                [held.task.lease for held, _ in done],
                [output for _, output in done],
            ),
            lambda done: done[0],
            lambda done, error: refused(done[0], error),
        )
        self._failure = _How[Failure](
            lambda failed: statements.fail_many(
                [failure.held.task.id for failure in failed],
                [failure.held.task.lease for failure in failed],
                [failure.error for failure in failed],
                [failure.retryable for failure in failed],
                [failure.after for failure in failed],
            ),
            lambda failure: failure.held,
            self._failure_refused,
        )
        self._return = _How[Held](
            lambda returned: statements.release_many(
                [held.task.id for held in returned], [held.task.lease for held in returned]
            ),
            lambda held: held,
            self._let_lapse,
        )

    async def settle(self) -> bool:
        """Report all that is there. Returns whether something of it may be due again soon."""
        soon = False
        for settle in (self._settle_failed, self._settle_snoozed, self._settle_returned, self._settle_done):
            if self.lost:
                await self._end_lost_sessions()
            soon = soon or bool(self.failed or self.snoozed)  # looked at each time: more may have come meanwhile
            await settle()
        return soon

    async def _end_lost_sessions(self) -> None:
        while self.lost:
            lost, self.lost = self.lost, []
            try:
                if ended := await self._do(statements.end_sessions(lost)):
                    logger.warning("worker %s has ended %s lost sessions of its handlers", self._worker, ended)
            except psycopg.errors.InsufficientPrivilege as error:
                logger.warning("worker %s cannot end a lost session: %s", self._worker, str(error).strip())

    async def _report(self, ends: list[E], how: _How[E], *, alone: int = 0) -> None:
        """Report ends in one call. When the server refuses it, report each end alone: then a bad one fails alone.

        `alone` counts the tries of a single end. A canceled one may have met a server that was slow for a moment.
        """
        try:
            settled = await self._do(how.statement(ends), patient=False)
        except _REFUSED as error:
            _raise_if_general(error)
            if alone == _TRIES or (alone and not isinstance(error, psycopg.errors.QueryCanceled)):
                how.refused(ends[0], error)
                return
            if alone:
                await asyncio.sleep(_PAUSE)
            for end in ends:
                await self._report([end], how, alone=alone + 1)
        else:
            self._settled([how.held(end) for end in ends], set(settled))

    async def _settle_done(self) -> None:
        done, self.done = self.done, []
        while done:
            await self._report(_take(done), self._success)

    async def _settle_failed(self) -> None:
        failed, self.failed = self.failed, []
        if failed:
            await self._report(failed, self._failure)

    def _failure_refused(self, failure: Failure, error: DatabaseRefusal | psycopg.Error) -> None:
        if failure.escaped:
            self._let_lapse(failure.held, error)
        else:
            self.failed.append(failure.escape())

    async def _settle_snoozed(self) -> None:
        snoozed, self.snoozed = self.snoozed, []
        for held, delay in snoozed:
            try:
                await self._do(statements.snooze(held.task.id, held.task.lease, delay), patient=False)
                self._settled([held], {held.task.id})
            except LeaseLost:
                self._settled([held], set())
            except _REFUSED as error:
                _raise_if_general(error)
                self._refused(held, error)

    async def _settle_returned(self) -> None:
        returned, self.returned = self.returned, []
        if returned:
            await self._report(returned, self._return)

    def _let_lapse(self, held: Held, error: DatabaseRefusal | psycopg.Error) -> None:
        """Give up reporting the end of a task. Its lease will lapse, and the database takes it back."""
        logger.error(
            "task %s: its end cannot be recorded, and its lease will lapse: %s",
            held.task.id, str(error).strip(), extra={"task": held.task.id},
        )  # fmt: skip
        self._settled([held], set())


_REFUSED = (DatabaseRefusal, psycopg.Error)


def _raise_if_general(error: DatabaseRefusal | psycopg.Error) -> None:
    """Raise an error that is not about one result: the database is away for good, or the schema is another one."""
    if is_passing(error) or (error.sqlstate or "").startswith("42"):
        raise error


def _take(done: list[tuple[Held, str | None]]) -> list[tuple[Held, str | None]]:
    """Take the first ends from a list, up to `_MOST_OUTPUT` characters of output, but at least one."""
    size = 0
    for number, (_, output) in enumerate(done):
        size += len(output) if output is not None else 0
        if size > _MOST_OUTPUT and number:
            taken, done[:] = done[:number], done[number:]
            return taken
    taken, done[:] = done[:], []
    return taken
