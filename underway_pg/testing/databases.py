"""Databases that are made for tests from a template, in a server that is there or is started for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .. import connections
from ..embedded import EmbeddedPostgres
from ..errors import ConfigurationError

__all__ = ["Databases", "server"]

# Nothing here has to survive a power cut.
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
    """Makes and drops databases of one server. `prefix` begins their names, so that each process has its own."""

    def __init__(self, dsn: str, prefix: str) -> None:
        self._dsn = dsn
        self._prefix = prefix
        self._numbers = itertools.count(1)

    @contextmanager
    def new(self, template: str = "template1", name: str | None = None) -> Iterator[str]:
        """A new database, which is dropped at the end together with the sessions in it. Yields its name."""
        name = f"{self._prefix}_{name or next(self._numbers)}"
        self.drop(name)  # one may be left from a run that was killed
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
        self._run(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))

    def drop(self, name: str) -> None:
        """Drop a database if it exists, whoever is connected to it."""
        self._run(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement)
