"""What the database is told about ended attempts: one statement for each kind of end, for any number of attempts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Self

import psycopg

from .. import statements
from ..errors import DatabaseRefusal
from ..job import Job
from ..models import ClaimedTask, FailedTask
from ..statements import Statement
from .attempt import Attempt
from .failure import Failure
from .log import ExcInfo
from .stacks import handler_traceback

__all__ = ["Failed", "JobLookup", "completed", "failed", "released", "snoozed"]

# The same result would be refused again: errors of ours, data that does not fit, limits of the server.
_REFUSED_AGAIN = ("UW", "22", "54")


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A failed attempt. `text` is the error as JSON text; with `escaped` it is ASCII. `exc_info` is for the log."""

    attempt: Attempt
    failure: Failure
    text: str
    retryable: bool
    after: timedelta | None
    exc_info: ExcInfo | None
    escaped: bool = False

    @classmethod
    def of(cls, attempt: Attempt, error: BaseException, *, retryable: bool | None = None) -> Self:
        """An attempt that ended with this error. The job decides whether it is retryable, unless that is given."""
        failure = Failure.of(error, attempt.job)
        return cls(
            attempt=attempt,
            failure=failure,
            text=failure.text(),
            retryable=failure.retryable if retryable is None else retryable,
            after=failure.after,
            exc_info=None if failure.intentional else (type(error), error, handler_traceback(error)),
        )

    @classmethod
    def refused(cls, attempt: Attempt, error: DatabaseRefusal | psycopg.Error) -> Self:
        """An attempt whose result the database refuses. It is retried if another result may be accepted."""
        retryable = (error.sqlstate or "")[:2] not in _REFUSED_AGAIN
        if not isinstance(error, DatabaseRefusal):
            error = DatabaseRefusal(f"{error.diag.message_primary or error} (SQLSTATE {error.sqlstate})")
        return cls.of(attempt, error, retryable=retryable)

    def escape(self) -> Self:
        """The same in text that every encoding has, and with no delay but the backoff."""
        return replace(self, text=_NOT_ASCII.sub(_escaped, self.text), after=None, escaped=True)


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def _escaped(match: re.Match[str]) -> str:
    # With two backslashes, which JSON reads as one. An escape of JSON's own is refused like the character itself.
    return "\\" + match[0].encode("ascii", "backslashreplace").decode()


def completed(results: list[tuple[Attempt, str | None]]) -> Statement[list[int]]:
    """Tasks that have succeeded, each with its output as JSON text. Returns the ids that were settled."""
    return statements.complete_many(*_held(attempt for attempt, _ in results), [output for _, output in results])


def failed(results: list[Failed]) -> Statement[list[FailedTask]]:
    """Attempts that have failed. Returns the tasks that were settled."""
    return statements.fail_many(
        *_held(result.attempt for result in results),
        [result.text for result in results],
        [result.retryable for result in results],
        [result.after for result in results],
    )


def snoozed(results: list[tuple[Attempt, timedelta]]) -> Statement[list[int]]:
    """Tasks that are put back, each with its delay. Returns the ids that were settled."""
    return statements.snooze_many(*_held(attempt for attempt, _ in results), [delay for _, delay in results])


def released(results: list[Attempt]) -> Statement[list[int]]:
    """Tasks that are given back at once. Returns the ids that were settled."""
    return statements.release_many(*_held(results))


def _held(attempts: Iterable[Attempt]) -> tuple[list[int], list[bytes]]:
    tasks = [attempt.task for attempt in attempts]
    return [task.id for task in tasks], [task.lease for task in tasks]


class JobLookup:
    """The job that runs a task: the one that the task names, or the only one of its queue if it names none."""

    def __init__(self, jobs: Mapping[str, Job[..., Any]]) -> None:
        self._jobs = jobs
        by_queue: dict[str, list[Job[..., Any]]] = {}
        for job in jobs.values():
            by_queue.setdefault(job.queue, []).append(job)
        self._of_queue = {queue: found[0] for queue, found in by_queue.items() if len(found) == 1}

    def find(self, task: ClaimedTask) -> Job[..., Any] | None:
        """The job of a task; None when it is not known here."""
        return self._jobs.get(task.job) if task.job is not None else self._of_queue.get(task.queue)

    def unknown(self, task: ClaimedTask) -> str:
        """The sentence about a task whose job is not known here."""
        known = ", ".join(sorted(self._jobs)) or "none"
        return f"job {task.job!r} of queue {task.queue!r} is not known here; known jobs: {known}"
