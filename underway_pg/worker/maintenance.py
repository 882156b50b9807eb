"""What a worker does about once a second: the maintenance of the database, progress, and whether it is to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import psycopg

from .. import statements
from ..errors import DatabaseRefusal, QueueNotFound
from .attempt import Attempt
from .claimer import Claimer
from .registration import register
from .rest import Rest
from .runner import Runner
from .shared import Shared
from .vacuum import Vacuum

__all__ = ["Maintenance"]

logger = logging.getLogger(__name__)

# Seconds. The timers of uvloop count in milliseconds and may end one too early.
_EARLY = 0.002


class Maintenance:
    """Ticks every `poll_interval`, when something becomes due, and when `tick_wanted` is set; not while it rests.

    `on_stop_requested` is called when the database asks this worker to stop.
    """

    def __init__(
        self,
        shared: Shared,
        claimer: Claimer,
        runner: Runner,
        vacuum: Vacuum,
        on_stop_requested: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._claimer = claimer
        self._runner = runner
        self._vacuum = vacuum
        self._on_stop_requested = on_stop_requested
        self._maintain_at = 0.0
        self._reported_skips = 0
        self._rest = Rest()

    def looked_for(self, payload: str) -> None:
        """Another session has looked for the idle workers."""
        shared = self._shared
        shared.database.heard()
        if self._rest.notified(payload, time.monotonic(), idle=shared.is_idle):
            shared.tick_wanted.set()

    async def run(self) -> None:
        """Tick until this is cancelled."""
        shared = self._shared
        interval = shared.settings.poll_interval
        while True:
            await self._send_progress()
            await self._report_skipped()
            if self._runner.release_unstarted(time.monotonic() - shared.settings.release_prefetched_after):
                shared.prefetch.waited()
            pause, due = 0.0, False
            if self._may_rest() and self._rest.is_covered(time.monotonic()):
                pause = self._rest.seconds(time.monotonic())
                if not pause:
                    await self._stay_idle()
            else:
                shared.tick_wanted.clear()
                until_due = await self._tick()
                pause = max(0.0, min(until_due, self._maintain_at - time.monotonic()))
                due = pause == until_due < interval
            try:
                async with asyncio.timeout(pause):
                    await shared.tick_wanted.wait()
            except TimeoutError:
                if due:
                    shared.claim_wanted.set()  # a task has just become due

    def _may_rest(self) -> bool:
        shared = self._shared
        return shared.is_idle and not (shared.settings.drain or shared.stops or shared.tick_wanted.is_set())

    async def _tick(self) -> float:
        """Do the maintenance if it is time, look what is due next, and return in how many seconds to tick again."""
        shared = self._shared
        now = time.monotonic()
        forced = shared.prefetch.wants_maintenance
        queues = [queue for lane in shared.lanes for queue in lane.queues]
        if now >= self._maintain_at - _EARLY or forced:
            self._maintain_at = now + shared.settings.poll_interval
            looked = await shared.database.run(statements.maintain(shared.id, queues, at_once=forced))
        else:
            looked = await shared.database.run(statements.look(shared.id, queues))
        self._vacuum.request(looked.to_vacuum or [])
        return await self._looked(looked, forced)

    async def _stay_idle(self) -> None:
        """Show that the worker is alive, while another looks for it."""
        await self._looked(await self._shared.database.run(statements.stay_idle(self._shared.id)), forced=False)

    async def _looked(self, looked: statements.Looked, forced: bool) -> float:
        shared = self._shared
        due = looked.pause < shared.settings.poll_interval
        self._rest.looked(time.monotonic(), did_chores=looked.to_vacuum is not None, due=due)
        await self._handle_worker_state(looked.state)
        full = all(self._claimer.room(lane) <= 0 for lane in shared.lanes)
        step, pause = shared.prefetch.ticked(looked.pause, time.monotonic(), forced=forced, full=full)
        shared.follow(step)
        return pause

    async def _handle_worker_state(self, state: str) -> None:
        shared = self._shared
        if state == "stopping" and not shared.stops:
            logger.info("worker %s: asked to stop by an operator", shared.name)
            self._on_stop_requested()
        elif state == "unknown":
            # It was away for so long that it was removed; nothing would notify it any more.
            try:
                await register(shared)
            except QueueNotFound as error:
                logger.warning("worker %s cannot be registered again: %s", shared.name, error)
                return
            self._reported_skips = 0
            shared.follow(shared.prefetch.forgotten())
            logger.warning("worker %s: was removed from the list of workers, and is registered again", shared.name)

    async def _send_progress(self) -> None:
        """Send the progress of all handlers in one statement; a value that the database refuses is dropped."""
        found = [(each, text) for each in list(self._shared.held) if (text := each.take_progress()) is not None]
        if found:
            await self._report_progress(found)

    async def _report_progress(self, found: list[tuple[Attempt, str]]) -> None:
        tasks = [attempt.task for attempt, _ in found]
        statement = statements.report_progress_many(
            [task.id for task in tasks], [task.lease for task in tasks], [text for _, text in found]
        )
        try:
            await self._shared.database.run(statement)
        except (DatabaseRefusal, psycopg.DataError) as error:
            if len(found) == 1:
                logger.warning("task %s: its progress cannot be stored: %s", tasks[0].id, str(error).strip())
                return
            middle = len(found) // 2
            await self._report_progress(found[:middle])
            await self._report_progress(found[middle:])

    async def _report_skipped(self) -> None:
        skipped = self._shared.skipped
        if len(skipped) != self._reported_skips:
            self._reported_skips = len(skipped)
            await self._shared.database.run(statements.set_skipped_jobs(self._shared.id, sorted(skipped)))
