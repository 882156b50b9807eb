"""An hour of steady work for four workers: fails when memory, connections, dead rows, tables or delays grow.

python -m tests.chaos.soak --minutes 60 --rate 200 --write docs/chaos
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos import workload
from tests.chaos.arena import WORKERS, Workers
from tests.chaos.cluster import Cluster, directory
from tests.chaos.growth import grown
from underway_pg import schema

SAMPLES = 120


class Load:
    """Enqueues at a steady rate, in a thread."""

    def __init__(self, dsn: str, files: Path, rate: int) -> None:
        self._dsn = dsn
        self._rate = rate
        self._producer = workload.Producer(dsn, files, 1)
        self._over = threading.Event()

    def run(self) -> None:
        pause, batch = 0.1, max(1, self._rate // 10)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            at = time.monotonic()
            while not self._over.wait(max(0.0, at - time.monotonic())):
                self._producer.enqueue(connection, batch)
                at += pause

    def stop(self) -> None:
        self._over.set()


class Delays:
    """Reads in the ledgers how long tasks took from their commit to their start, as far as they are written."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self._open: dict[Path, IO[str]] = {}
        self._offered: dict[int, list[int]] = {}
        self._committed: dict[int, float] = {}

    def p99(self) -> float:
        """In milliseconds, of the tasks of the queue without limits that began since the last call."""
        begun: list[tuple[int, float]] = []
        for path in self._files.glob("*.jsonl"):
            self._open.setdefault(path, path.open())
        for file in self._open.values():
            for line in file:
                self._note(json.loads(line), begun)
        delays = [at - self._committed.pop(n) for n, at in begun if n in self._committed]
        return 1000 * statistics.quantiles(delays, n=100)[98] if len(delays) > 1 else 0.0

    def _note(self, line: dict[str, Any], begun: list[tuple[int, float]]) -> None:
        match line["what"]:
            case "offered":
                self._offered[line["numbers"][0]] = line["numbers"]
            case "committed":
                self._committed.update(dict.fromkeys(self._offered.pop(line["first"]), line["at"]))
            case "begin" if line["attempt"] == 1 and line["queue"] == "plain":
                begun.append((line["n"], line["at"]))


def sample(connection: psycopg.Connection[Any], workers: Workers, delays: Delays) -> dict[str, float]:
    """All of it, now. Dead letters are cancelled, which nobody would do otherwise.

    The history keeps what it is given for as long as it is told, and is not among the tables that must not grow.
    """
    connection.execute("select underway.cancel(id) from underway.task where queue = 'dead'")
    memory = [_resident(process.pid) for process in workers.running]
    row = connection.execute(
        """select
            (select count(*) from pg_stat_activity where backend_type = 'client backend'),
            sum(n_dead_tup), sum(pg_total_relation_size(relid)) / 1048576
        from pg_stat_user_tables where schemaname = 'underway' and relname !~ '^task_history'"""
    ).fetchone()
    assert row is not None
    return {
        "memory of a worker, MB": statistics.mean(memory),
        "connections": float(row[0]),
        "dead rows": float(row[1]),
        "size of the live tables, MB": float(row[2]),
        "p99 from enqueue to start, ms": delays.p99(),
    }


def _resident(pid: int) -> float:
    """The resident memory of a process in megabytes."""
    fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def soak(minutes: float, rate: int, console: Console) -> tuple[dict[str, list[float]], list[str]]:
    """Work, look again and again; gives the samples of each kind, and what is wrong."""
    series: dict[str, list[float]] = defaultdict(list)
    with directory() as path:
        cluster = Cluster(path / "data", {"autovacuum_naptime": "10s"})
        cluster.start()
        workers = Workers(cluster.dsn, path, {})
        load = Load(cluster.dsn, path, rate)
        try:
            _prepare(cluster)
            for _ in range(WORKERS):
                workers.start()
            with ThreadPoolExecutor(1) as threads:
                loading = threads.submit(load.run)
                try:
                    _look(minutes, cluster, workers, Delays(path), loading, series, console)
                finally:
                    load.stop()
            loading.result()
            workers.stop()
        finally:
            workers.end()
            cluster.kill()
    return dict(series), grown(series) + workers.complaints


def _prepare(cluster: Cluster) -> None:
    schema.migrate(cluster.dsn)
    with workload.application(cluster.dsn, None) as app:
        app.sync()
    with cluster.connect() as connection:
        connection.execute("create schema chaos")
        connection.execute("create table chaos.effect (n integer, task bigint, attempt integer)")


def _look(
    minutes: float,
    cluster: Cluster,
    workers: Workers,
    delays: Delays,
    loading: Future[None],
    series: dict[str, list[float]],
    console: Console,
) -> None:
    pause = 60 * minutes / SAMPLES
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with cluster.connect() as connection, Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("soak", total=SAMPLES)
        for _ in range(SAMPLES):
            threading.Event().wait(pause)
            if loading.done():
                loading.result()
            now = sample(connection, workers, delays)
            for name, value in now.items():
                series[name].append(value)
            progress.update(bar, advance=1, description=", ".join(f"{name} {value:.1f}" for name, value in now.items()))


def draw(series: dict[str, list[float]], minutes: float, path: Path) -> None:
    """A panel for each series over the minutes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(series), 1, figsize=(9, 2.2 * len(series)), sharex=True, layout="constrained")
    for panel, (name, values) in zip(panels, series.items(), strict=True):
        panel.plot([minutes * (number + 1) / len(values) for number in range(len(values))], values)
        panel.set_title(name, fontsize=9)
        panel.set_ylim(0, 1.1 * max(values) or 1)
        panel.grid(axis="y", alpha=0.3)
    panels[-1].set_xlabel("minutes")
    figure.suptitle(f"Soak of {minutes:g} minutes, {datetime.now(UTC).date()}", fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=200, help="tasks a second")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write soak.json and soak.png there")
    given = parser.parse_args()
    console = Console(stderr=True)
    series, complaints = soak(given.minutes, given.rate, console)
    if given.write:
        given.write.mkdir(exist_ok=True)
        (given.write / "soak.json").write_text(json.dumps(series, indent=1) + "\n")
        draw(series, given.minutes, given.write / "soak.png")
    for complaint in complaints:
        console.print(complaint, highlight=False, style="red")
    for name, values in series.items():
        console.print(f"{name}: {values[0]:.1f} at first, {values[-1]:.1f} at last", highlight=False)
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
