"""Where handlers run: on the event loop, in threads, in processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..attempt import Attempt

__all__ = ["Executor", "OnEnd"]

# Called on the loop when a handler has ended, with its output as JSON text or with what it raised.
OnEnd: TypeAlias = "Callable[[Attempt, str | None, BaseException | None], None]"


class Executor(Protocol):
    """Runs the handlers of attempts, and reports the end of each one on the loop, exactly once, with an OnEnd.

    All methods are called on the loop. `attempt.handle` belongs to the executor. Each handler runs in a fresh copy of
    the context in which the executor was made.
    """

    def start(self, attempt: Attempt) -> None:
        """Start the handler of `attempt.job`. It may end before this returns."""

    def stop(self, attempt: Attempt) -> bool:
        """Ask the handler to stop; `attempt.stop_reason` is set, and `attempt.stop_level` counts the earlier calls.

        Each call is harder than the one before. Returns False when nothing harder is left: the handler is abandoned.
        """

    def stack(self, attempt: Attempt) -> str:
        """Where the handler is, as the lines of a traceback; empty when that is not known."""

    async def close(self) -> None:
        """Let go of what handlers ran in. Does not wait for handlers that were abandoned."""
