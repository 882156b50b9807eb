"""What the log of a worker says of tasks: a line when a handler begins, and a line when the attempt is over.

Each carries `task`, `job`, `queue` and `attempt` as fields, the second one `outcome` and `duration` (seconds) too.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Literal, TypeAlias

from ..models import ClaimedTask
from ..wire import json_text

__all__ = ["ended", "is_seen", "starts"]

logger = logging.getLogger("underway_pg")

Outcome: TypeAlias = Literal["succeeded", "failed", "snoozed", "interrupted"]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_INPUT_CHARACTERS = 1000


def is_seen() -> bool:
    """Whether lines about tasks that go well are seen by anybody."""
    return logger.isEnabledFor(logging.INFO)


def starts(task: ClaimedTask, job: str, *, with_input: bool) -> None:
    """A handler begins. Its input may be anybody's secret: it is there only where that was asked for."""
    if with_input:
        input = json_text(task.input).decode()[:_INPUT_CHARACTERS]
        _log(logging.INFO, task, job, f"starts with {input}", {"input": input})
    else:
        _log(logging.INFO, task, job, "starts", {})


def ended(
    task: ClaimedTask,
    job: str | None,
    outcome: Outcome,
    duration: float | None,
    *,
    detail: str = "",
    raised: ExcInfo | None = None,
) -> None:
    """An attempt is over after so many seconds; None for one that has not begun. A failure is a warning."""
    words = outcome if outcome in ("succeeded", "failed") else f"was {outcome}"
    if duration is not None:
        words += f" after {duration:.3f} s"
    if detail:
        words += f": {detail}"
    level = logging.WARNING if outcome == "failed" else logging.INFO
    _log(level, task, job, words, {"outcome": outcome, "duration": duration}, raised)


def _log(
    level: int, task: ClaimedTask, job: str | None, words: str, fields: dict[str, Any], raised: ExcInfo | None = None
) -> None:
    logger.log(
        level, "task %s (%s, queue %s, attempt %s) %s", task.id, job, task.queue, task.attempt, words,
        extra={"task": task.id, "job": job, "queue": task.queue, "attempt": task.attempt, **fields}, exc_info=raised,
    )  # fmt: skip
