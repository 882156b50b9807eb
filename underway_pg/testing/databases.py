"""Databases that are made for tests from a template, in a server that is there or is started for them."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .. import connections, schema
from ..embedded import EmbeddedPostgres
from ..errors import ConfigurationError
from .schema import install

__all__ = ["Databases", "TemplateDatabases", "server", "template_databases"]

# Databases come and go, and nothing in them has to survive a power cut.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
IMAGE = "postgres:18"


@contextmanager
def server(source: str) -> Iterator[str]:
    """The dsn of a server: "embedded" and "testcontainers" start one and stop it at the end; else a dsn itself."""
    if source == "embedded":
        with EmbeddedPostgres(settings=SETTINGS) as embedded:
            yield embedded.dsn
    elif source == "testcontainers":
        try:
            from testcontainers.postgres import PostgresContainer
        except ImportError as error:
            raise ConfigurationError("the package testcontainers is missing: pip install testcontainers") from error
        with PostgresContainer(IMAGE, driver=None) as container:
            yield container.get_connection_url()
    else:
        yield connections.read_dsn(source)


class Databases:
    """Makes and drops databases of one server, over one connection. `prefix` begins their names."""

    def __init__(self, dsn: str, prefix: str) -> None:
        self._dsn = dsn
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        """Close the connection; the next call makes another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def new(self, template: str = "template1", name: str | None = None) -> Iterator[str]:
        """A new database, which is dropped at the end together with the sessions in it. Yields its name."""
        name = f"{self._prefix}_{name or next(self._numbers)}"
        try:
            self.make(name, template)
        except psycopg.errors.DuplicateDatabase:  # it is left from a run that was killed
            self.drop(name)
            self.make(name, template)
        try:
            yield name
        finally:
            self.drop(name)

    def dsn_of(self, name: str) -> str:
        """The dsn of a database of this server; a URI if that of the server is one."""
        if "://" in self._dsn:
            return urlsplit(self._dsn)._replace(path=f"/{name}").geturl()
        return make_conninfo(self._dsn, dbname=name)

    def make(self, name: str, template: str) -> None:
        """Make a database."""
        with self._connect() as connection:
            # Copying files is several times as fast as writing them to the log, but syncs all data of the server twice.
            fast = connection.info.server_version >= 150000 and connection.execute("show fsync").fetchone() == ("off",)
            connection.execute(
                sql.SQL("create database {} template {}{}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.SQL(" strategy file_copy" if fast else "")
                )
            )

    def drop(self, name: str) -> None:
        """Drop a database if it exists, and end the sessions in it."""
        with self._connect() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection, for one thread at a time; a new one where a test has ended it."""
        with self._lock:
            if self._connection is None or not _is_alive(self._connection):
                self._connection = psycopg.connect(self._dsn, autocommit=True)
            yield self._connection


def _is_alive(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("")
    except psycopg.OperationalError:
        connection.close()
        return False
    return not connection.closed


class TemplateDatabases:
    """Makes databases for tests, all from one template. `template_databases` makes it."""

    def __init__(self, databases: Databases, template: str) -> None:
        self._databases = databases
        self._template = template

    @contextmanager
    def new(self) -> Iterator[str]:
        """A database for one test, with the schema of the queue and no task; dropped at the end. Yields its dsn."""
        with self._databases.new(self._template) as name:
            yield self._databases.dsn_of(name)


@contextmanager
def template_databases(
    source: str = "embedded", *, prepare: Callable[[str], object] | None = None
) -> Iterator[TemplateDatabases]:
    """Make databases for tests from a template, which is made once.

    `source` is "embedded", "testcontainers" or the dsn of a server whose role may create databases. `prepare` is called
    with the dsn of the template, to create the tables of the application; the schema of the queue is installed after
    it, unless it did that itself. Everything is removed at the end.
    """
    with (
        server(source) as dsn,
        closing(Databases(dsn, f"underway_test_{os.getpid()}")) as databases,
        databases.new(name="template") as template,
    ):
        dsn_of_template = databases.dsn_of(template)
        if prepare is not None:
            prepare(dsn_of_template)
        schema.migrate(dsn_of_template)
        install(dsn_of_template)
        yield TemplateDatabases(databases, template)
