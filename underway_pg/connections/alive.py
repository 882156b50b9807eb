"""Calls without a time limit: they are given up when their server has stopped answering anybody.

The problem: a statement may wait for a lock for hours, so silence alone does not tell a frozen server from a busy one.
The operating system does not tell them apart either: the kernel of a frozen server still acknowledges what it receives.
So a server that has not answered for SILENT_AFTER seconds is asked, over another connection, for the first byte of the
protocol, which every server and pooler sends before it asks who is there. If that byte does not come, the calls end.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import defaultdict
from contextlib import AbstractContextManager

import psycopg

from ..errors import ServerUnresponsive
from .fork import after_fork
from .sessions import SILENT_AFTER, AnyConnection, Breaker
from .watchdog import call_later

__all__ = ["answer_while_alive"]

# Seconds. How often the calls under way are looked at, and how long a server may take for the first byte.
_LOOK_EVERY = 1.0
_FIRST_BYTE_WITHIN = 5.0

# "Do you speak TLS?" The answer is one byte, S or N.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)

# A host and a port. The directory of a Unix socket begins with /, or with @ in the abstract namespace.
_Address = tuple[str, int]
_DIRECTORY = ("/", "@")


def answer_while_alive(connection: AnyConnection) -> AbstractContextManager[None]:
    """Raise ServerUnresponsive, and break the connection, when its server does not answer anybody any more."""
    return _Call(connection)


class _Call(Breaker):
    """A call under way. Not a generator, because it is part of every call of a client."""

    __slots__ = ()

    def __enter__(self) -> None:
        _CALLS.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        _CALLS.end(self)
        if self.broke and isinstance(error, psycopg.OperationalError):
            raise ServerUnresponsive(
                f"no answer for {SILENT_AFTER + _FIRST_BYTE_WITHIN:g} s, and none to a new connection; whether the"
                " statement was executed is not known"
            ) from error


class _Calls:
    """The calls under way, and since when each has had no sign of its server. The timers' thread looks at them."""

    def __init__(self) -> None:
        self._after_fork()
        after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._silent_since: dict[_Call, float] = {}
        self._looking = False

    def begin(self, call: _Call) -> None:
        with self._lock:
            self._silent_since[call] = time.monotonic()
            if not self._looking:
                self._looking = True
                call_later(_LOOK_EVERY, self._look)

    def end(self, call: _Call) -> None:
        with self._lock:
            self._silent_since.pop(call, None)  # it is not there in a process that was forked in the call

    def _look(self) -> None:
        with self._lock:
            self._looking = bool(self._silent_since)
            if not self._looking:
                return
            now, silent = time.monotonic(), defaultdict[_Address, list[_Call]](list)
            for call, since in self._silent_since.items():
                if now - since >= SILENT_AFTER:
                    with contextlib.suppress(psycopg.Error):  # closed in the meantime
                        silent[_address(call.connection)].append(call)
                        self._silent_since[call] = now
        for address, calls in silent.items():  # in a thread, because timers must not wait
            threading.Thread(target=self._ask, args=(address, calls), name="underway-alive", daemon=True).start()
        call_later(_LOOK_EVERY, self._look)

    def _ask(self, address: _Address, calls: list[_Call]) -> None:
        if not _is_alive(address):
            with self._lock:
                for call in calls:
                    if call in self._silent_since:
                        call()


_CALLS = _Calls()


def _address(connection: AnyConnection) -> _Address:
    info = connection.info
    return (info.host if info.host.startswith(_DIRECTORY) else info.hostaddr or info.host), info.port


def _is_alive(address: _Address) -> bool:
    """Whether anybody answers there."""
    host, port = address
    try:
        if host.startswith(_DIRECTORY):
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(_FIRST_BYTE_WITHIN)
            end.connect(f"{host}/.s.PGSQL.{port}".replace("@", "\0", host.startswith("@")))
        else:
            end = socket.create_connection(address, _FIRST_BYTE_WITHIN)
        with end:
            end.sendall(_SSL_REQUEST)
            return bool(end.recv(1))
    except OSError:
        return False
