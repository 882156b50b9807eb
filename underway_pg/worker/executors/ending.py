"""How a process describes the end of a handler to its worker."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from ...errors import LeaseLost, Snooze
from ..attempt import Attempt
from ..failure import Failure
from .messages import Ended, HowEnded

__all__ = ["describe_end"]


def describe_end(attempt: Attempt, error: BaseException | None, output: str | None = None) -> Ended:
    """The end of a handler that has returned, with its output as JSON text, or has raised an error."""
    how, failure, delay = HowEnded.RETURNED, None, None
    if isinstance(error, asyncio.CancelledError) and attempt.stop_reason is not None:
        how = HowEnded.STOPPED
    elif isinstance(error, LeaseLost):
        how = HowEnded.LEASE_LOST
    elif isinstance(error, Snooze):
        how, delay = HowEnded.SNOOZED, error.delay
    elif error is not None:
        how, failure = HowEnded.RAISED, Failure.of(error, attempt.job)
    lost = attempt.take_lost_sessions()
    return Ended(how, output, failure, delay, attempt.completed, _memory(), lost)


def _memory() -> int:
    """The bytes that this process has in memory; the most that it had where the system does not say more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource  # which Windows lacks

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
