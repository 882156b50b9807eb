"""Processes for handlers that must not share the worker's: they can be killed and replaced.

A thread of the worker waits for each handler, so that the end of all plain handlers is reported in the same way.
"""

from __future__ import annotations

import asyncio
import threading
import time

from ...connections import Dsn
from ...errors import LeaseLost, ProcessDied, Snooze
from ..attempt import Attempt
from ..failure import RemoteError
from . import OnEnd
from .messages import Ended, HowEnded, Progress, Running, RunTask, SessionOpened, Started, Stopping, StopTask
from .pool import Process, ProcessPool
from .program import describe_program, import_path
from .thread import AttemptThreads

__all__ = ["ProcessExecutor"]


class ProcessExecutor:
    """Runs plain handlers in processes. A process runs `max_tasks`, and may have `max_memory` bytes after each."""

    def __init__(self, on_end: OnEnd, dsn: Dsn, max_tasks: int, max_memory: int | None) -> None:
        self._threads = AttemptThreads(on_end)
        self._pool = ProcessPool(describe_program(dsn), max_tasks, max_memory)

    def start(self, attempt: Attempt) -> None:
        """Start the handler in a process."""
        attempt.handle = run = ProcessRun(self._pool, attempt)
        self._threads.call(attempt, run)

    def stop(self, attempt: Attempt) -> bool:
        """Raise an exception in the handler; then SIGTERM; then SIGKILL."""
        run: ProcessRun = attempt.handle
        run.stop(attempt.stop_level)
        return attempt.stop_level < 3

    def stack(self, attempt: Attempt) -> str:
        """Where the handler was when it was asked to stop."""
        run: ProcessRun = attempt.handle
        return run.stack()

    async def close(self) -> None:
        """End the processes, and wait until they have exited."""
        self._threads.close()
        await asyncio.to_thread(self._pool.close)


class ProcessRun:
    """One attempt in a process: called in a thread, which waits for its end; stopped on the loop."""

    def __init__(self, pool: ProcessPool, attempt: Attempt) -> None:
        assert attempt.job is not None
        self._pool = pool
        self._attempt = attempt
        self._path = (*import_path(attempt.job), attempt.job._declared_in._included_by)
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._is_sent = False
        self._has_started = False
        self._stack = ""

    def __call__(self) -> str | None:
        """Run the handler. Returns its output as JSON text; raises what it has raised, or ProcessDied."""
        while True:
            if self._attempt.stop_reason is not None:
                raise asyncio.CancelledError
            process = self._pool.take()
            was_idle = process.tasks > 0
            try:
                ended = self._run_in(process)
            except ProcessDied:
                # An idle process that was dying when it was taken has not started the handler: no attempt is used.
                if self._has_started or not was_idle:
                    raise
            else:
                return self._result(ended)

    def _run_in(self, process: Process) -> Ended:
        attempt = self._attempt
        with self._lock:
            self._process = process
            self._is_sent = False
        try:
            # Without the lock: a large input takes its time, and `stop` must not wait for it.
            environment = attempt.environment
            limits = environment.max_output_size, environment.skip_unknown, environment.silent_after
            process.send(RunTask(*self._path, attempt.task, *limits))
            with self._lock:
                self._is_sent = True
                if attempt.stop_reason is not None:
                    process.send(StopTask(attempt.stop_reason))
            ended = self._wait(process)
            process.memory = ended.memory
            attempt.completed = ended.completed
            attempt.lost_sessions = ended.lost_sessions
            return ended
        finally:
            with self._lock:
                self._read_traceback()
                self._process = None
            self._pool.give_back(process)

    def _wait(self, process: Process) -> Ended:
        while True:
            match process.receive():
                case Ended() as ended:
                    return ended
                case Started():
                    self._has_started = True
                case Running():
                    # The process may have been started for this attempt, which takes longer than many tasks.
                    self._attempt.started_at = time.monotonic()
                case Stopping(stack):
                    self._stack = stack
                case SessionOpened(session):
                    # Lost, unless the end of the handler says that its transaction has ended well.
                    self._attempt.lost_sessions += (session,)
                case Progress(text):
                    self._attempt.set_progress(text)

    def _result(self, ended: Ended) -> str | None:
        match ended.how:
            case HowEnded.RETURNED:
                return ended.output
            case HowEnded.STOPPED:
                raise asyncio.CancelledError
            case HowEnded.LEASE_LOST:
                raise LeaseLost("the lease was lost")
            case HowEnded.SNOOZED:
                assert ended.delay is not None
                raise Snooze(ended.delay)
            case HowEnded.RAISED:
                assert ended.failure is not None
                raise RemoteError(ended.failure)

    def stack(self) -> str:
        """Where the handler was when it was asked to stop."""
        with self._lock:
            self._read_traceback()
        return self._stack

    def _read_traceback(self) -> None:
        if self._process is not None and self._attempt.stop_reason is not None and not self._stack:
            self._stack = self._process.read_traceback()

    def stop(self, level: int) -> None:
        """Ask the handler to stop; then terminate its process, and then kill it."""
        with self._lock:
            if self._process is None or self._attempt.stop_reason is None:
                return
            if level == 0:
                if self._has_started:
                    self._process.request_traceback()
                if self._is_sent:
                    self._process.send(StopTask(self._attempt.stop_reason))
            elif level == 1:
                self._process.terminate()
            else:
                self._process.kill()
