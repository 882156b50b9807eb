"""Jobs: a function, its policy, and typed enqueueing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, update_wrapper
from importlib.util import find_spec
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

import psycopg

from .arguments import Signature
from .cron import check_cron
from .errors import ConfigurationError, Fatal, InputError, OutputTooLarge
from .importing import stop_import_of_program
from .models import Enqueued
from .settings import (
    AfterFailure,
    Duration,
    Executor,
    NewTask,
    OnConflict,
    Options,
    RetryPolicy,
    Schedule,
    ScheduleSettings,
    UniqueUntil,
)
from .statements import dump_json

__all__ = ["BoundJob", "Job"]

P = ParamSpec("P")
R = TypeVar("R")

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]


class Enqueuer(Protocol):
    """What a job needs of its application."""

    dsn: str
    state: Any

    @property
    def middleware(self) -> Sequence[Any]:
        """What wraps each attempt."""

    def enqueue(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None] | None,
        job: str,
        options: Options,
        connection: psycopg.Connection[Any] | None,
    ) -> list[int]:
        """Enqueue tasks; gives their ids."""

    async def enqueue_async(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None] | None,
        job: str,
        options: Options,
        connection: psycopg.AsyncConnection[Any] | None,
    ) -> list[int]:
        """Enqueue tasks; gives their ids."""

    def enqueue_unique(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None],
        job: str,
        options: Options,
        connection: psycopg.Connection[Any] | None,
    ) -> list[Enqueued]:
        """Enqueue tasks whose unique keys are free; returns an outcome for each."""

    async def enqueue_unique_async(
        self,
        queue: str,
        inputs: list[Any],
        unique_keys: Iterable[str | None],
        job: str,
        options: Options,
        connection: psycopg.AsyncConnection[Any] | None,
    ) -> list[Enqueued]:
        """Enqueue tasks whose unique keys are free; returns an outcome for each."""

    def add_schedule(self, schedule: Schedule, connection: psycopg.Connection[Any] | None) -> datetime | None:
        """Create or replace a schedule; gives its next time."""

    async def add_schedule_async(
        self, schedule: Schedule, connection: psycopg.AsyncConnection[Any] | None
    ) -> datetime | None:
        """Create or replace a schedule; gives its next time."""


def _executor(job: str, function: Callable[..., Any], wanted: Executor | None) -> Executor:
    """Where a job runs. Raises ConfigurationError where its function cannot."""
    is_async = inspect.iscoroutinefunction(function)
    fits: tuple[Executor, ...] = ("async",) if is_async else ("thread", "process")
    executor = wanted or fits[0]
    if executor not in fits:
        kind = "an async function" if is_async else "a plain function"
        raise ConfigurationError(f"job {job}: executor is {executor!r}; for {kind} it is {' or '.join(fits)}")
    return executor


class Job(Generic[P, R]):
    """A named definition of work: a function and how its tasks are treated. It stays a function that can be called."""

    def __init__(
        self,
        function: Callable[..., R],
        *,
        name: str,
        queue: str,
        executor: Executor | None,
        options: Options,
        enqueuer: Enqueuer,
        context_type: type,
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name = name
        self.queue = queue
        self.executor = _executor(name, function, executor)
        self.enqueuer = enqueuer
        self._options = options
        self._context_type = context_type

    @cached_property
    def signature(self) -> Signature:
        """The parameters; read at the first use, when all annotations can be resolved."""
        return Signature(self.function, self._context_type)

    def output_text(self, output: Any) -> str:
        """What the function returned as JSON text. Raises InputError when JSON cannot carry it."""
        if find_spec("pydantic") is not None:
            import pydantic_core

            try:
                output = pydantic_core.to_jsonable_python(output)
            except ValueError as error:
                raise InputError(f"job {self.name}: the output does not fit into JSON: {error}") from error
        return dump_json(output)

    def is_retryable(self, error: BaseException) -> bool:
        """Whether another attempt may succeed after this error."""
        return not isinstance(error, (InputError, OutputTooLarge, Fatal))

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Job {self.name} on {self.queue}>"

    def options(
        self,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
        run_at: datetime | None = None,
        priority: int | None = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        retention: Duration | None = None,
        headers: Mapping[str, Any] | None = None,
        unique_key: str | None = None,
        on_conflict: OnConflict | None = None,
        unique_for: Duration | None = None,
        unique_until: UniqueUntil | None = None,
        concurrency_key: str | None = None,
        after: Sequence[int] | None = None,
        after_failure: AfterFailure | None = None,
        connection: AnyConnection | None = None,
    ) -> BoundJob[P]:
        """The job with options for the tasks that are enqueued through what is returned.

        `connection` is the caller's psycopg connection: the tasks are part of its transaction.
        """
        given: dict[str, Any] = {
            "delay": delay, "run_at": run_at, "priority": priority, "retry": retry, "timeout": timeout,
            "heartbeat": heartbeat, "retention": retention, "headers": headers, "unique_key": unique_key,
            "on_conflict": on_conflict, "unique_for": unique_for, "unique_until": unique_until,
            "concurrency_key": concurrency_key, "after": after, "after_failure": after_failure,
        }  # fmt: skip
        options = replace(self._options, **{name: value for name, value in given.items() if value is not None})
        return BoundJob(self, queue or self.queue, options, connection, self.enqueuer)

    def task(self, *args: P.args, **kwargs: P.kwargs) -> NewTask:
        """A task with these arguments that is not enqueued yet, for a batch."""
        return self.options().task(*args, **kwargs)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a task with these arguments. Returns its id."""
        return self.options().enqueue(*args, **kwargs)

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a task with these arguments. Returns its id."""
        return await self.options().enqueue_async(*args, **kwargs)

    def enqueue_many(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[int]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return self.options().enqueue_many(calls, unique_keys=unique_keys)

    def enqueue_unique(self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        return self.options().enqueue_unique(calls, unique_keys)

    async def enqueue_many_async(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[int]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return await self.options().enqueue_many_async(calls, unique_keys=unique_keys)

    async def enqueue_unique_async(
        self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]
    ) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        return await self.options().enqueue_unique_async(calls, unique_keys)

    def schedule(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> datetime | None:
        """Enqueue this job with these arguments at each time of a cron expression. Returns the next time.

        `cron` is an expression such as `0 9 * * mon-fri`, `@daily` or `@every 90 minutes`. The schedule is stored in
        the database and replaces one of this name (the job's by default). Any worker runs it, until it is unscheduled.
        The settings are those of `ScheduleSettings`.
        """
        return self.options().schedule(cron, name=name, arguments=arguments, **settings)

    async def schedule_async(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> datetime | None:
        """Enqueue this job with these arguments at each time of a cron expression. Returns the next time."""
        return await self.options().schedule_async(cron, name=name, arguments=arguments, **settings)


@dataclass(frozen=True)
class BoundJob(Generic[P]):
    """A job with the options for its next tasks; `Job.options` makes it."""

    job: Job[P, Any]
    queue: str
    options: Options
    connection: AnyConnection | None
    enqueuer: Enqueuer

    def task(self, *args: P.args, **kwargs: P.kwargs) -> NewTask:
        """A task with these arguments that is not enqueued yet, for a batch."""
        if self.connection is not None:
            raise ConfigurationError("a task that is not enqueued yet has no connection; give it to the call that does")
        input = self.job.signature.to_input(args, kwargs)
        return NewTask(queue=self.queue, input=input, job=self.job.name, options=self.options)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a task with these arguments. Returns its id."""
        return self._enqueue([self.job.signature.to_input(args, kwargs)])[0]

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """Enqueue a task with these arguments. Returns its id."""
        return (await self._enqueue_async([self.job.signature.to_input(args, kwargs)]))[0]

    def enqueue_many(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[int]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return self._enqueue(self._inputs(calls), unique_keys)

    def enqueue_unique(self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        stop_import_of_program()
        inputs, connection = self._inputs(calls), self._sync_connection()
        return self.enqueuer.enqueue_unique(self.queue, inputs, unique_keys, self.job.name, self.options, connection)

    async def enqueue_many_async(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[int]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return await self._enqueue_async(self._inputs(calls), unique_keys)

    async def enqueue_unique_async(
        self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]
    ) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        stop_import_of_program()
        inputs, connection = self._inputs(calls), self._async_connection()
        return await self.enqueuer.enqueue_unique_async(
            self.queue, inputs, unique_keys, self.job.name, self.options, connection
        )

    def schedule(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> datetime | None:
        """Enqueue this job with these arguments at each time of a cron expression. Returns the next time."""
        schedule = self.as_schedule(cron, name, arguments, settings)
        return self.enqueuer.add_schedule(schedule, self._sync_connection())

    async def schedule_async(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> datetime | None:
        """Enqueue this job with these arguments at each time of a cron expression. Returns the next time."""
        schedule = self.as_schedule(cron, name, arguments, settings)
        return await self.enqueuer.add_schedule_async(schedule, self._async_connection())

    def as_schedule(
        self,
        cron: str,
        name: str | None,
        arguments: Mapping[str, Any] | None,
        settings: ScheduleSettings,
        owner: str | None = None,
    ) -> Schedule:
        """A schedule of this job, as the database takes it. Raises ConfigurationError and InputError."""
        check_cron(cron, settings.get("time_zone"))
        return Schedule(
            name=name or self.job.name,
            queue=self.queue,
            cron=cron,
            input=self.job.signature.to_input((), arguments or {}),
            job=self.job.name,
            options=self.options,
            owner=owner,
            **settings,
        )

    def _inputs(self, calls: Iterable[Mapping[str, Any]]) -> list[Any]:
        return [self.job.signature.to_input((), call) for call in calls]

    def _enqueue(self, inputs: list[Any], keys: Iterable[str | None] | None = None) -> list[int]:
        stop_import_of_program()
        connection = self._sync_connection()
        return self.enqueuer.enqueue(self.queue, inputs, keys, self.job.name, self.options, connection)

    async def _enqueue_async(self, inputs: list[Any], keys: Iterable[str | None] | None = None) -> list[int]:
        stop_import_of_program()
        connection = self._async_connection()
        return await self.enqueuer.enqueue_async(self.queue, inputs, keys, self.job.name, self.options, connection)

    def _sync_connection(self) -> psycopg.Connection[Any] | None:
        if isinstance(self.connection, psycopg.AsyncConnection):
            raise ConfigurationError("the connection is async: use enqueue_async, enqueue_many_async or schedule_async")
        return self.connection

    def _async_connection(self) -> psycopg.AsyncConnection[Any] | None:
        if isinstance(self.connection, psycopg.Connection):
            raise ConfigurationError("the connection is not async: use enqueue, enqueue_many or schedule")
        return self.connection
