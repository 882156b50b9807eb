"""When an idle worker need not look for work, because another looks for it. No I/O.

Problem: each idle worker looks once a second for tasks that become due, and tries to do the chores, in case that all
other workers have died. Two hundred idle workers would take a fifth of a core of the server.

Idea: the worker that does the chores looks for all idle ones, and notifies them once a second: `none` is due within two
seconds (`underway._notify_idle_workers`). A worker that goes on to receive that rests.

Invariant: a worker that rests has received `none` less than `PATIENCE` seconds ago, from a look that included its
queues. The first one since it became idle may come from a look before that, so it is not enough.
"""

from __future__ import annotations

import random

__all__ = ["Rest"]

# Longer than the second between two notifications, and so short that lapsed leases are noticed within two seconds. Each
# worker draws its own, so that not all look at the same moment when the one has died that looked for them.
PATIENCE = (1.5, 1.75)

# How often a worker that rests shows that it is alive: enqueueing notifies workers that were seen within 30 seconds.
SIGN_OF_LIFE = 20.0


class Rest:
    """Whether one worker may rest. Times are those of one clock."""

    def __init__(self) -> None:
        self._patience = random.uniform(*PATIENCE)
        self._received = 0  # so many times `none` without an interruption
        self._until = 0.0
        self._looked_at = 0.0
        self._does_chores = False

    def notified(self, payload: str, now: float, *, idle: bool) -> bool:
        """Another session has looked. Returns whether this worker is to look now."""
        if not idle or payload != "none":
            self._received = 0
            return idle
        self._received += 1
        self._until = now + self._patience
        return False

    def looked(self, now: float, *, did_chores: bool, due: bool) -> None:
        """The worker has looked: whether it did the chores, and whether a task is due soon."""
        self._looked_at = now
        self._does_chores = did_chores
        if due:
            self._received = 0

    def is_covered(self, now: float) -> bool:
        """Whether another worker looks for this one."""
        return self._received >= 2 and not self._does_chores and now < self._until

    def seconds(self, now: float) -> float:
        """How long to rest from now; 0 for not at all."""
        return max(0.0, min(self._until, self._looked_at + SIGN_OF_LIFE) - now) if self.is_covered(now) else 0.0
