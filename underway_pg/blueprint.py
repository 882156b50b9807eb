"""Declarations: the jobs, schedules and queues of a module, with or without its application."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, overload

from .checks import check_each
from .cron import check_cron
from .errors import ConfigurationError, InputError
from .job import Application, Job, is_same_definition, job_name
from .settings import Executor, JobOptions, JobPolicy, Options, Queue, Schedule, ScheduleSettings
from .worker import Context

__all__ = ["Blueprint", "Declarations", "DeclaredSchedule"]

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
C = TypeVar("C")


# The keywords of `job` that the database knows as settings of the job; the others are sent with each task.
_OF_THE_JOB = {field.name for field in fields(JobPolicy)} - {"name", "queue", "owner"}


@dataclass(frozen=True)
class DeclaredSchedule:
    """A schedule as the code declares it, and the line where."""

    name: str
    job: Job[..., Any]
    cron: str
    arguments: Mapping[str, Any] | None
    settings: ScheduleSettings
    line: str

    def schedule(self, owner: str) -> Schedule:
        """The schedule as the database takes it."""
        try:
            return self.job._as_schedule(self.cron, self.name, self.arguments, self.settings, owner)
        except InputError as error:
            raise ConfigurationError(f"{self.line}: {error}") from error


class Declarations:
    """What declares jobs and schedules: an `App`, or a `Blueprint` of one of its modules."""

    _included_by: str | None = None

    def __init__(self, queues: Iterable[Queue]) -> None:
        self._queues = {queue.name: queue for queue in check_each("queues", queues, Queue, "Queue(name=...)")}
        self._jobs: dict[str, Job[..., Any]] = {}
        self._schedules: dict[str, DeclaredSchedule] = {}

    @property
    def app(self) -> Application:
        """The application of the jobs."""
        raise NotImplementedError

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
        **options: Unpack[JobOptions],
    ) -> _Decorator: ...
    def job(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str = "default",
        executor: Executor | None = None,
        **options: Unpack[JobOptions],
    ) -> Any:
        """Make a function a job.

        Its name (the function's, unless given) is stored with its tasks: do not change it while tasks are pending. An
        async function runs on the event loop, a plain one in a thread, or with the executor "process" in a process of
        its own. The other keywords are the settings of the job, which the database knows (see `JobPolicy`), and options
        that its tasks have by default, as in `Job.options`; None leaves them to the queue.

        Raises ConfigurationError for a function that cannot be a job, and for a second job of the same name. A function
        that is defined again in a notebook or an interpreter, or by a second import of its module, replaces its job.
        """

        def decorate(function: Callable[..., Any]) -> Job[..., Any]:
            title = name or job_name(function)
            given = {name: value for name, value in options.items() if value is not None}
            settings = {name: given.pop(name) for name in _OF_THE_JOB & given.keys()}
            Options(**{name: value for name, value in settings.items() if name != "dead_letter_queue"})  # type: ignore[arg-type]
            job: Job[..., Any] = Job(
                function,
                name=title,
                queue=queue,
                executor=executor,
                policy=JobPolicy(name=title, queue=queue, **settings),  # type: ignore[arg-type]
                options=Options(**given),  # type: ignore[arg-type]
                declared_in=self,
                context_type=Context,
            )
            self._add_job(job)
            return job

        return decorate if function is None else decorate(function)

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
        `App.sync` writes the declared schedules to the database; a worker calls it when it starts. Raises
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
            self._add_schedule(DeclaredSchedule(name or job.name, job, cron, arguments, settings, line))
            return job

        return decorate

    def _add_job(self, job: Job[..., Any]) -> None:
        other = self._jobs.get(job.name)
        if other is not None and not is_same_definition(job, other):
            raise ConfigurationError(f"two jobs are named {job.name!r}; give one another name: @app.job(name=...)")
        self._jobs[job.name] = job

    def _add_schedule(self, declared: DeclaredSchedule) -> None:
        other = self._schedules.get(declared.name)
        if other is not None and self._jobs.get(other.job.name) is other.job:
            raise ConfigurationError(
                f"{declared.line}: there is a schedule {declared.name!r} already, at {other.line}; give one another"
                " name: @app.schedule(..., name=...)"
            )
        self._schedules[declared.name] = declared

    def _add_queue(self, queue: Queue) -> None:
        if self._queues.setdefault(queue.name, queue) != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice, with different settings")

    def _queue(self, name: str) -> Queue:
        """The settings of a queue; a queue that only a job names has the defaults."""
        return self._queues.get(name) or Queue(name=name)


class Blueprint(Declarations):
    """Jobs and schedules of a module that does not import the application: `App.include` adds them to one.

    `@blueprint.job` and `@blueprint.schedule` are those of `App`. `queues` are queues with settings. A job may be
    called as a function at any time, and enqueued as soon as an application includes its blueprint.
    """

    def __init__(self, *, queues: Iterable[Queue] = ()) -> None:
        super().__init__(queues)
        self._included_in: Declarations | None = None

    @property
    def app(self) -> Application:
        """The application that includes this blueprint. Raises ConfigurationError if there is none."""
        if self._included_in is None:
            raise ConfigurationError(
                f"no application includes the blueprint of {', '.join(self._jobs) or 'no jobs'}: call"
                " app.include(blueprint), in a module that this program imports"
            )
        return self._included_in.app

    def _include_in(self, app: Declarations, module: str) -> None:
        if self._included_in is app:
            return
        if self._included_in is not None:
            raise ConfigurationError("the blueprint is included in another application already; make one for each")
        self._included_in, self._included_by = app, module
        for queue in self._queues.values():
            app._add_queue(queue)
        for job in self._jobs.values():
            app._add_job(job)
        for declared in self._schedules.values():
            app._add_schedule(declared)

    def _add_job(self, job: Job[..., Any]) -> None:
        super()._add_job(job)
        if self._included_in is not None:
            self._included_in._add_job(job)

    def _add_schedule(self, declared: DeclaredSchedule) -> None:
        super()._add_schedule(declared)
        if self._included_in is not None:
            self._included_in._add_schedule(declared)

    def _queue(self, name: str) -> Queue:
        return super()._queue(name) if self._included_in is None else self._included_in._queue(name)


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
