"""How connections to the database are made: so that they notice when nobody is there, and work behind a pooler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

__all__ = [
    "AnyConnection",
    "ServerUnresponsive",
    "Session",
    "answer_within",
    "async_pool",
    "connect",
    "connect_async",
    "is_passing",
    "is_pooled",
    "pool",
    "session",
    "sever",
]

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

# Seconds. What the package itself asks on behalf of a worker and its handlers is given up when it has no answer then.
SILENT_AFTER = 10.0

# Seconds, but for the last one, which is in milliseconds. The system would wait for minutes and hours.
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20000,
}

_AUTOCOMMIT = {"autocommit": True}

# Text is UTF-8 here, and the server converts it. A database that has no encoding (SQL_ASCII) stores it as it is.
_ENCODING = {"client_encoding": "UTF8"}

# The transactions of this package rely on read committed, whatever the database or the role prefers. The setting of the
# session covers single statements. A pooler gives each transaction another session, so that BEGIN says it too.
_LEVEL = psycopg.IsolationLevel.READ_COMMITTED

# The server looks for the client as the client does for the server: a session whose client has vanished holds its locks
# until the server notices, which by the system's own measure takes two hours. On a Unix socket that has no effect.
_MEET = """
    select (extract(epoch from backend_start) * 1000000)::bigint,
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('tcp_keepalives_idle', %(keepalives_idle)s, false),
        set_config('tcp_keepalives_interval', %(keepalives_interval)s, false),
        set_config('tcp_keepalives_count', %(keepalives_count)s, false),
        set_config('tcp_user_timeout', %(tcp_user_timeout)s, false)
    from pg_stat_get_activity(%(pid)s)
    where pg_backend_pid() = %(pid)s"""


def _patient(dsn: str) -> str:
    """A dsn with what it does not say itself."""
    return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(dsn), **_ENCODING})


class Session(NamedTuple):
    """A session of the server. `started_at` tells it from others of that number; microseconds since 1970."""

    pid: int
    started_at: int


_SESSIONS: WeakKeyDictionary[AnyConnection, Session] = WeakKeyDictionary()


def session(connection: AnyConnection) -> Session | None:
    """The session that a connection of this module leads to; None behind a pooler, where it is no one's own."""
    return _SESSIONS.get(connection)


def is_pooled(connection: AnyConnection) -> bool:
    """Whether a connection of this module leads to a pooler, such as PgBouncer, and not to the server itself."""
    return connection.prepare_threshold is None


# A pooler gives each transaction any session of the server, where a statement that was prepared in another one is
# missing, or is another statement of that name. It gives itself away: its number of the session is not the server's.


def _introduction(connection: AnyConnection) -> dict[str, Any]:
    return {**_DEFAULTS, **connection.info.get_parameters(), "pid": connection.info.backend_pid}


def _note(connection: AnyConnection, met: tuple[Any, ...] | None) -> None:
    if met is None:
        connection.prepare_threshold = None
    elif met[0] is not None:  # which a role that is not that of the session may not see
        _SESSIONS[connection] = Session(connection.info.backend_pid, met[0])


def _configure(connection: psycopg.Connection[Any]) -> None:
    timer = threading.Timer(SILENT_AFTER, sever, [connection])
    timer.daemon = True
    timer.start()
    connection.isolation_level = _LEVEL
    try:
        _note(connection, connection.execute(_MEET, _introduction(connection)).fetchone())
    except BaseException:
        connection.close()
        raise
    finally:
        timer.cancel()


async def _configure_async(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_isolation_level(_LEVEL)
    try:
        with answer_within(SILENT_AFTER, connection):
            _note(connection, await (await connection.execute(_MEET, _introduction(connection))).fetchone())
    except BaseException:  # a worker that stops cancels it
        await connection.close()
        raise


def connect(dsn: str) -> psycopg.Connection[Any]:
    """A connection with autocommit."""
    connection = psycopg.connect(_patient(dsn), autocommit=True)
    _configure(connection)
    return connection


async def connect_async(dsn: str) -> psycopg.AsyncConnection[Any]:
    """An async connection with autocommit."""
    connection = await psycopg.AsyncConnection.connect(_patient(dsn), autocommit=True)
    await _configure_async(connection)
    return connection


class ServerUnresponsive(psycopg.OperationalError):
    """The database has not answered in time; whether the statement was executed is not known."""


# Errors after which the same statement may succeed: the server restarts (57P), is a standby (25006), is out of
# connections, memory or disk space (53), or another session was in the way (40, 55P03). Not among them are a
# statement_timeout (57014) and a limit of the server (54): the same statement would run into it again.
_PASSING = frozenset(
    {
        "25006",
        "40001",
        "40P01",
        "53000",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57P01",
        "57P02",
        "57P03",
        "57P05",
        "58030",
    }
)


def is_passing(error: BaseException) -> bool:
    """Whether a statement that failed with this error can succeed when it is sent again."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate in _PASSING or error.sqlstate.startswith("08")
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))


def sever(connection: AnyConnection) -> None:
    """Break a connection, so that calls that wait for an answer raise an error at once, whatever the network does."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def answer_within(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Raise ServerUnresponsive, and break the connection, when what runs here is not answered in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    timer = loop.call_at(end, sever, connection)
    try:
        yield
    except psycopg.OperationalError as error:
        if loop.time() >= end:
            raise ServerUnresponsive(f"no answer for {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _read_what_arrived(connection: AnyConnection) -> None:
    """Raise OperationalError when the server has closed an idle connection. Makes no round trip."""
    for _ in range(2):  # its last message, and then the end
        connection.pgconn.consume_input()


# A pool checks each connection that it hands out. The first closed one makes it replace all, because a restart closes
# all, and psycopg_pool waits for a second after a second closed one, and for longer after each further one.


def pool(dsn: str, *, most: int, name: str) -> ConnectionPool:
    """A pool of such connections, at most so many, not open yet."""

    def check(connection: psycopg.Connection[Any]) -> None:
        try:
            _read_what_arrived(connection)
        except psycopg.OperationalError:
            made.drain()
            raise

    made = ConnectionPool(
        _patient(dsn), kwargs=_AUTOCOMMIT, configure=_configure, check=check, min_size=0, max_size=most, name=name,
        open=False,
    )  # fmt: skip
    return made


def async_pool(
    dsn: str, *, most: int, name: str, least: int = 0, give_up_after: float = 300.0
) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    """A pool of such async connections, at most so many, not open yet.

    It tries to connect in pauses that double. After `give_up_after` seconds it starts again with the next caller.
    """

    async def check(connection: psycopg.AsyncConnection[Any]) -> None:
        try:
            _read_what_arrived(connection)
        except psycopg.OperationalError:
            await made.drain()
            raise

    made = AsyncConnectionPool(
        _patient(dsn), kwargs=_AUTOCOMMIT, configure=_configure_async, check=check, min_size=least, max_size=most,
        name=name, reconnect_timeout=give_up_after, open=False,
    )  # fmt: skip
    return made
