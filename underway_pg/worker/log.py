"""The lines of the log about attempts: one when a handler starts, and one when the outcome is known.

Each has the fields `task`, `job`, `queue` and `attempt`; the second one `outcome` and `duration` (seconds) too, and a
failure `will_retry` and `retry_at`.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from types import TracebackType
from typing import Any, TypeAlias

from ..errors import Snooze
from ..wire import json_text
from .attempt import Attempt
from .context import Outcome, OutcomeKind
from .failure import Failure

__all__ = ["ended", "failed", "is_enabled", "started"]

logger = logging.getLogger(__name__)

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_WORDS = {OutcomeKind.SUCCEEDED: "returned", OutcomeKind.SNOOZED: "snoozes"}

_INPUT_CHARACTERS = 1000
_MESSAGE_CHARACTERS = 500


def is_enabled() -> bool:
    """Whether lines about tasks that go well are written anywhere."""
    return logger.isEnabledFor(logging.INFO)


def started(attempt: Attempt, *, with_input: bool) -> None:
    """A handler starts. Its input may be secret, and is logged only with `with_input`."""
    if with_input:
        input = json_text(attempt.task.input).decode()[:_INPUT_CHARACTERS]
        _log(logging.INFO, attempt, f"starts with {input}", {"input": input})
    else:
        _log(logging.INFO, attempt, "starts", {})


def ended(attempt: Attempt, outcome: Outcome) -> None:
    """An attempt has ended, and has not failed. The database does not know it yet, and may refuse it."""
    duration = _duration(attempt, time.monotonic())
    words = _WORDS.get(outcome.kind, "ended") + _after(duration)
    if isinstance(outcome.error, Snooze):
        words += f": for {outcome.error.delay}"
    elif outcome.kind is not OutcomeKind.SUCCEEDED:
        words += f": {attempt.stop_reason or outcome.error}"
    _log(logging.INFO, attempt, words, {"outcome": str(outcome.kind), "duration": duration})


def failed(attempt: Attempt, failure: Failure, raised: ExcInfo | None, retry_at: datetime | None) -> None:
    """An attempt has failed: a warning when the task will be retried at `retry_at`, else an error."""
    duration = _duration(attempt, attempt.ended_at)
    what = "failed permanently" if retry_at is None else "failed"
    when = "" if retry_at is None else f", retry at {retry_at.isoformat(timespec='milliseconds')}"
    message = f"{what}{_after(duration)}{when}: {failure.type}: {failure.message:.{_MESSAGE_CHARACTERS}}"
    fields = {
        "outcome": "failed",
        "duration": duration,
        "will_retry": retry_at is not None,
        "retry_at": None if retry_at is None else retry_at.isoformat(),
    }
    if raised is not None and not failure.loggable:
        message, raised = f"{message}\n{failure.traceback.rstrip()}", None
    _log(logging.WARNING if retry_at is not None else logging.ERROR, attempt, message, fields, raised)


def _duration(attempt: Attempt, ended_at: float) -> float | None:
    return None if attempt.started_at is None else ended_at - attempt.started_at


def _after(duration: float | None) -> str:
    return "" if duration is None else f" after {duration:.3f} s"


def _log(level: int, attempt: Attempt, words: str, fields: dict[str, Any], raised: ExcInfo | None = None) -> None:
    task = attempt.task
    job = task.job if attempt.job is None else attempt.job.name
    logger.log(
        level, "task %s (%s, queue %s, attempt %s) %s", task.id, job, task.queue, task.attempt, words,
        extra={"task": task.id, "job": job, "queue": task.queue, "attempt": task.attempt, **fields}, exc_info=raised,
    )  # fmt: skip
