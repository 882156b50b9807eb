"""Call the handler of an attempt inside its middleware, and decide what its end means."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from ..errors import ConfigurationError, LeaseLost, OutputTooLarge, Snooze, UnknownArguments
from ..wire import json_text, seconds
from .attempt import Attempt, StopReason
from .context import CURRENT, Middleware, Outcome, OutcomeKind, middleware_name
from .failure import Failure, RemoteError

__all__ = ["call", "decide", "output_text", "run_async", "run_plain"]


def run_plain(attempt: Attempt) -> str | None:
    """Run a plain handler to its end, in a context of its own. Returns its output as JSON text."""
    CURRENT.set(attempt)
    middleware = attempt.environment.middleware
    if not middleware:
        return output_text(attempt, call(attempt))
    with ExitStack() as stack:
        for make in middleware:
            manager = _manager(make, attempt)
            if hasattr(manager, "__enter__"):
                stack.enter_context(manager)
                stack.push(_Judge(attempt))
        return output_text(attempt, call(attempt))
    return None  # a middleware has swallowed the error


async def run_async(attempt: Attempt) -> str | None:
    """Run an async handler inside the middleware, in a task of its own. Returns its output as JSON text."""
    CURRENT.set(attempt)
    async with AsyncExitStack() as stack:
        for make in attempt.environment.middleware:
            manager = _manager(make, attempt)
            if hasattr(manager, "__aenter__"):
                await stack.enter_async_context(manager)
            else:
                stack.enter_context(manager)
            stack.push(_Judge(attempt))
        return output_text(attempt, await call(attempt))
    return None  # a middleware has swallowed the error


def _manager(make: Middleware, attempt: Attempt) -> Any:
    manager: Any = make(attempt.context)
    if not hasattr(manager, "__enter__") and not hasattr(manager, "__aenter__"):
        raise ConfigurationError(
            f"middleware {middleware_name(make)} returned {manager!r}, which is not a context manager; is"
            " @contextlib.contextmanager missing?"
        )
    return manager


class _Judge:
    """Sets `context.outcome` before the middleware around it exits."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._attempt.check_timeout()
        self._attempt.context.outcome = decide(self._attempt, error)


def call(attempt: Attempt) -> Any:
    """Call the handler: its result, or what an async one gives to be awaited."""
    job = attempt.job
    assert job is not None
    arguments = job.arguments.from_input(json_text(attempt.task.input))
    if job.arguments.takes_context:
        return job.function(attempt.context, **arguments)
    return job.function(**arguments)


def output_text(attempt: Attempt, output: Any) -> str | None:
    """The output as JSON text, unless the handler's transaction has stored it. Raises OutputTooLarge."""
    if output is None or attempt.completed:
        return None
    if inspect.isawaitable(output):
        close = getattr(output, "close", None)
        if close is not None:
            close()
        raise TypeError("the handler returned an awaitable that nobody awaits; make the function async")
    job = attempt.job
    assert job is not None
    text = job._output.to_json(output)
    limit = attempt.environment.max_output_size
    if 4 * len(text) > limit and (size := len(text.encode())) > limit:  # a character has at most four bytes
        raise OutputTooLarge(
            f"the output has {size} bytes of text; the limit is {limit}",
            "Store the data elsewhere and return a reference, or raise the limit: "
            "select underway.configure(max_output_size => '64 MB');",
        )
    return text


def decide(attempt: Attempt, error: BaseException | None) -> Outcome:
    """The outcome of an attempt whose handler has returned, or has raised this error."""
    if attempt.completed:
        return Outcome(OutcomeKind.SUCCEEDED)
    if attempt.stop_reason is StopReason.TIMED_OUT:
        return _failed(attempt, _timeout(attempt, error))
    if attempt.stop_reason is StopReason.SHUTTING_DOWN:
        return Outcome(OutcomeKind.RELEASED, error)
    if attempt.stop_reason is not None or isinstance(error, LeaseLost):
        return Outcome(OutcomeKind.CANCELLED, error)
    if error is None:
        return Outcome(OutcomeKind.SUCCEEDED)
    if isinstance(error, Snooze):
        return Outcome(OutcomeKind.SNOOZED, error)
    if attempt.environment.skip_unknown and _is_unknown(error):
        return Outcome(OutcomeKind.SKIPPED, error)
    return _failed(attempt, error)


def _is_unknown(error: BaseException) -> bool:
    return error.failure.unknown if isinstance(error, RemoteError) else isinstance(error, UnknownArguments)


def _failed(attempt: Attempt, error: BaseException) -> Outcome:
    task = attempt.task
    retryable = task.attempt < task.max_attempts and Failure.of(error, attempt.job).retryable
    return Outcome(OutcomeKind.FAILED, error, retryable)


def _timeout(attempt: Attempt, error: BaseException | None) -> TimeoutError:
    """The error of an attempt that has run for too long, with the place where the handler was."""
    timed_out = TimeoutError(f"the attempt timed out after {seconds(attempt.task.timeout):g} s")
    if stack := attempt.timeout_stack or attempt.stack():
        timed_out.add_note(f"It was here:\n{stack.rstrip()}")
    if not isinstance(error, asyncio.CancelledError):
        timed_out.__cause__ = error
    return timed_out
