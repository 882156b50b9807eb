"""Workers that drain a queue."""

from __future__ import annotations

from collections.abc import Iterator

from results import Line, at_least, at_most
from systems import System

from rows.bench import Bench, beside, lines, row
from rows.fill import create_queues, fill, fill_queues, fill_with_keys


def drained(system: System, tasks: int, workers: int = 1) -> float:
    tasks = min(tasks, system.most_tasks or tasks)
    system.start().enqueue_in_bulk(tasks)
    system.settle()
    return system.drain(tasks, workers)


def drain_lines(bench: Bench, name: str, workload: str, workers: int, goal: float) -> Iterator[Line]:
    runs = {
        beside(system): lambda system=system: drained(system, bench.scale.drained, workers)
        for system in bench.all_systems()
    }
    figures = bench.in_turns(runs, bench.scale.rounds)
    yield from lines(name, workload, "tasks/s", figures, {"graphile-worker": at_least(goal)})


@row("drain-1")
def drain_by_one_worker(bench: Bench) -> Iterator[Line]:
    tasks = f"{bench.scale.drained // 1000}k"
    yield from drain_lines(bench, "drain-1", f"drain {tasks} no-op async tasks, one worker process", 1, 1.5)


@row("drain-2")
def drain_by_two_workers(bench: Bench) -> Iterator[Line]:
    yield from drain_lines(bench, "drain-2", "the same, two worker processes", 2, 1.4)


@row("drain-sync")
def drain_in_threads(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.drained // 2
    runs = {
        "plain handlers": lambda: drained(bench.ours("50:sync"), tasks),
        "our async handlers": lambda: drained(bench.ours(), tasks),
    }
    figures = bench.in_turns(runs, bench.scale.rounds)
    yield from lines("drain-sync", "drain, plain handlers in threads", "tasks/s", figures, at_least(0.5))


# Limits


def drain_with_limits(bench: Bench, workers: int, keys: int = 0, max_running: int | None = None) -> float:
    tasks = bench.scale.drained
    ours = bench.ours().start()
    with ours.connect() as connection:
        connection.execute("select underway.create_queue('bench', max_running => %s)", [max_running])
    if keys:
        fill_with_keys(ours, tasks, keys)
    else:
        fill(ours, tasks)
    ours.settle()
    return ours.drain(tasks, workers)


@row("drain-keyed")
def drain_many_keys(bench: Bench) -> Iterator[Line]:
    for workers, words, goal in ((1, "one worker", 0.85), (4, "four workers", 0.7)):
        runs = {
            "with keys": lambda workers=workers: drain_with_limits(bench, workers, keys=10_000),
            "our drain without keys": lambda workers=workers: drain_with_limits(bench, workers),
        }
        figures = bench.in_turns(runs, bench.scale.rounds)
        workload = f"drain tasks of 10,000 concurrency keys, {words}"
        yield from lines("drain-keyed", workload, "tasks/s", figures, at_least(goal))


@row("drain-limited")
def drain_with_max_running(bench: Bench) -> Iterator[Line]:
    runs = {
        "limited": lambda: drain_with_limits(bench, 4, max_running=1000),
        "our drain without a limit": lambda: drain_with_limits(bench, 4),
    }
    figures = bench.in_turns(runs, bench.scale.rounds)
    workload = "drain a queue with max_running 1,000, four workers"
    yield from lines("drain-limited", workload, "tasks/s", figures, at_least(0.7))


# Many queues, big inputs


@row("queues")
def drain_many_queues(bench: Bench) -> Iterator[Line]:
    scale = bench.scale

    def run(queues: int) -> float:
        system = bench.ours(f"500:async:{queues}").start()
        tasks = scale.queues_tasks // queues
        create_queues(system, queues)
        fill_queues(system, queues, tasks)
        system.settle()
        return 1e6 / system.drain(tasks * queues)

    runs = {"many": lambda: run(scale.queues), "our drain of one queue": lambda: run(1)}
    figures = bench.in_turns(runs, scale.rounds)
    yield from lines("queues", f"drain {scale.queues:,} queues, one worker", "µs a task", figures, at_most(2))


@row("big-inputs")
def big_inputs(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.big_inputs

    def run(system: System) -> tuple[float, float]:
        system.input_bytes = 10_000
        enqueued = system.start().enqueue_in_bulk(tasks)
        system.settle()
        return enqueued, system.drain(tasks)

    systems = [bench.ours(), *(peer for peer in bench.peers if peer.name == "graphile-worker")]
    figures = bench.in_turns({beside(system): lambda system=system: run(system) for system in systems}, 3)
    ours, *others = figures
    for place, words in enumerate(("enqueue in bulk", "drain")):
        workload = f"{tasks:,} inputs of 10 kB, {words}"
        of_step = {name: [both[place] for both in rounds] for name, rounds in figures.items()}
        if others:
            yield from lines("big-inputs", workload, "tasks/s", of_step, at_least(1.2))
        else:
            yield Line(row="big-inputs", workload=workload, unit="tasks/s", ours=of_step[ours])
