"""The types of the checks: what a check is, what it finds, and from which values on it complains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ._facts import Facts

__all__ = ["Check", "Finding", "Level", "Limits", "problem", "warning"]


class Level(StrEnum):
    """How bad a finding is. A problem stops tasks or loses them, now or soon; a warning may become one."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found: in words, with the value that it found, and the remedy, a command or SQL."""

    check: str
    level: Level
    what: str
    value: Any = None
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From which values on a check complains. Times are in seconds."""

    snapshot_age: float = 300  # of the oldest transaction, and of a prepared one
    snapshot_age_problem: float = 3600
    retained_bytes: int = 1 << 30  # of the write-ahead log, by a replication slot that nobody reads
    dead_rows: int = 100_000  # in a table, with more dead rows than live ones
    vacuum_age: float = 600  # since the last run of autovacuum, in a table with so many dead rows
    analyzed_rows: int = 10_000  # in a table that was never analyzed
    naptime: float = 60
    naptime_under_load: float = 5
    load: float = 200  # tasks a second from which on the lower naptime counts, if workers may not vacuum
    connections: float = 0.8  # the used part of those that the server has
    clock_offset: float = 1  # between the server and this machine
    clock_ahead: float = 1  # of times that were written, before the clock now
    round_trip: float = 1  # of a notification
    notification_queue: float = 0.25  # the used part
    blocked: float = 300  # since the oldest ready task of a queue is ready
    schedule_delay: float = 60  # since the next time of a schedule
    move_delay: float = 60  # since a batch of tasks has left for another database
    transaction_id_age: float = 1.5  # times autovacuum_freeze_max_age
    failover: float = 45  # that Patroni may take with its default ttl of 30 s
    shortest_timeout: float = 60  # of the timeouts that the server may apply to workers


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check: its name, its function, and what is said when it finds nothing."""

    name: str
    run: Callable[[Facts, Limits], Iterator[Finding]]
    fine: str


def problem(what: str, value: Any, remedy: str) -> Finding:
    """A finding of level problem; `examine` sets the name of the check."""
    return Finding(check="", level=Level.PROBLEM, what=what, value=value, remedy=remedy)


def warning(what: str, value: Any, remedy: str) -> Finding:
    """A finding of level warning; `examine` sets the name of the check."""
    return Finding(check="", level=Level.WARNING, what=what, value=value, remedy=remedy)
