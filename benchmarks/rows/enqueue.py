"""Producers: in bulk, one by one, from Python and in plain SQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from results import Goal, Line, at_least
from systems import Failure, System, wait_until_begun

from rows.bench import Bench, beside, lines, row
from rows.fill import fill


def enqueue_lines(
    bench: Bench, name: str, workload: str, run: Callable[[System], float], goals: Mapping[str, Goal], rounds: int
) -> Iterator[Line]:
    runs = {
        "raw insert" if system.name == "raw" else beside(system): lambda system=system: run(system.start())
        for system in bench.all_systems()
    }
    yield from lines(name, workload, "tasks/s", bench.in_turns(runs, rounds), goals)


@row("bulk")
def enqueue_in_bulk(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.bulk
    workload = f"enqueue {tasks // 1000}k tasks in bulk, 1000 a call"

    def run(system: System) -> float:
        return system.enqueue_in_bulk(min(tasks, system.most_tasks or tasks))

    yield from enqueue_lines(bench, "bulk", workload, run, {"raw": at_least(0.8)}, bench.scale.rounds)


@row("single")
def enqueue_one_by_one(bench: Bench) -> Iterator[Line]:
    goals = {"pgqueuer": at_least(1.3), "underway-crate": at_least(1.1)}
    for connections, words in ((1, "one connection"), (4, "four connections")):
        workload = f"enqueue one by one, {words}"

        def run(system: System, connections: int = connections) -> float:
            return system.enqueue_one_by_one(connections, bench.scale.single_seconds)

        yield from enqueue_lines(bench, "single", workload, run, goals, bench.scale.short_rounds)


# A table with the columns, the indexes and the settings of `task`, and what `enqueue` stores in them.
COPY = """
    do $$
    begin
        execute (
            select format(
                'create table public.copy_of_task (like underway.task including all) with (%s)',
                array_to_string(c.reloptions, ', ')
            )
            from pg_class c where c.oid = 'underway.task'::regclass
        );
    end;
    $$"""
INSERT = """
    insert into public.copy_of_task (queue, priority, ready_at, enqueued_at, job, input)
    values ('bench', 0, clock_timestamp(), clock_timestamp(), 'noop', '{"i": 1}') returning id;"""


@row("single-sql")
def enqueue_in_prepared_statements(bench: Bench) -> Iterator[Line]:
    ours = bench.ours().start()
    with ours.connect() as connection:
        connection.execute(COPY)
    for clients, words in ((1, "one connection"), (4, "four connections")):
        statements = {
            "ours": """select underway.enqueue('bench', '{"i": 1}', 'noop');""",
            "raw insert, same indexes": INSERT,
        }
        runs = {
            name: lambda statement=statement, clients=clients: bench.server.pgbench(
                ours.database, statement, clients, seconds=bench.scale.single_seconds
            )
            for name, statement in statements.items()
        }
        figures = bench.in_turns(runs, bench.scale.short_rounds)
        workload = f"enqueue one by one through pgbench, prepared, {words}"
        yield from lines("single-sql", workload, "tasks/s", figures, at_least(0.85))


@row("coroutines")
def enqueue_from_many_coroutines(bench: Bench) -> Iterator[Line]:
    ours = bench.ours("500:job").start()
    runs = {
        name: lambda coroutines=coroutines: ours.enqueue_one_by_one(coroutines, bench.scale.single_seconds)
        for name, coroutines in (("many", 64), ("one coroutine", 1))
    }
    figures = bench.in_turns(runs, bench.scale.short_rounds)
    workload = "enqueue_async from 64 coroutines of one process"
    yield from lines("coroutines", workload, "tasks/s", figures, at_least(4))


@row("single-busy")
def enqueue_while_a_worker_is_busy(bench: Bench) -> Iterator[Line]:
    # Handlers that wait 5 ms: the load does not depend on the machine, so it is the same beside both producers.
    worked = bench.ours("50:nap")

    def run(producer: System) -> float:
        worked.start()
        fill(worked, bench.scale.busy_backlog)
        with contextlib.ExitStack() as stop:
            (worker,) = worked.work(1, stop)
            wait_until_begun([worker], 1000)
            rate = producer.enqueue_one_by_one(16, bench.scale.single_seconds)
            if worker.begun >= bench.scale.busy_backlog:
                raise Failure("the worker was not busy all the time")
            return rate

    raw = bench.raw().start()
    runs = {"ours": lambda: run(worked), "raw insert, the same worker busy": lambda: run(raw)}
    figures = bench.in_turns(runs, bench.scale.short_rounds)
    workload = "enqueue one by one, sixteen connections, a worker busy"
    yield from lines("single-busy", workload, "tasks/s", figures, at_least(0.9))
