"""Several servers on one machine: what a shard adds, and a fleet of workers over four shards.

    python benchmarks/shards.py            the table of docs/scaling.md
    python benchmarks/shards.py --short    small, for trials

Each server, its producers and its workers are pinned to the cores of its share. With more servers than cores, several
servers share a core. Rates are those of the slowest shard, multiplied by the number of shards.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from results import Line, Report, at_least
from rich.console import Console
from rows import ROWS, SHORT_SCALE, Bench, Scale
from rows.bench import lines
from rows.fill import create_queues, fill_queues
from run import versions
from server import Failure, Server, machine, own_server
from systems import PATIENCE, System

CORES = sorted(os.sched_getaffinity(0))
Share = list[int]  # the cores of a server
Figures = dict[str, float]


def shares(servers: int, cores: Share = CORES) -> list[Share]:
    """Divide the cores equally. With more servers than cores, each has one core, and some of them the same."""
    return [cores[number::servers] or [cores[number % len(cores)]] for number in range(servers)]


class Shards:
    """Servers that do something at the same time, each pinned to its share of the cores."""

    def __init__(self, binaries: Path | None, servers: list[Share]) -> None:
        self._binaries = binaries
        self._shares = servers
        self.barrier = threading.Barrier(len(servers))

    def __len__(self) -> int:
        return len(self._shares)

    def each(self, do: Callable[[Server, Shards], Figures]) -> list[Figures]:
        """Return what a function returns for each shard. The processes that it starts have the shard's cores."""

        def pinned(share: Share) -> Figures:
            os.sched_setaffinity(0, share)  # of this thread, and of what it starts
            try:
                with own_server(self._binaries) as server:
                    return do(server, self)
            except BaseException:
                self.barrier.abort()
                raise

        with ThreadPoolExecutor(len(self)) as pool:
            return list(pool.map(pinned, self._shares))


# The same work

CLIENTS = 4  # producers, and worker processes; each producer has two connections in the last step


@dataclasses.dataclass(frozen=True)
class Case:
    """Servers, and the number of parts into which the work and its clients are divided. Each server does one part."""

    servers: list[Share]
    parts: int

    @property
    def cores(self) -> int:
        return len({core for share in self.servers for core in share})


def cases() -> dict[str, Case]:
    """Return what is compared: first one server on all cores, on which the others but the last two divide its work."""
    divided = {servers: Case(shares(servers), servers) for servers in (1, 2, 4)}
    grown = {servers: Case(shares(len(CORES))[:servers], len(CORES)) for servers in (1, len(CORES))}
    return {
        "one server on all cores": divided[1],
        "2 servers, all cores divided": divided[2],
        "4 servers, all cores divided": divided[4],
        "one server on one core": grown[1],
        f"{len(CORES)} servers on a core each": grown[len(CORES)],
    }


def rates(binaries: Path | None, case: Case, tasks: int, seconds: float) -> Figures:
    """Return the tasks a second of all servers for each core, by the slowest of them."""

    def work(server: Server, shards: Shards) -> Figures:
        part, clients = tasks // case.parts, max(1, CLIENTS // case.parts)
        system = System(server, "underway").start()
        shards.barrier.wait()
        with ThreadPoolExecutor(clients) as pool:
            bulk = clients * min(pool.map(system.enqueue_in_bulk, [part // clients] * clients))
        system.settle()
        system.barrier = shards.barrier
        drain = system.drain(part // clients * clients, clients)
        system.start()
        shards.barrier.wait()
        single = system.enqueue_one_by_one(2 * clients, seconds)
        return {"enqueue in bulk": bulk, "drain": drain, "enqueue one by one": single}

    done = Shards(binaries, case.servers).each(work)
    return {name: len(case.servers) * min(figures[name] for figures in done) / case.cores for name in done[0]}


def same_work(given: argparse.Namespace, show: Callable[[str], None]) -> list[Line]:
    tasks, seconds = (40_000, 1.0) if given.short else (200_000, 4.0)
    compared = cases()
    figures: dict[str, list[Figures]] = {name: [] for name in compared}
    for number in range(given.rounds):
        for name in list(compared) if number % 2 == 0 else reversed(list(compared)):
            show(f"round {number + 1} of {given.rounds}: {name}")
            figures[name].append(rates(given.bin, compared[name], tasks, seconds))
    whole, *divided, core, grown = compared
    found = []
    for name, against in [*((name, whole) for name in divided), (grown, core)]:
        for step in figures[name][0]:
            sides = {side: [of_round[step] for of_round in figures[side]] for side in (name, against)}
            found += lines("same-work", f"{step}: {name}", "tasks/s a core", sides, at_least(0.9))
    return found


# A fleet


def fleet(queues: int, workers: int, tasks: int) -> Callable[[Server, Shards], Figures]:
    """Return the function that starts a shard's part of the workers, and passes its part of the tasks through them."""

    def do(server: Server, shards: Shards) -> Figures:
        own_queues, own_workers = queues // len(shards), workers // len(shards)
        system = System(server, "underway", f"10:async:{own_queues}:{own_workers}").start()
        create_queues(system, own_queues)
        with ExitStack() as stop, system.connect() as connection:
            system.work(1, stop)
            begun = time.monotonic()
            while connection.execute("select count(*) from underway.worker_stats").fetchone() != (own_workers,):
                if time.monotonic() - begun > 5 * PATIENCE:
                    raise Failure(f"not all of {own_workers} workers started")
                time.sleep(0.1)
            shards.barrier.wait(6 * PATIENCE)
            time.sleep(15)  # until the workers' first calls are over
            begun, cpu = time.monotonic(), server.cpu_seconds()
            time.sleep(10)
            idle = (server.cpu_seconds() - cpu) / (time.monotonic() - begun)
            shards.barrier.wait()
            begun = time.monotonic()
            fill_queues(system, own_queues, tasks // queues)
            while connection.execute("select count(*) from underway.task").fetchone() != (0,):
                if time.monotonic() - begun > 10 * PATIENCE:
                    raise Failure("tasks are left")
                time.sleep(0.02)
            done = own_queues * (tasks // queues)
            return {"rate": done / (time.monotonic() - begun), "idle": 100 * idle}

    return do


def fleets(given: argparse.Namespace, show: Callable[[str], None]) -> list[Line]:
    queues, workers, tasks = (400, 16, 8000) if given.short else (10_000, 200, 100_000)
    sides: dict[str, list[Figures]] = {}
    for name, (each_queues, each_workers) in {
        "many": (queues, workers),
        "40 queues, 8 workers over the same servers": (40, 8),
    }.items():
        show(f"a fleet of {each_workers} workers, {each_queues:,} queues")
        sides[name] = Shards(given.bin, shares(4)).each(fleet(each_queues, each_workers, tasks))
    rate = {name: [4 * min(shard["rate"] for shard in of_shards)] for name, of_shards in sides.items()}
    workload = f"whole life of {tasks // queues} tasks a queue, {queues:,} queues, {workers} workers over 4 servers"
    idle = [sum(shard["idle"] for shard in sides["many"])]
    workload_idle = f"the same, idle: CPU of the 4 servers for {queues:,} queues, {workers} workers"
    return [
        *lines("fleet", workload, "tasks/s", rate),
        Line(row="fleet", workload=workload_idle, unit="% of a core", ours=idle),
    ]


# The inputs of the model: rows of the benchmark, on one server

INPUTS = ["cpu", "wal", "disk", "idle-many"]


def inputs(given: argparse.Namespace, show: Callable[[str], None]) -> list[Line]:
    scale = dataclasses.replace(SHORT_SCALE if given.short else Scale(), rounds=given.rounds, short_rounds=given.rounds)
    with own_server(given.bin) as server:
        found = [line for name in INPUTS for line in ROWS[name](Bench(server, scale, show=show))]
    return [line for line in found if isinstance(line, Line)]


PARTS = {"same-work": same_work, "fleet": fleets, "inputs": inputs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one of the parts")
    parser.add_argument("--short", action="store_true", help="small, for trials")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", type=Path, help="the directory of the PostgreSQL binaries to use")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write DATE.json and .md there")
    given = parser.parse_args()
    console = Console(stderr=True)
    begun = time.monotonic()
    with own_server(given.bin) as server:
        report = Report(
            taken_at=datetime.now(UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00") + " UTC",
            machine=machine(),
            versions=versions(server, []),
            settings=server.settings(),
        )
    for name in [given.only] if given.only else PARTS:
        try:
            report.lines += PARTS[name](given, console.print)
        except (Failure, threading.BrokenBarrierError) as error:
            report.missing[name] = str(error)
    report.seconds = time.monotonic() - begun
    report.show(Console(width=max(Console().width, 150)))
    for path in report.write(given.write, [*PARTS, *INPUTS]) if given.write else []:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return 1 if report.missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
