"""The parts of a worker while it works: made together, run together. The table in `worker.py` says what wakes each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import psycopg

from ..connections import Dsn
from ..settings import Executor as ExecutorName
from .attempt import Environment
from .claimer import Claimer
from .deadlines import Deadlines
from .executors import Executor
from .executors.loop import LoopExecutor
from .executors.thread import ThreadExecutor
from .listener import Listener
from .maintenance import Maintenance
from .parts import run_together
from .renewal import Renewer
from .results import Results
from .runner import Runner
from .shared import Shared
from .stopping import Stopping
from .vacuum import Vacuum

__all__ = ["Engine"]


class Engine:
    """All parts of a worker.

    stop        called when the worker has drained its queues, or when an operator asks it to stop
    on_notify   called with each notification
    """

    def __init__(
        self,
        dsn: Dsn,
        shared: Shared,
        environment: Environment,
        *,
        stop: Callable[[], None],
        on_notify: Callable[[psycopg.Notify], None],
    ) -> None:
        settings = shared.settings
        results = Results(shared)
        self._settler = results.settler
        self._runner = runner = Runner(shared, results)
        on_loop = LoopExecutor(runner.ended, shared.held)
        runner.executors = {"async": on_loop, "thread": ThreadExecutor(runner.ended), **_processes(dsn, shared, runner)}
        self.stopping = Stopping(shared, results, runner.start_ready)
        self._deadlines = self.stopping.deadlines = Deadlines(shared.name, shared, on_loop, self.stopping.expired)
        self._renewer = self._deadlines.renewer = Renewer(dsn, shared, self._deadlines, self.stopping.renewed)
        self._claimer = Claimer(shared, environment, runner, results, self.stopping, stop)
        self._vacuum = Vacuum(dsn, shared.name, settings)
        self.maintenance = Maintenance(shared, self._claimer, runner, self._vacuum, stop)
        self._listener = Listener(settings.listen_dsn or dsn, shared, on_notify)

    async def run(self) -> None:
        """Run until everything is settled after a stop, or a part fails. Raises what it raised."""
        self._deadlines.start()
        self._renewer.start()
        try:
            await run_together(
                self._settler.run(),
                self._claimer.run(),
                self.maintenance.run(),
                self._vacuum.run(),
                self._listener.run(),
            )
        finally:
            self._deadlines.close()
            for executor in self._runner.executors.values():
                await executor.close()
            await asyncio.to_thread(self._renewer.close)

    def release_unstarted(self) -> None:
        """Give back the tasks that have not started."""
        self._runner.release_unstarted()

    @property
    def last_claim_at(self) -> datetime | None:
        """When the database has last answered a claim."""
        return self._claimer.last_claim_at


def _processes(dsn: Dsn, shared: Shared, runner: Runner) -> dict[ExecutorName, Executor]:
    """The executor of processes, for a worker that has such jobs."""
    if not any(job.executor == "process" for job in shared.jobs.values()):
        return {}
    from .executors.process import ProcessExecutor  # imports multiprocessing, which few workers need

    settings = shared.settings
    return {
        "process": ProcessExecutor(runner.ended, dsn, settings.max_tasks_per_process, settings.max_memory_per_process)
    }
