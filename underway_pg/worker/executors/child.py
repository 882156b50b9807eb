"""What runs in a process of a process executor: one task after the other, as the worker sends them.

The main thread runs the handlers, because a signal can raise an exception only there. Another thread listens to the
worker, and kills the process, with all that it has started, when the worker has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import fcntl
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import FrameType
from typing import Any

from ...connections import Session
from ..attempt import Attempt, Environment
from ..execution import run_plain
from ..stacks import thread_stack
from .connection import NewConnections
from .ending import describe_end
from .messages import (
    Ended,
    FromProcess,
    Program,
    Progress,
    Running,
    RunTask,
    SessionOpened,
    Shutdown,
    Started,
    Stopping,
    StopTask,
    Terminate,
    ToProcess,
)
from .program import import_job
from .thread import exit_fork

__all__ = ["Child", "serve"]

# Seconds between two looks at the handler: its progress, and whether its transaction gets answers.
_CHECK_EVERY = 0.5
# Seconds after which a signal is sent again that the main thread has not handled.
_SIGNAL_AGAIN_AFTER = 0.05


def serve(connection: Connection[Any, Any], trace: int, lifeline: int) -> None:
    """Run tasks until the worker lets this process exit, or has died. On SIGUSR2, write the stack into `trace`."""
    for file in (connection.fileno(), trace, lifeline):
        os.set_inheritable(file, False)
    os.set_blocking(trace, False)
    faulthandler.register(signal.SIGUSR2, file=trace, all_threads=False)
    _die_with(lifeline)
    Child(connection, connection.recv()).serve()


def _die_with(lifeline: int) -> None:
    """Have the kernel kill this process group when the worker dies, whatever runs here at that moment."""
    if sys.platform == "linux":  # elsewhere the listening thread does it, once C code lets go of the interpreter
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)


class Child:
    """The process: its connection to the worker, and the attempt that it runs."""

    def __init__(self, connection: Connection[Any, Any], program: Program) -> None:
        self._connection = connection
        self._program = program
        self._sending = threading.Lock()
        self._pid = os.getpid()
        self._main_thread = threading.get_ident()
        self._tasks: SimpleQueue[tuple[RunTask, Attempt] | None] = SimpleQueue()
        self._attempt: Attempt | None = None
        self._stop: tuple[Attempt, StopTask] | None = None
        self._may_raise = False
        self._is_terminating = False
        self._ignored_sigterm = False

    def serve(self) -> None:
        """Run the tasks that the worker sends, in the main thread."""
        signal.signal(signal.SIGUSR1, self._raise)
        # Functions, because what is ignored would be ignored in all programs that a handler starts.
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, _ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        threading.Thread(target=self._listen, name="underway-worker", daemon=True).start()
        while (next_task := self._tasks.get()) is not None:
            self._send(self._run(*next_task))

    def _send(self, message: FromProcess) -> None:
        with self._sending:
            self._connection.send(message)

    def _send_about(self, attempt: Attempt | None, message: FromProcess) -> None:
        """Send something about an attempt, unless its end was sent."""
        with self._sending:
            if self._attempt is attempt:
                self._connection.send(message)

    # The worker

    def _listen(self) -> None:
        try:
            while True:
                if self._connection.poll(_SIGNAL_AGAIN_AFTER if self._is_signalled() else _CHECK_EVERY):
                    self._on_message(self._connection.recv())
                else:
                    self._check_handler()
        except (EOFError, OSError):
            pass  # the worker has died, or the handler has closed the connection
        finally:
            with contextlib.suppress(OSError):
                os.killpg(self._pid, signal.SIGKILL)
            os._exit(1)

    def _on_message(self, message: ToProcess) -> None:
        match message:
            case RunTask():
                self._begin(message)
            case StopTask():
                self._interrupt(message)
            case Terminate():
                self._is_terminating = True  # before the other is read: `_on_sigterm` does it in the opposite order
                if self._ignored_sigterm:
                    os.kill(self._pid, signal.SIGTERM)
            case Shutdown():
                self._tasks.put(None)

    def _begin(self, message: RunTask) -> None:
        # Here, so that the next message finds the attempt.
        environment = Environment(
            connections=NewConnections(self._dsn, self._announce_session),
            max_output_size=message.max_output_size,
            skip_unknown=message.skip_unknown,
            silent_after=message.silent_after,
        )
        attempt = Attempt(message.task, environment)
        self._attempt = attempt
        self._send_about(attempt, Started())
        self._tasks.put((message, attempt))

    def _dsn(self) -> str:
        if self._program.dsn is not None:
            return self._program.dsn
        assert self._attempt is not None
        assert self._attempt.job is not None
        app, shard = self._attempt.job.app, self._program.shard
        dsn: str = (app if shard is None else app.shard(shard)).dsn
        return dsn

    def _announce_session(self, session: Session) -> None:
        self._send_about(self._attempt, SessionOpened(session))

    def _check_handler(self) -> None:
        """Send the handler's progress, break its transaction if the server is silent, repeat a signal it missed."""
        attempt = self._attempt
        if attempt is None:
            return
        if self._is_signalled():
            signal.pthread_kill(self._main_thread, signal.SIGUSR1)
        attempt.sever_if_silent()
        if (progress := attempt.take_progress()) is not None:
            self._send_about(attempt, Progress(progress))

    def _interrupt(self, message: StopTask) -> None:
        """Send where the handler is, and raise the exception there."""
        attempt = self._attempt
        if attempt is not None:
            attempt.timeout_stack = thread_stack(self._main_thread)
            self._stop = attempt, message
            self._send_about(attempt, Stopping(attempt.timeout_stack))
            signal.pthread_kill(self._main_thread, signal.SIGUSR1)

    def _is_signalled(self) -> bool:
        """Whether the main thread has still to handle a signal.

        One that arrives just before it waits for a lock does not end that wait, and is handled only after it.
        """
        return self._stop is not None and self._stop[0] is self._attempt and self._stop[0].stop_reason is None

    # Signals, in the main thread

    def _raise(self, number: int, frame: FrameType | None) -> None:
        # `stop_reason` is set here and not earlier, so that a handler which has noticed it is not interrupted once more
        # while it cleans up.
        if self._stop is None or self._stop[0] is not self._attempt:
            return  # the handler has ended meanwhile
        attempt, message = self._stop
        attempt.request_stop(message.reason)
        # Once, and only into the handler: not while its end is sent.
        if self._may_raise:
            self._may_raise = False
            raise asyncio.CancelledError

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Die, if it is the worker's. One that was sent to all processes of a service is for the worker alone."""
        self._ignored_sigterm = True
        if self._is_terminating:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(self._pid, signal.SIGTERM)

    # A task

    def _run(self, message: RunTask, attempt: Attempt) -> Ended:
        try:
            ended = self._run_handler(message, attempt)
        except BaseException as error:  # the exception of a stop, just as the handler had ended
            ended = describe_end(attempt, error)
        self._may_raise = False
        self._attempt = None
        return ended

    def _run_handler(self, message: RunTask, attempt: Attempt) -> Ended:
        output = error = None
        try:
            job = import_job(self._program, message.module, message.name, message.included_by)
            attempt.job = job
            attempt.environment = replace(attempt.environment, state=job.app.state, middleware=job.app.middleware)
            self._send_about(attempt, Running())
            self._may_raise = True
            if attempt.stop_reason is not None:
                raise asyncio.CancelledError
            output = contextvars.copy_context().run(run_plain, attempt)
            self._may_raise = False
        except BaseException as raised:  # whatever it is, it belongs to the attempt
            self._may_raise = False
            error = raised
        if os.getpid() != self._pid:
            exit_fork(error)
        return describe_end(attempt, error, output)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
