"""Claiming tasks for the lanes that have room."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from .. import statements
from ..errors import QueueNotFound
from ..models import ClaimedTask
from . import log
from .attempt import Attempt, Environment, StopReason
from .prefetch import Lane
from .results import Results
from .runner import Runner
from .shared import Shared
from .stopping import Stopping

__all__ = ["Claimer"]

logger = logging.getLogger(__name__)


class Claimer:
    """Claims when `claim_wanted` is set, and hands the tasks to the runner. `on_drained` stops a draining worker."""

    def __init__(
        self,
        shared: Shared,
        environment: Environment,
        runner: Runner,
        results: Results,
        stopping: Stopping,
        on_drained: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._environment = environment
        self._runner = runner
        self._results = results
        self._stopping = stopping
        self._on_drained = on_drained
        self._recheck_queues = False
        self.last_claim_at: datetime | None = None

    async def run(self) -> None:
        """Claim until this is cancelled."""
        shared = self._shared
        shared.claim_wanted.set()
        while True:
            await shared.claim_wanted.wait()
            shared.claim_wanted.clear()
            if self._recheck_queues:
                await self._check_queues()
            found, has_room = 0, True
            for lane in shared.lanes:
                room = self.room(lane)
                if room > 0:
                    found += await self._claim(lane, room)
                elif lane.serving:
                    lane.backlog_likely = True  # as far as is known; to be claimed when there is room
                    has_room = False
                if lane.answers_for and self.room(lane) <= 0:
                    await self._pass_on(lane)
            is_drained = found == 0 and has_room and not shared.held and not shared.claim_wanted.is_set()
            if shared.settings.drain and is_drained:
                step = shared.prefetch.found_nothing()
                shared.follow(step)
                if step.stop:
                    self._on_drained()

    def room(self, lane: Lane) -> int:
        """How many tasks to claim for a lane now."""
        shared = self._shared
        if shared.stops or len(self._results.settler.succeeded) > shared.settings.max_unsettled:
            return 0
        return shared.prefetch.room(lane, time.monotonic())

    async def _claim(self, lane: Lane, room: int) -> int:
        shared = self._shared
        claimed_at = time.monotonic()
        shared.prefetch.claiming(lane, claimed_at)
        answers_for, lane.answers_for = lane.answers_for, set()
        shared.claiming = True
        try:
            tasks = await shared.database.run(statements.dequeue(lane.serving, room, shared.id))
            self.last_claim_at = datetime.now(UTC)
            if shared.observer is not None:
                shared.observer.claimed(tasks, time.monotonic() - claimed_at)
        except QueueNotFound:
            lane.answers_for |= answers_for
            self._recheck_queues = True
            shared.claim_wanted.set()
            return 0
        finally:
            shared.claiming = False
            if shared.stops:
                shared.settle_wanted.set()
        if len(tasks) == room:
            lane.answers_for |= answers_for
        if tasks:
            self._take(lane, tasks, claimed_at)
        retried = any(task.attempt > 1 for task in tasks)
        step = shared.prefetch.claimed(lane, len(tasks), room, time.monotonic(), retried=retried)
        if step.idle is not None:
            await shared.database.run(statements.set_idle(shared.id, step.idle))
            shared.prefetch.declared(step.idle)
        shared.follow(step)
        return len(tasks)

    async def _pass_on(self, lane: Lane) -> None:
        """Few other workers know of the tasks of these queues, and this one has no room for them."""
        shared = self._shared
        queues, lane.answers_for = sorted(lane.answers_for), set()
        has_others = len(shared.lanes) > 1
        await shared.database.run(statements.pass_on(shared.id, queues, stays_idle=has_others))
        if not has_others:
            shared.prefetch.declared(False)

    def _take(self, lane: Lane, tasks: list[ClaimedTask], claimed_at: float) -> None:
        shared = self._shared
        if shared.held:
            again = {task.id for task in tasks}
            for attempt in [attempt for attempt in shared.held if attempt.task.id in again]:
                self._stopping.interrupt(attempt, StopReason.CLAIMED_AGAIN)
        attempts = [Attempt(task, self._environment, claimed_at, lane) for task in tasks]
        shared.counters.claimed += len(attempts)
        shared.held.update(attempts)
        lane.ready.extend(attempts)
        self._stopping.deadlines.claimed(attempts, claimed_at)
        self._results.log_tasks = shared.settings.log_tasks and log.is_enabled()  # once for many tasks
        if shared.stops:
            self._runner.release_unstarted()
        else:
            self._runner.start_ready()

    async def _check_queues(self) -> None:
        """A queue was dropped: go on with the others, and look for it again in a while."""
        shared = self._shared
        self._recheck_queues = False
        missing = False
        for lane in shared.lanes:
            exist = []
            for queue in lane.queues:
                try:
                    await shared.database.run(statements.dequeue([queue], 0))
                    exist.append(queue)
                except QueueNotFound as error:
                    missing = True
                    if queue in lane.serving:
                        logger.error("worker %s: continuing without a queue: %s", shared.name, error)
            lane.serving = exist
        if missing:
            asyncio.get_running_loop().call_later(shared.settings.recheck_queues_after, self._check_soon)

    def _check_soon(self) -> None:
        self._recheck_queues = True
        self._shared.claim_wanted.set()
