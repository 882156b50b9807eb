"""The PostgreSQL server of a run, and the machine that it runs on."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from underway_pg.embedded import EmbeddedPostgres, find_binaries


class Failure(RuntimeError):
    """A system did not do what was requested."""


class Server:
    """A PostgreSQL server for the run, which creates and drops databases in it. `uri` is that of a superuser."""

    def __init__(self, uri: str, binaries: Path | None = None) -> None:
        self._uri = uri
        self._pgbench = binaries / "pgbench" if binaries else Path("pgbench")
        self.admin = psycopg.connect(uri, autocommit=True)
        self._templates: set[str] = set()
        self._created: set[str] = set()

    def uri(self, database: str) -> str:
        return urlunsplit(urlsplit(self._uri)._replace(path=f"/{database}"))

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.uri(database), autocommit=True)

    def create(self, database: str, template: str = "template1") -> None:
        self.drop(database)
        self._created.add(database)
        create = sql.SQL("create database {} template {}")
        self.admin.execute(create.format(sql.Identifier(database), sql.Identifier(template)))

    def drop(self, database: str) -> None:
        self.admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database)))

    def close(self) -> None:
        """Drop the databases of the run, and disconnect."""
        for database in self._created:
            self.drop(database)
        self.admin.close()

    def value(self, statement: str, *parameters: Any) -> Any:
        row = self.admin.execute(statement.encode(), parameters or None).fetchone()
        assert row is not None
        return row[0]

    def written(self) -> int:
        """Return the current position in the WAL, in bytes."""
        return int(self.value("select pg_current_wal_insert_lsn() - '0/0'"))

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used so far, including its processes that have ended."""
        postmaster = int(self.value("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
        if not (PROC / str(postmaster) / "stat").exists():
            raise Failure("the server's CPU time can be read only on the machine that it runs on, under Linux")
        stats = [_stat(path) for path in PROC.glob("[0-9]*/stat")]
        own = [stat for stat in stats if stat and (stat.pid == postmaster or stat.parent == postmaster)]
        return sum(stat.seconds for stat in own)

    def pgbench(
        self,
        database: str,
        statement: str,
        clients: int,
        *,
        seconds: float | None = None,
        transactions: int | None = None,
        synchronous_commit: str = "on",
    ) -> float:
        """Return the transactions a second of a prepared statement, for a time or for a number of transactions."""
        if transactions is None:
            # pgbench takes whole seconds only.
            assert seconds is not None
            transactions = int(self.pgbench(database, statement, clients, transactions=200) * seconds / clients)
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(statement.replace("\n", " "))
            script.flush()
            command = [str(self._pgbench), "-n", "-M", "prepared", "-c", str(clients), "-t", str(transactions)]
            ran = subprocess.run(
                [*command, "-f", script.name, self.uri(database)],
                env={**os.environ, "PGOPTIONS": f"-c synchronous_commit={synchronous_commit}"},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        rate = re.search(r"^tps = ([\d.]+)", ran.stdout, re.MULTILINE)
        if ran.returncode != 0 or rate is None:
            raise Failure(f"pgbench: {ran.stderr.strip()[-300:]}")
        return float(rate[1])

    def settings(self) -> dict[str, str]:
        return {name: self.value("select current_setting(%s)", name) for name in SHOWN}

    @property
    def counts_statements(self) -> bool:
        return "pg_stat_statements" in self.value("show shared_preload_libraries")


PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    pid: int
    parent: int
    seconds: float  # of CPU, with its children that have ended


def _stat(path: Path) -> ProcessStat | None:
    """Read the file `stat` of a process, unless it has ended."""
    try:
        pid, _, rest = path.read_text().partition(" ")
    except OSError:
        return None
    fields = rest.rpartition(")")[2].split()
    return ProcessStat(int(pid), int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))


def process_cpu_seconds(pid: int) -> float:
    stat = _stat(PROC / str(pid) / "stat")
    return stat.seconds if stat else 0.0


# Durability is not relaxed: the first three are the defaults, listed so that the report shows them. The others make
# room for the workers of a row, and keep checkpoints out of short measurements.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "1000",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}
SHOWN = [*SETTINGS, "jit", "shared_buffers", "shared_preload_libraries"]


@contextlib.contextmanager
def own_server(binaries: Path | None) -> Iterator[Server]:
    """Start a server with a temporary cluster. Clients connect over TCP, as to most databases."""
    binaries = binaries or find_binaries()
    settings = {**SETTINGS, "shared_buffers": f"{min(2048, _memory() // 4 // 2**20)}MB"}
    if any(binaries.parent.rglob("pg_stat_statements.*")):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    port = _free_port()
    with EmbeddedPostgres(bin_directory=binaries, port=port, settings=settings):
        server = Server(f"postgresql://postgres@127.0.0.1:{port}/postgres", binaries)
        try:
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def given_server(uri: str) -> Iterator[Server]:
    """Use a running server, by the URI of a superuser."""
    server = Server(uri)
    try:
        yield server
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def machine() -> dict[str, str]:
    """Return the properties of the machine that the figures depend on, without its name."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores",
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }
