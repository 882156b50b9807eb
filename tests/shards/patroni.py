"""Three PostgreSQL servers under Patroni, with one etcd: plain processes on loopback, ended by their pids."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml

from tests.chaos.cluster import directory, free_port
from tests.chaos.pgbouncer import PgBouncer
from tests.chaos.proxy import Proxy
from tests.debian import ROOT, CannotRun, program
from tests.py.support import wait_until
from underway_pg import embedded

# Seconds. The smallest ttl that Patroni takes, and the shortest times between two looks at the leader's key.
TTL = 20
LOOP_WAIT = 2
RETRY_TIMEOUT = 5

# Who may connect.
HERE = "127.0.0.1/32"

_NEEDED = ("pg_basebackup", "pg_rewind", "pg_controldata", "pg_isready", "pg_ctl")

# Called by Patroni with the port of its server, its event, its role and the name of the cluster.
_ROUTE = """\
#!/bin/sh
case $3 in
    primary | master)
        sed "s/^\\(postgres = .* port=\\).*/\\1$1/" {settings} > {settings}.$1 && mv {settings}.$1 {settings}
        kill -HUP {process} ;;
esac
"""


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(path.parent.name))
    return found


@dataclass
class Node:
    """A server with its Patroni."""

    name: str
    port: int
    rest_port: int
    data: Path
    patroni: int = 0
    reachable: bool = True
    replication: Proxy | None = None

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def server(self) -> list[int]:
        """The processes of the server: none if it does not run."""
        with contextlib.suppress(OSError, IndexError):
            postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
            return [postmaster, *children(postmaster)]
        return []

    def send(self, what: signal.Signals, *, patroni: bool) -> None:
        """Send a signal to all processes of the server, and to Patroni before them."""
        self.reachable = what == signal.SIGCONT
        for process in [self.patroni] * patroni + self.server():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, what)

    def is_writable(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn, connect_timeout=2) as connection:
            return connection.execute("select not pg_is_in_recovery()").fetchall()[0][0]
        return False

    def rest(self, path: str, **body: Any) -> str:
        """The answer of Patroni's REST interface; POST with a body."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest_port}/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()


@dataclass
class Patroni:
    """A running cluster. `connect` and `dsn` are what the rest of the chaos tests expect of one."""

    nodes: list[Node]
    synchronous: bool
    logs: Path
    ends: list[str] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        hosts, ports = ",".join(["127.0.0.1"] * len(self.nodes)), ",".join(str(node.port) for node in self.nodes)
        return f"host={hosts} port={ports} user=postgres dbname=postgres target_session_attrs=read-write"

    def primary(self) -> Node:
        """The node that takes writes, as soon as there is one, among those that can be reached."""

        def look() -> Node | None:
            return next((node for node in self.nodes if node.reachable and node.is_writable()), None)

        found = wait_until(look, "a server takes writes", seconds=90.0)
        assert found is not None
        return found

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the primary, as soon as there is one."""
        return psycopg.connect(self.primary().dsn, autocommit=True)

    def wait_for_standbys(self) -> None:
        """Wait until all other servers stream, and one of them synchronously where it has to."""
        states = "select state, sync_state from pg_stat_replication"
        with self.connect() as connection:

            def look() -> bool:
                found = connection.execute(states).fetchall()
                synced = not self.synchronous or any(sync in ("sync", "quorum") for _, sync in found)
                return synced and [state for state, _ in found] == ["streaming"] * (len(self.nodes) - 1)

            wait_until(look, "the standbys follow", seconds=90.0)


@contextlib.contextmanager
def patroni(
    *, synchronous: bool, lagging: bool = False, pooler: PgBouncer | None = None, port: int | None = None
) -> Iterator[Patroni]:
    """A cluster. `lagging`: the standbys follow through proxies, which can fall silent. A `pooler` follows the primary.

    Raises CannotRun if a program is missing.
    """
    account = embedded._server_account()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(directory())
        python = _interpreter(account)
        binaries = _binaries(path, account)
        modules = _modules(python, path, account)
        etcd = stack.enter_context(_etcd(path))
        route = None if pooler is None else _route(path, pooler)
        nodes = []
        for number, name in enumerate("abc"):
            data = path / name
            data.mkdir(0o700)
            if account:
                os.chown(data, account.pw_uid, account.pw_gid)
            node = Node(name, (port if number == 0 else None) or free_port(), free_port(), data / "data")
            if lagging:
                node.replication = stack.enter_context(Proxy(f"postgresql://postgres@127.0.0.1:{node.port}/postgres"))
            nodes.append(node)
            settings = path / f"{name}.yml"
            settings.write_text(yaml.safe_dump(_settings(node, etcd, binaries, path, synchronous, route)))
            stack.callback(_end, node)
            command = ["/usr/bin/env", f"PYTHONPATH={modules}", str(python), "-m", "patroni", str(settings)]
            node.patroni = _start(command, account, path / f"{name}.log")
            if number == 0:
                wait_until(node.is_writable, "the first server takes writes", seconds=90.0)
        cluster = Patroni(nodes, synchronous, path)
        cluster.wait_for_standbys()
        yield cluster


def _start(command: list[str], account: pwd.struct_passwd | None, log: Path) -> int:
    """Start a program that ends when this process does."""
    lock = os.open(os.devnull, os.O_RDONLY)
    try:
        return embedded._spawn(command, account, log, lock).pid
    finally:
        os.close(lock)


def _end(node: Node) -> None:
    """End Patroni first, which would start the server again, and then all that it has started for the data."""
    wait_until(lambda: _killed([node.patroni]), f"Patroni of node {node.name} has ended")
    wait_until(lambda: _killed(_started_with(node.data)), f"node {node.name} has ended")


def _started_with(data: Path) -> list[int]:
    """The processes whose command names a data directory, such as a server that is only just starting, with children.

    A server outlives its Patroni, and would delete files of a directory that is being removed.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if os.fsencode(data) in path.read_bytes():
                found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def _killed(processes: list[int]) -> bool:
    """Kill those that run; gives whether none did."""
    running = [process for process in processes if _runs(process)]
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return not running


def _runs(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@contextlib.contextmanager
def _etcd(path: Path) -> Iterator[int]:
    """Etcd; yields its port."""
    found = program("etcd", "etcd-server")
    port, peers, data = free_port(), free_port(), path / "etcd-data"
    data.mkdir(0o700)
    url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    command = [
        str(found), "--data-dir", str(data), "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
    ]  # fmt: skip
    process = _start(command, None, path / "etcd.log")
    try:
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _route(path: Path, pooler: PgBouncer) -> str:
    """The command by which Patroni leads the pooler to a server."""
    script = path / "route"
    script.write_text(_ROUTE.format(settings=pooler.settings, process=pooler.process))
    return f"/bin/sh {script}"


def _interpreter(account: pwd.struct_passwd | None) -> Path:
    """A Python that the account of the servers may run."""
    for python in (Path(sys.executable), Path("/usr/bin/python3")):
        with contextlib.suppress(OSError):
            if embedded._run(account, python, "-c", "").returncode == 0:
                return python
    raise CannotRun("the account of the servers may run no Python; install Debian's python3, or run as another user")


def _binaries(path: Path, account: pwd.struct_passwd | None) -> Path:
    """The programs of PostgreSQL, with those that Patroni needs."""
    given = os.environ.get("UNDERWAY_TEST_BIN")
    for binaries in (given and Path(given), embedded.wheel_binaries(), embedded.system_binaries()):
        if binaries and all((binaries / name).is_file() for name in _NEEDED):
            return embedded._usable_binaries(binaries, path, account)[0]
    raise CannotRun(f"no PostgreSQL with {', '.join(_NEEDED)} was found")


def _modules(python: Path, path: Path, account: pwd.struct_passwd | None) -> Path:
    """Where Patroni is installed, or a copy, where the account of the servers cannot read that."""
    try:
        done = subprocess.run([ROOT / "tools/patroni", python], check=True, stdout=subprocess.PIPE, text=True)
    except subprocess.CalledProcessError as error:
        raise CannotRun("Patroni could not be installed by tools/patroni") from error
    installed = Path(done.stdout.strip())
    if embedded._run(account, "/usr/bin/test", "-r", installed / "made").returncode == 0:
        return installed
    return Path(shutil.copytree(installed, path / "modules"))


def _settings(
    node: Node, etcd: int, binaries: Path, path: Path, synchronous: bool, route: str | None
) -> dict[str, Any]:
    """The configuration of one Patroni."""
    replicas = node.replication.port if node.replication else node.port
    return {
        "scope": "underway",
        "name": node.name,
        "etcd3": {"host": f"127.0.0.1:{etcd}"},
        "restapi": {"listen": f"127.0.0.1:{node.rest_port}", "connect_address": f"127.0.0.1:{node.rest_port}"},
        "bootstrap": {
            "dcs": {
                "ttl": TTL,
                "loop_wait": LOOP_WAIT,
                "retry_timeout": RETRY_TIMEOUT,
                "primary_start_timeout": 0,  # fail over at once when the server crashes
                "maximum_lag_on_failover": 100 << 20,
                "synchronous_mode": synchronous,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {"max_connections": 200, "wal_log_hints": "on", "wal_keep_size": "256MB"},
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, "data-checksums", "no-sync"],
        },
        "postgresql": {
            "listen": f"127.0.0.1:{node.port}",
            "connect_address": f"127.0.0.1:{replicas}",
            "data_dir": str(node.data),
            "bin_dir": str(binaries),
            "pgpass": str(node.data.parent / "pgpass"),
            "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "postgres"}},
            "pg_hba": ["local all all trust", f"host all all {HERE} trust", f"host replication all {HERE} trust"],
            "parameters": {"unix_socket_directories": str(node.data.parent), "shared_buffers": "64MB"},
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "callbacks": {} if route is None else dict.fromkeys(("on_start", "on_role_change"), f"{route} {node.port}"),
        },
    }  # fmt: skip
