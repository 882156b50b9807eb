"""Stopping handlers: after a timeout, after a lost lease, and when the worker shuts down; harder each time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..wire import seconds
from .attempt import Attempt, AttemptState, StopReason
from .deadlines import Deadlines
from .execution import decide
from .results import Results
from .shared import Shared

__all__ = ["Stopping"]

logger = logging.getLogger(__name__)

_NEVER = float("inf")


class Stopping:
    """Asks handlers to stop; on the loop. `on_freed` is called when a slot is free again."""

    def __init__(self, shared: Shared, results: Results, on_freed: Callable[[], None]) -> None:
        self._shared = shared
        self._results = results
        self._on_freed = on_freed
        self.deadlines: Deadlines

    def expired(self, attempts: list[Attempt]) -> None:
        """These attempts have reached their deadlines: they timed out, or did not stop when they were asked to."""
        now = time.monotonic()
        for attempt in attempts:
            if not attempt.is_live or attempt.deadline > now:
                continue
            if attempt.state is AttemptState.CLAIMED:
                attempt.deadline = now + seconds(attempt.task.timeout)  # as if it started now
            elif attempt.state is AttemptState.RUNNING:
                assert attempt.started_at is not None
                attempt.deadline = attempt.started_at + seconds(attempt.task.timeout)
                if attempt.deadline <= now:  # else it has started while the thread looked
                    self._time_out(attempt)
            else:
                self._ask(attempt)
        again = [attempt for attempt in attempts if attempt.is_live]
        if again:
            self.deadlines.watch(again, min(min(each.deadline, each.renew_at) for each in again))

    def renewed(self, attempts: list[Attempt], kept: set[int]) -> None:
        """The leases of these attempts were renewed, but for those that are not in `kept`."""
        now = time.monotonic()
        for attempt in attempts:
            if attempt.task.id in kept or not attempt.is_live or attempt not in self._shared.held:
                continue
            # The database measures the timeout from the claim, and the worker from the start of the handler.
            if attempt.state is AttemptState.RUNNING and now >= attempt.claimed_at + seconds(attempt.task.timeout):
                self._time_out(attempt)
            else:
                self.interrupt(attempt, StopReason.LEASE_LOST)

    def renew_soon(self, task: str) -> None:
        """A task, given by its id, may have been cancelled: its next heartbeat, which knows, is due now.

        The notification may be about an earlier claim of the task, and proves nothing.
        """
        now = time.monotonic()
        for attempt in self._shared.held:
            if str(attempt.task.id) == task:
                attempt.renew_at = now
                self.deadlines.watch([attempt], now)

    def interrupt(self, attempt: Attempt, reason: StopReason) -> None:
        """The task is not, or not for long, the worker's: stop its handler; one that has not started never will."""
        attempt.request_stop(reason)
        if attempt.state is AttemptState.CLAIMED:
            attempt.state = AttemptState.ENDED
            self._results.record(attempt, None, decide(attempt, None))
        elif attempt.state is AttemptState.RUNNING:
            attempt.state = AttemptState.STOPPING
            self._ask(attempt)
            self._watch(attempt)

    def force(self) -> None:
        """Give everything back at once: stop all handlers, and the stopping ones sooner."""
        self._shared.forced = True
        sooner = time.monotonic() + self._shared.settings.forced_stop_step
        for attempt in list(self._shared.held):
            if attempt.state is AttemptState.RUNNING:
                self.interrupt(attempt, StopReason.SHUTTING_DOWN)
            elif attempt.state is AttemptState.STOPPING:
                attempt.deadline = min(attempt.deadline, sooner)
                self._watch(attempt)

    def _time_out(self, attempt: Attempt) -> None:
        attempt.timeout_stack = attempt.stack()
        attempt.request_stop(StopReason.TIMED_OUT)
        attempt.state = AttemptState.STOPPING
        self._ask(attempt)
        self._watch(attempt)

    def _ask(self, attempt: Attempt) -> None:
        """Ask the handler to stop, harder than the last time; abandon it when nothing harder is left.

        After a timeout the lease is not renewed, and at least two thirds of a heartbeat are left of it. All steps take
        less, so that the attempt is reported while the task is held.
        """
        assert attempt.executor is not None
        if not attempt.executor.stop(attempt):
            self._abandon(attempt)
            return
        attempt.stop_level += 1
        settings = self._shared.settings
        step = settings.forced_stop_step if self._shared.forced else settings.stop_step
        attempt.deadline = time.monotonic() + min(step, seconds(attempt.task.heartbeat) / 4)

    def _watch(self, attempt: Attempt) -> None:
        if attempt.is_live:
            self.deadlines.watch([attempt], attempt.deadline)

    def _abandon(self, attempt: Attempt) -> None:
        """Give up a handler that does not stop: its result no longer counts, and another task gets its slot."""
        shared = self._shared
        shared.abandoned.add(attempt)
        logger.warning(
            "task %s (%s, attempt %s): the handler did not stop (%s) and is abandoned, %s in total; stack:\n%s",
            attempt.task.id, attempt.task.job, attempt.task.attempt, attempt.stop_reason, len(shared.abandoned),
            attempt.stack().rstrip(), extra={"task": attempt.task.id},
        )  # fmt: skip
        outcome = decide(attempt, None)
        attempt.sever()
        attempt.state = AttemptState.ABANDONED
        attempt.deadline = _NEVER
        assert attempt.lane is not None
        attempt.lane.running -= 1
        self._results.record(attempt, None, outcome)
        shared.claim_wanted.set()
        self._on_freed()
