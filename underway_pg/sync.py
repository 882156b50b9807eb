"""What an application declares, beside what its database has: written, compared, or completed.

Queues, jobs and schedules are treated alike: `_KINDS` says how each is read, compared, written and removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import psycopg

from . import statements
from .binding import Steps
from .client import execute
from .errors import DatabaseRefusal
from .models import SyncChanges, SyncResult
from .settings import JobPolicy, Queue, RetryPolicy, Schedule, interval

__all__ = ["Declared", "create_missing", "sync", "write_permitted"]

logger = logging.getLogger(__name__)

# The key of the advisory lock that a sync holds: two at once could lock the same rows in different orders.
_LOCK = "select pg_advisory_xact_lock(8313840215432)"

_DURATIONS = {"timeout", "heartbeat", "retention", "rate_period", "jitter", "expires"}


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declarations of an application. `lines` says where a schedule is declared.

    A queue may be there twice: without its settings because another queue refers to it, and then with them.
    """

    owner: str
    queues: list[Queue]
    jobs: list[JobPolicy]
    schedules: list[Schedule]
    lines: Mapping[str, str]


@dataclass(frozen=True)
class _Kind:
    """Queues, jobs or schedules.

    `read` gives the stored ones: at least those that are declared, and those of the owner where they can vanish.
    `stored_name` is the attribute with the name of a stored one. `compared` gives those settings of a declared one that
    can be compared with stored ones.
    """

    title: str
    stored_name: str
    read: Callable[[Declared], statements.Statement[Any]]
    write: Callable[[psycopg.Connection[Any], Declared, Mapping[str, Any]], None]
    remove: Callable[[str], statements.Statement[bool]] | None
    compared: Callable[[Any], Mapping[str, Any]]

    def declared(self, declared: Declared) -> Iterable[Any]:
        found: Iterable[Any] = getattr(declared, f"{self.title}s")
        return found

    def stored(self, connection: psycopg.Connection[Any], declared: Declared) -> dict[str, Any]:
        """What is stored, by name."""
        return {getattr(each, self.stored_name): each for each in execute(connection, self.read(declared))}

    def sync(self, connection: psycopg.Connection[Any], declared: Declared, *, prune: bool) -> SyncChanges:
        """Write what differs. Returns what was done."""
        before = self.stored(connection, declared)
        self.write(connection, declared, before)
        names = sorted({each.name for each in self.declared(declared)})
        after = self.stored(connection, declared)
        vanished = [name for name, each in after.items() if name not in names and _owner(each) == declared.owner]
        if prune and self.remove is not None:
            for name in vanished:
                execute(connection, self.remove(name))
        for name in names:
            owner = _owner(before.get(name, declared))
            if owner != declared.owner and _owner(after[name]) == declared.owner:
                whose = f"application {owner!r}" if owner else "no application"
                logger.warning("%s %r was of %s; now it is of %r", self.title, name, whose, declared.owner)
        changed = [name for name in names if name in before and _version(before[name]) != _version(after[name])]
        return SyncChanges(
            created=[name for name in names if name not in before],
            updated=changed,
            unchanged=[name for name in names if name in before and name not in changed],
            vanished=[] if prune else vanished,
            removed=vanished if prune else [],
        )

    def compare(self, connection: psycopg.Connection[Any], declared: Declared) -> list[str]:
        """How the database differs from the declarations, in words."""
        stored = self.stored(connection, declared)
        found = ((each.name, self.differences(each, stored.get(each.name))) for each in self.declared(declared))
        return [f"{self.title} {name!r}: {', '.join(different)}" for name, different in found if different]

    def differences(self, declared: Any, stored: Any) -> list[str]:
        """The settings that are stored with another value, or `does not exist`."""
        if stored is None:
            return ["does not exist"]
        wanted = self.compared(declared)
        return [name for name, value in wanted.items() if value != _comparable(name, getattr(stored, name))]


def _owner(each: Any) -> str | None:
    return getattr(each, "owner", None)


def _version(stored: Any) -> Any:
    """What changes when a stored thing is updated."""
    return getattr(stored, "updated_at", stored)


def _comparable(name: str, value: Any) -> Any:
    """A setting in the form in which it can be compared: 0, an empty text and False are the absence of one."""
    if name in _DURATIONS:
        return interval(value)
    return value.fields() if isinstance(value, RetryPolicy) else value or None


def _given(queue: Queue) -> dict[str, Any]:
    """The settings of a queue that are declared."""
    return {
        field.name: _comparable(field.name, value)
        for field in fields(queue)
        if field.name not in ("name", "executor") and (value := getattr(queue, field.name)) is not None
    }


def _write_queues(connection: psycopg.Connection[Any], declared: Declared, stored: Mapping[str, Any]) -> None:
    for queue in declared.queues:
        # Only then: a change of a limit waits until no claim from the queue is under way.
        if _QUEUES.differences(queue, stored.get(queue.name)):
            execute(connection, statements.create_queue(queue))


def _policy(job: JobPolicy) -> dict[str, Any]:
    """The settings of a job; those that are omitted are the queue's."""
    return {each.name: _comparable(each.name, getattr(job, each.name)) for each in fields(job) if each.name != "name"}


def _write_jobs(connection: psycopg.Connection[Any], declared: Declared, stored: Mapping[str, Any]) -> None:
    execute(connection, statements.register_jobs(declared.jobs))


_SCHEDULE_SETTINGS = (
    "queue", "job", "cron", "time_zone", "catch_up", "catch_up_limit", "overlap", "jitter", "starts_at", "ends_at",
)  # fmt: skip


def _visible(schedule: Schedule) -> dict[str, Any]:
    """The settings of a schedule that `schedule_stats` shows."""
    values = {name: _comparable(name, getattr(schedule, name)) for name in _SCHEDULE_SETTINGS}
    cron, _, zone = schedule.cron.partition("[")
    return {**values, "cron": cron.strip(), "time_zone": zone.rstrip("] ") or schedule.time_zone or "UTC"}


def _write_schedules(connection: psycopg.Connection[Any], declared: Declared, stored: Mapping[str, Any]) -> None:
    for schedule in declared.schedules:
        try:
            execute(connection, statements.schedule(schedule))
        except DatabaseRefusal as error:
            raise type(error)(f"{declared.lines[schedule.name]}: {error.message}", error.hint) from error


def _read_queues(declared: Declared) -> statements.Statement[list[Queue]]:
    """Only those that are declared: the database may have thousands, and a queue cannot vanish."""
    return statements.queue_settings([queue.name for queue in declared.queues])


_QUEUES = _Kind("queue", "name", _read_queues, _write_queues, None, _given)
_SCHEDULES = _Kind(
    "schedule", "schedule", lambda _: statements.schedules(), _write_schedules, statements.unschedule, _visible
)
_JOBS = _Kind("job", "job", lambda _: statements.jobs(), _write_jobs, statements.unregister_job, _policy)
_KINDS = (_QUEUES, _JOBS, _SCHEDULES)


def sync(
    connection: psycopg.Connection[Any], declared: Declared, *, prune: bool = False, plan: bool = False
) -> SyncResult:
    """Write the declarations into the database, all or none. With `plan` the transaction is rolled back."""
    with connection.transaction() as transaction:
        connection.execute(_LOCK)
        result = SyncResult(**{f"{kind.title}s": kind.sync(connection, declared, prune=prune) for kind in _KINDS})
        if plan:
            raise psycopg.Rollback(transaction)
    return result


def write_permitted(
    connection: psycopg.Connection[Any], declared: Declared, *, write: bool
) -> tuple[list[str], list[str]]:
    """Write the declarations that this role may write; without `write` none.

    Returns in words what has vanished from the declarations, and how the database still differs from them.
    """
    vanished, different = [], []
    with connection.transaction():
        if write:
            connection.execute(_LOCK)
        for kind in _KINDS:
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                if write:
                    changes = kind.sync(connection, declared, prune=False)
                    vanished += [f"{kind.title} {name!r}" for name in changes.vanished]
                    continue
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                different += kind.compare(connection, declared)
    return vanished, different


def create_missing(queues: list[Queue], jobs: list[JobPolicy]) -> Steps:
    """The statements that create what the database lacks, and that change nothing which exists."""
    missing_queues, missing_jobs = yield statements.missing(
        [queue.name for queue in queues], [job.name for job in jobs]
    )
    for queue in queues:
        if queue.name in missing_queues:
            yield statements.create_queue(queue)
    if missing_jobs:
        yield statements.register_jobs([job for job in jobs if job.name in missing_jobs])
