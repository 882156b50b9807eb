"""A backend of Django's tasks: of `django.tasks` from Django 6 on, and of the package django-tasks before.

    TASKS = {"default": {"BACKEND": "underway_pg.django.backend.UnderwayBackend", "QUEUES": ["default", "email"]}}

A task is a job whose name is the path of its function; `manage.py underway_worker` runs it. OPTIONS has the options of
these jobs, such as `{"retry": RetryPolicy(max_attempts=3), "timeout": 60}`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from inspect import iscoroutinefunction
from traceback import format_exception
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from ..errors import ConfigurationError, LeaseLost
from ..models import TaskInfo
from ..settings import Options, TaskOptions
from ..worker import Context, OutcomeKind
from ..worker.execution import decide
from .application import app

try:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
except ImportError:
    from django_tasks import TaskContext, TaskResult, TaskResultStatus
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json

__all__ = ["UnderwayBackend"]

_STATUS = {
    "pending": TaskResultStatus.READY,
    "waiting": TaskResultStatus.READY,
    "in_progress": TaskResultStatus.RUNNING,
    "succeeded": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}

# The header of a task that has a `run_after`.
_RUN_AFTER = "run_after"

# The database knows the worker of the latest attempt only, and TaskResult counts attempts by their workers.
_UNKNOWN_WORKER = "unknown"


class UnderwayBackend(BaseTaskBackend):
    """Enqueues tasks of Django in the queues of Underway.

    A task is part of the transaction of the database that has the queues. It is retried as its job or its queue says;
    between its attempts it is READY, and `errors` has the errors until then. A cancelled task is FAILED, without an
    error. `task_started` is sent for each attempt, `task_finished` after the last one.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        try:
            Options(**self.options)
        except (TypeError, ConfigurationError) as error:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]['OPTIONS']: {error}") from error
        for name in self.queues:
            app.add_queue(name)

    def check(self, **_: Any) -> list[CheckMessage]:
        """What is wrong with this backend."""
        if apps.is_installed("underway_pg.django"):
            return []
        hint = 'Add "underway_pg.django" to INSTALLED_APPS.'
        return [Error(f"TASKS[{self.alias!r}] needs Underway's application", hint=hint, id="underway.E006")]

    def validate_task(self, task: Task) -> None:
        """Refuse a task that cannot be run. One that is seen for the first time becomes a job."""
        super().validate_task(task)
        known = _task(task.module_path)
        if known is None or known.func is not task.func:
            app.replace_job(_handler(task), name=task.module_path, queue=task.queue_name, **self.options)

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Enqueue a task, in the transaction of Django's connection."""
        self.validate_task(task)
        args, kwargs = normalize_json(args), normalize_json(kwargs)
        options: TaskOptions = {"priority": task.priority}
        if task.run_after is not None:
            run_at = task.run_after if timezone.is_aware(task.run_after) else timezone.make_aware(task.run_after)
            options |= {"run_at": run_at, "headers": {_RUN_AFTER: run_at.isoformat()}}
        id = app.jobs[task.module_path].options(queue=task.queue_name, **options).enqueue(args=args, kwargs=kwargs)
        result = _result(
            task, id=str(id), status=TaskResultStatus.READY, enqueued_at=timezone.now(), args=args, kwargs=kwargs
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """The result of a task. Raises TaskResultDoesNotExist, also for a task that is not one of Django."""
        info = app.task(int(result_id)) if result_id.isdecimal() and len(result_id) < 19 else None
        task = None if info is None else _task(info.job or "")
        if info is None or task is None:
            raise TaskResultDoesNotExist(result_id)
        return _stored_result(task, info, self.alias)


def _task(path: str) -> Task | None:
    """The task whose job has this name."""
    job = app.jobs.get(path)
    return None if job is None else getattr(job.function, "task", None)


# Results


def _result(task: Task, **known: Any) -> TaskResult:
    """A result of a task, of which this is known."""
    times: dict[str, Any] = dict.fromkeys(("started_at", "finished_at", "last_attempted_at"))
    return TaskResult(task=task, backend=task.backend, **{**times, "errors": [], "worker_ids": [], **known})


def _stored_result(task: Task, info: TaskInfo, backend: str) -> TaskResult:
    run_after = (info.headers or {}).get(_RUN_AFTER)
    errors = info.errors or []
    starts = [datetime.fromisoformat(each["started_at"]) for each in errors if each.get("started_at")]
    if info.started_at is not None:
        starts.append(info.started_at)
    result = _result(
        replace(
            task,
            queue_name=info.queue,
            priority=info.priority,
            run_after=None if run_after is None else _local(datetime.fromisoformat(run_after)),
            backend=backend,
        ),
        id=str(info.id),
        status=_STATUS[info.state],
        enqueued_at=_local(info.enqueued_at),
        started_at=_local(min(starts, default=None)),
        last_attempted_at=_local(max(starts, default=None)),
        finished_at=_local(info.finished_at),
        args=info.input["args"],
        kwargs=info.input["kwargs"],
        errors=[
            TaskError(exception_class_path=_class_path(each), traceback=each.get("traceback") or each["message"])
            for each in errors
        ],
        worker_ids=_worker_ids(info.attempt, info.worker),
    )
    object.__setattr__(result, "_return_value", info.output)
    return result


def _worker_ids(attempts: int, latest: str | None) -> list[str]:
    return [_UNKNOWN_WORKER] * (attempts - 1) + [latest or _UNKNOWN_WORKER] * min(attempts, 1)


def _class_path(error: Mapping[str, Any]) -> str:
    """The path of the class of a stored error, which its traceback shows."""
    name = error.get("type") or ""
    found = re.findall(rf"^((?:\w+\.)*{re.escape(name)})(?::|$)", error.get("traceback") or "", re.M)
    if not found:
        return f"{LeaseLost.__module__}.{LeaseLost.__qualname__}" if name == "LeaseLapsed" else f"builtins.{name}"
    return found[-1] if "." in found[-1] else f"builtins.{name}"


def _local(at: datetime | None) -> datetime | None:
    """A time as Django has it: without a zone if USE_TZ is off."""
    return at if at is None or settings.USE_TZ else timezone.make_naive(at)


# Handlers


def _handler(task: Task) -> Callable[..., Any]:
    """The function of the job of a task."""
    backend = type(task.get_backend())

    async def run_async(context: Context, args: list[Any], kwargs: dict[str, Any]) -> Any:
        attempt = _Attempt(task, context, args, kwargs)
        await task_started.asend_robust(backend, task_result=attempt.result)
        try:
            with attempt:
                return attempt.returned(await task.func(*attempt.args, **kwargs))
        finally:
            if attempt.result.is_finished:
                await task_finished.asend_robust(backend, task_result=attempt.result)

    def run(context: Context, args: list[Any], kwargs: dict[str, Any]) -> Any:
        attempt = _Attempt(task, context, args, kwargs)
        task_started.send_robust(backend, task_result=attempt.result)
        try:
            with attempt:
                return attempt.returned(task.func(*attempt.args, **kwargs))
        finally:
            if attempt.result.is_finished:
                task_finished.send_robust(backend, task_result=attempt.result)

    handler: Any = run_async if iscoroutinefunction(task.func) else run
    handler.task = task
    return handler


class _Attempt:
    """One attempt at a task: the arguments of its function, and the result that its context and the signals have."""

    def __init__(self, task: Task, context: Context, args: list[Any], kwargs: dict[str, Any]) -> None:
        self._context = context
        now = timezone.now()
        self.result = _result(
            task,
            id=str(context.id),
            status=TaskResultStatus.RUNNING,
            enqueued_at=_local(context.enqueued_at),
            started_at=now,
            last_attempted_at=now,
            args=args,
            kwargs=kwargs,
            worker_ids=_worker_ids(context.attempt, f"{socket.gethostname()}:{os.getpid()}"),
        )
        self.args = [TaskContext(task_result=self.result), *args] if task.takes_context else args

    def returned(self, value: Any) -> Any:
        """Keep the return value, as it will be stored."""
        value = normalize_json(value)
        object.__setattr__(self.result, "_return_value", value)
        return value

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        outcome = decide(self._context._attempt, error)
        if outcome.kind is OutcomeKind.SUCCEEDED:
            self._finish(TaskResultStatus.SUCCESSFUL)
        elif outcome.kind is OutcomeKind.FAILED and not outcome.will_retry:
            self.result.errors.append(_task_error(outcome.error))
            self._finish(TaskResultStatus.FAILED)

    def _finish(self, status: Any) -> None:
        object.__setattr__(self.result, "status", status)
        object.__setattr__(self.result, "finished_at", timezone.now())


def _task_error(error: BaseException | None) -> TaskError:
    kind = type(error)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(format_exception(error))
    )
