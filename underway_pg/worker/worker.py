"""The worker: what it consists of, and what wakes each part.

| part        | file           | woken by                                                                        |
|-------------|----------------|---------------------------------------------------------------------------------|
| claim       | claimer.py     | `claim_wanted`: a notification, a freed slot, a task that is due, a full claim  |
| run         | runner.py      | no loop of its own: a claim starts handlers, and each end starts the next       |
| settle      | settler.py     | `settle_wanted`: a handler has ended, tasks are released, the worker stops      |
| listen      | listener.py    | notifications of the database                                                   |
| maintain    | maintenance.py | `tick_wanted`, each `poll_interval` unless it rests (rest.py), and due tasks    |
| vacuum      | vacuum.py      | maintain, when tables have many dead rows                                       |
| deadlines   | deadlines.py   | a thread: timeouts, steps of stopping, leases to renew, a loop that is blocked  |
| renew       | renewal.py     | a thread: what the deadlines find due                                           |
| stop        | stopping.py    | no loop of its own: deadlines, lost leases, and `stop()`                        |

`prefetch.py` decides when to claim and how much; `results.py` decides what an outcome means. Nothing here decides what
happens to a task: that is the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import psycopg

from .. import schema, statements
from ..connections import Dsn, HandlerConnections
from ..errors import ConfigurationError
from ..job import Job
from ..models import Health, WorkerCounters
from .attempt import Attempt, Environment
from .checks import check_jobs, check_middleware
from .context import Middleware
from .database import Database, GaveUp
from .engine import Engine
from .lifespan import Lifespan, LifespanCancelled
from .observer import Observer
from .parts import run_to_end
from .registration import register, unregister
from .settings import WorkerSettings
from .shared import Shared

__all__ = ["Worker"]

logger = logging.getLogger(__name__)


class Worker:
    """Claims tasks of some queues, runs their jobs, and settles them. `App.worker` makes one; it runs once.

    `state` and `middleware` are those of the application. `lifespan` makes the context manager that stays open on the
    worker's loop while it works; what it yields replaces `state`. `started` is set when the worker begins to claim.
    An `observer` that is set before `run` is told what the worker does.
    """

    def __init__(
        self,
        dsn: Dsn,
        jobs: Mapping[str, Job[..., Any]],
        settings: WorkerSettings,
        *,
        state: Any = None,
        middleware: Sequence[Middleware] = (),
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    ) -> None:
        self.settings = settings.with_defaults()
        self.name = self.settings.name or ""
        self.queues = self.settings.queue_names
        self._served = frozenset(self.queues)
        self.concurrency = self.settings.total_concurrency
        self._dsn = dsn
        self._jobs = dict(jobs)
        self.started = asyncio.Event()
        self.observer: Observer | None = None
        self._environment = Environment(
            state=state,
            middleware=middleware,
            skip_unknown=self.settings.unknown_jobs == "skip",
            silent_after=self.settings.silent_after,
        )
        self._make_lifespan = lifespan
        self._lifespan: Lifespan | None = None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops = 0
        self._shared: Shared | None = None
        self._engine: Engine | None = None

    async def run(self) -> None:
        """Work until `stop` is called. Raises what keeps it from working at all, such as SchemaMissing.

        When it is cancelled, once or more often, it gives all its tasks back at once, unregisters, and raises
        CancelledError.
        """
        check_jobs(self._jobs.values())
        check_middleware(self._environment.middleware, self._jobs.values(), self.queues, self.name)
        with self._lock:
            if self._loop is not None:
                raise ConfigurationError(f"worker {self.name} has run already; make another one")
            self._loop = asyncio.get_running_loop()
        await run_to_end(self._run(), on_cancel=self._run_cancelled)

    async def _run(self) -> None:
        if self._stops:
            return
        async with (
            HandlerConnections(self._dsn, f"underway worker {self.name}") as pools,
            Database(self._dsn, self.name, self.settings, pools.drain) as database,
        ):
            shared = self._shared = Shared.of(self.settings, self.name, database, self._jobs)
            shared.observer = self.observer
            try:
                await register(shared)
                if not self._stops:
                    self._lifespan = Lifespan(self._open_lifespan(), shared, self._stop)
                    async with self._lifespan as state:
                        self.started.set()
                        logger.info("worker %s serves %s", self.name, ", ".join(self.queues))
                        await self._lifespan.run(self._work(shared, pools, state))
            except LifespanCancelled:
                pass  # the worker is to stop, and has nothing to give back
            except GaveUp:
                logger.warning(
                    "worker %s stops without the database; its tasks wait for their leases to lapse", self.name
                )
            finally:
                await unregister(shared)
                if shared.abandoned:
                    logger.warning("worker %s: abandoned handlers that still run: %s", self.name, len(shared.abandoned))
                logger.info("worker %s has stopped", self.name)

    def _open_lifespan(self) -> AbstractAsyncContextManager[Any]:
        return contextlib.nullcontext(self._environment.state) if self._make_lifespan is None else self._make_lifespan()

    async def _work(self, shared: Shared, pools: HandlerConnections, state: Any) -> None:
        """Work until everything is settled after a stop, or a part fails."""
        environment = replace(
            self._environment,
            connections=pools,
            state=state,
            max_output_size=await shared.database.run(statements.max_output_size()),
        )
        self._engine = Engine(self._dsn, shared, environment, stop=self._stop, on_notify=self._on_notify)
        if self._stops:
            self._wind_up()  # asked before there was anything to stop
        await self._engine.run()

    def _run_cancelled(self) -> None:
        self._stops += 1
        self._wind_up(at_once=True)

    def _on_notify(self, notification: psycopg.Notify) -> None:
        assert self._shared is not None
        assert self._engine is not None
        if notification.channel == "underway_cancelled":
            self._engine.stopping.renew_soon(notification.payload)
        elif notification.channel == "underway_look":
            self._engine.maintenance.looked_for(notification.payload)
        elif notification.payload in self._served:
            self._shared.notified(notification)

    def stop(self) -> None:
        """Claim no more tasks, let running ones end within the shutdown timeout, and give the rest back.

        Called again, it gives everything back at once. May be called before `run` and from any thread.
        """
        with self._lock:
            loop = self._loop
            if loop is None:
                self._stops += 1
                return
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._stop()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has stopped
                loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._stops += 1
        self._wind_up(at_once=self._stops > 1)

    def _wind_up(self, *, at_once: bool = False) -> None:
        shared = self._shared
        if shared is None or self._loop is None:
            return
        shared.stops = self._stops
        if self._lifespan is not None:
            self._lifespan.stop()
        if not at_once and self._engine is not None:
            logger.info("worker %s is shutting down; running tasks: %s", self.name, shared.running)
            self._loop.call_later(self.settings.shutdown_timeout, self._force)
        else:
            self._force()
        if self._engine is not None:
            self._engine.release_unstarted()
        shared.claim_wanted.set()
        shared.settle_wanted.set()

    def _force(self) -> None:
        assert self._shared is not None
        database = self._shared.database
        # A connection that has just broken is no reason to let all leases lapse.
        database.give_up_at = min(database.give_up_at, time.monotonic() + self.settings.connect_timeout)
        if self._engine is not None:
            self._engine.stopping.force()
        if self._lifespan is not None:
            self._lifespan.force()

    def health(self) -> Health:
        """How this worker is. To be called on its loop."""
        shared = self._shared
        return Health(
            ready=shared is not None and shared.id > 0 and shared.database.is_reachable and shared.serves,
            stopping=self._stops > 0,
            worker=self.name,
            queues=self.queues,
            running=0 if shared is None else shared.running,
            schema_version=schema.migrations()[-1].version,
            last_claim_at=None if self._engine is None else self._engine.last_claim_at,
        )

    def stats(self) -> WorkerCounters:
        """What this worker has done since it started, and what it holds now. May be called in any thread."""
        return WorkerCounters() if self._shared is None else self._shared.stats()

    @property
    def jobs(self) -> Mapping[str, Job[..., Any]]:
        """The jobs that it knows, by name."""
        return self._jobs

    @property
    def held(self) -> list[Attempt]:
        """The attempts that it holds now. May be called in any thread."""
        return [] if self._shared is None else list(self._shared.held)

    @property
    def abandoned(self) -> int:
        """How many handlers still run that were abandoned because they did not stop."""
        return 0 if self._shared is None else len(self._shared.abandoned)
