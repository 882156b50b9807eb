"""The database of the dashboard: short read-only transactions for pages, and a transaction for each action."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb, set_json_loads

from .. import statements
from ..client import execute_async
from ..connections import AsyncPool, Dsn, answer_within
from ..errors import DatabaseUnavailable, translate_errors
from ..statements import Statement, load_json

__all__ = ["Database", "Queries", "Row"]

T = TypeVar("T")

# Milliseconds. A page that needs longer says so; it must not burden a database that has other work.
_READ_TIMEOUT = 5_000
_WRITE_TIMEOUT = 20_000

# Seconds for which the answer to "which functions may this role call?" is kept.
_PRIVILEGES_FOR = 30.0

# Seconds to wait for a free connection, or for a new one.
_CONNECT_TIMEOUT = 5.0


# Seconds. The transaction of a page or an action has several statements, each with its timeout.
_SILENT_AFTER = 30.0

# Seconds for which one of several databases that was not reached is not tried again: pages show the others meanwhile.
_AWAY_FOR = 10.0

# The most results that are kept for several viewers.
_CACHED = 500

Cache = dict[tuple[str, Hashable], tuple[float, list[Any]]]


class Row(SimpleNamespace):
    """A row of a result: its columns are attributes."""


def _row_factory(cursor: psycopg.AsyncCursor[Any]) -> Any:
    names = [column.name for column in cursor.description or ()]
    return lambda values: Row(**dict(zip(names, values, strict=True)))


class Queries:
    """Queries in one transaction."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], cache: Cache) -> None:
        self.connection = connection
        self._cache = cache

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of a query, each with its columns as attributes."""
        with translate_errors():
            async with self.connection.cursor(row_factory=_row_factory) as cursor:
                await cursor.execute(sql, parameters)
                return [] if cursor.description is None else await cursor.fetchall()

    async def cached_rows(self, seconds: float, key: Hashable, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows of a query, or those that it returned for this key at most so many seconds ago.

        For statistics, which several viewers read every few seconds. Do not change the rows.
        """
        now = time.monotonic()
        until, rows = self._cache.get((sql, key), (0.0, []))
        if now >= until:
            rows = await self.rows(sql, parameters)
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[sql, key] = (now + seconds, rows)
        return rows

    async def row(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first row of a query, or None."""
        return next(iter(await self.rows(sql, parameters)), None)

    async def value(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        found = await self.row(sql, parameters)
        return None if found is None else next(iter(vars(found).values()))

    async def run(self, statement: Statement[T]) -> T:
        """The result of a statement of the contract."""
        return await execute_async(self.connection, statement)

    async def record(self, actor: str, action: str, details: Mapping[str, Any]) -> None:
        """Record an action in the audit table, in this transaction."""
        await self.rows(
            "select underway.record_action(%(actor)s, 'dashboard', %(action)s, %(details)s)",
            {"actor": actor, "action": action, "details": Jsonb(dict(details))},
        )


class Database:
    """At most `max_size` connections to the database, made when they are needed."""

    def __init__(self, dsn: Dsn, name: str = "", *, max_size: int = 8) -> None:
        self.dsn = dsn
        self.name = name
        self._pool = AsyncPool(dsn, max_size=max_size, application_name="underway dashboard")
        self._cache: Cache = {}
        self._privileges: frozenset[str] = frozenset()
        self._privileges_until = 0.0
        self._away_until = 0.0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Queries]:
        """A read-only transaction whose statements are cancelled after five seconds."""
        async with self._transaction(f"set transaction read only; set local statement_timeout = {_READ_TIMEOUT}") as db:
            yield db

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Queries]:
        """A transaction for one action."""
        async with self._transaction(f"set local statement_timeout = {_WRITE_TIMEOUT}") as db:
            yield db

    @asynccontextmanager
    async def _transaction(self, setup: str) -> AsyncIterator[Queries]:
        if time.monotonic() < self._away_until:
            raise DatabaseUnavailable(f"the database was not reached less than {_AWAY_FOR:g} s ago")
        try:
            async with self._pool.connection(_CONNECT_TIMEOUT) as connection:
                with answer_within(_SILENT_AFTER, connection):
                    set_json_loads(_load, connection)
                    async with connection.transaction():
                        await connection.execute(setup)
                        yield Queries(connection, self._cache)
        except DatabaseUnavailable:
            if self.name:
                self._away_until = time.monotonic() + _AWAY_FOR
            raise

    async def privileges(self) -> frozenset[str]:
        """The names of the functions of schema underway that this role may call."""
        if time.monotonic() >= self._privileges_until:
            async with self.reading() as db:
                found = await db.rows(
                    """select distinct p.proname::text as name from pg_catalog.pg_proc p
                    where p.pronamespace = to_regnamespace('underway')
                      and has_schema_privilege(p.pronamespace, 'usage') and has_function_privilege(p.oid, 'execute')"""
                )
            self._privileges = frozenset(row.name for row in found)
            self._privileges_until = time.monotonic() + _PRIVILEGES_FOR
        return self._privileges

    async def number(self) -> int:
        """Its number among several, which is in the high bits of its ids."""
        async with self.reading() as db:
            return await db.run(statements.shard())

    def close(self) -> None:
        """Close the idle connections, and the others when they are returned."""
        self._pool.drain()


def _load(data: bytes | str) -> Any:
    """JSON of a column; the text itself where Python cannot parse it."""
    return load_json(data.decode() if isinstance(data, bytes) else data)
