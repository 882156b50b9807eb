"""Servers that are stopped the hard way and started again, and their standbys."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.py.support import wait_until
from underway_pg.embedded import EmbeddedPostgres, find_binaries


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory that the account of a server may pass through."""
    path = Path(tempfile.mkdtemp(prefix="underway-chaos-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class Cluster:
    """A PostgreSQL that keeps its data over its ends, with everything on disk as it should be."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.binaries = Path(os.environ.get("UNDERWAY_TEST_BIN") or find_binaries())
        self.data = directory
        self._settings = {"max_connections": "100", **(settings or {})}
        self._server = self._new_server()

    def _new_server(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            bin_directory=self.binaries, data_directory=self.data, port=self.port, settings=self._settings
        )

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@localhost:{self.port}/postgres"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does; the next start recovers."""
        with contextlib.suppress(FileNotFoundError):  # it is gone already
            os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self._server.stop()  # waits for its end

    def connect(self) -> psycopg.Connection[Any]:
        """A connection as soon as there is one."""

        def look() -> psycopg.Connection[Any] | None:
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(self.dsn, autocommit=True)
            return None

        connection = wait_until(look, "the server gives a connection", seconds=60.0)
        assert connection is not None
        return connection

    def set(self, **settings: str) -> None:
        """Change settings while it runs."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(f"alter system set {name} = '{value}'".encode())
            connection.execute("select pg_reload_conf()")

    @contextlib.contextmanager
    def standby(self, directory: Path, source_port: int) -> Iterator[Cluster]:
        """A standby that streams from a port at which this server answers."""
        self._back_up(directory)
        (directory / "standby.signal").touch()
        source = f"host=localhost port={source_port} user=postgres application_name=standby"
        with (directory / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{source}'\n")
        owner = self.data.stat()
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        standby = Cluster(directory)
        standby.start()
        try:
            yield standby
        finally:
            standby.kill()

    def _back_up(self, directory: Path) -> None:
        """Copy the data while the server runs. Not with pg_basebackup, which some packages of PostgreSQL lack."""
        with self.connect() as connection:
            old = connection.info.server_version < 150000
            start, stop = (
                ("pg_start_backup('standby', true, false)", "pg_stop_backup(false, false)")
                if old
                else ("pg_backup_start('standby', true)", "pg_backup_stop(false)")
            )
            connection.execute(f"select {start}".encode())
            shutil.copytree(self.data, directory, ignore=shutil.ignore_patterns("postmaster.*", "*.tmp", "*.stat"))
            row = connection.execute(f"select labelfile from {stop}".encode()).fetchone()
        assert row is not None
        (directory / "backup_label").write_text(row[0])
