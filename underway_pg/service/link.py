"""The link between a supervisor and the worker processes below it: a socket pair for each, and lines on it.

The supervisor writes a `Request`. The child answers all but a stop with one line: the request, a space, and JSON. A
stop is a line and not a signal, because systemd, supervisord and Heroku send their signal to every process: a child
that counted both would take the first stop for the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

__all__ = ["KILL_MARGIN", "VARIABLE", "Child", "Process", "Request"]

logger = logging.getLogger(__name__)

# Seconds that a child has beyond its shutdown timeout before it is killed.
KILL_MARGIN = 10.0

# Seconds in which a child has to answer; below the second that a Kubernetes probe waits by default.
_ANSWER_TIMEOUT = 0.8

# Bytes of an answer: metrics have some kilobytes for each queue and job of a worker.
_MAX_ANSWER = 64 << 20

# The variable of the environment that has the numbers of a child and of its database, and the descriptor of its socket.
VARIABLE = "UNDERWAY_CHILD"


class Request(StrEnum):
    """What a supervisor asks of a child."""

    STOP = "stop"
    HEALTH = "health"
    METRICS = "metrics"


class Child:
    """The side of the child: its `number`, from 1, and how often the supervisor has asked it to stop.

    `database` says which of several databases it serves, from 0.

    A thread reads the requests, so that they arrive while the application is imported and while the loop is blocked. A
    request to stop becomes a SIGTERM to this process, which whatever runs in it handles. When the supervisor has died,
    the child stops, and is ended after `shutdown_timeout` and a margin if it has not.
    """

    def __init__(self, number: int, database: int, channel: socket.socket, shutdown_timeout: float) -> None:
        self.number = number
        self.database = database
        self.stops = 0
        self._channel = channel
        self._shutdown_timeout = shutdown_timeout
        self._answers: Mapping[Request, Callable[[], None]] = {}
        self._sending = threading.Lock()
        threading.Thread(target=self._read, name="underway-supervisor", daemon=True).start()

    @classmethod
    def from_environment(cls, shutdown_timeout: float) -> Child | None:
        """The link of this process to its supervisor; None without one. Its own children have none."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        number, database, descriptor = map(int, text.split(":"))
        os.set_inheritable(descriptor, False)
        return cls(number, database, socket.socket(fileno=descriptor), shutdown_timeout)

    def answer(self, answers: Mapping[Request, Callable[[], None]]) -> None:
        """Call one of these, in a thread, when the supervisor asks for it. They call `send`, in any thread."""
        self._answers = answers

    def send(self, request: Request, answer: dict[str, Any]) -> None:
        """Answer the supervisor."""
        line = f"{request} {json.dumps(answer, default=str)}\n".encode()
        with contextlib.suppress(OSError), self._sending:  # an error: the supervisor died
            self._channel.sendall(line)

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._channel.makefile() as lines:
            for line in lines:
                request = Request(line.strip())
                if request is Request.STOP:
                    self._stop()
                elif (answer := self._answers.get(request)) is not None:
                    self._answer(request, answer)
        logger.warning("worker process %s: its supervisor died", self.number)
        self._stop()
        time.sleep(self._shutdown_timeout + KILL_MARGIN)
        os._exit(1)

    def _answer(self, request: Request, answer: Callable[[], None]) -> None:
        try:
            answer()
        except Exception:  # this thread must go on: it is the one that hears of a stop
            logger.exception("worker process %s cannot answer its supervisor about %s", self.number, request)

    def _stop(self) -> None:
        self.stops += 1
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        signal.pthread_kill(main_thread, signal.SIGTERM)


class Process:
    """The side of the supervisor: a running child and the socket to it."""

    def __init__(self, child: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._child = child
        self._channel = channel
        self._waiting: dict[Request, list[asyncio.Future[dict[str, Any]]]] = {request: [] for request in Request}
        self.has_answered = False

    async def __aenter__(self) -> Process:
        reader, self._writer = await asyncio.open_connection(sock=self._channel, limit=_MAX_ANSWER)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._reading.cancel()
        self._writer.close()

    def request(self, request: Request) -> None:
        """Send a request, and wait for no answer."""
        self._writer.write(f"{request}\n".encode())

    def kill(self) -> None:
        """Kill the child with its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    async def ask(self, request: Request) -> dict[str, Any] | None:
        """The answer of the child; None if it has not answered in time."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting[request].append(answer)
        self.request(request)
        try:
            return await asyncio.wait_for(answer, _ANSWER_TIMEOUT)
        except TimeoutError:
            return None
        finally:
            self._waiting[request].remove(answer)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.has_answered = True
                request, _, text = line.decode().partition(" ")
                for answer in self._waiting[Request(request)]:
                    if not answer.done():
                        answer.set_result(json.loads(text))
