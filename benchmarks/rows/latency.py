"""The time from an enqueue to the start of its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import quantiles

from results import RAW, Goal, Line, at_most

from rows.bench import Bench, beside, lines, row

Goals = Mapping[int, Mapping[str, Goal]]  # by percentile, and by the system beside


def latency_lines(
    bench: Bench, name: str, workload: str, rate: float, connections: int, rounds: int, goals: Goals
) -> Iterator[Line]:
    systems = {beside(system): system for system in [bench.ours(), bench.raw("del:100:1:notify"), *bench.peers]}
    runs = {
        "raw NOTIFY and claim" if other == RAW else other: lambda system=system: system.start().latencies(
            rate, bench.scale.paced_seconds, connections
        )
        for other, system in systems.items()
    }
    taken = bench.in_turns(runs, rounds)
    for percentile in (50, 99):
        figures = {other: [percentile_of(one, percentile) for one in rounds] for other, rounds in taken.items()}
        yield from lines(name, f"{workload}, p{percentile}", "ms", figures, goals[percentile])


def percentile_of(values: list[float], percentile: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percentile - 1]


@row("idle-latency")
def pick_up_by_an_idle_worker(bench: Bench) -> Iterator[Line]:
    goals = {50: {"raw": at_most(1.3), "river": at_most(0.9)}, 99: {"raw": at_most(1.5)}}
    workload = "from enqueue to start, worker idle, 50 tasks/s"
    yield from latency_lines(bench, "idle-latency", workload, 50, 1, bench.scale.short_rounds, goals)


@row("steady-latency")
def pick_up_at_a_steady_rate(bench: Bench) -> Iterator[Line]:
    goals = {50: {"river": at_most(0.9)}, 99: {"raw": at_most(2)}}
    workload = "from enqueue to start, 500 tasks/s offered"
    yield from latency_lines(bench, "steady-latency", workload, 500, 4, bench.scale.short_rounds, goals)
