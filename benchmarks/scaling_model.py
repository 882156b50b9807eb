"""A model of many shards, from measured figures: what a rate of tasks needs, and which part limits a server first.

    python benchmarks/scaling_model.py             the inputs, the table and the plot, into docs/scaling.md
    python benchmarks/scaling_model.py --print     only print them

The inputs are the medians of the newest run of benchmarks/shards.py. The choices are not measured; they can be given as
options.
"""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from results import Report

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(?<=<!-- model -->\n).*?(?=<!-- /model -->)", re.DOTALL)
RATES = [1000, 10_000, 100_000, 1_000_000]
DAY = 86_400


@dataclass(frozen=True)
class Choices:
    """What an operator decides. Each is an option of the command line."""

    cores: int = 16  # of a server
    busy: float = 0.6  # the part of the cores and of the disk that tasks may take
    connections: int = 1000  # of a server
    disk_tb: float = 4.0  # of a server, for the history
    retention_days: float = 14.0  # the default
    batched: float = 0.9  # the part of the tasks that are enqueued in bulk; the others have a commit each
    in_flight_seconds: float = 0.1  # how long a handler takes
    concurrency: int = 50  # of a worker process


@dataclass(frozen=True)
class Input:
    name: str
    row: str
    words: str  # that its workload contains
    unit: str


INPUTS = {
    "one": Input("server CPU of an enqueue by itself", "cpu", "enqueue one by one", "µs"),
    "bulk": Input("server CPU of an enqueue by 1,000", "cpu", "enqueue by 1000", "µs"),
    "work": Input("server CPU of a claim and completion by 500", "cpu", "claim and completion", "µs"),
    "worker": Input("worker CPU of a no-op task", "cpu", "worker", "µs"),
    "wal": Input("WAL of a task, history kept", "wal", "history kept", "bytes"),
    "history": Input("history of a task", "wal", "in the history", "bytes"),
    "commits": Input("commits of 64 connections", "disk", "commits", "a second"),
    "sequential": Input("sequential writes of the disk, synced", "disk", "sequential", "MB/s"),
    "sessions": Input("connections of a worker", "idle-many", "connections", ""),
}

# The steps of the shards' same work that do not wait for the disk.
SHARED = ("enqueue in bulk", "drain")


def newest() -> Report:
    paths = sorted((DOCS / "scaling").glob("2*.json"))
    if not paths:
        raise SystemExit("there is no run in docs/scaling; make it with `make bench-shards`")
    return Report.from_json(paths[-1].read_text())


def find(report: Report, input: Input) -> float:
    for line in report.lines:
        if line.row == input.row and input.words in line.workload:
            return line.figure
    raise SystemExit(
        f"the run of {report.date} has no {input.name}: run benchmarks/shards.py --only inputs --write ..."
    )


def servers_by_part(figures: dict[str, float], efficiency: float, given: Choices, rate: float) -> dict[str, float]:
    """Return how many servers each part of a server requires at a rate of tasks a second.

    A server's CPU carries less where several servers share a machine: that is `efficiency`, measured.
    """
    enqueue = given.batched * figures["bulk"] + (1 - given.batched) * figures["one"]
    cpu = rate * (enqueue + figures["work"]) / 1e6 / efficiency
    sessions = workers(figures, given, rate) * figures["sessions"]
    return {
        "CPU": cpu / (given.cores * given.busy),
        "WAL": rate * figures["wal"] / 1e6 / (figures["sequential"] * given.busy),
        "commits one by one": rate * (1 - given.batched) / (figures["commits"] * given.busy),
        "connections of workers": sessions / given.connections,
        "history": rate * figures["history"] * DAY * given.retention_days / (given.disk_tb * 1e12),
    }


def workers(figures: dict[str, float], given: Choices, rate: float) -> float:
    """Return how many worker processes are needed: for the tasks in flight, or for the CPU of their loops."""
    return max(rate * given.in_flight_seconds / given.concurrency, rate * figures["worker"] / 1e6 / given.busy)


def table(figures: dict[str, float], efficiency: float, given: Choices) -> list[str]:
    lines = [
        "| tasks/s | servers | limited by | then by | cores of servers | worker processes | connections of a server |"
        " WAL of a server | history |",
        "|---:|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for rate in RATES:
        parts = servers_by_part(figures, efficiency, given, rate)
        first, second, *_ = sorted(parts, key=lambda part: -parts[part])
        servers = max(1, math.ceil(parts[first]))
        processes = math.ceil(workers(figures, given, rate))
        cores = parts["CPU"] * given.cores * given.busy
        history = rate * figures["history"] * DAY * given.retention_days / 1e12
        lines.append(
            f"| {rate:,} | {servers:,} | {first} | {second} ({math.ceil(parts[second]):,}) | {cores:,.1f} |"
            f" {processes:,} | {math.ceil(processes * figures['sessions'] / servers):,} |"
            f" {rate * figures['wal'] / 1e6 / servers:,.1f} MB/s | {history:,.1f} TB |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print the block of docs/scaling.md, and write nothing")
    for name, value in vars(Choices()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default: {value}")
    options = vars(parser.parse_args())
    only_print = options.pop("print")
    given = Choices(**options)
    report = newest()
    figures = {name: find(report, input) for name, input in INPUTS.items()}
    ratios = [line.ratio for line in report.lines if line.row == "same-work" and line.workload.startswith(SHARED)]
    efficiency = min([1.0, *(ratio for ratio in ratios if ratio is not None)])
    lines = [
        "",
        f"From the [run of {report.date}](scaling/{report.date}.md):",
        "",
        "| input | value | measured by |",
        "|---|---:|---|",
    ]
    for name, input in INPUTS.items():
        lines.append(f"| {input.name} | {figures[name]:,.4g} {input.unit} | `{input.row}` |")
    least = "the least ratio of `same-work` without the commits one by one, at most 1"
    lines += [f"| throughput of a core with several servers, beside one | {efficiency:.2f} | {least} |", ""]
    chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in vars(given).items())
    lines += [fill(f"Choices: {chosen}.", 120), "", *table(figures, efficiency, given), ""]
    lines += ["![Servers that each part requires](scaling/model.png)", "", ""]
    if only_print:
        print("\n".join(lines))
        return
    from plot import draw_model  # imports matplotlib, which nothing else needs

    rates = [10 ** (3 + step / 20) for step in range(61)]
    by_rate = [servers_by_part(figures, efficiency, given, rate) for rate in rates]
    title = f"Servers of {given.cores} cores that each part requires"
    draw_model(rates, by_rate, title, DOCS / "scaling/model.png")
    page = DOCS / "scaling.md"
    page.write_text(BLOCK.sub(lambda _: "\n".join(lines), page.read_text()))


if __name__ == "__main__":
    main()
