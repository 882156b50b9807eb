"""What happened to tasks in a time, in words: rates and percentiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from .options import duration_option

__all__ = ["CAPPED", "DONE", "LAST_HOUR", "Period", "Since", "added", "percentiles", "rate", "seconds_in_words"]

# What is counted over a time.
DONE = ("enqueued", "started", "succeeded", "failed", "retried", "cancelled", "expired")

# What is counted now, up to a bound.
CAPPED = ("ready", "parked", "scheduled", "in_progress", "waiting", "expired", "dead_letters")

LAST_HOUR = timedelta(hours=1)

Since = Annotated[timedelta | None, duration_option("The time of the rates and percentiles, up to now. Default: 1h.")]


@dataclass(frozen=True)
class Period:
    """A time up to now. Statistics are kept by the minute, and after a day by the hour: it begins with one."""

    since: datetime
    until: datetime

    @classmethod
    def last(cls, length: timedelta | None, now: datetime) -> Period:
        """The last hour or so, by the clock of the database."""
        now = now.astimezone(UTC)
        since = (now - (length or LAST_HOUR)).replace(second=0, microsecond=0)
        return cls(since.replace(minute=0) if now - since > timedelta(days=1) else since, now)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until - self.since).total_seconds()


def added(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The numbers of `underway.stats()` of several databases together: their sums, and the highest ages and flag."""
    highest = ("capped", "counted_seconds_ago", "oldest_ready_seconds")
    return {
        name: max(values) if name in highest else sum(values)
        for name in numbers[0]
        for values in [[each[name] for each in numbers]]
    }


def rate(count: int, seconds: float) -> str:
    """How often something happened, in the unit in which the number is at least 1."""
    if count == 0:
        return "0"
    per_second = count / seconds
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if per_second * length >= 1:
            return f"{per_second * length:,.{0 if per_second * length >= 100 else 1}f}/{unit}"
    return f"{per_second * 86400:.1f}/d"


def seconds_in_words(seconds: float | None) -> str | None:
    """A duration in a unit that suits it."""
    if seconds is None:
        return None
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def percentiles(*values: float | None) -> str | None:
    """Percentiles of a duration in one cell."""
    if values[0] is None:
        return None
    return " / ".join(seconds_in_words(value) or "" for value in values)
