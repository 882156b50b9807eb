"""Connections and sessions of other libraries, in whose transactions tasks are enqueued.

Types are found by the names of their classes, so no library is imported that the caller does not use. A statement goes
through the library that the caller uses, not past it to the driver: its transaction has begun then, its events and its
log show the statement, and it knows of the errors.

Statements give only types that all drivers read alike: numbers, texts, booleans, times, intervals, and arrays of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import tuple_row

from ..errors import ConfigurationError, UnsupportedConnection
from ..statements import Row, Statement, short
from ..wire import return_bytes

__all__ = ["async_runner", "check_connection", "runner"]

T = TypeVar("T")

Run = Callable[[Any, Statement[Any]], list[Row]]
AsyncRun = Callable[[Any, Statement[Any]], Awaitable[list[Row]]]


@dataclass(frozen=True)
class Kind:
    """What runs statements on a kind of connection: in plain calls, in async calls, or in both."""

    run: Run | None = None
    run_async: AsyncRun | None = None


# psycopg. The cursor is of our own kind, whatever cursors and rows the connection makes. The answer is binary: times
# and intervals do not depend on the styles that the database or the session prefers. A pipeline is synchronized.


def _check_encoding(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    if not connection.closed and connection.info.encoding != "utf-8":
        raise ConfigurationError(
            f"the connection's client_encoding is {connection.info.parameter_status('client_encoding')}, and texts are"
            " UTF-8 here: connect with client_encoding=UTF8; the database may have another encoding"
        )


def _psycopg(connection: psycopg.Connection[Any], statement: Statement[Any]) -> list[Row]:
    _check_encoding(connection)
    cursor = psycopg.Cursor(connection, row_factory=tuple_row)
    if statement.as_bytes:
        return_bytes(cursor)
    return cursor.execute(statement.sql.encode(), statement.parameters, binary=True).fetchall()


async def _psycopg_async(connection: psycopg.AsyncConnection[Any], statement: Statement[Any]) -> list[Row]:
    _check_encoding(connection)
    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
    if statement.as_bytes:
        return_bytes(cursor)
    await cursor.execute(statement.sql.encode(), statement.parameters, binary=True)
    return await cursor.fetchall()


def _psycopg2(connection: Any, statement: Statement[Any]) -> list[Row]:
    from psycopg2.extensions import cursor as plain_cursor  # type: ignore[import-untyped]

    with connection.cursor(cursor_factory=plain_cursor) as cursor:
        cursor.execute(statement.sql, statement.parameters)
        rows: list[Row] = cursor.fetchall()
        return rows


# asyncpg has numbered placeholders and wants values of the types that the server infers, converted by codecs that the
# caller may have replaced. So each value is a text, which the server converts.


async def _asyncpg(connection: Any, statement: Statement[Any]) -> list[Row]:
    sql, texts = _numbered(statement)
    return [tuple(row) for row in await connection.fetch(sql, *texts)]


def _numbered(statement: Statement[Any]) -> tuple[str, tuple[str, ...]]:
    """A statement with numbered placeholders, and the texts for them."""
    texts: list[str] = []

    def number(placeholder: re.Match[str]) -> str:
        value = statement.parameters[placeholder[1]]
        if value is None:
            return "null"  # of the type that is expected there; as a parameter it would be a text
        text, cast = _as_text(value)
        texts.append(text)
        return f"${len(texts)}::text{cast}"

    return re.sub(r"%\((\w+)\)s", number, statement.sql), tuple(texts)


def _as_text(value: Any) -> tuple[str, str]:
    """A parameter as text, and the cast that gives it its type back. An array is cast by its statement."""
    match value:
        case str():
            return value, ""
        case bool():
            return str(value), "::boolean"
        case int():
            return str(int(value)), "::integer" if -(2**31) <= value < 2**31 else "::bigint"
        case timedelta():
            return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds", "::interval"
        case datetime():
            return value.isoformat(), "::timestamptz"
        case list():
            return "{" + ",".join(map(str, value)) + "}", ""
    raise TypeError(f"no text is known for the parameter {short(value)}")


# SQLAlchemy. Its connection begins the transaction that it or its session will commit. asyncpg would not begin one for
# a statement that goes past SQLAlchemy.


# A connection that streams results would use a cursor of the server, which needs a transaction.
_WHOLE = {"stream_results": False, "yield_per": None}


def _sqlalchemy(connection: Any, statement: Statement[Any]) -> list[Row]:
    sql, parameters = statement.sql, statement.parameters
    if connection.dialect.driver == "asyncpg":
        sql, parameters = _numbered(statement)  # type: ignore[assignment]
    elif connection.dialect.driver not in ("psycopg", "psycopg2"):
        raise UnsupportedConnection(
            f"the connection of SQLAlchemy is one of {connection.dialect.name} with the driver"
            f" {connection.dialect.driver}; {_SUPPORTED}"
        )
    result = connection.exec_driver_sql(sql, parameters, execution_options=_WHOLE)
    return [tuple(row) for row in result]


def _sqlalchemy_session(session: Any, statement: Statement[Any]) -> list[Row]:
    from sqlalchemy.exc import UnboundExecutionError

    try:
        connection = session.connection()
    except UnboundExecutionError as error:
        raise ConfigurationError(
            "the session has several engines, or none, and cannot choose one for tasks: give its connection to the"
            " database that has the queue, such as session.connection(bind_arguments={'mapper': Order})"
        ) from error
    return _sqlalchemy(connection, statement)


async def _sqlalchemy_async(connection: Any, statement: Statement[Any]) -> list[Row]:
    rows: list[Row] = await connection.run_sync(_sqlalchemy, statement)
    return rows


async def _sqlalchemy_async_session(session: Any, statement: Statement[Any]) -> list[Row]:
    rows: list[Row] = await session.run_sync(_sqlalchemy_session, statement)
    return rows


# Django. A connection belongs to one thread: async code uses that of its alias in Django's own thread for plain code.


def _django(given: Any, statement: Statement[Any]) -> list[Row]:
    from django.db import connections, transaction

    connection = connections[given] if isinstance(given, str) else given
    if connection.vendor != "postgresql":
        raise UnsupportedConnection(
            f"the database {connection.alias!r} of Django is one of {connection.display_name}; {_SUPPORTED}"
        )
    # An error that is caught within atomic() has to be known to it, as one of the ORM is.
    with transaction.mark_for_rollback_on_error(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.parameters)
        rows: list[Row] = cursor.fetchall()
    if connection.timezone is not None:
        return rows
    # With USE_TZ = False times have no zone, and are those of TIME_ZONE.
    zone = ZoneInfo(connection.timezone_name)
    return [
        tuple(value.replace(tzinfo=zone) if isinstance(value, datetime) else value for value in row) for row in rows
    ]


async def _django_async(given: Any, statement: Statement[Any]) -> list[Row]:
    from asgiref.sync import sync_to_async

    alias = given if isinstance(given, str) else _django_alias(given)
    return await sync_to_async(partial(_django, alias), thread_sensitive=True)(statement)


def _django_alias(connection: Any) -> str:
    # django.db.connection is a proxy for the connection of the thread; to ask that would make one in this thread.
    alias: str = vars(connection).get("_alias") or connection.alias
    return alias


def _is_django_alias(name: str) -> bool:
    database = sys.modules.get("django.db")
    return database is not None and name in database.connections


_SUPPORTED = (
    "supported are connections of psycopg, psycopg2 and asyncpg, sessions and connections of SQLAlchemy and SQLModel"
    " over these drivers, and Django's connections or their aliases"
)

_SESSION = Kind(run=_sqlalchemy_session)
_DJANGO = Kind(run=_django, run_async=_django_async)

# By the package and the name of a class, or of one that it is derived from.
_KINDS = {
    ("psycopg", "Connection"): Kind(run=_psycopg),
    ("psycopg", "AsyncConnection"): Kind(run_async=_psycopg_async),
    ("psycopg2", "connection"): Kind(run=_psycopg2),
    ("asyncpg", "Connection"): Kind(run_async=_asyncpg),
    ("asyncpg", "PoolConnectionProxy"): Kind(run_async=_asyncpg),
    ("sqlalchemy", "Connection"): Kind(run=_sqlalchemy),
    ("sqlalchemy", "AsyncConnection"): Kind(run_async=_sqlalchemy_async),
    ("sqlalchemy", "Session"): _SESSION,
    ("sqlalchemy", "scoped_session"): _SESSION,
    ("sqlalchemy", "AsyncSession"): Kind(run_async=_sqlalchemy_async_session),
    ("sqlalchemy", "async_scoped_session"): Kind(
        run_async=lambda scoped, statement: _sqlalchemy_async_session(scoped(), statement)
    ),
    ("django", "BaseDatabaseWrapper"): _DJANGO,
    ("django", "ConnectionProxy"): _DJANGO,
}

# What connections are made by, and what to give instead.
_MAKERS = {
    ("sqlalchemy", "Engine"): "a session or a connection, not the engine",
    ("sqlalchemy", "AsyncEngine"): "a session or a connection, not the engine",
    ("sqlalchemy", "sessionmaker"): "a session that it makes, not the sessionmaker",
    ("sqlalchemy", "async_sessionmaker"): "a session that it makes, not the sessionmaker",
    ("psycopg_pool", "BasePool"): "a connection of the pool, not the pool",
    ("asyncpg", "Pool"): "a connection of the pool, not the pool",
    ("psycopg2", "AbstractConnectionPool"): "a connection of the pool, not the pool",
    ("django", "ConnectionHandler"): "one of the connections, such as connections['default']",
}


def _entry(table: dict[tuple[str, str], T], kind: type) -> T | None:
    keys = ((each.__module__.partition(".")[0], each.__qualname__) for each in kind.__mro__)
    return next((table[key] for key in keys if key in table), None)


@lru_cache(maxsize=256)
def _kind_of_class(kind: type) -> Kind | None:
    return _entry(_KINDS, kind)


def check_connection(connection: Any) -> Kind:
    """Find out how statements run on a connection. Raises UnsupportedConnection, a TypeError, where they cannot."""
    found = _kind_of_class(connection.__class__)  # also where a proxy stands in for the connection
    if found is not None:
        return found
    if isinstance(connection, str):
        if _is_django_alias(connection):
            return _DJANGO
        raise UnsupportedConnection(f"{short(connection)} is no database alias of Django; {_SUPPORTED}")
    instead = _entry(_MAKERS, type(connection))
    hint = "" if instead is None else f": give {instead}, because the tasks become part of its transaction"
    raise UnsupportedConnection(f"{_name(connection)} is not a supported connection{hint}; {_SUPPORTED}")


def runner(connection: Any) -> Run:
    """What runs statements on a connection in plain calls. Raises ConfigurationError for one of async code."""
    run = check_connection(connection).run
    if run is None:
        raise ConfigurationError(
            f"{_name(connection)} is a connection of async code, the call is not async: use enqueue_async,"
            " enqueue_many_async or schedule_async, or the same call of an AsyncClient"
        )
    return run


def async_runner(connection: Any) -> AsyncRun:
    """What runs statements on a connection in async calls. Raises ConfigurationError for one of plain code."""
    run = check_connection(connection).run_async
    if run is None:
        raise ConfigurationError(
            f"{_name(connection)} is a connection of plain code, the call is async: use enqueue, enqueue_many or"
            " schedule, or the same call of a Client"
        )
    return run


def _name(connection: Any) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"
