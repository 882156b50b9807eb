"""What a handler knows about its task and may do about it, and what a middleware learns about the outcome."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from .. import statements
from ..errors import InputError, Snooze
from ..wire import json_value, time
from .transaction import Transaction

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["Context", "Middleware", "Outcome", "OutcomeKind", "current_context", "is_async_only", "middleware_name"]

_PROGRESS_BYTES = 32768


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # also an attempt that timed out
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"  # the task was cancelled, or its lease was lost
    RELEASED = "released"  # the worker is shutting down; the attempt does not count
    SKIPPED = "skipped"  # this worker does not know the job or its arguments; the attempt does not count


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attempt. `will_retry`: the attempt failed, and the task will be tried again."""

    kind: OutcomeKind
    error: BaseException | None = None
    will_retry: bool = False


class Context:
    """The task that a handler runs, and what the handler may do about it.

    `state` is what the lifespan of the application yielded, else what was given to `App(state=...)`. `output`, when it
    is set, is the output of the task in a `transaction()`; elsewhere the return value of the handler is. `outcome` is
    None until the handler has ended; a middleware reads it after its `yield`.
    """

    __slots__ = ("_attempt", "outcome", "output")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.output: Any = None
        self.outcome: Outcome | None = None

    @property
    def id(self) -> int:
        """The id of the task."""
        return self._attempt.task.id

    @property
    def queue(self) -> str:
        """The queue of the task."""
        return self._attempt.task.queue

    @property
    def job(self) -> str | None:
        """The name of the job, as the task has it."""
        return self._attempt.task.job

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.task.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts the task has."""
        return self._attempt.task.max_attempts

    @property
    def priority(self) -> int:
        """The priority of the task; higher runs first."""
        return self._attempt.task.priority

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of the task; empty when it has none."""
        return json_value(self._attempt.task.headers) or {}

    @property
    def dead_letter(self) -> dict[str, Any] | None:
        """What is known of the failed task, if this task is a dead letter."""
        letter: dict[str, Any] | None = json_value(self._attempt.task.dead_letter)
        return letter

    @property
    def enqueued_at(self) -> datetime:
        """When the task was enqueued, in UTC."""
        return time(self._attempt.task.enqueued_at)

    @property
    def batch(self) -> int | None:
        """The id of the batch whose callback this task is; None for other tasks."""
        return self.headers.get("batch")

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that enqueued the task; None for other tasks."""
        return self.headers.get("schedule")

    @property
    def scheduled_at(self) -> datetime | None:
        """The time of the schedule that the task was enqueued for; None for tasks without a schedule."""
        return None if self.schedule is None else datetime.fromisoformat(self.headers["scheduled_at"])

    @property
    def state(self) -> Any:
        """What the lifespan of the application yielded, else what was given to `App(state=...)`."""
        return self._attempt.environment.state

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: cancelled, lease lost, timed out, or the worker is shutting down."""
        return self._attempt.stop_reason is not None

    def wait_cancelled(self, seconds: float | None = None) -> bool:
        """Wait in a thread until the handler should stop, at most `seconds`. Returns whether it should."""
        return self._attempt.wait_stop(seconds)

    def snooze(self, delay: float | timedelta) -> NoReturn:
        """End this attempt and put the task back for `delay` (seconds or timedelta); the attempt does not count."""
        raise Snooze(delay)

    def progress(self, value: Any) -> None:
        """Report how far the task is, as any value that JSON can carry, such as `{"percent": 40}`.

        The worker sends the latest value about once a second. Raises InputError for a value that JSON cannot carry, and
        for more than 32 KiB.
        """
        text = statements.dump_json(value)
        if len(text.encode()) > _PROGRESS_BYTES:
            raise InputError(f"a progress of {len(text.encode())} bytes is too large; keep it within {_PROGRESS_BYTES}")
        self._attempt.set_progress(text)

    def transaction(self) -> Transaction:
        """A transaction in which the handler's own writes and its completion commit together, or not at all.

        Use `with` in a plain handler and `async with` in an async one; it yields the psycopg connection. When the block
        ends the task is complete, with `context.output` as its output. A lost lease raises LeaseLost and rolls back.
        """
        return Transaction(self._attempt)


Middleware: TypeAlias = Callable[[Context], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]


def is_async_only(middleware: Middleware) -> bool:
    """Whether it wraps async handlers only, as far as that is known before it is called."""
    if inspect.isclass(middleware):
        return hasattr(middleware, "__aenter__") and not hasattr(middleware, "__enter__")
    return inspect.isasyncgenfunction(inspect.unwrap(middleware))


def middleware_name(middleware: Middleware) -> str:
    """How a middleware is named in messages."""
    return getattr(middleware, "__qualname__", None) or repr(middleware)


# The attempt whose handler runs here. Each handler has a copy of the worker's context, with its own attempt in it.
CURRENT: ContextVar[Attempt] = ContextVar("underway_attempt")


def current_context() -> Context | None:
    """The context of the handler that runs here; None outside of handlers."""
    attempt = CURRENT.get(None)
    return None if attempt is None else attempt.context
