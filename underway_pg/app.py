"""The application: its jobs, its queues, and the way to the database."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, Unpack

from . import connections, schema, statements
from .binding import Binding, Steps
from .blueprint import Blueprint, Declarations
from .checks import check_class, check_each, check_kind, check_number
from .client import AsyncClient, Client, EnqueueMiddleware, TaskHandle, execute
from .connections import Dsn
from .errors import ConfigurationError
from .importing import import_module, stop_import_of_program
from .job import Job
from .models import SyncResult, TaskInfo
from .settings import JobPolicy, NewTask, Queue
from .statements import Statement
from .sync import Declared, create_missing, sync, write_permitted
from .worker import Middleware, Worker, WorkerOptions, WorkerSettings

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

__all__ = ["App"]

Lifespan: TypeAlias = Callable[["App"], AbstractAsyncContextManager[Any]]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class App(Declarations):
    """Jobs and queues, and the database that holds them.

    dsn         the database: a URI, a conninfo string, or a function that returns one and is called for each new
                connection. Without it: the environment's DATABASE_URL, else the database that libpq finds by PGHOST,
                PGSERVICE or PGDATABASE. The environment is read at the first use
    name        distinguishes the jobs and schedules that this application declares from others in the same database
    imports     the modules that declare jobs, as in ["shop.jobs"]. They are imported when the jobs are needed: when a
                worker starts, and for a sync. So they may import the module of the application
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
    handlers only. `enqueue_middleware` wraps each call that enqueues, plain or async: functions that take an
    EnqueueCall, whose headers they may fill, and return a plain context manager. `lifespan` is called with the
    application when a worker starts, and returns an async context manager that stays open on the worker's loop while
    the worker runs; what it yields is `context.state`, except in processes.

    A worker writes the queues, jobs and schedules into the database when it starts (`sync`). The first enqueue or
    schedule creates the queues and jobs that are missing. An application is a context manager, plain and async. Closing
    it closes its connections, and stops the embedded server; it can be used again.
    """

    def __init__(
        self,
        dsn: Dsn | None = None,
        *,
        name: str = "app",
        imports: Iterable[str] = (),
        queues: Iterable[Queue] = (),
        state: Any = None,
        pool_size: int = 4,
        pool: ConnectionPool[Any] | None = None,
        async_pool: AsyncConnectionPool[Any] | None = None,
        timeout: float | None = None,
        embedded: bool = False,
        middleware: Iterable[Middleware] = (),
        enqueue_middleware: Iterable[EnqueueMiddleware] = (),
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
        if isinstance(imports, str):
            raise ConfigurationError(f"imports is {imports!r}; give a list of modules, as in [{imports!r}]")
        super().__init__(queues)
        self.name = name
        self.state = state
        self.middleware: Sequence[Middleware] = check_each(
            "middleware", middleware, Callable, "functions that take the Context and return a context manager"
        )
        # A list, because a client that exists already sees what is added to it.
        self.enqueue_middleware: list[EnqueueMiddleware] = list(
            check_each(
                "enqueue_middleware",
                enqueue_middleware,
                Callable,
                "functions that take an EnqueueCall and return a context manager",
            )
        )
        self.lifespan = lifespan
        self._imports = check_each("imports", imports, str, "names of modules, as strings")
        self._bind = partial(
            Binding,
            steps=self._create_missing,
            count=lambda: len(self._jobs),
            enqueue_middleware=self.enqueue_middleware,
            pool_size=pool_size,
            timeout=timeout,
        )
        # The database is that of the last; the others are those that an `override` has replaced.
        self._bindings = [self._bind(dsn or None, pool=pool, async_pool=async_pool, embedded=embedded)]

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
        self._binding.close()

    async def close_async(self) -> None:
        """Close the connections, and stop the embedded server, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    # Jobs, queues and schedules

    @property
    def app(self) -> Self:
        """The application itself, as `Blueprint.app` is."""
        return self

    @property
    def jobs(self) -> Mapping[str, Job[..., Any]]:
        """The jobs by name. Imports the modules that `imports` names."""
        self._import()
        return self._jobs

    @property
    def queues(self) -> list[str]:
        """The names of the queues that are declared or that a job names."""
        return list(dict.fromkeys([*self._queues, *(job.queue for job in self.jobs.values())]))

    def include(self, blueprint: Blueprint) -> None:
        """Add the queues, jobs and schedules of a blueprint, also those that it declares later.

        Raises ConfigurationError for a name that is taken, and for a blueprint of another application.
        """
        check_kind("the blueprint", blueprint, Blueprint, "a Blueprint")
        blueprint._include_in(self, sys._getframe(1).f_globals.get("__name__", "__main__"))

    def _import(self) -> None:
        for module in self._imports:
            try:
                import_module(module)
            except ModuleNotFoundError as error:
                raise ConfigurationError(f"App(imports={list(self._imports)}): {error}") from None
        if self._imports and not self._jobs:
            raise ConfigurationError(
                f"App(imports={list(self._imports)}): these modules declare no jobs of this App. If they import the"
                " program that was started, its module exists twice: put the App into a module of its own"
            )

    def sync(self, *, prune: bool = False, plan: bool = False) -> SyncResult:
        """Write the declared queues, jobs and schedules into the database, all or none.

        New ones are created and changed ones updated. Jobs and schedules that this application declared earlier and no
        longer does are kept, unless `prune` is true. What was made in SQL or by another application is not touched,
        unless its name is declared. With `plan` nothing is changed; the result is what would be done. Raises what the
        database refuses, such as InvalidCron, with the line of the schedule.
        """
        declared = self._declared()
        with connections.connect(self._binding.dsn) as connection:
            return sync(connection, declared, prune=prune, plan=plan)

    async def sync_async(self, *, prune: bool = False, plan: bool = False) -> SyncResult:
        """Write the declared queues, jobs and schedules into the database, as `sync` does."""
        return await asyncio.to_thread(self.sync, prune=prune, plan=plan)

    def _declared(self) -> Declared:
        self._import()
        return Declared(
            owner=self.name,
            queues=self._all_queues(),
            jobs=self._policies(),
            schedules=[self._schedules[name].schedule(self.name) for name in sorted(self._schedules)],
            lines={name: each.line for name, each in self._schedules.items()},
        )

    def _all_queues(self) -> list[Queue]:
        """The queues that are declared until now, in the order in which they can be created."""
        policies = self._policies()
        queues = [self._queue(name) for name in dict.fromkeys([*self._queues, *(job.queue for job in policies)])]
        # Queues and jobs refer to a dead-letter queue, so it is created first.
        letters = [queue.dead_letter_queue for queue in queues] + [policy.dead_letter_queue for policy in policies]
        return [Queue(name=name) for name in dict.fromkeys(filter(None, letters))] + queues

    def _policies(self) -> list[JobPolicy]:
        """The jobs that are declared until now, as the database knows them."""
        return [replace(job.policy, owner=self.name) for job in self._jobs.values()]

    def _create_missing(self) -> Steps:
        return create_missing(self._all_queues(), self._policies())

    def unschedule(self, name: str) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return self.client.unschedule(name)

    async def unschedule_async(self, name: str) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return await (await self.async_client()).unschedule(name)

    # The database

    @property
    def _binding(self) -> Binding:
        return self._bindings[-1]

    @property
    def dsn(self) -> str:
        """The dsn of the database now. Starts the embedded server. Raises ConfigurationError where there is none."""
        return connections.read_dsn(self._binding.dsn)

    @dsn.setter
    def dsn(self, dsn: Dsn) -> None:
        """Use another database; before the first use of the application."""
        if self._binding.is_used and dsn != self._binding.dsn:
            raise ConfigurationError(
                "the application has already used its database; set the dsn before that, or use app.override(dsn=...)"
            )
        self._binding.given_dsn = dsn

    @contextmanager
    def override(self, *, dsn: Dsn) -> Iterator[Self]:
        """Use another database in the block: for tests.

        It applies to all threads and event loops: to enqueues, to the clients, and to workers that are made in the
        block. The connections to the other database are closed at the end of the block. Blocks may be nested.
        """
        with self._use(self._bind(dsn)):
            yield self

    @contextmanager
    def _use(self, binding: Binding) -> Iterator[None]:
        self._bindings.append(binding)
        try:
            yield
        finally:
            self._bindings.remove(binding)
            binding.close()

    @property
    def has_dsn(self) -> bool:
        """Whether a database is given, by a dsn, a pool or the environment."""
        return self._binding.has_dsn

    @property
    def client(self) -> Client:
        """The client for plain code. Before it first enqueues or schedules, it creates what is missing."""
        return self._binding.client

    async def async_client(self) -> AsyncClient:
        """The client for async code, on the running event loop, as `client` is for plain code."""
        return await self._binding.async_client()

    def _run(self, statement: Statement[T], connection: Any = None) -> T:
        return self._binding.run(statement, connection)

    async def _run_async(self, statement: Statement[T], connection: Any = None) -> T:
        return await self._binding.run_async(statement, connection)

    def migrate(self) -> schema.MigrationPlan:
        """Install or upgrade the schema. Returns what was done, and the version of the schema."""
        return schema.migrate(self._binding.dsn)

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
        ids = self._run(statement, connection)
        return [TaskHandle(id, self, _as_it_is) for id in ids]

    async def enqueue_many_async(self, tasks: Iterable[NewTask], *, connection: Any = None) -> list[TaskHandle[Any]]:
        """Enqueue tasks of any jobs and queues, made by `Job.task`, all or none. Returns their handles in order."""
        stop_import_of_program()
        statement = statements.enqueue_tasks(tasks)
        ids = await self._run_async(statement, connection)
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
        chosen = WorkerSettings(**settings).with_defaults(self.queues)
        if not chosen.queues:
            raise ConfigurationError("the application has no jobs and no queues: nothing to work on")
        self._start_worker(chosen)
        return Worker(
            self._binding.dsn,
            self.jobs,
            chosen,
            state=self.state,
            middleware=self.middleware,
            lifespan=None if self.lifespan is None else partial(self.lifespan, self),
        )

    async def worker_async(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A worker for this application, made without blocking the event loop."""
        return await asyncio.to_thread(lambda: self.worker(**settings))

    def _start_worker(self, settings: WorkerSettings) -> None:
        """Check the schema. Write the declarations as far as this role may, or compare them, and log what differs."""
        declared = self._declared()
        with connections.connect(self._binding.dsn) as connection:
            version, oldest_package = execute(connection, statements.schema_version())
            if not schema.check_version(version, oldest_package):
                logger.warning(
                    "worker %s: the schema is newer than this package: it has migration %s. They work together; upgrade"
                    " underway-pg soon",
                    settings.name, version,
                )  # fmt: skip
            vanished, different = write_permitted(connection, declared, write=settings.sync)
        if vanished:
            logger.warning(
                "worker %s: no longer declared, and kept: %s; `underway sync MODULE:APP --prune` removes them",
                settings.name, ", ".join(vanished),
            )  # fmt: skip
        if different:
            logger.warning(
                "worker %s: the database is not as the application declares it: %s; run `underway sync MODULE:APP` as a"
                " role with underway_operator",
                settings.name, "; ".join(different),
            )  # fmt: skip

    def run(self, **settings: Unpack[WorkerOptions]) -> None:
        """Work until SIGTERM or SIGINT. The settings are those of `WorkerSettings`."""
        from .service.run import run_worker  # imports what serves metrics

        run_worker(self.worker(**settings))


def _as_it_is(output: Any) -> Any:
    """The output of a task whose job is not known: plain JSON."""
    return output
