"""The schema `underway_test`, which a database for tests has and no other: it stops the clock and deletes tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg

from .. import connections, schema
from ..client import execute, execute_async
from ..connections import Dsn
from ..errors import ConfigurationError, SchemaMissing
from ..statements import Statement

__all__ = ["call", "install", "only_for_tests", "truncate", "truncate_async", "uninstall"]


def install(dsn: Dsn) -> None:
    """Mark a database as one for tests: create the schema `underway_test` in it, or replace it.

    Raises ConfigurationError when a schema of this name belongs to something else.
    """
    with connections.connect(dsn, application_name="underway migrate") as connection:
        try:
            with connection.transaction():
                connection.execute(schema.testing_script().encode())
        except psycopg.errors.RaiseException as error:
            raise ConfigurationError(f"{error.diag.message_primary}; {error.diag.message_hint}") from None


def uninstall(dsn: Dsn) -> bool:
    """Start the clock, and remove the schema `underway_test`. Returns whether there was one."""
    with connections.connect(dsn, application_name="underway migrate") as connection:
        found = connection.execute("select to_regprocedure('underway_test.uninstall()')").fetchone() != (None,)
        if found:
            connection.execute("select underway_test.uninstall()")
        return found


def call(expression: str, **parameters: datetime | timedelta | None) -> Statement[Any]:
    """The value of an expression with functions of the schema `underway_test`."""
    return Statement(f"select {expression}", parameters, lambda rows: rows[0][0])


@contextmanager
def only_for_tests() -> Iterator[None]:
    """Raise ConfigurationError if the calls in the block find no schema `underway_test`."""
    try:
        yield
    except SchemaMissing as error:
        if "underway_test" not in str(error):
            raise
        raise ConfigurationError(
            "this database is not marked as one for tests, because it has no schema underway_test. If its tasks may be"
            " deleted and its clock may be stopped, run: underway migrate --testing"
        ) from None


def truncate(connection: Any) -> None:
    """Delete all tasks, batches and workers of a database for tests, and start its clock.

    Queues, jobs, schedules and settings stay. It is part of the transaction of the connection, which may be of any
    supported kind. Raises ConfigurationError for a database that is not marked as one for tests.
    """
    with only_for_tests():
        execute(connection, call("underway_test.clear()::text"))


async def truncate_async(connection: Any) -> None:
    """Delete all tasks, batches and workers of a database for tests, as `truncate` does, on an async connection."""
    with only_for_tests():
        await execute_async(connection, call("underway_test.clear()::text"))
