"""The database that a command speaks to, for one question and its answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import psycopg

from .. import connections
from ..client import execute
from ..errors import ConfigurationError
from ..statements import Statement
from .errors import WrongUsage

__all__ = ["NO_DATABASE", "ask", "ask_with_time", "connect", "given"]

T = TypeVar("T")

NO_DATABASE = "no database is given: use --dsn postgresql://user@host/database, or set DATABASE_URL"


def given(dsn: str | None) -> str:
    """The database that is given. Raises WrongUsage where none is, and for a dsn that cannot be read."""
    if not dsn:
        raise WrongUsage(NO_DATABASE)
    try:
        return connections.read_dsn(dsn)
    except ConfigurationError as error:
        raise WrongUsage(str(error)) from None


def connect(dsn: str | None) -> psycopg.Connection[Any]:
    """A connection to the database that is given."""
    return connections.connect(given(dsn))


def ask(dsn: str | None, statement: Statement[T]) -> T:
    """The answer to one statement, over a connection of its own."""
    with connect(dsn) as connection:
        return execute(connection, statement)


def ask_with_time(dsn: str | None, statement: Statement[T]) -> tuple[T, datetime]:
    """The answer, and the time by the clock of the database, which its times are relative to."""
    with connect(dsn) as connection:
        answer = execute(connection, statement)
        now: datetime = connection.execute("select clock_timestamp()").fetchall()[0][0]
        return answer, now
