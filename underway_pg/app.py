"""The application: its jobs, its queues, and the way to the database."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeAlias, TypeVar, Unpack, overload

import psycopg

from . import connections, schema
from .client import AsyncClient, Client
from .cron import check_cron
from .errors import ConfigurationError, DatabaseRefusal, InputError
from .importing import stop_import_of_program
from .job import Job
from .models import Enqueued, ScheduleSyncResult, TaskInfo
from .service.run import run_worker
from .settings import Duration, Executor, Options, Queue, RetryPolicy, Schedule, ScheduleSettings
from .worker import Context, Middleware, Worker, WorkerOptions, WorkerSettings

if TYPE_CHECKING:
    from .embedded import EmbeddedPostgres

__all__ = ["App"]

Lifespan: TypeAlias = "Callable[[App], AbstractAsyncContextManager[Any]]"

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("underway_pg")


class App:
    """Jobs and queues, and the database that holds them.

    The database is `dsn`, else the environment's DATABASE_URL, else an embedded PostgreSQL that starts at the first use
    and whose data is gone when the application is closed: for first steps and tests. `state` is anything that handlers
    may need; they find it as `context.state`. `queues` declares settings; one that only a job names has the defaults.
    `name` tells the schedules that this application declares from those of others in the same database.

    `middleware` wraps each attempt, the first one outermost: functions that take the Context and return a context
    manager. A plain context manager wraps every handler, in its own task, thread or process; an async one wraps async
    handlers only. `lifespan` is called with the application when a worker starts, and returns an async context manager
    that stays open on the worker's loop while the worker runs; what it yields is `context.state`, except in processes.

    The queues are created when the application needs the database, the schedules when its worker starts. An
    application is a context manager; closing it closes its connections, and the embedded server.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        name: str = "app",
        queues: Iterable[Queue] = (),
        state: Any = None,
        middleware: Iterable[Middleware] = (),
        lifespan: Lifespan | None = None,
    ) -> None:
        self.name = name
        self.jobs: dict[str, Job[..., Any]] = {}
        self._schedules: dict[str, _Declared] = {}
        self.state = state
        self.middleware: Sequence[Middleware] = tuple(middleware)
        self.lifespan = lifespan
        self._queues = {queue.name: queue for queue in queues}
        self._dsn = dsn or os.environ.get("DATABASE_URL") or None
        self._embedded: EmbeddedPostgres | None = None
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._created: set[str] = set()
        self._async_client: tuple[asyncio.AbstractEventLoop, AsyncClient] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and stop the embedded server. Use `close_async` where async calls were made."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.stop()

    async def close_async(self) -> None:
        """Close the connections, the async ones too, and stop the embedded server."""
        opened, self._async_client = self._async_client, None
        if opened is not None:
            await opened[1].close()
        await asyncio.to_thread(self.close)

    # Jobs

    @overload
    def job(self, function: Callable[Concatenate[Context, P], R], /) -> Job[P, R]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> Job[P, R]: ...
    @overload
    def job(
        self,
        /,
        *,
        name: str | None = ...,
        queue: str = ...,
        executor: Executor | None = ...,
        priority: int = ...,
        retry: RetryPolicy | None = ...,
        timeout: Duration | None = ...,
        heartbeat: Duration | None = ...,
        retention: Duration | None = ...,
    ) -> _Decorator: ...
    def job(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str = "default",
        executor: Executor | None = None,
        priority: int = 0,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        retention: Duration | None = None,
    ) -> Any:
        """Make a function a job.

        Its name (the function's, unless given) is kept with its tasks: do not change it while tasks are waiting. An
        async function runs on the event loop, a plain one in a thread, or with the executor "process" in a process of
        its own. The other arguments are the settings of its tasks; None leaves them to the queue.
        """

        def decorate(function: Callable[..., Any]) -> Job[..., Any]:
            of_queue = self._queues[queue].executor if queue in self._queues else None
            job: Job[..., Any] = Job(
                function,
                name=name or function.__name__,
                queue=queue,
                executor=executor or (None if inspect.iscoroutinefunction(function) else of_queue),
                options=Options(
                    priority=priority, retry=retry, timeout=timeout, heartbeat=heartbeat, retention=retention
                ),
                enqueuer=self,
                context_type=Context,
            )
            if job.name in self.jobs:
                raise ConfigurationError(f"two jobs are named {job.name!r}; give one another name: @app.job(name=...)")
            self.jobs[job.name] = job
            return job

        return decorate if function is None else decorate(function)

    # Schedules

    def schedule(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> _ScheduleDecorator:
        """Enqueue a job at each time of a cron expression: a decorator, above `@app.job`; several may be stacked.

        `cron` is an expression such as `0 9 * * mon-fri`, `@daily` or `@every 90 minutes`. `name` is the schedule's
        (the job's, unless given), `arguments` are those of the job, and the settings are those of `ScheduleSettings`.
        `sync_schedules` writes the declared schedules to the database; a worker calls it when it starts. Raises
        ConfigurationError with the line of a wrong expression.
        """
        caller = sys._getframe(1)
        line = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        try:
            check_cron(cron, settings.get("time_zone"))
        except ConfigurationError as error:
            raise ConfigurationError(f"{line}: {error}") from None

        def decorate(job: Job[P, R]) -> Job[P, R]:
            if not isinstance(job, Job):
                raise ConfigurationError(f"{line}: @app.schedule is for a job; put it above @app.job")
            declared = _Declared(name or job.name, job, cron, arguments, settings, line)
            other = self._schedules.setdefault(declared.name, declared)
            if other is not declared:
                raise ConfigurationError(
                    f"{line}: there is a schedule {declared.name!r} already, at {other.line}; give one another name:"
                    " @app.schedule(..., name=...)"
                )
            return job

        return decorate

    def sync_schedules(self, *, remove: bool = False) -> ScheduleSyncResult:
        """Put the declared schedules into the database, all or none: new ones are created, changed ones updated.

        Schedules that this application declared earlier and does not any more go on, unless `remove` is true. Those
        that were made by `Job.schedule` or in SQL are not touched, unless their name is declared. Raises what the
        database refuses, such as InvalidCron, with the line of the schedule.
        """
        client = self.client
        schedules = [self._schedules[name].schedule(self.name) for name in sorted(self._schedules)]
        with connections.connect(self.dsn) as connection, connection.transaction():
            before = {each.schedule: each for each in client.schedules(connection=connection)}
            for schedule in schedules:
                try:
                    client.schedule(schedule, connection=connection)
                except DatabaseRefusal as error:
                    line = self._schedules[schedule.name].line
                    raise type(error)(f"{line}: {error.message}", error.hint) from error
            after = {each.schedule: each for each in client.schedules(connection=connection)}
            gone = [name for name, each in after.items() if each.owner == self.name and name not in self._schedules]
            for name in gone if remove else ():
                client.unschedule(name, connection=connection)
        names = [schedule.name for schedule in schedules]
        for name in names:
            if name in before and (owner := before[name].owner) != self.name:
                whose = f"application {owner!r}" if owner else "no application"
                logger.warning("schedule %r was of %s; now it is of %r", name, whose, self.name)
        return ScheduleSyncResult(
            created=[name for name in names if name not in before],
            updated=[name for name in names if name in before and before[name].updated_at != after[name].updated_at],
            unchanged=[name for name in names if name in before and before[name].updated_at == after[name].updated_at],
            vanished=[] if remove else gone,
            removed=gone if remove else [],
        )

    def unschedule(self, name: str) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return self.client.unschedule(name)

    def add_schedule(self, schedule: Schedule, connection: psycopg.Connection[Any] | None = None) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return self.client.schedule(schedule, connection=connection)

    async def add_schedule_async(
        self, schedule: Schedule, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return await (await self.async_client()).schedule(schedule, connection=connection)

    # The database

    @property
    def dsn(self) -> str:
        """Where the database is. Starts the embedded PostgreSQL if that is the one."""
        with self._lock:
            if self._dsn is None:
                logger.warning("no dsn, no DATABASE_URL: using an embedded PostgreSQL, whose data is gone at the end")
                from .embedded import EmbeddedPostgres  # needs POSIX, and few need it

                self._embedded = EmbeddedPostgres()
                self._embedded.start()
                self._dsn = self._embedded.dsn
                schema.migrate(self._dsn)
            return self._dsn

    @dsn.setter
    def dsn(self, dsn: str) -> None:
        """Use another database; before the first use of the application."""
        if dsn != self._dsn and (self._client is not None or self._embedded is not None):
            raise ConfigurationError("the application has already used its database; set the dsn before that")
        self._dsn = dsn

    @property
    def has_dsn(self) -> bool:
        """Whether a database is given; otherwise the embedded one is used."""
        return self._dsn is not None

    @property
    def client(self) -> Client:
        """The calls of the SQL contract, for plain code."""
        with self._lock:
            if self._client is None:
                self._client = Client(self.dsn)
            if not self._created.issuperset(self.queues):
                self._create_queues(self._client)
            return self._client

    async def async_client(self) -> AsyncClient:
        """The calls of the SQL contract, for async code, on the running event loop."""
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._async_client[0] is not loop:
            await asyncio.to_thread(lambda: self.client)
            self._async_client = (loop, AsyncClient(self.dsn))
        return self._async_client[1]

    def migrate(self) -> schema.Plan:
        """Install or upgrade the schema. Returns what was done."""
        return schema.migrate(self.dsn)

    @property
    def queues(self) -> list[str]:
        """The names of the queues that are declared or that a job names."""
        return list(dict.fromkeys([*self._queues, *(job.queue for job in self.jobs.values())]))

    def _create_queues(self, client: Client) -> None:
        new = [self._queues.get(name, Queue(name=name)) for name in self.queues if name not in self._created]
        # A dead-letter queue that nobody works on need not be declared; others refer to it, so it is created first.
        letters = [Queue(name=queue.dead_letter_queue) for queue in new if queue.dead_letter_queue]
        try:
            for queue in letters + new:
                client.create_queue(queue)
        except psycopg.errors.InsufficientPrivilege:
            logger.debug("this role may not create queues; they have to exist")
        self._created.update(queue.name for queue in new)

    # Enqueueing, for jobs

    def enqueue(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None] | None,
        job: str,
        options: Options,
        connection: psycopg.Connection[Any] | None,
    ) -> list[int]:
        """Enqueue tasks of a job, for `Job`. To enqueue without one, use `app.client`."""
        if len(inputs) == 1 and unique_keys is None:
            return [self.client.enqueue(queue, inputs[0], job=job, options=options, connection=connection)]
        return self.client.enqueue_many(
            queue, inputs, unique_keys=unique_keys, job=job, options=options, connection=connection
        )

    def enqueue_unique(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None],
        job: str,
        options: Options,
        connection: psycopg.Connection[Any] | None,
    ) -> list[Enqueued]:
        """Enqueue tasks of a job with unique keys, for `Job`. To enqueue without one, use `app.client`."""
        return self.client.enqueue_unique(queue, inputs, unique_keys, job=job, options=options, connection=connection)

    async def enqueue_async(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None] | None,
        job: str,
        options: Options,
        connection: psycopg.AsyncConnection[Any] | None,
    ) -> list[int]:
        """Enqueue tasks of a job, for `Job`. To enqueue without one, use `app.async_client()`."""
        client = await self.async_client()
        if len(inputs) == 1 and unique_keys is None:
            return [await client.enqueue(queue, inputs[0], job=job, options=options, connection=connection)]
        return await client.enqueue_many(
            queue, inputs, unique_keys=unique_keys, job=job, options=options, connection=connection
        )

    async def enqueue_unique_async(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None],
        job: str,
        options: Options,
        connection: psycopg.AsyncConnection[Any] | None,
    ) -> list[Enqueued]:
        """Enqueue tasks of a job with unique keys, for `Job`. To enqueue without one, use `app.async_client()`."""
        client = await self.async_client()
        return await client.enqueue_unique(queue, inputs, unique_keys, job=job, options=options, connection=connection)

    # What one asks of tasks most often; the rest is on `client`

    def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final, `timeout` seconds at most. Returns its output; raises how it ended otherwise."""
        return self.client.wait_for(task, timeout=timeout)

    async def wait_for_async(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final, `timeout` seconds at most. Returns its output; raises how it ended otherwise."""
        return await (await self.async_client()).wait_for(task, timeout=timeout)

    def wait_for_many(self, tasks: Iterable[int], *, timeout: float | None = None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, `timeout` seconds at most. Returns how each ended, by its id."""
        return self.client.wait_for_many(tasks, timeout=timeout)

    async def wait_for_many_async(self, tasks: Iterable[int], *, timeout: float | None = None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, `timeout` seconds at most. Returns how each ended, by its id."""
        return await (await self.async_client()).wait_for_many(tasks, timeout=timeout)

    def task(self, task: int) -> TaskInfo | None:
        """All that is known of a task; None when there is no such task."""
        return self.client.task(task)

    def cancel(self, task: int) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return self.client.cancel(task)

    # The worker

    def worker(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A worker for this application, by default for all its queues. Takes the fields of `WorkerSettings`."""
        stop_import_of_program()
        with self._lock:
            before = self._client
            client = self.client  # whose first use creates the queues
            chosen = WorkerSettings(**settings).with_defaults(self.queues)
            if not chosen.queues:
                raise ConfigurationError("the application has no jobs and no queues: nothing to work on")
            self._declare_schedules()
            if before is None:  # nobody else has it: the worker has connections of its own
                self._client = None
                client.close()
        return Worker(
            self.dsn,
            self.jobs,
            chosen,
            state=self.state,
            middleware=self.middleware,
            lifespan=None if self.lifespan is None else partial(self.lifespan, self),
        )

    def _declare_schedules(self) -> None:
        if not self._schedules:
            return
        try:
            synced = self.sync_schedules()
        except psycopg.errors.InsufficientPrivilege:
            logger.warning("this role may not put schedules into the database: let `underway schedule sync` do it")
            return
        if synced.vanished:
            logger.warning(
                "schedules that are not declared any more go on: %s; `underway schedule sync --remove` removes them",
                ", ".join(synced.vanished),
            )

    def run(self, **settings: Unpack[WorkerOptions]) -> None:
        """Work until SIGTERM or SIGINT. The settings are those of `WorkerSettings`."""
        run_worker(self.worker(**settings))


@dataclass(frozen=True)
class _Declared:
    """A schedule as the code declares it, and the line where."""

    name: str
    job: Job[..., Any]
    cron: str
    arguments: Mapping[str, Any] | None
    settings: ScheduleSettings
    line: str

    def schedule(self, owner: str) -> Schedule:
        try:
            return self.job.options().as_schedule(self.cron, self.name, self.arguments, self.settings, owner)
        except InputError as error:
            raise ConfigurationError(f"{self.line}: {error}") from error


class _ScheduleDecorator(Protocol):
    """The type of `app.schedule(...)`, which takes the job."""

    def __call__(self, job: Job[P, R], /) -> Job[P, R]: ...


class _Decorator:
    """The type of `app.job(...)`, which takes the function."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Job[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Job[P, R]: ...
    def __call__(self, function: Any, /) -> Any: ...
