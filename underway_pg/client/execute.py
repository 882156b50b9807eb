"""Statements of the SQL contract on connections of any kind, in whatever transaction these are."""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import translate_errors
from ..statements import Statement
from .borrowed import async_runner, runner

__all__ = ["execute", "execute_async"]

T = TypeVar("T")


def execute(connection: Any, statement: Statement[T]) -> T:
    """Run one statement on somebody's connection or session, in whatever transaction that is in.

    Raises UnsupportedConnection, a TypeError that lists what is supported, and ConfigurationError for a connection of
    async code.
    """
    run = runner(connection)
    with translate_errors():
        return statement.read(run(connection, statement))


async def execute_async(connection: Any, statement: Statement[T]) -> T:
    """Run one statement on somebody's connection or session of async code, in whatever transaction that is in."""
    run = async_runner(connection)
    with translate_errors():
        return statement.read(await run(connection, statement))
