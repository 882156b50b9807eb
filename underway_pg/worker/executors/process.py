"""Processes for handlers that must not share the worker's: they can be killed, and be replaced.

A thread of the worker waits for each handler, so that all of them end in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from multiprocessing import Pipe
from typing import Any

from ...errors import LeaseLost, Snooze, UnderwayError
from ..attempt import Attempt
from ..failure import Failure, RemoteError
from . import OnEnd
from .child import Ended, Program, address
from .thread import Threads

__all__ = ["InProcess", "ProcessDied", "ProcessExecutor", "Processes"]

logger = logging.getLogger("underway_pg")

# Seconds. So often it is looked whether a process is there that says nothing; and it may take so long to leave.
_LOOK_EVERY = 1.0
_LEAVE_WITHIN = 5.0

_TRACE_BYTES = 65536

_PROGRAM = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from underway_pg.worker.executors.child import serve
serve(connection, int(sys.argv[2]))
"""


class ProcessDied(UnderwayError):
    """The process of a handler has ended, and not by itself."""

    def __init__(self, code: int) -> None:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({signal.strsignal(-code)})"
        super().__init__(f"the process that ran the task ended {how}")


class Process:
    """A process of this worker. It is in a group of its own: signals of a terminal are for the worker alone."""

    def __init__(self, program: Program) -> None:
        self._connection, theirs = Pipe()
        self._trace = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, for it lives as long as the process
        with theirs:
            fds = theirs.fileno(), self._trace.fileno()
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *map(str, fds)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self.tasks = 0
        self.memory = 0
        self._is_ending = False
        self.send(sys.path)
        self.send(program)

    @property
    def is_there(self) -> bool:
        """Whether it lives, and was not told to end."""
        return not self._is_ending and self._popen.poll() is None

    def send(self, message: Any) -> None:
        """Send something. One that is dead is found by `receive`."""
        try:
            self._connection.send(message)
        except OSError:
            logger.debug("process %s does not listen", self._popen.pid)

    def receive(self) -> Any:
        """What it says next. Raises ProcessDied."""
        try:
            while not self._connection.poll(_LOOK_EVERY):
                if self._popen.poll() is not None and not self._connection.poll():
                    raise EOFError
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise ProcessDied(self._popen.wait()) from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it has started."""
        self._is_ending = True
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its thread has just seen it die
                os.killpg(self._popen.pid, number)

    def ask_where(self) -> None:
        """Have it write down where it is, which it does in C code too that does not let go of the interpreter."""
        self._trace.truncate(0)
        self._trace.seek(0)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._popen.pid, signal.SIGUSR2)

    def where(self) -> str:
        """What it has written down; the innermost call is the first."""
        return os.pread(self._trace.fileno(), _TRACE_BYTES, 0).decode(errors="replace")

    def leave(self) -> None:
        """Let it go, and wait until it is gone."""
        self.send(None)
        self.await_end(time.monotonic() + _LEAVE_WITHIN)

    def await_end(self, until: float) -> None:
        """Wait until it is gone, having been let go; one that is not by that time is killed."""
        try:
            self._popen.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._popen.wait()
        self.close()

    def close(self) -> None:
        """Let go of what leads to it."""
        self._connection.close()
        self._trace.close()


class Processes:
    """As many processes as there are handlers at once; they are kept for the next ones.

    max_tasks    how many tasks one runs before another takes its place
    max_memory   how many bytes it may have in memory after a task to be kept; None for any
    """

    def __init__(self, dsn: str, max_tasks: int, max_memory: int | None) -> None:
        self._program = Program.here(dsn)
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._free: list[Process] = []
        self._busy: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> Process:
        """A process that is free, or a new one."""
        with self._lock:
            while self._free:
                process = self._free.pop()
                if process.is_there:
                    break
                process.close()
            else:
                process = Process(self._program)
            self._busy.add(process)
            return process

    def give_back(self, process: Process) -> None:
        """Keep a process for another task, or let it go: it has done enough, has grown too large, or is dead."""
        process.tasks += 1
        is_large = self._max_memory is not None and process.memory > self._max_memory
        with self._lock:
            self._busy.discard(process)
            if not (self._closed or is_large or process.tasks >= self._max_tasks) and process.is_there:
                self._free.append(process)
                return
        threading.Thread(target=process.leave, name="underway-leave", daemon=True).start()

    def close(self) -> None:
        """Let all processes go, and wait until they are gone; one that still runs a handler is killed."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
            for process in self._busy:
                process.signal(signal.SIGKILL)
        for process in free:
            process.send(None)  # to all of them first, for each takes its time
        until = time.monotonic() + _LEAVE_WITHIN
        for process in free:
            process.await_end(until)


class InProcess:
    """A plain handler that runs in a process."""

    def __init__(self, processes: Processes, attempt: Attempt) -> None:
        assert attempt.job is not None
        self._processes = processes
        self._where = address(attempt.job)
        self._attempt = attempt
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._has_begun = False
        self._was_begun = False
        self._stack = ""

    def run(self) -> str | None:
        """Run it; called in a thread, which waits. Returns the output as JSON text."""
        while True:
            if self._attempt.stop_reason is not None:
                raise asyncio.CancelledError
            process = self._processes.take()
            was_idle = process.tasks > 0
            try:
                return self._run_in(process)
            except ProcessDied:
                # One that was dying already when it was taken has not begun, and costs no attempt.
                if self._was_begun or not was_idle:
                    raise

    def _run_in(self, process: Process) -> str | None:
        with self._lock:
            self._process = process
            self._has_begun = False
        try:
            process.send((self._where, self._attempt.task))  # unlocked: it may take a while, and `stop` must not wait
            with self._lock:
                self._has_begun = True
                if self._attempt.stop_reason is not None:
                    process.send(self._attempt.stop_reason)
            ended = self._wait(process)
            process.memory = ended.memory
        finally:
            with self._lock:
                self._process = None
                if self._attempt.stop_reason is not None and not self._stack:
                    self._stack = process.where()
            self._processes.give_back(process)
        self._attempt.completed = ended.completed
        self._attempt.lost_sessions = ended.lost
        return self._result(ended)

    def _wait(self, process: Process) -> Ended:
        while not isinstance(message := process.receive(), Ended):
            kind, what = message
            if kind == "begun":
                self._was_begun = True
            elif kind == "stack":
                self._stack = what
            elif kind == "session":
                self._attempt.lost_sessions += (what,)  # unless it is heard that the transaction ended well
            else:
                self._attempt.set_progress(what)
        return message

    def _result(self, ended: Ended) -> str | None:
        if ended.how == "stopped":
            raise asyncio.CancelledError
        if ended.how == "lost":
            raise LeaseLost("the lease was lost")
        if isinstance(ended.value, Failure):
            raise RemoteError(ended.value)
        if isinstance(ended.value, timedelta):
            raise Snooze(ended.value)
        return ended.value

    def stop(self, times: int) -> bool:
        """Raise an exception in it; then end its process by SIGTERM, and then by SIGKILL."""
        with self._lock:
            if self._process is None:
                return times < 3
            if times == 0:
                if self._was_begun:
                    self._process.ask_where()
                if self._has_begun:
                    self._process.send(self._attempt.stop_reason)
            else:
                self._process.signal(signal.SIGTERM if times == 1 else signal.SIGKILL)
        return times < 3

    def stack(self) -> str:
        """Where it was when it was told to stop."""
        return self._stack


class ProcessExecutor:
    """Runs plain handlers in processes. A thread waits for each of them."""

    def __init__(self, on_end: OnEnd, dsn: str, max_tasks: int, max_memory: int | None) -> None:
        def collect(ended: list[tuple[Attempt, Any, BaseException | None]]) -> None:
            for each in ended:
                on_end(*each)

        self._threads: Threads[Attempt] = Threads(asyncio.get_running_loop(), collect)
        self._processes = Processes(dsn, max_tasks, max_memory)

    def start(self, attempt: Attempt) -> None:
        """Start the handler in a process."""
        attempt.handle = InProcess(self._processes, attempt)
        self._threads.call(attempt, attempt.handle.run)

    def stop(self, attempt: Attempt) -> bool:
        """Raise an exception in the handler; then SIGTERM; then SIGKILL."""
        stopped: bool = attempt.handle.stop(attempt.stop_level)
        return stopped

    def stack(self, attempt: Attempt) -> str:
        """Where the handler was when it was asked to stop."""
        stack: str = attempt.handle.stack()
        return stack

    async def close(self) -> None:
        """End the processes, and wait until they have ended."""
        self._threads.close()
        await asyncio.to_thread(self._processes.close)
