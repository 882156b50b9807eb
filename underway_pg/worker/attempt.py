"""One attempt at a task, from its claim until the database knows its outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..connections import SILENT_AFTER, Session
from ..job import Job
from ..models import ClaimedTask
from ..wire import seconds
from . import transaction
from .context import Context, Middleware
from .transaction import Guard, HandlerConnections

if TYPE_CHECKING:
    from .executors import Executor
    from .prefetch import Lane

__all__ = ["Attempt", "AttemptState", "Environment", "StopReason"]


class AttemptState(Enum):
    """Where an attempt is in its life. It only moves forward."""

    CLAIMED = auto()  # waits in the worker's buffer
    RUNNING = auto()
    STOPPING = auto()  # the handler was asked to stop and has not ended
    ABANDONED = auto()  # the handler did not stop; its result no longer counts
    ENDED = auto()  # the outcome is decided; the database may not know it yet


class StopReason(StrEnum):
    """Why a handler was asked to stop."""

    TIMED_OUT = "timed out"
    SHUTTING_DOWN = "the worker is shutting down"
    LEASE_LOST = "the task was cancelled, or its lease was lost"
    CLAIMED_AGAIN = "the task was claimed again"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What all handlers of a worker, or of a process of it, share.

    max_output_size  how many bytes an output may have
    skip_unknown     put a task back whose arguments the job does not know, instead of failing it
    silent_after     how many seconds the server may take to answer in a transaction of a handler
    """

    connections: HandlerConnections | None = None
    state: Any = None
    middleware: Sequence[Middleware] = ()
    max_output_size: int = 1 << 30
    skip_unknown: bool = True
    silent_after: float = SILENT_AFTER


_CREATING = threading.Lock()


class Attempt:
    """An attempt of a worker, or of a process that runs a handler for it. Times are those of time.monotonic().

    job            known when the attempt starts
    deadline       when it times out, or when the next step of stopping it is due; 0 until it is computed
    renew_at       when its lease is to be renewed; 0 until it is computed
    stop_reason    set once, by `request_stop`
    stop_level     how often the executor has asked the handler to stop
    timeout_stack  where the handler was when it timed out
    completed      the handler's own transaction has completed the task
    skipped        it is put back, because this worker does not know the job or its arguments
    guard          watches the transaction that the handler is in
    lost_sessions  sessions of broken transactions, which the server may keep
    executor, handle  what runs the handler, and what this executor needs to find it
    """

    # Most attempts change few of these, so they are defaults of the class: an attempt is made for each task.
    job: Job[..., Any] | None = None
    state = AttemptState.CLAIMED
    started_at: float | None = None
    ended_at = 0.0
    deadline = 0.0
    renew_at = 0.0
    stop_reason: StopReason | None = None
    stop_level = 0
    timeout_stack = ""
    completed = False
    skipped = False
    guard: Guard | None = None
    lost_sessions: tuple[Session, ...] = ()
    executor: Executor | None = None
    handle: Any = None
    _context: Context | None = None
    _progress: str | None = None
    _wakeups: SimpleQueue[None] | None = None

    def __init__(
        self, task: ClaimedTask, environment: Environment, claimed_at: float = 0.0, lane: Lane | None = None
    ) -> None:
        self.task = task
        self.environment = environment
        self.claimed_at = claimed_at
        self.lane = lane

    def set_deadlines(self) -> None:
        """Compute `deadline` and `renew_at`. Not done for tasks that are too short to need them."""
        if not self.renew_at:
            self.renew_at = self.claimed_at + seconds(self.task.heartbeat) / 3
        if not self.deadline:
            # Until it has started it times out later; nobody needs to look before.
            self.deadline = (self.started_at or self.claimed_at) + seconds(self.task.timeout)

    def check_timeout(self) -> None:
        """The handler ends: it has timed out if it has run for too long, although nothing could interrupt it."""
        if self.started_at is not None and time.monotonic() > self.started_at + seconds(self.task.timeout):
            self.request_stop(StopReason.TIMED_OUT)

    @property
    def context(self) -> Context:
        """What the handler sees of this; made when somebody asks for it."""
        if self._context is None:
            self._context = Context(self)
        return self._context

    @property
    def is_live(self) -> bool:
        """Whether its outcome is still open."""
        return self.state not in (AttemptState.ABANDONED, AttemptState.ENDED)

    def request_stop(self, reason: StopReason) -> None:
        """Set the reason why the handler should stop, and wake `wait_stop`. The first reason stays.

        Safe in a signal handler: it takes no lock.
        """
        if self.stop_reason is None:
            self.stop_reason = reason
            if self._wakeups is not None:
                self._wakeups.put(None)

    def wait_stop(self, seconds: float | None) -> bool:
        """Wait in a thread until the handler should stop, at most `seconds`. Returns whether it should."""
        # Few handlers wait, so the queue is made by those that do. It exists before `stop_reason` is read, and
        # `request_stop` does the two in the opposite order. In a process a signal handler calls `request_stop` in the
        # middle of this wait: an Event would wait there for its own lock.
        with _CREATING:
            if self._wakeups is None:
                self._wakeups = SimpleQueue()
        if self.stop_reason is None:
            try:
                self._wakeups.get(timeout=None if seconds is None else max(0.0, seconds))
            except Empty:
                return self.stop_reason is not None
            self._wakeups.put(None)  # for the next thread that waits
        return True

    def set_progress(self, text: str) -> None:
        """Keep the progress, as JSON text, until `take_progress`."""
        with _CREATING:
            self._progress = text

    def take_progress(self) -> str | None:
        """The progress that was set since the last call; None without any."""
        if self._progress is None:
            return None
        with _CREATING:
            progress, self._progress = self._progress, None
        return progress

    def sever(self) -> None:
        """Break the transaction that the handler is in."""
        if (guard := self.guard) is not None:
            guard.sever()

    def sever_if_silent(self) -> None:
        """Break the transaction that the handler is in if the server does not answer."""
        if (guard := self.guard) is not None:
            guard.sever_if_silent()

    def take_lost_sessions(self) -> tuple[Session, ...]:
        """The sessions of broken transactions, which the server may keep, with their locks. Each is returned once."""
        return transaction.take_lost_sessions(self) if self.lost_sessions else ()

    def stack(self) -> str:
        """Where the handler is, as the lines of a traceback; empty when that is not known."""
        return self.executor.stack(self) if self.executor is not None else ""
