"""Databases with the schema of Underway that one test after another is given.

Making a database and dropping it costs more than most tests do in it. So a database that a test has used is emptied
and given to the next. The next test must not be able to tell it from one that was just made, so after the tables and
sequences are reset, everything else is compared with what it was at first: the system catalogs, the statistics of the
planner, the settings of the database. A database with a difference is dropped.

A database has another name for each test. A client that an earlier test left behind therefore cannot come back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql

SECONDS = 10.0

# Beats what a test may have set for the database; triggers and foreign keys are not to act on the rows that come back.
OPTIONS = (
    "-c session_replication_role=replica -c default_transaction_read_only=off -c search_path=pg_catalog"
    " -c statement_timeout=30s -c lock_timeout=10s"
)

CATALOGS = """
    select relname
    from pg_class
    where relnamespace = 'pg_catalog'::regnamespace
      and relkind = 'r'
      and not relisshared
      and relname not in ('pg_class', 'pg_statistic')
    order by 1"""

# Whether rows of a catalog came, went or were written anew: their number, and the transactions that wrote them.
WRITERS = "select {name}, count(*), sum(c.xmin::text::bigint) from pg_catalog.{catalog} c"
# The content of a catalog, but for the rows that the server had before the schema: they have not changed as long as
# they are as many.
CONTENT = """
    select {name}, count(*), coalesce(sum(hashtextextended(c::text, 0)::numeric) filter (
        where c.xmin::text::bigint >= (select xmin::text::bigint from pg_namespace where nspname = 'underway')
    ), 0)
    from pg_catalog.{catalog} c"""
# TRUNCATE gives a table another file.
CLASSES = """
    select 'pg_class', count(*), coalesce(sum(hashtextextended(
        (to_jsonb(c) - '{relfilenode,relfrozenxid,relminmxid}'::text[])::text, 0
    )::numeric) filter (where c.oid >= 16384), 0)
    from pg_class c"""
# Autovacuum analyses the catalogs of any database, the template too: only the statistics of other tables count.
STATISTICS = "select 'pg_statistic', count(*), 0 from pg_statistic where starelid >= 16384"
# What is stored elsewhere about a database.
SHARED = """
    select 'pg_database', 1, hashtextextended(
        (to_jsonb(d) - '{oid,datname,datfrozenxid,datminmxid}'::text[])::text, 0
    )::numeric
    from pg_database d
    where d.datname = current_database()
    union all
    select 'pg_db_role_setting', count(*), 0
    from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())
    union all
    select 'pg_shdepend', count(*), sum(hashtextextended((to_jsonb(s) - 'dbid')::text, 0)::numeric)
    from pg_shdepend s where dbid = (select oid from pg_database where datname = current_database())
    union all
    select 'pg_shdescription', count(*), 0
    from pg_shdescription where objoid = (select oid from pg_database where datname = current_database())
    union all
    select 'pg_subscription', count(*), 0
    from pg_subscription where subdbid = (select oid from pg_database where datname = current_database())
    union all
    select 'pg_prepared_xacts', count(*), 0 from pg_prepared_xacts where database = current_database()
    union all
    select 'pg_replication_slots', count(*), 0 from pg_replication_slots where database = current_database()"""

TABLES = """
    select relname, (pg_relation_size(oid), relpages, reltuples, relallvisible)::text
    from pg_class
    where relnamespace = 'underway'::regnamespace and relkind = 'r'
    order by 1"""
# TRUNCATE leaves other estimates of an index than its creation.
ESTIMATES = "select oid::bigint, relpages, reltuples, relallvisible from pg_class where oid >= 16384"
RESTORE_ESTIMATES = """
    update pg_catalog.pg_class c
    set relpages = e.relpages, reltuples = e.reltuples, relallvisible = e.relallvisible
    from unnest(%s::oid[], %s::integer[], %s::real[], %s::integer[]) e (oid, relpages, reltuples, relallvisible)
    where c.oid = e.oid
      and (c.relpages, c.reltuples, c.relallvisible) <> (e.relpages, e.reltuples, e.relallvisible)"""
SEQUENCES = "select relname from pg_class where relnamespace = 'underway'::regnamespace and relkind = 'S' order by 1"
SEQUENCE = "select {}, last_value, is_called from underway.{}"
# A table is truncated together with those that refer to it.
REFERENCES = """
    select confrelid::regclass::text, conrelid::regclass::text
    from pg_constraint
    where contype = 'f' and connamespace = 'underway'::regnamespace"""
ROWS = "select coalesce(string_agg(t.ctid::text || t::text, '' order by t.ctid), '') from underway.{} t"
SESSIONS = "select pid from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"


class Databases:
    """The databases that are made from a template in a server, where `connect` gives a superuser's session.

    name: what their names begin with. make, drop: of a database by its name.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[..., psycopg.Connection[Any]],
        make: Callable[[str], None],
        drop: Callable[[str], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._make = make
        self._drop = drop
        self._number = 0
        self._free: list[str] = []
        self._first: _State | None = None
        self._operator = connect()

    @contextlib.contextmanager
    def one(self) -> Iterator[str]:
        """The name of a database that is as if it had just been made, while the block runs."""
        name = self._free.pop() if self._free else self._new()
        try:
            yield name
        finally:
            renamed = self._next_name()
            try:
                self._close(name, renamed)
                reusable = self._reset(renamed)
            except (psycopg.Error, TimeoutError):
                reusable = False
            if reusable:
                self._free.append(renamed)
            else:
                self._drop(name)
                self._drop(renamed)

    def close(self) -> None:
        self._operator.close()
        while self._free:
            self._drop(self._free.pop())

    def _next_name(self) -> str:
        self._number += 1
        return f"{self._name}_{self._number}"

    def _new(self) -> str:
        name = self._next_name()
        self._make(name)
        if self._first is None:
            with self._connect(dbname=name, options=OPTIONS) as connection:
                self._first = _State(connection)
            self._wait_for_sessions(name)
        return name

    def _close(self, name: str, renamed: str) -> None:
        """End all sessions, and let the database be found under another name only."""
        if not self._operator.execute("select from pg_database where datname = %s and datallowconn", [name]).rowcount:
            raise psycopg.OperationalError(f"{name} takes no connections any more")
        self._run("alter database {} with allow_connections false", name)
        self._operator.execute("select pg_terminate_backend(pid) from (" + SESSIONS + ") s", [name])
        self._wait_for_sessions(name)
        self._run("alter database {} rename to {}", name, renamed)
        self._run("alter database {} with allow_connections true", renamed)

    def _reset(self, name: str) -> bool:
        """Empty the database; False where it is then not as it was at first."""
        assert self._first is not None
        with self._connect(dbname=name, options=OPTIONS) as connection:
            self._first.restore(connection)
            same = not self._first.differences(connection)
        self._wait_for_sessions(name)
        return same

    def _run(self, statement: LiteralString, *names: str) -> None:
        self._operator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _wait_for_sessions(self, name: str) -> None:
        """Wait until nobody is connected to a database any more."""
        deadline = time.monotonic() + SECONDS
        while self._operator.execute(SESSIONS, [name]).rowcount:
            if time.monotonic() > deadline:
                raise TimeoutError(f"sessions of {name} do not end")
            time.sleep(0.002)


class _State:
    """What a database holds that was just made."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._names = [row[0] for row in connection.execute(CATALOGS)]
        sequences = [row[0] for row in connection.execute(SEQUENCES)]
        self._read_sequences = sql.SQL(" union all ").join(
            sql.SQL(SEQUENCE).format(sql.Literal(n), sql.Identifier(n)) for n in sequences
        )
        self._writers = _catalogs(connection, WRITERS, self._names)
        self._contents = _catalogs(connection, CONTENT, self._names)
        self._tables = dict(connection.execute(TABLES).fetchall())
        self._references = [[name.partition(".")[2] for name in pair] for pair in connection.execute(REFERENCES)]
        self._estimates = [list(column) for column in zip(*connection.execute(ESTIMATES), strict=True)]
        self._sequences = set(connection.execute(self._read_sequences))
        self._rows = {table: rows for table in self._tables if (rows := _rows(connection, table))}
        self._copies = {table: _copy_out(connection, table) for table in self._rows}
        self._others = self._read_others(connection)

    def restore(self, connection: psycopg.Connection[Any]) -> None:
        """Give tables and sequences back what they had; only the changed ones, which are few."""
        tables = dict(connection.execute(TABLES).fetchall())
        changed = {table for table, state in self._tables.items() if tables.get(table) != state}
        changed |= {table for table, rows in self._rows.items() if _rows(connection, table) != rows}
        changed |= {table for referred, table in self._references if referred in changed}
        if changed:
            names = sql.SQL(", ").join(sql.Identifier("underway", table) for table in sorted(changed))
            connection.execute(sql.SQL("truncate only {}").format(names))
        for table in changed & self._copies.keys():
            _copy_in(connection, table, self._copies[table])
        for sequence, value, is_called in self._sequences - set(connection.execute(self._read_sequences)):
            connection.execute("select setval(%s, %s, %s)", [f"underway.{sequence}", value, is_called])
        connection.execute(RESTORE_ESTIMATES, self._estimates)
        connection.execute("select pg_stat_reset()")

    def differences(self, connection: psycopg.Connection[Any]) -> set[str]:
        """The parts of a database that are not as they were."""
        written = _differing(self._writers, _catalogs(connection, WRITERS, self._names))
        contents = {name: self._contents[name] for name in written}
        return _differing(contents, _catalogs(connection, CONTENT, written)) | _differing(
            self._others, self._read_others(connection)
        )

    def _read_others(self, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        """What the catalogs of the database do not say."""
        return {
            **_by_name(connection.execute(CLASSES + " union all " + STATISTICS + " union all " + SHARED)),
            "tables": dict(connection.execute(TABLES).fetchall()),
            "sequences": set(connection.execute(self._read_sequences)),
            **{f"rows of {table}": _rows(connection, table) for table in self._rows},
        }


def _by_name(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    return {name: values for name, *values in rows}


def _differing(then: dict[str, Any], now: dict[str, Any]) -> set[str]:
    return {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}


def _catalogs(connection: psycopg.Connection[Any], query: LiteralString, names: Iterable[str]) -> dict[str, Any]:
    queries = [sql.SQL(query).format(name=sql.Literal(name), catalog=sql.Identifier(name)) for name in names]
    return _by_name(connection.execute(sql.SQL(" union all ").join(queries))) if queries else {}


def _rows(connection: psycopg.Connection[Any], table: str) -> Any:
    (rows,) = connection.execute(sql.SQL(ROWS).format(sql.Identifier(table))).fetchone() or ("",)
    return rows


def _copy_out(connection: psycopg.Connection[Any], table: str) -> bytes:
    statement = sql.SQL("copy {} to stdout (format binary)").format(sql.Identifier("underway", table))
    with connection.cursor().copy(statement) as copy:
        return b"".join(bytes(chunk) for chunk in copy)


def _copy_in(connection: psycopg.Connection[Any], table: str, rows: bytes) -> None:
    statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier("underway", table))
    with connection.cursor().copy(statement) as copy:
        copy.write(rows)
