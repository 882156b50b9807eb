"""What all rows share: the size of a run, its systems, rounds in turns, and lines of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from results import RAW, Curve, Goal, Line
from server import Failure, Server
from systems import System

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of a run: numbers of tasks and rounds, and durations."""

    rounds: int = 3
    short_rounds: int = 5  # of the rows that take little time and vary much
    drained: int = 100_000
    bulk: int = 100_000
    big_inputs: int = 100_000
    single_seconds: float = 1.5
    busy_backlog: int = 80_000
    paced_seconds: float = 4
    snapshot_tasks: int = 20_000
    snapshot_rounds: int = 10
    held_seconds: float = 100
    backlog: int = 1_000_000
    history: int = 10_000_000
    backlog_drained: int = 60_000
    live: int = 100_000
    wal_tasks: int = 30_000
    live_size_seconds: float = 600
    idle_seconds: float = 10
    idle_workers: int = 200
    queues: int = 1000
    queues_tasks: int = 40_000
    crowd_tasks: int = 100_000
    keyed_drained: int = 30_000
    claims: int = 20_000


# For trials: half a minute a row at most.
SHORT_SCALE = Scale(
    rounds=3,
    short_rounds=3,
    drained=30_000,
    bulk=30_000,
    big_inputs=5000,
    single_seconds=0.5,
    busy_backlog=40_000,
    paced_seconds=2,
    snapshot_tasks=5000,
    held_seconds=10,
    backlog=100_000,
    history=100_000,
    backlog_drained=20_000,
    live=20_000,
    wal_tasks=10_000,
    live_size_seconds=30,
    idle_workers=20,
    queues_tasks=20_000,
    crowd_tasks=20_000,
    keyed_drained=20_000,
    claims=5000,
)


@dataclass
class Bench:
    """A run: the server, the scale, the installed peers, and the function that shows the current step."""

    server: Server
    scale: Scale
    peers: list[System] = field(default_factory=list)
    show: Callable[[str], None] = lambda text: None
    missing: dict[str, str] = field(default_factory=dict)  # the peers that failed, and why

    def ours(self, variant: str | None = None) -> System:
        return System(self.server, "underway", variant)

    def raw(self, variant: str | None = None) -> System:
        return System(self.server, "raw", variant)

    def all_systems(self) -> list[System]:
        """Return Underway, the raw limit and the peers."""
        return [self.ours(), self.raw(), *self.peers]

    def in_turns(self, runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
        """Return the results of each run, round by round. The order of the runs alternates from round to round.

        A peer that fails is left out.
        """
        peers = {beside(peer) for peer in self.peers}
        figures: dict[str, list[T]] = {name: [] for name in runs}
        for number in range(rounds):
            for name in list(figures) if number % 2 == 0 else reversed(list(figures)):
                self.show(f"round {number + 1} of {rounds}: {name}")
                try:
                    figures[name].append(runs[name]())
                except Failure as error:
                    if name not in peers:
                        raise
                    del figures[name]
                    self.missing[name] = str(error)
        return figures


Row = Callable[[Bench], Iterator[Line | Curve]]
ROWS: dict[str, Row] = {}

# The rows of the short form.
SHORT = ["drain-1", "bulk", "single"]


def row(name: str) -> Callable[[Row], Row]:
    def keep(function: Row) -> Row:
        ROWS[name] = function
        return function

    return keep


def beside(system: System) -> str:
    return RAW if system.name == "raw" else f"{system.name} {system.version.partition(' ')[0]}"


def lines(
    name: str,
    workload: str,
    unit: str,
    figures: Mapping[str, Sequence[float]],
    goals: Mapping[str, Goal] | Goal | None = None,
) -> Iterator[Line]:
    """Yield a line for each system that is measured beside the first one.

    A goal applies to all of them, or to those whose name begins with its key.
    """
    ours, *others = figures
    for other in others:
        if isinstance(goals, Mapping):
            goal = next((goals[start] for start in goals if other.startswith(start)), None)
        else:
            goal = goals
        yield Line(
            row=name,
            workload=workload,
            unit=unit,
            ours=figures[ours],
            against=other,
            theirs=figures[other],
            goal=goal,
        )
