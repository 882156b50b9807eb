"""What runs in a process of its own for a worker: one task after the other, as the worker sends them.

The main thread runs the handlers, since only there an exception can be raised from outside. Another one listens to the
worker, and ends the process, with all that it has started, when the worker is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib
import importlib.util
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import FrameType, ModuleType
from typing import Any, Literal, NamedTuple

import psycopg

from ... import connections
from ...connections import AnyConnection, Session
from ...context import Context
from ...errors import ConfigurationError, LeaseLost, Snooze
from ...job import Job
from ...models import ClaimedTask
from .. import execution
from ..execution import Report

__all__ = ["Ended", "Program", "address", "is_child", "serve"]

# The name of the worker's main module here, which is the one that multiprocessing gives it too.
_MAIN = "__mp_main__"

# Seconds. So often the worker is told how far a handler is.
_PROGRESS_EVERY = 0.5
# And so soon a signal is sent again that the main thread has not handled.
_SIGNAL_AGAIN_AFTER = 0.05

_serving = False


def is_child() -> bool:
    """Whether this process runs tasks for a worker."""
    return _serving


def address(job: Job[..., Any]) -> tuple[str, str]:
    """The module of a job and its name there, by which another process finds it.

    Raises ConfigurationError for a job that cannot be found so.
    """
    module_name = job.function.__module__
    module = sys.modules.get(module_name)
    names = [name for name, value in vars(module).items() if value is job] if module is not None else []
    if not names:
        raise ConfigurationError(
            f"job {job.name}: a process finds it by its name in module {module_name!r}, where it is not;"
            " define it at the top level of a module"
        )
    if module_name == "__main__" and not hasattr(module, "__file__"):
        raise ConfigurationError(f"job {job.name}: a process cannot import a program that has no file")
    return module_name, names[0]


class Program(NamedTuple):
    """What a process has to know of the worker's to find its jobs: the main module by name or file, and arguments."""

    dsn: str
    argv: list[str]
    main_name: str | None
    main_file: str | None
    log_level: int
    log_formatter: bytes | None

    @classmethod
    def here(cls, dsn: str) -> Program:
        """The program that runs here."""
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        return cls(
            dsn=dsn,
            argv=sys.argv,
            main_name=None if spec is None else spec.name,
            main_file=None if file is None else str(Path(file).absolute()),
            log_level=logging.getLogger().getEffectiveLevel(),
            log_formatter=_formatter(),
        )


def _formatter() -> bytes | None:
    """That of the first handler of the log, pickled, where it can be."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(Exception):  # whatever a formatter of somebody else's raises
            return None if handler.formatter is None else pickle.dumps(handler.formatter)
        return None
    return None


class Ended(NamedTuple):
    """How a handler ended. `value` is the output as JSON text, the delay of a snooze, or the report of what was raised.

    `memory` is what the process has in memory, in bytes; `lost` are the sessions of broken transactions.
    """

    how: Literal["returned", "raised", "snoozed", "lost", "stopped"]
    value: str | timedelta | Report | None
    completed: bool
    memory: int
    lost: tuple[Session, ...]


def serve(connection: Connection[Any, Any], trace: int) -> None:
    """Run tasks until the worker lets this process go, or is gone. Asked by SIGUSR2, write where it is into a file."""
    global _serving
    _serving = True
    for file in (connection.fileno(), trace):
        os.set_inheritable(file, False)
    faulthandler.register(signal.SIGUSR2, file=trace, all_threads=False)
    Child(connection, connection.recv()).serve()


class Child:
    """The process: its connection to the worker, and the task that it runs."""

    def __init__(self, connection: Connection[Any, Any], program: Program) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._program = program
        self._main_thread = threading.get_ident()
        self._tasks: SimpleQueue[tuple[tuple[str, str], Context] | None] = SimpleQueue()
        self._context: Context | None = None
        self._told: Context | None = None
        self._may_raise = False
        self._reason = ""
        self._main_module: ModuleType | None = None

    def serve(self) -> None:
        """Run what comes, in the main thread."""
        signal.signal(signal.SIGUSR1, self._raise)
        threading.Thread(target=self._listen, name="underway-worker", daemon=True).start()
        while (sent := self._tasks.get()) is not None:
            self._send(self._attempt(*sent))

    def _send(self, ended: Ended) -> None:
        with self._sending:
            self._connection.send(ended)

    def _tell(self, context: Context | None, kind: str, what: str | Session) -> None:
        """Tell something of a task, unless its end is told."""
        with self._sending:
            if self._context is context:
                self._connection.send((kind, what))

    def _tell_session(self, session: Session) -> None:
        """Tell of a session before a transaction begins in it: nobody else can if this process is killed."""
        self._tell(self._context, "session", session)

    # The worker

    def _listen(self) -> None:
        try:
            while True:
                if self._connection.poll(_SIGNAL_AGAIN_AFTER if self._is_signalled() else _PROGRESS_EVERY):
                    self._hear(self._connection.recv())
                else:
                    self._look()
        except (EOFError, OSError):
            pass  # the worker is gone
        finally:
            with contextlib.suppress(OSError):
                os.killpg(os.getpid(), signal.SIGKILL)
            os._exit(1)

    def _hear(self, message: Any) -> None:
        """A task to run, the reason why it is to stop, or None: there are no more."""
        if message is None:
            self._tasks.put(None)
        elif isinstance(message, str):
            self._interrupt(message)
        else:
            self._begin(*message)

    def _begin(self, where: tuple[str, str], task: ClaimedTask) -> None:
        # Here, so that whatever comes next finds the context.
        self._context = Context(task, None, _Connections(self._program.dsn, self._tell_session))
        self._tell(self._context, "begun", "")
        self._tasks.put((where, self._context))

    def _look(self) -> None:
        """See how far the handler is, whether its transaction is answered, and whether it has noticed its interrupt."""
        context = self._context
        if context is None:
            return
        if self._is_signalled():
            signal.pthread_kill(self._main_thread, signal.SIGUSR1)
        context.abandon_if_silent()
        if context._progress is not None:
            progress, context._progress = context._progress, None
            self._tell(context, "progress", progress)

    def _interrupt(self, reason: str) -> None:
        """The handler is to stop: say where it is, and raise the exception there."""
        context = self._context
        if context is not None:
            self._reason, self._told = reason, context
            self._tell(context, "stack", execution.thread_stack(self._main_thread))
            signal.pthread_kill(self._main_thread, signal.SIGUSR1)

    def _is_signalled(self) -> bool:
        """Whether the main thread has a signal to handle.

        One that arrives just before it waits for a lock does not end that wait, and is handled only after it.
        """
        context = self._context
        return context is not None and context is self._told and not context.cancelled

    def _raise(self, number: int, frame: FrameType | None) -> None:
        # In the main thread, so that a handler that looks by itself is not interrupted once more while it cleans up.
        if self._context is None or self._context is not self._told:
            return  # the one that was meant has ended meanwhile
        self._context.interrupt(self._reason)
        # Once, and only into the handler: not while its end is told.
        if self._may_raise:
            self._may_raise = False
            raise asyncio.CancelledError

    # A task

    def _attempt(self, where: tuple[str, str], context: Context) -> Ended:
        try:
            how, value = self._run(where, context)
        except BaseException as error:  # the one that comes from outside, just as the handler had ended
            how, value = _end(error, context)
        self._may_raise = False
        self._context = None
        return Ended(how, value, context._completed, _memory(), context.take_lost())

    def _run(self, where: tuple[str, str], context: Context) -> Any:
        try:
            job = self._find(*where)
            context.state = job.app.state
            self._may_raise = True
            if context.cancelled:
                raise asyncio.CancelledError
            output = execution.run(job, context)
            self._may_raise = False
        except BaseException as error:  # whatever it is, it belongs to the worker
            self._may_raise = False
            return _end(error, context)
        return "returned", output

    def _find(self, module_name: str, name: str) -> Job[..., Any]:
        program = self._program
        sys.argv[:] = program.argv
        os.environ["DATABASE_URL"] = program.dsn  # for an application that is given none, as the worker's may be
        module = self._main() if module_name == "__main__" else importlib.import_module(module_name)
        job: Job[..., Any] = getattr(module, name)
        job.app.dsn = program.dsn
        self._log()
        return job

    def _log(self) -> None:
        """Log as the worker does, unless the application has seen to it while it was imported."""
        if logging.getLogger().handlers:
            return
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        # Only now, when the application is there; a class of the program itself is not found under its name here.
        with contextlib.suppress(Exception):
            if self._program.log_formatter is not None:
                handler.setFormatter(pickle.loads(self._program.log_formatter))
        logging.basicConfig(level=self._program.log_level, handlers=[handler])

    def _main(self) -> ModuleType:
        """The worker's main module, under another name, so that it does not start a worker."""
        if self._program.main_name is not None:
            return importlib.import_module(self._program.main_name)
        if self._main_module is None:
            spec = importlib.util.spec_from_file_location(_MAIN, self._program.main_file or "")
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[_MAIN] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self._main_module = module  # only now: one that failed is tried again with the next task
        return self._main_module


def _end(error: BaseException, context: Context) -> tuple[Any, Any]:
    if isinstance(error, asyncio.CancelledError) and context.cancelled:
        return "stopped", None
    if isinstance(error, LeaseLost):
        return "lost", None
    if isinstance(error, Snooze):
        return "snoozed", error.delay
    return "raised", Report.of(error)


def _memory() -> int:
    """What this process has in memory, in bytes; the most that it had where the system does not say more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource  # which is not there where nothing but enqueueing is possible

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Connections:
    """A connection for each transaction of a handler. `tell` is called with the session that it leads to."""

    def __init__(self, dsn: str, tell: Callable[[Session], None]) -> None:
        self._dsn = dsn
        self._tell = tell

    def _introduce(self, connection: AnyConnection) -> None:
        if (session := connections.session(connection)) is not None:
            self._tell(session)

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        with connections.connect(self._dsn) as connection:
            self._introduce(connection)
            yield connection

    @contextlib.asynccontextmanager
    async def async_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await connections.connect_async(self._dsn) as connection:
            self._introduce(connection)
            yield connection
