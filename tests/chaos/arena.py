"""Where a scenario takes place: a server, four workers, a producer, a snapshot that is held; and the check."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests import forks
from tests.chaos import checker, ledger, workload
from tests.chaos.cluster import Cluster, directory
from tests.debian import ROOT
from tests.py.support import wait_until
from underway_pg import schema

WORKERS = 4
STOP_WITHIN = 20.0  # seconds, of a worker that is told to stop


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of a scenario: so many tasks, half of them there when the trouble begins, and so long a trouble.

    `drain` is for how long the workers may be at it when the trouble is over. Both are in seconds.
    """

    tasks: int
    trouble: float
    drain: float


SHORT = Scale(tasks=250, trouble=3.0, drain=60.0)
LONG = Scale(tasks=20_000, trouble=45.0, drain=300.0)


class Workers:
    """Workers as processes. One that ends unasked is noted as a complaint."""

    def __init__(
        self, dsn: str, directory: Path, environment: Mapping[str, str], program: str = "tests.chaos.workload"
    ) -> None:
        self.complaints: list[str] = []
        self._program = program
        self._dsn = dsn
        self._directory = directory
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._number = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        self._number += 1
        with (self._directory / f"worker-{self._number}.log").open("wb") as log:
            process = forks.Popen(
                [sys.executable, "-m", self._program, self._dsn, str(self._directory)],
                cwd=ROOT, env={**self._environment, **(environment or {})}, stderr=log,
            )  # fmt: skip
        self.running.append(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9."""
        self.running.remove(process)
        self._see_alive(process)
        process.kill()
        process.wait()

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self.running}

    def stop(self) -> None:
        """Ask all to stop, and see that they do."""
        for process in self.running:
            self._see_alive(process)
            process.terminate()
        for process in self.running:
            try:
                if process.wait(STOP_WITHIN) != 0:
                    self.complaints.append(f"worker {process.pid} has ended with status {process.returncode}")
            except subprocess.TimeoutExpired:
                self.complaints.append(f"worker {process.pid} did not stop within {STOP_WITHIN:g} s")
                process.kill()
                process.wait()
        self.running = []

    def _see_alive(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            self.complaints.append(f"worker {process.pid} has ended by itself, with status {process.returncode}")

    def end(self) -> None:
        """At the end, whatever was before."""
        for process in self.running:
            process.kill()
            process.wait()


@dataclass
class Arena:
    """What the trouble of a scenario can get at. `counts` is what it says that it did."""

    cluster: Cluster
    workers: Workers
    scale: Scale
    random: random.Random
    counts: Counter[str]
    lossy_after: float = float("inf")

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.scale.trouble

    def rounds(self, every: float) -> Iterator[None]:
        """So often as fits into the time of the trouble, with chance in between."""
        while time.monotonic() < self._end:
            yield
            self.last(every * self.random.uniform(0.5, 1.5))

    def last(self, seconds: float) -> None:
        """Let a trouble last."""
        threading.Event().wait(seconds)


class Snapshot:
    """Holds a snapshot for as long as the block runs, and takes another when its connection is broken."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="snapshot")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                dsn = self._arena.cluster.dsn
                with psycopg.connect(dsn, application_name="snapshot", connect_timeout=5) as connection:
                    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                    while not self._over.is_set():
                        connection.execute("select count(*) from chaos.effect")
                        self._over.wait(0.5)
            self._over.wait(0.1)


Trouble = Callable[[Arena], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a scenario came to."""

    name: str
    report: checker.Report
    counts: Counter[str]
    complaints: list[str]
    seconds: float


def run(
    name: str,
    scale: Scale,
    trouble: Trouble,
    *,
    cluster: Cluster,
    dsn: str | None = None,
    environments: list[Mapping[str, str]] | None = None,
    seed: int = 1,
) -> Outcome:
    """Run a workload through four workers while there is trouble; gives what the check of all evidence says.

    `dsn` is how workers and producer reach the server, by default directly; `environments` are those of the workers.
    """
    begun = time.monotonic()
    prepare(cluster)
    with directory() as files:
        route = dsn or cluster.dsn
        workers = Workers(route, files, {})
        try:
            for number in range(WORKERS):
                workers.start(environments[number] if environments else None)
            half = scale.tasks // 2
            _begin_work(cluster, workload.Producer(cluster.dsn, files, 1), half)
            arena = Arena(cluster, workers, scale, random.Random(seed), Counter())
            _trouble(arena, trouble, workload.Producer(route, files, half + 1), scale.tasks - half)
            with contextlib.suppress(AssertionError):  # what is not done is a finding, with all else that is wrong
                wait_until(lambda: _live(arena.cluster) == 0, "every task is final", seconds=scale.drain)
                # One that was started last may have nothing to do, and does not handle signals while it is imported.
                wait_until(lambda: workers.pids <= _registered(arena.cluster), "all workers are there", seconds=60.0)
            workers.stop()
        finally:
            workers.end()
            if keep := os.environ.get("UNDERWAY_CHAOS_KEEP"):
                subprocess.run(["cp", "-r", str(files), f"{keep}/{name}"], check=True)
        evidence = ledger.read(files, arena.cluster.dsn)
    report = checker.check(evidence, workload.rules(arena.lossy_after))
    return Outcome(
        name=name, report=report, counts=arena.counts, complaints=report.complaints + workers.complaints,
        seconds=time.monotonic() - begun,
    )  # fmt: skip


def prepare(cluster: Cluster) -> None:
    """The schema, the queues, and the triggers that keep the book."""
    schema.migrate(cluster.dsn)
    with workload.application(cluster.dsn, None) as app:
        app.sync()
    with cluster.connect() as connection:
        connection.execute((Path(__file__).parent / "schema.sql").read_bytes())


def _trouble(arena: Arena, trouble: Trouble, producer: workload.Producer, tasks: int) -> None:
    with Snapshot(arena), ThreadPoolExecutor(1) as threads:
        broke = threads.submit(producer.enqueue_all, tasks, arena.scale.trouble)
        try:
            trouble(arena)
            arena.counts["breaks of the producer"] = broke.result(arena.scale.drain)
        finally:
            producer.stop()


def _begin_work(cluster: Cluster, producer: workload.Producer, tasks: int) -> None:
    """Give the first half to workers that are all there, and see that they are at it."""
    with cluster.connect() as connection:

        def value(sql: str) -> int:
            row = connection.execute(sql.encode()).fetchone()
            assert row is not None
            return int(row[0])

        wait_until(
            lambda: value("select count(*) from underway.worker") >= WORKERS, "all workers are there", seconds=60.0
        )
        producer.enqueue_all(tasks, 0.0)
        wait_until(lambda: value("select count(*) from underway.task_history") > 0, "they work", seconds=60.0)


def _live(cluster: Cluster) -> int:
    with cluster.connect() as connection:
        row = connection.execute("select count(*) from underway.task where dead_letter is null").fetchone()
        assert row is not None
        return int(row[0])


def _registered(cluster: Cluster) -> set[int]:
    """The processes of the workers that the database knows, by their names."""
    with cluster.connect() as connection:
        names = connection.execute("select name from underway.worker").fetchall()
        return {int(name.rpartition(":")[2]) for (name,) in names}
