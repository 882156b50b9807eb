"""The processes of a process executor: how one is started, signalled and reaped, and which ones are kept."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe

from ...errors import UnderwayError
from .messages import FromProcess, Program, Shutdown, Terminate, ToProcess

__all__ = ["Process", "ProcessDied", "ProcessPool"]

logger = logging.getLogger(__name__)

# Seconds between two checks that a silent process is alive, and how long one may take to exit.
_CHECK_EVERY = 1.0
_EXIT_WITHIN = 5.0

_TRACE_BYTES = 65536

# Signals that a terminal, systemd or a container's init may send to every process: they are for the worker alone. They
# are blocked until the process handles them, so that one that is just starting does not die of them.
_FOR_THE_WORKER = {signal.SIGTERM, signal.SIGINT}

_BOOTSTRAP = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from underway_pg.worker.executors.child import serve
serve(connection, *map(int, sys.argv[2:]))
"""


class ProcessDied(UnderwayError):
    """The process that ran the handler has died: by `os._exit`, a crash, or a signal."""

    def __init__(self, code: int) -> None:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({signal.strsignal(-code)})"
        hint = "; perhaps out of memory; see max_memory_per_process" if code == -signal.SIGKILL else ""
        super().__init__(f"the process that ran the task ended {how}{hint}")
        self.code = code


class Process:
    """A fresh interpreter that runs handlers, in a process group of its own.

    Three things lead to it: a socket pair for messages; a pipe into which it writes its stack, which works without a
    file system that can be written; and the lifeline, a pipe whose other end closes when the worker dies.
    """

    def __init__(self, program: Program) -> None:
        self._connection, connection = Pipe()
        self._trace, trace = os.pipe()
        lifeline, self._lifeline = os.pipe()
        os.set_blocking(self._trace, False)
        fds = connection.fileno(), trace, lifeline
        try:
            with _blocked(_FOR_THE_WORKER):
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", _BOOTSTRAP, *map(str, fds)],
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
        except BaseException:
            self._close()
            raise
        finally:
            connection.close()
            os.close(trace)
            os.close(lifeline)
        self.tasks = 0
        self.memory = 0
        self._is_ending = False
        self._is_reaped = False
        self._transmit(sys.path)  # as it is: the package is not imported yet
        self._transmit(program)

    @property
    def is_usable(self) -> bool:
        """Whether it is alive, and was not asked to end."""
        return not self._is_ending and self._exit_code() is None

    def send(self, message: ToProcess) -> None:
        """Send a message. That the process is dead is found out by `receive`."""
        self._transmit(message)

    def _transmit(self, what: object) -> None:
        try:
            self._connection.send(what)
        except OSError:
            logger.debug("process %s has closed its connection", self._popen.pid)

    def receive(self) -> FromProcess:
        """The next message. Raises ProcessDied."""
        try:
            # The connection may outlive the process: a fork of it has it too.
            while not self._connection.poll(_CHECK_EVERY):
                if self._exit_code() is not None and not self._connection.poll():
                    raise EOFError
            message: FromProcess = self._connection.recv()
            return message
        except Exception as error:  # the end of it, or what the handler itself has written there
            logger.debug("process %s: the connection is broken: %r", self._popen.pid, error)
        raise ProcessDied(self._await_exit(_CHECK_EVERY))

    def terminate(self) -> None:
        """Send SIGTERM to the process and to all that it has started."""
        self.send(Terminate())
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and to all that it has started."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        self._is_ending = True
        if self._exit_code() is None:
            with contextlib.suppress(ProcessLookupError):  # another thread has just reaped it
                os.killpg(self._popen.pid, number)

    def request_traceback(self) -> None:
        """Have the process write its stack, which it does in C code that holds the interpreter too."""
        self.read_traceback()
        if self._exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._popen.pid, signal.SIGUSR2)

    def read_traceback(self) -> str:
        """The stack that the process has written, innermost call first."""
        try:
            return os.read(self._trace, _TRACE_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    def shut_down(self) -> None:
        """Let the process exit, and wait for it."""
        self.send(Shutdown())
        self.close(_EXIT_WITHIN)

    def close(self, within: float) -> None:
        """Wait until the process has exited, and kill it after `within` seconds; then close what leads to it."""
        self._await_exit(within)
        self._close()

    def _close(self) -> None:
        self._connection.close()
        os.close(self._trace)
        os.close(self._lifeline)

    def _await_exit(self, within: float) -> int:
        code = self._exit_code(max(0.0, within))
        if code is None:
            self.kill()
            code = self._exit_code(None)
            assert code is not None
        return code

    def _exit_code(self, timeout: float | None = 0.0) -> int | None:
        """The exit code once the process has exited; what it has started is killed then. None while it is alive."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if not self._is_reaped:  # once: the id may be another's later
            self._is_reaped = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        return code


@contextlib.contextmanager
def _blocked(signals: set[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread, and so in the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ProcessPool:
    """As many processes as there are handlers at once. They are kept for the next handlers.

    max_tasks    how many tasks a process runs before it is replaced
    max_memory   how many bytes a process may have in memory after a task to be kept; None: any
    """

    def __init__(self, program: Program, max_tasks: int, max_memory: int | None) -> None:
        self._program = program
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._free: list[Process] = []
        self._busy: set[Process] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def take(self) -> Process:
        """A free process, or a new one."""
        with self._lock:
            while self._free:
                process = self._free.pop()
                if process.is_usable:
                    break
                process.close(_EXIT_WITHIN)
            else:
                process = Process(self._program)
            self._busy.add(process)
            return process

    def give_back(self, process: Process) -> None:
        """Keep a process for another task, or end it: it has run enough tasks, uses too much memory, or is dead."""
        process.tasks += 1
        is_large = self._max_memory is not None and process.memory > self._max_memory
        with self._lock:
            self._busy.discard(process)
            if not (self._is_closed or is_large or process.tasks >= self._max_tasks) and process.is_usable:
                self._free.append(process)
                return
        threading.Thread(target=process.shut_down, name="underway-shut-down", daemon=True).start()

    def close(self) -> None:
        """Shut all processes down, and wait until they have exited; one that still runs a handler is killed."""
        with self._lock:
            self._is_closed = True
            free, self._free = self._free, []
            for process in self._busy:
                process.kill()
        for process in free:
            process.send(Shutdown())  # to all of them first, for each needs its time
        until = time.monotonic() + _EXIT_WITHIN
        for process in free:
            process.close(until - time.monotonic())
