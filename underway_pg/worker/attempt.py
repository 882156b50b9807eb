"""A task that a worker holds, from its claim until the database knows how it ended."""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..job import Job
from ..models import ClaimedTask
from ..wire import seconds
from .execution import Running

__all__ = ["Held"]


class Held:
    """A task that this worker holds: claimed, not settled. Times are those of the loop.

    `running` is its handler, told to stop `told` times; one in a thread is looked for when it is told. `expired` says
    that it has used up its time, and `stack` where it was then. `over` says that its end is decided, whatever its
    handler still does.
    """

    __slots__ = (
        "claimed_at",
        "context",
        "deadline",
        "expired",
        "job",
        "over",
        "over_at",
        "renew_at",
        "running",
        "stack",
        "started_at",
        "task",
        "told",
    )

    def __init__(self, task: ClaimedTask, context: Context, claimed_at: float) -> None:
        self.task = task
        self.context = context
        self.job: Job[..., Any] | None = None
        self.renew_at = claimed_at + seconds(task.heartbeat) / 3
        # It begins later, and so ends later; nobody needs to look before.
        self.deadline = self.over_at = claimed_at + seconds(task.timeout)
        self.claimed_at = claimed_at
        self.started_at: float | None = None
        self.running: Running | None = None
        self.told = 0
        self.expired = False
        self.stack = ""
        self.over = False

    def stack_now(self) -> str:
        """Where its handler is; empty when that is not known."""
        return self.running.stack() if self.running is not None else ""
