"""What has ended, until the database knows: each kind is reported by one call for all of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import psycopg

from . import statements
from .connections import Session
from .errors import LeaseLost, Refusal
from .held import Held
from .statements import Statement

__all__ = ["Failure", "Settling"]

T = TypeVar("T")

logger = logging.getLogger("underway_pg")


@dataclass(frozen=True)
class Failure:
    """A failed attempt that is to be reported. `error` is JSON text."""

    held: Held
    error: str
    retryable: bool
    after: timedelta | None


class Do(Protocol):
    """Runs a statement; while the database is away, again and again."""

    async def __call__(self, statement: Statement[T], /) -> T:
        """Gives its answer."""


class Settling:
    """The ends that are to be reported: put them into these lists, and settle.

    done      with the output as JSON text
    failed    what is retried, or fails for good
    snoozed   with the delay
    returned  what is given back, begun or not
    lost      sessions that broken transactions have left on the server; they are ended first, for they hold locks

    `settled` is called with tasks that were reported, and the ids of those of them that were still held; `refused` with
    one whose report the database does not take.
    """

    def __init__(
        self,
        worker: str,
        do: Do,
        settled: Callable[[list[Held], set[int]], None],
        refused: Callable[[Held, Refusal], None],
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
                logger.warning("worker %s can not end a lost session: %s", self._worker, str(error).strip())

    async def _settle_done(self) -> None:
        done, self.done = self.done, []
        if not done:
            return
        settled = await self._do(
            statements.complete_many(
                [held.task.id for held, _ in done],
                [held.task.lease for held, _ in done],
                [output for _, output in done],
            )
        )
        self._settled([held for held, _ in done], set(settled))

    async def _settle_failed(self) -> None:
        failed, self.failed = self.failed, []
        if not failed:
            return
        settled = await self._do(
            statements.fail_many(
                [failure.held.task.id for failure in failed],
                [failure.held.task.lease for failure in failed],
                [failure.error for failure in failed],
                [failure.retryable for failure in failed],
                [failure.after for failure in failed],
            )
        )
        self._settled([failure.held for failure in failed], {row.id for row in settled})

    async def _settle_snoozed(self) -> None:
        snoozed, self.snoozed = self.snoozed, []
        for held, delay in snoozed:
            try:
                await self._do(statements.snooze(held.task.id, held.task.lease, delay))
                self._settled([held], {held.task.id})
            except LeaseLost:
                self._settled([held], set())
            except Refusal as error:
                self._refused(held, error)

    async def _settle_returned(self) -> None:
        returned, self.returned = self.returned, []
        if returned:
            settled = await self._do(
                statements.release_many([held.task.id for held in returned], [held.task.lease for held in returned])
            )
            self._settled(returned, set(settled))
