"""The application: its jobs, its queues, and the way to the database."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeAlias, TypeVar, Unpack, overload

import psycopg

from . import connections, schema, statements
from .checks import check_class, check_each, check_kind, check_number
from .client import AsyncClient, Client, TaskHandle, execute, execute_async
from .connections import Dsn
from .cron import check_cron
from .errors import ConfigurationError, DatabaseRefusal, InputError
from .importing import stop_import_of_program
from .job import Job, is_same_definition, job_name
from .models import ScheduleSyncResult, TaskInfo
from .service.run import run_worker
from .settings import Executor, NewTask, Options, Queue, Schedule, ScheduleSettings, TaskOptions
from .worker import Context, Middleware, Worker, WorkerOptions, WorkerSettings

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from .embedded import EmbeddedPostgres

__all__ = ["App"]

Lifespan: TypeAlias = Callable[["App"], AbstractAsyncContextManager[Any]]

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
C = TypeVar("C")

logger = logging.getLogger(__name__)


class App:
    """Jobs and queues, and the database that holds them.

    dsn         the database: a URI, a conninfo string, or a function that returns one and is called for each new
                connection. Without it: the environment's DATABASE_URL, else the database that libpq finds by PGHOST,
                PGSERVICE or PGDATABASE. The environment is read at the first use
    name        distinguishes the schedules that this application declares from others in the same database
    queues      queues with settings; a queue that only a job names has the defaults
    state       anything that handlers may need; they find it as `context.state`
    pool_size   at most so many connections at once for plain code, and for each event loop
    pool        your own psycopg_pool.ConnectionPool for the calls of plain code; you open and close it
    async_pool  your own psycopg_pool.AsyncConnectionPool for the calls of async code
    timeout     seconds that a call may take, the wait for a free connection included; see `Client`
    embedded    start a PostgreSQL server at the first use, whose data is deleted when the application is closed: for
                first steps and tests

    `middleware` wraps each attempt, the first one outermost: functions that take the Context and return a context
    manager. A plain context manager wraps every handler, in its own task, thread or process; an async one wraps async
    handlers only. `lifespan` is called with the application when a worker starts, and returns an async context manager
    that stays open on the worker's loop while the worker runs; what it yields is `context.state`, except in processes.

    The queues are created before the first enqueue or schedule and when a worker starts, the schedules when a worker
    starts. An application is a context manager, plain and async. Closing it closes its connections, and stops the
    embedded server; it can be used again.
    """

    def __init__(
        self,
        dsn: Dsn | None = None,
        *,
        name: str = "app",
        queues: Iterable[Queue] = (),
        state: Any = None,
        pool_size: int = 4,
        pool: ConnectionPool[Any] | None = None,
        async_pool: AsyncConnectionPool[Any] | None = None,
        timeout: float | None = None,
        embedded: bool = False,
        middleware: Iterable[Middleware] = (),
        lifespan: Lifespan | None = None,
    ) -> None:
        if embedded and (dsn is not None or pool is not None or async_pool is not None):
            raise ConfigurationError("the application has a database and embedded=True; leave out one of them")
        if lifespan is not None:
            check_kind("lifespan", lifespan, Callable, "a function that returns an async context manager")
        check_number("pool_size", pool_size, int, 1)
        if timeout is not None:
            check_number("timeout", timeout, float, 0)
        check_class("pool", pool, "psycopg_pool.ConnectionPool")
        check_class("async_pool", async_pool, "psycopg_pool.AsyncConnectionPool")
        self.name = name
        self.jobs: dict[str, Job[..., Any]] = {}
        self._schedules: dict[str, _Declared] = {}
        self.state = state
        self.middleware: Sequence[Middleware] = check_each(
            "middleware", middleware, Callable, "functions that take the Context and return a context manager"
        )
        self.lifespan = lifespan
        self._queues = {queue.name: queue for queue in check_each("queues", queues, Queue, "Queue(name=...)")}
        self._dsn = dsn or None
        self._pool = pool
        self._async_pool = async_pool
        self._client_settings: dict[str, Any] = {"pool_size": pool_size, "timeout": timeout}
        self._use_embedded = embedded
        self._embedded: EmbeddedPostgres | None = None
        self._created: set[str] = set()
        self._jobs_with_queues: int | None = None  # how many jobs there were when all queues had been created
        self._start()
        connections.after_fork(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._creating = threading.Lock()  # held while plain code creates the queues
        self._client: Client | None = None
        # For each event loop its client, and the lock under which it creates the queues.
        self._async_clients: dict[asyncio.AbstractEventLoop, tuple[AsyncClient, asyncio.Lock]] = {}

    def _after_fork(self) -> None:
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close_async()

    def close(self) -> None:
        """Close the connections, also those for async code, and stop the embedded server."""
        with self._lock:
            plain, self._client = self._client, None
            asynchronous = [client for client, _ in self._async_clients.values()]
            embedded, self._embedded = self._embedded, None
            self._async_clients.clear()
            self._created.clear()
            self._jobs_with_queues = None
        if plain is not None:
            plain.drain()
        for client in asynchronous:
            client.drain()
        if embedded is not None:
            embedded.stop()

    async def close_async(self) -> None:
        """Close the connections, and stop the embedded server, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    # Jobs

    @overload
    def job(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Job[P, R, Concatenate[Context, P], Coroutine[Any, Any, R]]: ...
    @overload
    def job(self, function: Callable[Concatenate[Context, P], R], /) -> Job[P, R, Concatenate[Context, P], R]: ...
    @overload
    def job(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, P, Coroutine[Any, Any, R]]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> Job[P, R, P, R]: ...
    @overload
    def job(
        self,
        /,
        *,
        name: str | None = ...,
        queue: str = ...,
        executor: Executor | None = ...,
        **options: Unpack[TaskOptions],
    ) -> _Decorator: ...
    def job(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str = "default",
        executor: Executor | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Make a function a job.

        Its name (the function's, unless given) is stored with its tasks: do not change it while tasks are pending. An
        async function runs on the event loop, a plain one in a thread, or with the executor "process" in a process of
        its own. The other keywords are the options of its tasks, as in `Job.options`; None leaves them to the queue.

        Raises ConfigurationError for a function that cannot be a job, and for a second job of the same name. A function
        that is defined again in a notebook or an interpreter, or by a second import of its module, replaces its job.
        """

        def decorate(function: Callable[..., Any]) -> Job[..., Any]:
            of_queue = self._queues.get(queue) or Queue(name=queue)
            given = {name: value for name, value in options.items() if value is not None}
            job: Job[..., Any] = Job(
                function,
                name=name or job_name(function),
                queue=queue,
                executor=executor,
                default_executor=of_queue.executor,
                options=Options(**given),  # type: ignore[arg-type]
                retry=options.get("retry") or of_queue.retry,
                app=self,
                context_type=Context,
            )
            other = self.jobs.get(job.name)
            if other is not None and not is_same_definition(job, other):
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

        def decorate(job: Job[P, R, Q, C]) -> Job[P, R, Q, C]:
            if not isinstance(job, Job):
                raise ConfigurationError(f"{line}: @app.schedule is for a job; put it above @app.job")
            declared = _Declared(name or job.name, job, cron, arguments, settings, line)
            other = self._schedules.get(declared.name)
            if other is not None and self.jobs.get(other.job.name) is other.job:
                raise ConfigurationError(
                    f"{line}: there is a schedule {declared.name!r} already, at {other.line}; give one another name:"
                    " @app.schedule(..., name=...)"
                )
            self._schedules[declared.name] = declared
            return job

        return decorate

    def sync_schedules(self, *, remove: bool = False) -> ScheduleSyncResult:
        """Put the declared schedules into the database, all or none: new ones are created, changed ones updated.

        Schedules that this application declared earlier and does not any more go on, unless `remove` is true. Those
        that were made by `Job.schedule` or in SQL are not touched, unless their name is declared. Raises what the
        database refuses, such as InvalidCron, with the line of the schedule.
        """
        self.create_queues()
        client = self.client
        schedules = [self._schedules[name].schedule(self.name) for name in sorted(self._schedules)]
        with connections.connect(self._find_dsn()) as connection, connection.transaction():
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

    async def sync_schedules_async(self, *, remove: bool = False) -> ScheduleSyncResult:
        """Put the declared schedules into the database, as `sync_schedules` does."""
        return await asyncio.to_thread(self.sync_schedules, remove=remove)

    def unschedule(self, name: str) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return self.client.unschedule(name)

    async def unschedule_async(self, name: str) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return await (await self.async_client()).unschedule(name)

    # The database

    @property
    def dsn(self) -> str:
        """The dsn of the database now. Starts the embedded server. Raises ConfigurationError where there is none."""
        return connections.read_dsn(self._find_dsn())

    @dsn.setter
    def dsn(self, dsn: Dsn) -> None:
        """Use another database; before the first use of the application."""
        used = self._client is not None or self._async_clients or self._embedded is not None
        if used and dsn != self._find_dsn():
            raise ConfigurationError("the application has already used its database; set the dsn before that")
        self._dsn = dsn

    @property
    def has_dsn(self) -> bool:
        """Whether a database is given, by a dsn, a pool or the environment."""
        return bool(self._dsn or self._pool or self._async_pool or connections.dsn_of_environment() is not None)

    def _find_dsn(self) -> Dsn:
        if self._dsn is not None:
            return self._dsn
        if self._pool is not None or self._async_pool is not None:
            return connections.dsn_of_pool(self._pool or self._async_pool)
        if self._use_embedded:
            return self._embedded_dsn()
        found = connections.dsn_of_environment()
        if found is None:
            raise ConfigurationError(
                "no database is given: use App(dsn), or set DATABASE_URL=postgresql://user:password@host/database, or"
                " PGHOST and PGDATABASE; App(embedded=True) starts a server whose data is deleted at the end"
            )
        return found

    def _embedded_dsn(self) -> str:
        with self._lock:
            if self._embedded is None:
                from .embedded import EmbeddedPostgres  # needs POSIX, and few need it

                logger.info("starting an embedded PostgreSQL, whose data is deleted at the end")
                embedded = EmbeddedPostgres()
                embedded.start()
                schema.migrate(embedded.dsn)
                self._embedded = embedded
            return self._embedded.dsn

    @property
    def client(self) -> Client:
        """The client for plain code. Before it first enqueues or schedules, it creates the queues."""
        with self._lock:
            if self._client is None:
                self._client = Client(
                    self._find_dsn(), pool=self._pool, before_enqueue=self.create_queues, **self._client_settings
                )
            return self._client

    async def async_client(self) -> AsyncClient:
        """The client for async code, on the running event loop. Before it first enqueues, it creates the queues."""
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            found = await asyncio.to_thread(self._find_dsn) if self._use_embedded else self._find_dsn()
            self._make_async_client(loop, found)
        return self._async_clients[loop][0]

    def _make_async_client(self, loop: asyncio.AbstractEventLoop, dsn: Dsn) -> None:
        with self._lock:
            for old in [each for each in self._async_clients if each.is_closed()]:
                self._async_clients.pop(old)[0].drain()
            if loop not in self._async_clients:
                client = AsyncClient(
                    dsn, pool=self._async_pool, before_enqueue=self.create_queues_async, **self._client_settings
                )
                self._async_clients[loop] = (client, asyncio.Lock())

    @property
    def queues(self) -> list[str]:
        """The names of the queues that are declared or that a job names."""
        return list(dict.fromkeys([*self._queues, *(job.queue for job in self.jobs.values())]))

    def create_queues(self) -> None:
        """Create the queues of this application that do not exist, with their settings.

        The first enqueue, schedule and worker do it too; an enqueue on your own connection and calls that only read do
        not.
        """
        client = self.client
        if self._needs_queues():
            with self._creating:
                for queue in self._missing_queues():
                    with self._creation(queue):
                        client.create_queue(queue)

    async def create_queues_async(self) -> None:
        """Create the queues of this application that do not exist, with their settings."""
        client = await self.async_client()
        if self._needs_queues():
            async with self._async_clients[asyncio.get_running_loop()][1]:
                for queue in self._missing_queues():
                    with self._creation(queue):
                        await client.create_queue(queue)

    def _needs_queues(self) -> bool:
        return self._jobs_with_queues != len(self.jobs)

    def _missing_queues(self) -> Iterator[Queue]:
        """The queues that this application has not created yet, in the order in which they can be created."""
        jobs = len(self.jobs)
        new = [self._queues.get(name, Queue(name=name)) for name in self.queues if name not in self._created]
        # A dead-letter queue that is not declared has the defaults. Others refer to it, so it is created first.
        letters = [Queue(name=queue.dead_letter_queue) for queue in new if queue.dead_letter_queue]
        yield from letters + new
        self._jobs_with_queues = jobs

    @contextmanager
    def _creation(self, queue: Queue) -> Iterator[None]:
        """The creation of a queue, in the block."""
        try:
            yield
        except psycopg.errors.InsufficientPrivilege:
            logger.debug("this role may not create queue %r; it has to exist", queue.name)
        self._created.add(queue.name)

    def migrate(self) -> schema.MigrationPlan:
        """Install or upgrade the schema. Returns what was done, and the version of the schema."""
        return schema.migrate(self._find_dsn())

    async def migrate_async(self) -> schema.MigrationPlan:
        """Install or upgrade the schema, without blocking the event loop."""
        return await asyncio.to_thread(self.migrate)

    # Tasks of several jobs

    def enqueue_many(self, tasks: Iterable[NewTask], *, connection: Any = None) -> list[TaskHandle[Any]]:
        """Enqueue tasks of any jobs and queues, made by `Job.task`, all or none. Returns their handles in order.

        On a `connection` of yours they are part of its transaction, and their queues have to exist.
        """
        stop_import_of_program()
        statement = statements.enqueue_tasks(tasks)
        ids = self.client.run(statement) if connection is None else execute(connection, statement)
        return [TaskHandle(id, self, _as_it_is) for id in ids]

    async def enqueue_many_async(self, tasks: Iterable[NewTask], *, connection: Any = None) -> list[TaskHandle[Any]]:
        """Enqueue tasks of any jobs and queues, made by `Job.task`, all or none. Returns their handles in order."""
        stop_import_of_program()
        statement = statements.enqueue_tasks(tasks)
        if connection is None:
            ids = await (await self.async_client()).run(statement)
        else:
            ids = await execute_async(connection, statement)
        return [TaskHandle(id, self, _as_it_is) for id in ids]

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

    async def task_async(self, task: int) -> TaskInfo | None:
        """All that is known of a task; None when there is no such task."""
        return await (await self.async_client()).task(task)

    def cancel(self, task: int) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return self.client.cancel(task)

    async def cancel_async(self, task: int) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return await (await self.async_client()).cancel(task)

    # The worker

    def worker(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A worker for this application, by default for all its queues. Takes the fields of `WorkerSettings`."""
        stop_import_of_program()
        with self._lock:
            before = self._client
            client = self.client
            self.create_queues()
            chosen = WorkerSettings(**settings).with_defaults(self.queues)
            if not chosen.queues:
                raise ConfigurationError("the application has no jobs and no queues: nothing to work on")
            self._declare_schedules()
            if before is None:  # nobody else has it: the worker has connections of its own
                self._client = None
                client.close()
        return Worker(
            self._find_dsn(),
            self.jobs,
            chosen,
            state=self.state,
            middleware=self.middleware,
            lifespan=None if self.lifespan is None else partial(self.lifespan, self),
        )

    async def worker_async(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A worker for this application, made without blocking the event loop."""
        return await asyncio.to_thread(lambda: self.worker(**settings))

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


def _as_it_is(output: Any) -> Any:
    """The output of a task whose job is not known: plain JSON."""
    return output


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
            return self.job._as_schedule(self.cron, self.name, self.arguments, self.settings, owner)
        except InputError as error:
            raise ConfigurationError(f"{self.line}: {error}") from error


class _ScheduleDecorator(Protocol):
    """The type of `app.schedule(...)`, which takes the job."""

    def __call__(self, job: Job[P, R, Q, C], /) -> Job[P, R, Q, C]: ...


class _Decorator(Protocol):
    """The type of `app.job(...)`, which takes the function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Job[P, R, Concatenate[Context, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Job[P, R, Concatenate[Context, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R, P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Job[P, R, P, R]: ...
    def __call__(self, function: Any, /) -> Any: ...
