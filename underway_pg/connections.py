"""How connections to the database are made: so that they notice when nobody is there, and work behind a pooler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

__all__ = ["Silent", "answer_within", "async_pool", "connect", "connect_async", "is_pooled", "pool", "sever"]

# Seconds, but for the last one, which is in milliseconds. The system would wait for minutes and hours.
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20000,
}

_AUTOCOMMIT = {"autocommit": True}
_WHO = "select pg_backend_pid()"


def _patient(dsn: str) -> str:
    """A dsn with what it does not say itself."""
    return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(dsn)})


def is_pooled(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a connection of this module leads to a pooler, such as PgBouncer, and not to the server itself."""
    return connection.prepare_threshold is None


# A pooler gives each transaction any session of the server, where a statement that was prepared in another one is
# missing, or is another statement of that name. It gives itself away: its number of the session is not the server's.


def _configure(connection: psycopg.Connection[Any]) -> None:
    try:
        if connection.execute(_WHO).fetchone() != (connection.info.backend_pid,):
            connection.prepare_threshold = None
    except BaseException:
        connection.close()
        raise


async def _configure_async(connection: psycopg.AsyncConnection[Any]) -> None:
    try:
        if await (await connection.execute(_WHO)).fetchone() != (connection.info.backend_pid,):
            connection.prepare_threshold = None
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


class Silent(psycopg.OperationalError):
    """The database has not answered in time; what became of the statement is not known."""


def sever(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Break a connection, so that whoever waits for an answer gets an error at once, whatever the network does."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def answer_within(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Raise Silent, and break the connection, when what runs here is not answered in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    timer = loop.call_at(end, sever, connection)
    try:
        yield
    except psycopg.OperationalError as error:
        if loop.time() >= end:
            raise Silent(f"no answer for {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def pool(dsn: str, *, most: int, name: str) -> ConnectionPool:
    """A pool of such connections, at most so many, not open yet."""
    return ConnectionPool(
        _patient(dsn), kwargs=_AUTOCOMMIT, configure=_configure, min_size=0, max_size=most, name=name, open=False
    )


def async_pool(
    dsn: str, *, most: int, name: str, least: int = 0, give_up_after: float = 300.0
) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    """A pool of such async connections, at most so many, not open yet.

    It tries to connect in pauses that double. After `give_up_after` seconds it begins anew with the next who asks.
    """
    return AsyncConnectionPool(
        _patient(dsn), kwargs=_AUTOCOMMIT, configure=_configure_async, min_size=least, max_size=most, name=name,
        reconnect_timeout=give_up_after, open=False,
    )  # fmt: skip
