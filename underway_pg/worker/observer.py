"""What may watch a worker, for metrics. Without one, nothing is counted beyond `Counters`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..models import ClaimedTask
    from .attempt import Attempt

__all__ = ["Observer"]


class Observer(Protocol):
    """Is called on the worker's loop, once for all tasks of a statement. Times are in seconds."""

    def claimed(self, tasks: Sequence[ClaimedTask], seconds: float) -> None:
        """A claim has returned these tasks, perhaps none."""

    def sent(self, seconds: float) -> None:
        """The database has answered a statement that settles tasks."""

    def ended(self, outcome: str, attempts: Iterable[Attempt]) -> None:
        """These attempts are over, with an outcome that the database knows, or that it need not know."""
