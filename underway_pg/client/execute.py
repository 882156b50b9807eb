"""Statements of the SQL contract on psycopg connections of any kind, in whatever transaction these are."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from ..errors import ConfigurationError, UnsupportedConnection, translate_errors
from ..statements import Statement
from ..wire import return_bytes

__all__ = ["check_connection", "execute", "execute_async"]

T = TypeVar("T")


def check_connection(connection: object, *, is_async: bool | None = None) -> None:
    """Check that tasks can be enqueued on a connection, and that it is of the kind that is wanted.

    Raises UnsupportedConnection, a TypeError that lists what is supported, and ConfigurationError for a plain
    connection where an async one is needed, and the other way round, and for an encoding other than UTF-8.
    """
    if not isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        kind = type(connection)
        raise UnsupportedConnection(
            f"{kind.__module__}.{kind.__qualname__} is not a supported connection; give a psycopg.Connection or a"
            " psycopg.AsyncConnection (of psycopg 3)"
        )
    if is_async is not None and isinstance(connection, psycopg.AsyncConnection) is not is_async:
        if is_async:
            raise ConfigurationError(
                "the connection is a psycopg.Connection, the call is async: use enqueue, enqueue_many or schedule, or"
                " the same call of a Client"
            )
        raise ConfigurationError(
            "the connection is a psycopg.AsyncConnection, the call is not async: use enqueue_async, enqueue_many_async"
            " or schedule_async, or the same call of an AsyncClient"
        )
    if not connection.closed and connection.info.encoding != "utf-8":
        raise ConfigurationError(
            f"the connection's client_encoding is {connection.info.parameter_status('client_encoding')}, and texts are"
            " UTF-8 here: connect with client_encoding=UTF8; the database may have another encoding"
        )


def execute(connection: psycopg.Connection[Any], statement: Statement[T]) -> T:
    """Run one statement on somebody's connection, in whatever transaction that is in.

    The cursor is of our own kind, whatever cursors and rows the connection makes. The answer is binary: its times and
    intervals do not depend on the styles that the database or the session prefers. In pipeline mode the pipeline is
    synchronized.
    """
    check_connection(connection, is_async=False)
    with translate_errors():
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
        if statement.as_bytes:
            return_bytes(cursor)
        cursor.execute(statement.sql.encode(), statement.parameters, binary=True)
        return statement.read(cursor.fetchall())


async def execute_async(connection: psycopg.AsyncConnection[Any], statement: Statement[T]) -> T:
    """Run one statement on somebody's async connection, in whatever transaction that is in."""
    check_connection(connection, is_async=True)
    with translate_errors():
        cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
        if statement.as_bytes:
            return_bytes(cursor)
        await cursor.execute(statement.sql.encode(), statement.parameters, binary=True)
        return statement.read(await cursor.fetchall())
