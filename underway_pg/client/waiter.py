"""TaskWaiter for tasks, apart from the connection: which are still open, what is worth hearing, and when to give up."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..errors import WaitTimeout
from ..models import FINAL_STATES, TaskInfo

__all__ = ["TaskWaiter"]

# A notification is a hint: a client that waits looks by itself so often, in seconds.
_LOOK_AGAIN = 1.0

# How many tasks a message names.
_NAMED = 5


class TaskWaiter:
    """Some tasks that somebody waits for: `tasks` are all, `open` those that were not final at the last look.

    `timeout` is in seconds, and begins now.
    """

    def __init__(self, tasks: Iterable[int], timeout: float | None) -> None:
        self.tasks = list(dict.fromkeys(tasks))
        self.open = list(self.tasks)
        self._final: dict[int, TaskInfo] = {}
        self._unheard: set[int] = set()
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def final(self) -> dict[int, TaskInfo]:
        """How the tasks ended that have, in the order in which they were given."""
        return {task: self._final[task] for task in self.tasks if task in self._final}

    def note(self, found: list[TaskInfo]) -> None:
        """Note what a look has found; tasks that are not final (any more) stay open."""
        self._final.update((task.id, task) for task in found if task.state in FINAL_STATES)
        self.open = [task for task in self.open if task not in self._final]

    def listen(self) -> float:
        """Begin to listen for what is open. Returns for how many seconds; raises WaitTimeout when the time is over."""
        self._unheard = set(self.open)
        if self._deadline is None:
            return _LOOK_AGAIN
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(self._late())
        return min(_LOOK_AGAIN, left)

    def hear(self, payload: str) -> bool:
        """Hear that a task has ended, as a notification says. Returns whether that makes it all of them."""
        if payload.isdecimal():
            self._unheard.discard(int(payload))
        return not self._unheard

    def _late(self) -> str:
        names = ", ".join(map(str, self.open[:_NAMED])) + (", ..." if len(self.open) > _NAMED else "")
        who = f"task {names}" if len(self.tasks) == 1 else f"{len(self.open)} of {len(self.tasks)} tasks ({names})"
        was, goes = ("was", "it goes") if len(self.open) == 1 else ("were", "they go")
        return f"{who} {was} not final after {self._timeout:g} s; {goes} on"
