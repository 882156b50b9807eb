"""What the end of an attempt means for its task: which report the settler sends, and what the log says."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

import psycopg

from ..errors import DatabaseRefusal, Fatal, Snooze
from ..models import FailedTask
from . import log
from .attempt import Attempt, AttemptState
from .context import Outcome, OutcomeKind
from .reports import Failed, JobLookup
from .settler import Settler
from .shared import Shared

__all__ = ["Results"]

logger = logging.getLogger(__name__)

# A task that this worker does not know is put back for half of its age, within these bounds: a backlog of such tasks
# would otherwise be claimed over and over.
_SKIP_AT_LEAST = timedelta(seconds=1)
_SKIP_AT_MOST = timedelta(seconds=30)

_SUCCEEDED = Outcome(OutcomeKind.SUCCEEDED)


class Results:
    """Turns outcomes into reports. `log_tasks` says whether lines about tasks that go well are logged."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.settler = Settler(shared, self)
        self.lookup = JobLookup(shared.jobs)
        self.log_tasks = False

    def succeeded(self, attempt: Attempt, output: str | None) -> None:
        """A handler has returned, and nobody has asked it to stop: what most attempts come to."""
        if attempt.lost_sessions:
            self.settler.lost_sessions += attempt.take_lost_sessions()
        self.settler.succeeded.append((attempt, output))
        self._shared.settle_wanted.set()
        if self.log_tasks:
            log.ended(attempt, _SUCCEEDED)

    def record(self, attempt: Attempt, output: str | None, outcome: Outcome) -> None:
        """An attempt has ended with this outcome."""
        kind, error = outcome.kind, outcome.error
        self.settler.lost_sessions += attempt.take_lost_sessions()
        if kind is OutcomeKind.SUCCEEDED and attempt.completed:
            self._shared.counters.succeeded += 1
            self._shared.forget(attempt)
            self._observe("succeeded", attempt)
        elif kind is OutcomeKind.SUCCEEDED:
            self.succeeded(attempt, output)
            return
        elif kind is OutcomeKind.FAILED:
            assert error is not None
            self._fail(Failed.of(attempt, error))
            return
        elif kind is OutcomeKind.SNOOZED:
            assert isinstance(error, Snooze)
            self.settler.snoozed.append((attempt, error.delay))
        elif kind is OutcomeKind.SKIPPED:
            self._skip(attempt, str(error))
            return
        elif kind is OutcomeKind.RELEASED:
            self.settler.released.append(attempt)
        else:
            self._shared.forget(attempt)
            self._observe("cancelled", attempt)
        self._shared.settle_wanted.set()
        if self.log_tasks or kind in (OutcomeKind.CANCELLED, OutcomeKind.RELEASED):
            log.ended(attempt, outcome)

    def returned(self, attempt: Attempt) -> None:
        """A handler that was abandoned has ended after all. Its transaction may have left a session."""
        self._shared.abandoned.discard(attempt)
        if lost := attempt.take_lost_sessions():
            self.settler.lost_sessions += lost
            self._shared.settle_wanted.set()

    def release(self, attempt: Attempt) -> None:
        """Give a prefetched task back."""
        attempt.state = AttemptState.ENDED
        self.settler.released.append(attempt)
        self._shared.settle_wanted.set()

    def unknown(self, attempt: Attempt) -> None:
        """The worker has no such job."""
        attempt.state = AttemptState.ENDED
        problem = self.lookup.unknown(attempt.task)
        if self._shared.settings.unknown_jobs == "fail":
            self._fail(Failed.of(attempt, Fatal(problem), retryable=False))
        else:
            self._skip(attempt, problem)

    def refused(self, attempt: Attempt, error: DatabaseRefusal | psycopg.Error) -> None:
        """The database refuses the result: the attempt fails. It is retried if another result may be accepted."""
        self._fail(Failed.refused(attempt, error))

    def lost(self, attempt: Attempt) -> None:
        """The database does not know the lease of a result."""
        self._observe("lost", attempt)
        logger.warning(
            "task %s: lease lost, result discarded (unless it was already recorded)",
            attempt.task.id, extra={"task": attempt.task.id},
        )  # fmt: skip

    def failed(self, result: Failed, settled: FailedTask) -> None:
        """The database has recorded a failed attempt."""
        will_retry = settled.state == "pending"
        counters = self._shared.counters
        if will_retry:
            counters.retried += 1
        else:
            counters.failed += 1
        self._observe("retried" if will_retry else "failed", result.attempt)
        log.failed(result.attempt, result.failure, result.exc_info, settled.ready_at if will_retry else None)

    def _observe(self, outcome: str, attempt: Attempt) -> None:
        if self._shared.observer is not None:
            self._shared.observer.ended(outcome, [attempt])

    def _fail(self, result: Failed) -> None:
        result.attempt.ended_at = time.monotonic()
        self.settler.failed.append(result)
        self._shared.settle_wanted.set()

    def _skip(self, attempt: Attempt, problem: str) -> None:
        job = attempt.task.job or ""
        # A name may be misspelt: the first such task is logged as a warning. It returns until another worker runs it.
        level = logging.DEBUG if job in self._shared.skipped else logging.WARNING
        self._shared.skipped.add(job)
        logger.log(
            level, "task %s: worker %s skips it, another worker may know it: %s",
            attempt.task.id, self._shared.name, problem, extra={"task": attempt.task.id},
        )  # fmt: skip
        attempt.skipped = True
        age = datetime.now(UTC) - attempt.context.enqueued_at
        self.settler.snoozed.append((attempt, min(max(age / 2, _SKIP_AT_LEAST), _SKIP_AT_MOST)))
        self._shared.settle_wanted.set()
