"""The clock of the database, standing still: retries, schedules and expiries come when the test moves it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from ..statements import Statement
from .binding import Place
from .schema import call, only_for_tests

__all__ = ["Clock"]

T = TypeVar("T")

_STOP = "underway_test.stop_clock(%(at)s::timestamptz)"
_STOP_NOW = "underway_test.stop_clock()"
_MOVE = "underway_test.advance_clock(%(by)s::interval)"
_START = "underway_test.start_clock()::text"


class Clock:
    """Stops and moves the clock of a test database, for all its connections: `with Clock() as clock`.

    within   a connection or a session with an open transaction: the clock stops for this transaction only, and goes on
             when it is rolled back. Without it, for the whole database of the application that the test uses

    Each method has a form that ends in `_async`, for an async `within`. All raise ConfigurationError for a database
    that is not marked as one for tests.
    """

    def __init__(self, *, within: Any = None) -> None:
        self._within = within

    def _run(self, statement: Statement[T]) -> T:
        with only_for_tests():
            return Place.of(None, self._within).run(statement)

    async def _run_async(self, statement: Statement[T]) -> T:
        with only_for_tests():
            return await Place.of(None, self._within).run_async(statement)

    def now(self) -> datetime:
        """The time that this clock shows."""
        return self._run(_NOW)

    async def now_async(self) -> datetime:
        """The time that this clock shows."""
        return await self._run_async(_NOW)

    def stop(self, at: datetime | None = None) -> datetime:
        """Stop the clock now, or at a time. Returns the time."""
        return self._run(_stop(at))

    async def stop_async(self, at: datetime | None = None) -> datetime:
        """Stop the clock now, or at a time. Returns the time."""
        return await self._run_async(_stop(at))

    def move(self, by: timedelta | None = None, /, **units: float) -> datetime:
        """Move the clock by a timedelta, or by `hours=2`, `seconds=30`; it stays stopped. Returns the time."""
        return self._run(_move(by, units))

    async def move_async(self, by: timedelta | None = None, /, **units: float) -> datetime:
        """Move the clock, as `move` does."""
        return await self._run_async(_move(by, units))

    def start(self) -> None:
        """Let the clock show the time of the server again."""
        self._run(call(_START))

    async def start_async(self) -> None:
        """Let the clock show the time of the server again."""
        await self._run_async(call(_START))

    def __enter__(self) -> Self:
        self.stop()
        return self

    def __exit__(self, *error: object) -> None:
        self.start()

    async def __aenter__(self) -> Self:
        await self.stop_async()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.start_async()


_NOW: Statement[datetime] = call("underway._clock()")


def _stop(at: datetime | None) -> Statement[datetime]:
    return call(_STOP_NOW) if at is None else call(_STOP, at=at)


def _move(by: timedelta | None, units: dict[str, float]) -> Statement[datetime]:
    return call(_MOVE, by=timedelta(**units) if by is None else by)
