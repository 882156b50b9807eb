"""The database of a command, and queries over a connection of their own."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import psycopg

from .. import connections, statements
from ..client import execute
from ..errors import ConfigurationError
from ..statements import Statement
from .errors import WrongUsage

__all__ = [
    "NO_DATABASE",
    "change",
    "change_on",
    "connect",
    "database_time",
    "query",
    "record",
    "require_dsn",
    "with_time",
]

T = TypeVar("T")

NO_DATABASE = "no database: use --dsn postgresql://user@host/database, or set DATABASE_URL"


def require_dsn(dsn: str | None) -> str:
    """The dsn, else that of the environment. Raises WrongUsage if there is none, and if it cannot be read."""
    found = dsn or connections.dsn_of_environment()
    if found is None:
        raise WrongUsage(NO_DATABASE)
    try:
        return connections.read_dsn(found)
    except ConfigurationError as error:
        raise WrongUsage(str(error)) from None


@contextmanager
def connect(dsn: str | None) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the database, given up when the server answers nobody. Raises WrongUsage if there is no dsn."""
    with connections.connect(require_dsn(dsn)) as connection, connections.answer_while_alive(connection):
        yield connection


def query(dsn: str | None, statement: Statement[T]) -> T:
    """The result of one statement."""
    with connect(dsn) as connection:
        return execute(connection, statement)


def with_time(connection: psycopg.Connection[Any], statement: Statement[T]) -> tuple[T, datetime]:
    """The result of one statement, and the current time by the clock of the database."""
    return execute(connection, statement), database_time(connection)


def database_time(connection: psycopg.Connection[Any]) -> datetime:
    """The current time by the clock of the database."""
    now: datetime = connection.execute("select clock_timestamp()").fetchall()[0][0]
    return now


def change(dsn: str | None, statement: Statement[T], action: str, **details: Any) -> T:
    """The result of one statement that changes something, which is recorded in the same transaction."""
    with connect(dsn) as connection:
        return change_on(connection, statement, action, **details)


def change_on(connection: psycopg.Connection[Any], statement: Statement[T], action: str, **details: Any) -> T:
    """The same on a connection."""
    with connection.transaction():
        answer = execute(connection, statement)
        record(connection, action, details)
        return answer


def record(connection: psycopg.Connection[Any], action: str, details: Mapping[str, Any]) -> None:
    """Record in the audit table that the user of this machine does something."""
    try:
        actor = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        actor = connection.info.user
    execute(connection, statements.record_action(actor, "cli", action, dict(details)))
