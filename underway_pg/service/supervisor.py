"""Several worker processes below one: start them, restart the ones that die, pass a stop on, report their health.

A supervisor and its children talk over a socket pair for each child, in lines. The supervisor writes a `Request`; the
child answers `Request.HEALTH` with one line of JSON. A stop is a line and not a signal, because systemd, supervisord
and Heroku send their signal to every process: a child that counted both would take the first stop for the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # multiprocessing uses it as well
from typing import Any

from .health import HealthAddress, HealthServer

__all__ = ["Child", "Supervisor", "child_command"]

logger = logging.getLogger(__name__)

# Seconds. The pause before a child that died is restarted; it doubles with each restart up to the maximum, and starts
# over after a child that ran for longer than the maximum pause twice over.
_FIRST_PAUSE = 0.5
_MAX_PAUSE = 30.0

# Seconds that a child has beyond its shutdown timeout before it is killed.
_KILL_MARGIN = 10.0

# Seconds in which a child has to answer how it is; below the second that a Kubernetes probe waits by default.
_ANSWER_TIMEOUT = 0.8

# The exit code of a command that was used wrongly. Another start would not help.
_WRONG_USAGE = 2

_VARIABLE = "UNDERWAY_CHILD"


class Request(StrEnum):
    """What a supervisor asks of a child."""

    STOP = "stop"
    HEALTH = "health"


class Child:
    """The side of the child: its `number`, from 1, and how often the supervisor has asked it to stop.

    A thread reads the requests, so that they arrive while the application is imported and while the loop is blocked. A
    request to stop becomes a SIGTERM to this process, which whatever runs in it handles. When the supervisor has died,
    the child stops, and is ended after `shutdown_timeout` and a margin if it has not.
    """

    def __init__(self, number: int, channel: socket.socket, shutdown_timeout: float) -> None:
        self.number = number
        self.stops = 0
        self._channel = channel
        self._shutdown_timeout = shutdown_timeout
        self._on_health: Callable[[], None] | None = None
        threading.Thread(target=self._read, name="underway-supervisor", daemon=True).start()

    @classmethod
    def from_environment(cls, shutdown_timeout: float) -> Child | None:
        """The link of this process to its supervisor; None without one. Its own children have none."""
        text = os.environ.pop(_VARIABLE, None)
        if text is None:
            return None
        number, descriptor = map(int, text.split(":"))
        os.set_inheritable(descriptor, False)
        return cls(number, socket.socket(fileno=descriptor), shutdown_timeout)

    def answer_health(self, on_health: Callable[[], None]) -> None:
        """Call this, in a thread, when the supervisor asks for the health of the worker."""
        self._on_health = on_health

    def send_health(self, health: dict[str, Any]) -> None:
        """Answer the supervisor."""
        with contextlib.suppress(OSError):  # the supervisor died
            self._channel.sendall(json.dumps(health, default=str).encode() + b"\n")

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._channel.makefile() as lines:
            for line in lines:
                if line.strip() == Request.HEALTH:
                    if self._on_health is not None:
                        self._on_health()
                else:
                    self._stop()
        logger.warning("worker process %s: its supervisor died", self.number)
        self._stop()
        time.sleep(self._shutdown_timeout + _KILL_MARGIN)
        os._exit(1)

    def _stop(self) -> None:
        self.stops += 1
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        signal.pthread_kill(main_thread, signal.SIGTERM)


class Supervisor:
    """Runs a command in several processes until SIGTERM or SIGINT, or until all of them have ended with code 0.

    A child that dies is restarted after a pause that grows. The first signal stops all children, and nothing is started
    after it; the second makes them release their running tasks at once. A child that runs on after `shutdown_timeout`
    and `kill_margin` (seconds) is killed with its process group. With `health`, one port answers for all children.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        shutdown_timeout: float = 30.0,
        kill_margin: float = _KILL_MARGIN,
        health: HealthAddress | None = None,
    ) -> None:
        self._command = list(command)
        self._processes = processes
        self._shutdown_timeout = shutdown_timeout
        self._kill_margin = kill_margin
        self._health = health
        self._running: dict[int, _Process] = {}
        self._stops = 0
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Run until the end. Returns the exit code: 0, or that of a child that was used wrongly or died at the stop."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._stop)
        with contextlib.ExitStack() as stack:
            if self._health is not None:
                stack.enter_context(HealthServer(self._health, self._ask_all))
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._processes + 1):
                    group.create_task(self._keep(number))
        return self._code

    def _stop(self) -> None:
        self._stops += 1
        self._stopping.set()
        for process in self._running.values():
            process.request(Request.STOP)
        patience = self._shutdown_timeout if self._stops == 1 else 0.0
        asyncio.get_running_loop().call_later(patience + self._kill_margin, self._kill_all)

    def _kill_all(self) -> None:
        for number, process in self._running.items():
            logger.error("worker process %s did not stop in time and is killed", number)
            process.kill()

    async def _keep(self, number: int) -> None:
        """Run one child, and another each time that it dies."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started_at = time.monotonic()
            code = await self._run_child(number)
            if self._stopping.is_set() and -code in (signal.SIGTERM, signal.SIGINT):
                return  # a signal to the whole group, before the child handled signals or after it had stopped
            if code == _WRONG_USAGE or (code != 0 and self._stopping.is_set()):
                self._code = max(self._code, 1 if code < 0 else code)
            if code == _WRONG_USAGE and not self._stopping.is_set():
                self._stop()
            if code == 0 or self._stopping.is_set():
                return
            if time.monotonic() - started_at > 2 * _MAX_PAUSE:
                pause = _FIRST_PAUSE
            logger.error("worker process %s %s; restarting in %.1f s", number, _describe(code), pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _MAX_PAUSE)

    async def _run_child(self, number: int) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, _VARIABLE: f"{number}:{theirs.fileno()}"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
            )
        async with _Process(child, ours) as process:
            self._running[number] = process
            for _ in range(self._stops):  # while it was started
                process.request(Request.STOP)
            try:
                return await child.wait()
            finally:
                del self._running[number]

    async def _ask_all(self) -> list[dict[str, Any]]:
        """The health of each child. A child that died and will be restarted is alive, and not ready."""
        processes = [self._running.get(number) for number in range(1, self._processes + 1)]
        return list(await asyncio.gather(*(_ask(process) for process in processes)))


async def _ask(process: _Process | None) -> dict[str, Any]:
    return {"alive": True, "ready": False} if process is None else await process.ask()


class _Process:
    """The side of the supervisor: a running child and the socket to it."""

    def __init__(self, child: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._child = child
        self._channel = channel
        self._waiting: list[asyncio.Future[dict[str, Any]]] = []
        self._has_answered = False

    async def __aenter__(self) -> _Process:
        reader, self._writer = await asyncio.open_connection(sock=self._channel)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._reading.cancel()
        self._writer.close()

    def request(self, request: Request) -> None:
        self._writer.write(f"{request}\n".encode())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    async def ask(self) -> dict[str, Any]:
        """The health of the child. One that has not answered yet is starting: alive, and not ready."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self.request(Request.HEALTH)
        try:
            return await asyncio.wait_for(answer, _ANSWER_TIMEOUT)
        except TimeoutError:
            return {"alive": not self._has_answered, "ready": False}
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(answer)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self._has_answered = True
                for answer in self._waiting:
                    if not answer.done():
                        answer.set_result(json.loads(line))


def _describe(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def child_command(arguments: Sequence[str]) -> list[str]:
    """The command line `underway` with these arguments, with the options of this interpreter (-X, -W, -O and so on)."""
    return [sys.executable, *_args_from_interpreter_flags(), "-m", "underway_pg", *arguments]
