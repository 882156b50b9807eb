"""What is done with a connection: set up its session, notice that it is broken, and break it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, ref

import psycopg

from ..errors import DatabaseUnavailable, ServerUnresponsive
from .dsn import DEFAULTS
from .watchdog import call_later

__all__ = [
    "ISOLATION_LEVEL",
    "READ_ONLY",
    "SESSION_SETUP",
    "SILENT_AFTER",
    "AnyConnection",
    "Breaker",
    "Session",
    "answer_within",
    "answer_within_sync",
    "is_alive",
    "is_garbled",
    "is_outage",
    "is_passing",
    "is_pooled",
    "may_have_committed",
    "record_session",
    "session",
    "session_parameters",
    "setup_timeout",
    "sever",
    "unavailable",
    "watch_warnings",
]

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

# Seconds. A statement of the package itself that is not answered by then is given up, with its connection.
SILENT_AFTER = 10.0

# The transactions of this package rely on read committed, whatever the database or the role prefers. The setting of the
# session covers single statements. A pooler gives each transaction another session, so that BEGIN says it too.
ISOLATION_LEVEL = psycopg.IsolationLevel.READ_COMMITTED

# The server watches the client as the client watches the server: a session whose client has vanished holds its locks
# until the server notices, which takes two hours with the defaults of the system. No effect on a Unix socket.
SESSION_SETUP = b"""
    select (extract(epoch from backend_start) * 1000000)::bigint,
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('tcp_keepalives_idle', %(keepalives_idle)s, false),
        set_config('tcp_keepalives_interval', %(keepalives_interval)s, false),
        set_config('tcp_keepalives_count', %(keepalives_count)s, false),
        set_config('tcp_user_timeout', %(tcp_user_timeout)s, false)
    from pg_stat_get_activity(%(pid)s)
    where pg_backend_pid() = %(pid)s"""


class Session(NamedTuple):
    """A session of the server. `started_at`, in microseconds since 1970, tells it from others with the same pid."""

    pid: int
    started_at: int


_SESSIONS: WeakKeyDictionary[AnyConnection, Session] = WeakKeyDictionary()


def session(connection: AnyConnection) -> Session | None:
    """The session of a connection that this package made; None behind a pooler, where sessions are shared."""
    return _SESSIONS.get(connection)


def is_pooled(connection: AnyConnection) -> bool:
    """Whether a connection that this package made goes through a pooler, such as PgBouncer."""
    return connection.prepare_threshold is None


def session_parameters(connection: AnyConnection) -> dict[str, Any]:
    """The parameters of SESSION_SETUP."""
    return {**DEFAULTS, **connection.info.get_parameters(), "pid": connection.info.backend_pid}


def setup_timeout(parameters: Mapping[str, Any]) -> float:
    """How many seconds the server may take to answer SESSION_SETUP: as many as to connect, which this is a part of."""
    seconds = float(parameters["connect_timeout"])
    return seconds if seconds > 0 else SILENT_AFTER  # libpq waits for ever then


def record_session(connection: AnyConnection, found: tuple[Any, ...] | None) -> None:
    """Record what SESSION_SETUP returned: the session, or nothing behind a pooler.

    A transaction pooler runs each transaction in any session of the server, so that prepared statements break. The pid
    that a pooler reports is not that of the session.
    """
    if found is None:
        connection.prepare_threshold = None
    elif found[0] is not None:  # hidden from a role that is not that of the session
        _SESSIONS[connection] = Session(connection.info.backend_pid, found[0])


# A session that is ended while it waits for synchronous replication has committed. The server warns of that.
_WARNED: WeakSet[AnyConnection] = WeakSet()


def watch_warnings(connection: AnyConnection) -> None:
    """Remember the warning of `may_have_committed`."""
    weak = ref(connection)

    def on_notice(notice: psycopg.errors.Diagnostic) -> None:
        if notice.sqlstate == "57P01" and (warned := weak()) is not None:
            _WARNED.add(warned)

    connection.add_notice_handler(on_notice)


def may_have_committed(connection: AnyConnection) -> bool:
    """Whether a statement may have been committed though its session was ended: it waited for replication."""
    return connection in _WARNED


def is_alive(connection: AnyConnection) -> bool:
    """Whether an idle connection is open, as far as can be told without a round trip."""
    if connection.closed:
        return False
    try:
        for _ in range(2):  # the server's last message, and then the end
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return True


def sever(connection: AnyConnection) -> None:
    """Break a connection: calls that wait for an answer raise an error at once, whatever the network does."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


class Breaker:
    """Breaks a connection, and knows that it did."""

    __slots__ = ("broke", "connection")

    def __init__(self, connection: AnyConnection) -> None:
        self.connection = connection
        self.broke = False

    def __call__(self) -> None:
        """Break it: a call that waits for an answer raises an error at once."""
        self.broke = True
        sever(self.connection)


def _unanswered(seconds: float) -> ServerUnresponsive:
    return ServerUnresponsive(f"no answer for {seconds:.3g} s; whether the statement was executed is not known")


@contextlib.contextmanager
def answer_within(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Raise ServerUnresponsive, and break the connection, when what runs here is not answered in time."""
    breaker = Breaker(connection)
    timer = asyncio.get_running_loop().call_later(seconds, breaker)
    try:
        yield
    except psycopg.OperationalError as error:
        if breaker.broke:
            raise _unanswered(seconds) from error
        raise
    finally:
        timer.cancel()


@contextlib.contextmanager
def answer_within_sync(seconds: float, connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Raise ServerUnresponsive, and break the connection, when what runs here is not answered in time."""
    breaker = Breaker(connection)
    cancel = call_later(seconds, breaker)
    try:
        yield
    except psycopg.OperationalError as error:
        if breaker.broke:
            raise _unanswered(seconds) from error
        raise
    finally:
        cancel()


# Errors after which the same statement may succeed: the server restarts (57P), is out of connections, memory or disk
# space (53), or another session was in the way (40, 55P03). Not among them are a statement_timeout (57014) and a limit
# of the server (54): the same statement would run into it again.
_PASSING = frozenset(
    {
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

# The server ended the session, is starting or stopping, or has no connection to give.
_OUTAGE = frozenset({"53300", "57P01", "57P02", "57P03", "57P05"})

# The server is a standby, or a former primary. Nothing was written, and a new connection may lead to the primary.
READ_ONLY = psycopg.errors.ReadOnlySqlTransaction


def is_passing(error: BaseException) -> bool:
    """Whether a statement that failed with this error can succeed when it is sent again."""
    return is_outage(error) or (isinstance(error, psycopg.Error) and error.sqlstate in _PASSING)


def is_outage(error: BaseException) -> bool:
    """Whether this error says that the primary cannot be reached, or that the connection to it broke."""
    if isinstance(error, READ_ONLY):
        return True
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    return error.sqlstate is None or error.sqlstate in _OUTAGE or error.sqlstate.startswith("08")


def is_garbled(error: psycopg.Error) -> bool:
    """Whether libpq could not understand an answer, or got none: a pooler or a proxy has mixed it up or cut it."""
    return type(error) in (psycopg.DatabaseError, psycopg.InternalError) and error.sqlstate is None


def unavailable(error: psycopg.Error) -> DatabaseUnavailable:
    """The error that says so, to be raised from the one of psycopg."""
    if isinstance(error, DatabaseUnavailable):
        return error
    # The first line says where and why; what follows guesses.
    reason = (error.diag.message_primary or str(error)).strip().splitlines() or ["no reason is known"]
    what = "the server takes no writes" if isinstance(error, READ_ONLY) else "the database cannot be reached"
    tried = sum(line.startswith("- host: ") for line in reason)  # psycopg lists its attempts, the last one first
    if tried > 1:
        what += f" at any of {tried} addresses; the last"
    return DatabaseUnavailable(f"{what}: {reason[0]}")
