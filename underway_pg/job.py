"""Jobs: a function, its policy, and typed enqueueing."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, update_wrapper
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Unpack

from typing_extensions import ParamSpec, TypeVar

from . import statements
from .client import TaskHandle, WaitsForTasks, check_connection
from .cron import check_cron
from .errors import ConfigurationError, Fatal, InputError, OutputTooLarge, Retry, UnresolvedAnnotation
from .functions import innermost_function
from .importing import stop_import_of_program
from .models import Enqueued
from .settings import Executor, JobPolicy, NewTask, Options, Queue, RetryPolicy, Schedule, ScheduleSettings, TaskOptions
from .statements import Statement, convert_each, short

if TYPE_CHECKING:  # these import pydantic, which a program without jobs does not need
    from .arguments import Arguments
    from .output import Output

__all__ = ["Application", "BoundJob", "Job", "is_same_definition", "job_name"]

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q", default=...)
C = TypeVar("C", default=Any)
T = TypeVar("T")

# What the same arguments, or the handler's own decision, would only repeat.
_NEVER_RETRIED = (InputError, OutputTooLarge, Fatal)


def job_name(function: Callable[..., Any]) -> str:
    """The name of a job whose function is given no other. Raises ConfigurationError when the function has none."""
    name: str | None = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(f"{function!r} has no name for a job; give one: app.job(name=...)(...)")
    return name


def is_same_definition(job: Job[..., Any], other: Job[..., Any]) -> bool:
    """Whether two jobs come from one definition that was executed twice.

    It was if a module is imported under two names or reloaded, or if the code is typed into an interpreter or a cell of
    a notebook, where defining a function again replaces it.
    """
    functions = [inspect.unwrap(each.function) for each in (job, other)]
    if not all(map(inspect.isfunction, functions)):
        return False
    one, two = (function.__code__ for function in functions)
    # One code object that makes two functions is a loop, or a function that declares jobs: a name for two jobs.
    if one is two or one.co_qualname != two.co_qualname or "<locals>" in one.co_qualname:
        return False
    if (one.co_filename, one.co_firstlineno) == (two.co_filename, two.co_firstlineno):
        return True
    return all(function.__module__ == "__main__" and _is_interactive(function.__code__) for function in functions)


def _is_interactive(code: CodeType) -> bool:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return main is None or Path(main).resolve() != Path(code.co_filename).resolve()


def _is_async(function: Any) -> bool:
    call = (
        function if inspect.isroutine(function) or isinstance(function, functools.partial) else type(function).__call__
    )
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _check_function(job: str, function: Any) -> None:
    """Refuse what cannot be the function of a job."""
    if isinstance(function, BoundJob):
        raise ConfigurationError(f"job {job}: the function is the job {function.job.name} already; use its .function")
    if inspect.isclass(function):
        raise ConfigurationError(f"job {job}: {function.__qualname__} is a class; give a function")
    if not callable(function):
        kind = type(function).__name__
        raise ConfigurationError(f"job {job}: a {kind} cannot be called; put @{kind} above @app.job")
    inner = innermost_function(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ConfigurationError(f"job {job}: it is a generator function; nothing would run its body; use no yield")
    within, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    if inspect.isfunction(function) and within and not within.endswith("<locals>"):
        first = next(iter(inspect.signature(function).parameters), None)
        if first in ("self", "cls"):
            raise ConfigurationError(
                f"job {job}: {function.__qualname__} is a method, and a task cannot carry its object; use a function"
                " or a static method"
            )


def _executor(job: str, function: Callable[..., Any], wanted: Executor | None) -> Executor | None:
    """Where a job runs; None where its queue decides. Raises ConfigurationError where its function cannot."""
    fits: tuple[Executor, ...]
    if _is_async(function):
        kind, fits = "an async function", ("async",)
    elif _is_async(innermost_function(function)):
        kind, fits = "a plain function around an async one", ("async", "thread", "process")
        if wanted is None:
            raise ConfigurationError(
                f"job {job}: it is {kind}. Give executor='async' if it returns what the async one returns, to be"
                " awaited, or executor='thread' if it runs the async one itself; or make it async"
            )
    else:
        kind, fits = "a plain function", ("thread", "process")
    if wanted is not None and wanted not in fits:
        raise ConfigurationError(f"job {job}: executor is {wanted!r}; for {kind} it is {' or '.join(fits)}")
    return "async" if fits == ("async",) else wanted


class Application(WaitsForTasks, Protocol):
    """What a job needs of its application."""

    dsn: Any
    state: Any
    middleware: Any

    def shard(self, name: str) -> Any:
        """The application with one of several databases."""

    def _run(self, statement: Statement[T], connection: Any) -> T:
        """Run a statement on a connection of the caller, or on one of the application."""

    async def _run_async(self, statement: Statement[T], connection: Any) -> T:
        """Run a statement on a connection of the caller, or on one of the application, in async code."""


class DeclaredIn(Protocol):
    """What declares a job: an application, or a blueprint that an application includes."""

    _included_by: str | None  # the module that includes a blueprint in its application

    @property
    def app(self) -> Application:
        """The application."""

    def _queue(self, name: str) -> Queue:
        """The settings of a queue."""


class BoundJob(Generic[P, R]):
    """A job with the options and the connection for its next tasks; `Job.options` and `Job.using` make it."""

    def __init__(self, job: Job[Any, R], queue: str, task_options: Options, connection: Any) -> None:
        self.job = job
        self.queue = queue
        self.task_options = task_options
        self._connection = connection

    def __repr__(self) -> str:
        return f"<Job {self.job.name} on {self.queue}>"

    def options(self, *, queue: str | None = None, **options: Unpack[TaskOptions]) -> BoundJob[P, R]:
        """The job with options for the tasks that are enqueued through the returned object.

        Options that are omitted, or None, stay as they are. Raises ConfigurationError for a retry policy with other
        `retry_on` or `give_up_on` than the job's: a worker reads these from the job, not from the task.
        """
        given = {name: value for name, value in options.items() if value is not None}
        retry = options.get("retry")
        if retry is not None and not self.job._has_error_rules_of(retry):
            raise ConfigurationError(
                f"job {self.job.name}: retry_on and give_up_on cannot differ between its tasks; give them to the job:"
                " @app.job(retry=...)"
            )
        task_options = replace(self.task_options, **given)  # type: ignore[arg-type]
        return BoundJob(self.job, queue or self.queue, task_options, self._connection)

    def on_shard(self, name: str) -> BoundJob[P, R]:
        """The job on one database of an application that has several, by its name in `App(dsns=...)`."""
        return self.options(shard=name)

    def using(self, connection: Any) -> BoundJob[P, R]:
        """The job on your own connection: tasks become part of its transaction.

        No other connection is opened, and no queue is created. Raises UnsupportedConnection, a TypeError, for an object
        that is no supported connection.
        """
        check_connection(connection)
        return BoundJob(self.job, self.queue, self.task_options, connection)

    def task(self, *args: P.args, **kwargs: P.kwargs) -> NewTask:
        """A task with these arguments that is not enqueued yet, for a batch."""
        if self._connection is not None:
            raise ConfigurationError("a task that is not enqueued yet has no connection; give it to the call that does")
        input = self.job.arguments.to_input(args, kwargs)
        return NewTask(queue=self.queue, input=input, job=self.job.name, options=self.task_options)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Enqueue a task with these arguments. Returns its id, which can also wait for the result."""
        stop_import_of_program()
        input = self.job.arguments.to_input(args, kwargs)
        id = self._run(statements.enqueue(self.queue, input, self.job.name, self.task_options))
        return TaskHandle(id, self.job.app, self.job._output.from_json)

    async def enqueue_async(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Enqueue a task with these arguments. Returns its id, which can also wait for the result."""
        stop_import_of_program()
        input = self.job.arguments.to_input(args, kwargs)
        id = await self._run_async(statements.enqueue(self.queue, input, self.job.name, self.task_options))
        return TaskHandle(id, self.job.app, self.job._output.from_json)

    def enqueue_many(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[TaskHandle[R]]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return self._handles(self._run(self._many(calls, unique_keys)))

    async def enqueue_many_async(
        self, calls: Iterable[Mapping[str, Any]], *, unique_keys: Iterable[str | None] | None = None
    ) -> list[TaskHandle[R]]:
        """Enqueue a task for each mapping of arguments, in one statement. Returns their ids in order.

        `unique_keys` has a key for each of them, or None; a key that is taken gives the id of the task that has it.
        """
        return self._handles(await self._run_async(self._many(calls, unique_keys)))

    def enqueue_unique(self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        return self._run(self._unique(calls, unique_keys))

    async def enqueue_unique_async(
        self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]
    ) -> list[Enqueued]:
        """Enqueue a task for each mapping of arguments whose unique key is free. Returns an outcome for each."""
        return await self._run_async(self._unique(calls, unique_keys))

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
        return self._run(statements.schedule(self._as_schedule(cron, name, arguments, settings)))

    async def schedule_async(
        self,
        cron: str,
        *,
        name: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Unpack[ScheduleSettings],
    ) -> datetime | None:
        """Enqueue this job with these arguments at each time of a cron expression. Returns the next time."""
        return await self._run_async(statements.schedule(self._as_schedule(cron, name, arguments, settings)))

    def _as_schedule(
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
            input=self.job.arguments.to_input((), arguments or {}),
            job=self.job.name,
            options=self.task_options,
            owner=owner,
            **settings,
        )

    def _many(
        self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None] | None
    ) -> Statement[list[int]]:
        stop_import_of_program()
        return statements.enqueue_many(self.queue, self._inputs(calls), self.job.name, self.task_options, unique_keys)

    def _unique(
        self, calls: Iterable[Mapping[str, Any]], unique_keys: Iterable[str | None]
    ) -> Statement[list[Enqueued]]:
        stop_import_of_program()
        return statements.enqueue_unique(self.queue, self._inputs(calls), unique_keys, self.job.name, self.task_options)

    def _inputs(self, calls: Iterable[Mapping[str, Any]]) -> list[Any]:
        return convert_each("call", calls, self._input)

    def _input(self, call: Mapping[str, Any]) -> Any:
        if not isinstance(call, Mapping):
            raise InputError(f"{short(call)} is not a mapping of arguments; give one, such as {{'name': value}}")
        return self.job.arguments.to_input((), call)

    def _handles(self, ids: list[int]) -> list[TaskHandle[R]]:
        return [TaskHandle(id, self.job.app, self.job._output.from_json) for id in ids]

    def _run(self, statement: Statement[T]) -> T:
        return self.job.app._run(statement, self._connection)

    async def _run_async(self, statement: Statement[T]) -> T:
        return await self.job.app._run_async(statement, self._connection)


class Job(BoundJob[P, R], Generic[P, R, Q, C]):
    """A named definition of work: a function and how its tasks are treated. It stays a function that can be called.

    P are the parameters of its tasks and R is its result. Q and C are those of the function itself: Q has the Context
    as well, and C is a coroutine if the function is async.
    """

    def __init__(
        self,
        function: Callable[Q, C],
        *,
        name: str,
        queue: str,
        executor: Executor | None,
        policy: JobPolicy,
        options: Options,
        declared_in: DeclaredIn,
        context_type: type,
    ) -> None:
        super().__init__(self, queue, options, None)
        _check_function(name, function)
        update_wrapper(self, function, updated=())
        self.function = function
        self.name = name
        self._executor = _executor(name, function, executor)
        self._declared_in = declared_in
        self.policy = policy
        self._context_type = context_type
        with suppress(UnresolvedAnnotation):  # until its first use, when all that the module defines exists
            _ = self.arguments

    @property
    def app(self) -> Application:
        """The application of the job. Raises ConfigurationError for a blueprint that none includes."""
        return self._declared_in.app

    @cached_property
    def executor(self) -> Executor:
        """Where the job runs."""
        return self._executor or self._declared_in._queue(self.queue).executor

    @cached_property
    def _retry(self) -> RetryPolicy:
        return self.policy.retry or self._declared_in._queue(self.queue).retry or RetryPolicy()

    @cached_property
    def arguments(self) -> Arguments:
        """The parameters of the function, without the context."""
        from .arguments import Arguments

        return Arguments(self.name, self.function, self._context_type)

    @cached_property
    def _output(self) -> Output:
        from .output import Output

        return Output(self.name, self.function)

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> C:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)

    def _is_retryable(self, error: BaseException) -> bool:
        """Whether a task is retried after its handler raised this error, if attempts remain.

        Never after Fatal, arguments that do not fit, and an output that is too large; always after Retry; else as
        `retry_on` and `give_up_on` of the job's retry policy say, or of its queue's. A group of errors is retryable if
        each of its errors is.
        """
        if isinstance(error, Retry):
            return True
        if isinstance(error, (*_NEVER_RETRIED, *self._retry.give_up_on)):
            return False
        retry_on = self._retry.retry_on
        if isinstance(error, BaseExceptionGroup) and not isinstance(error, retry_on):
            return all(map(self._is_retryable, error.exceptions))
        return not retry_on or isinstance(error, retry_on)

    def _has_error_rules_of(self, retry: RetryPolicy) -> bool:
        """Whether a retry policy gives up on the same errors as the job's, or leaves that to the job."""
        rules = (retry.retry_on, retry.give_up_on)
        return rules in (((), ()), (self._retry.retry_on, self._retry.give_up_on))
