"""Starting handlers in free slots, and taking their ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping

from ..settings import Executor as ExecutorName
from ..wire import seconds
from . import log
from .attempt import Attempt, AttemptState
from .execution import decide
from .executors import Executor
from .failure import Failure
from .results import Results
from .shared import Shared

__all__ = ["Runner"]

logger = logging.getLogger(__name__)

# Handlers started in one turn of the loop. Until Python 3.12 their first steps follow in the next turn: the objects of
# more than these would be alive at once, and each collection of garbage would visit them in vain.
_STARTS_IN_A_TURN = 50


class Runner:
    """Starts claimed tasks on their executors."""

    def __init__(self, shared: Shared, results: Results) -> None:
        self._shared = shared
        self._results = results
        self._loop = asyncio.get_running_loop()
        self._will_start = False
        self._find_job = results.lookup.find
        self._prefetch = shared.prefetch
        self.executors: Mapping[ExecutorName, Executor]

    def start_ready(self) -> None:
        """Start handlers while tasks and slots are there, for at most one slice of the loop's time."""
        self._will_start = True  # while handlers start that may end at once
        slice_ends = time.monotonic() + self._shared.settings.max_loop_slice
        left = _STARTS_IN_A_TURN
        for lane in self._shared.lanes:
            while lane.ready and lane.running < lane.concurrency and not self._shared.stops:
                attempt = lane.ready.popleft()
                if attempt.state is not AttemptState.CLAIMED:
                    continue  # it was lost meanwhile
                self._start(attempt)
                left -= 1
                if left == 0 or (attempt.started_at or 0.0) > slice_ends:
                    self._loop.call_soon(self.start_ready)
                    return
        self._will_start = False

    def _start(self, attempt: Attempt) -> None:
        task, lane = attempt.task, attempt.lane
        assert lane is not None
        job = self._find_job(task)
        if job is None:
            self._results.unknown(attempt)
            return
        attempt.job = job
        attempt.state = AttemptState.RUNNING
        attempt.started_at = time.monotonic()
        if attempt.deadline:
            attempt.deadline = attempt.started_at + seconds(task.timeout)
        lane.running += 1
        if self._results.log_tasks:
            log.started(attempt, with_input=self._shared.settings.log_inputs)
        attempt.executor = executor = self.executors[job.executor]
        executor.start(attempt)

    def ended(self, attempt: Attempt, output: str | None, error: BaseException | None) -> None:
        """A handler has ended."""
        shared, lane = self._shared, attempt.lane
        assert lane is not None
        if attempt.state is AttemptState.ABANDONED:
            self._results.returned(attempt)
            return
        attempt.state = AttemptState.ENDED
        lane.running -= 1
        assert attempt.started_at is not None
        attempt.ended_at = now = time.monotonic()
        self._prefetch.ended(now - attempt.started_at)
        if error is None and attempt.stop_reason is None and not attempt.completed:
            self._results.succeeded(attempt, output)
        else:
            outcome = decide(attempt, error)
            if attempt.completed and error is not None:
                logger.warning(
                    "task %s is complete, but its handler raised afterwards: %s",
                    attempt.task.id, Failure.of(error, None).message, extra={"task": attempt.task.id},
                )  # fmt: skip
            self._results.record(attempt, output, outcome)
        if lane.backlog_likely:
            shared.claim_wanted.set()
        if lane.ready and not self._will_start:
            # In the next turn of the loop, for all slots that are freed until then.
            self._will_start = True
            self._loop.call_soon(self.start_ready)

    def release_unstarted(self, claimed_before: float = float("inf")) -> bool:
        """Give back tasks that were claimed before a time and have not started. Returns whether there were any."""
        found = False
        for lane in self._shared.lanes:
            for attempt in lane.ready:
                if attempt.claimed_at < claimed_before and attempt.state is AttemptState.CLAIMED:
                    self._results.release(attempt)
                    found = True
            if found:
                lane.ready = deque(each for each in lane.ready if each.state is AttemptState.CLAIMED)
        return found
