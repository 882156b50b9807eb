"""The rows of the benchmark: what is measured, what it is compared with, and the goal.

A row is a function that yields lines of the table and curves of the plot. Both sides of a comparison are measured in
the same round, one after the other; the order alternates from round to round.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TypeVar

from results import RAW, Curve, Goal, Line, at_least, at_most
from systems import Failure, Server, System, wait_until_begun

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of a run: numbers of tasks and rounds, and durations."""

    rounds: int = 3
    short_rounds: int = 5  # of the rows that take little time and vary much
    drained: int = 100_000
    bulk: int = 100_000
    single_seconds: float = 1.5
    busy_backlog: int = 80_000
    paced_seconds: float = 4
    snapshot_tasks: int = 20_000
    snapshot_rounds: int = 10
    backlog: int = 1_000_000
    history: int = 10_000_000
    backlog_drained: int = 60_000
    wal_tasks: int = 30_000
    idle_seconds: float = 10
    queues: int = 1000
    queues_tasks: int = 40_000
    crowd_tasks: int = 100_000
    keyed_drained: int = 30_000


@dataclass
class Bench:
    """A run: the server, the scale, the installed peers, and the function that shows the current step."""

    server: Server
    scale: Scale
    peers: list[System] = field(default_factory=list)
    show: Callable[[str], None] = lambda text: None

    def ours(self, variant: str | None = None) -> System:
        return System(self.server, "underway", variant)

    def raw(self, variant: str | None = None) -> System:
        return System(self.server, "raw", variant)

    def all_systems(self) -> list[System]:
        """Return Underway, the raw limit and the peers."""
        return [self.ours(), self.raw(), *self.peers]

    def in_turns(self, runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
        """Return the results of each run, round by round. The order of the runs alternates from round to round."""
        figures: dict[str, list[T]] = {name: [] for name in runs}
        for number in range(rounds):
            for name in list(runs) if number % 2 == 0 else reversed(list(runs)):
                self.show(f"round {number + 1} of {rounds}: {name}")
                figures[name].append(runs[name]())
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


# Draining


def drained(system: System, tasks: int, workers: int = 1) -> float:
    tasks = min(tasks, system.most_tasks or tasks)
    system.start().enqueue_in_bulk(tasks)
    system.settle()
    return system.drain(tasks, workers)


def drain_lines(bench: Bench, name: str, workload: str, workers: int) -> Iterator[Line]:
    systems = {beside(system): system for system in bench.all_systems()}
    figures = bench.in_turns(
        {name: lambda system=system: drained(system, bench.scale.drained, workers) for name, system in systems.items()},
        bench.scale.rounds,
    )
    ours, *others = figures
    for other in others:
        goal = at_least(1.2) if other.startswith("graphile-worker") else None
        yield Line(
            row=name,
            workload=workload,
            unit="tasks/s",
            ours=figures[ours],
            against=other,
            theirs=figures[other],
            goal=goal,
        )


@row("drain-1")
def drain_by_one_worker(bench: Bench) -> Iterator[Line]:
    tasks = f"{bench.scale.drained // 1000}k"
    yield from drain_lines(bench, "drain-1", f"drain {tasks} no-op async tasks, one worker process", 1)


@row("drain-2")
def drain_by_two_workers(bench: Bench) -> Iterator[Line]:
    yield from drain_lines(bench, "drain-2", "the same, two worker processes", 2)


@row("drain-sync")
def drain_in_threads(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.drained // 2
    figures = bench.in_turns(
        {
            "plain handlers": lambda: drained(bench.ours("50:sync"), tasks),
            "async handlers": lambda: drained(bench.ours(), tasks),
        },
        bench.scale.rounds,
    )
    yield Line(
        row="drain-sync",
        workload="drain, plain handlers in threads",
        unit="tasks/s",
        ours=figures["plain handlers"],
        against="our async handlers",
        theirs=figures["async handlers"],
        goal=at_least(0.5),
    )


# Enqueueing


def enqueue_lines(
    bench: Bench, name: str, workload: str, run: Callable[[System], float], goal: Goal, rounds: int
) -> Iterator[Line]:
    # One database for all rounds: a few more tasks in it make no measurable difference.
    systems = {beside(system): system.start() for system in bench.all_systems()}
    runs = {name: lambda system=system: run(system) for name, system in systems.items()}
    figures = bench.in_turns(runs, rounds)
    ours, *others = figures
    for other in others:
        yield Line(
            row=name,
            workload=workload,
            unit="tasks/s",
            ours=figures[ours],
            against="raw insert" if other == RAW else other,
            theirs=figures[other],
            goal=goal if other == RAW else None,
        )


@row("bulk")
def enqueue_in_bulk(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.bulk
    workload = f"enqueue {tasks // 1000}k tasks in bulk, 1000 a call"

    def run(system: System) -> float:
        return system.enqueue_in_bulk(min(tasks, system.most_tasks or tasks))

    yield from enqueue_lines(bench, "bulk", workload, run, at_least(0.8), bench.scale.rounds)


@row("single")
def enqueue_one_by_one(bench: Bench) -> Iterator[Line]:
    for connections, words in ((1, "one connection"), (4, "four connections")):
        workload = f"enqueue one by one, {words}"

        def run(system: System, connections: int = connections) -> float:
            return system.enqueue_one_by_one(connections, bench.scale.single_seconds)

        yield from enqueue_lines(bench, "single", workload, run, at_least(0.9), bench.scale.short_rounds)


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

    ours, raw = worked, bench.raw().start()
    figures = bench.in_turns({"ours": lambda: run(ours), "raw": lambda: run(raw)}, bench.scale.short_rounds)
    yield Line(
        row="single-busy",
        workload="enqueue one by one, sixteen connections, a worker busy",
        unit="tasks/s",
        ours=figures["ours"],
        against="raw insert, the same worker busy",
        theirs=figures["raw"],
        goal=at_least(0.9),
    )


# Latency


def latency_lines(
    bench: Bench, name: str, workload: str, rate: float, connections: int, rounds: int, goals: Mapping[int, Goal]
) -> Iterator[Line]:
    systems = {beside(system): system for system in [bench.ours(), bench.raw("del:100:1:notify"), *bench.peers]}
    runs = {
        other: lambda system=system: system.start().latencies(rate, bench.scale.paced_seconds, connections)
        for other, system in systems.items()
    }
    taken = bench.in_turns(runs, rounds)
    ours, *others = systems
    for percentile, goal in goals.items():
        figures = {other: [percentile_of(one, percentile) for one in taken[other]] for other in systems}
        for other in others:
            yield Line(
                row=name,
                workload=f"{workload}, p{percentile}",
                unit="ms",
                ours=figures[ours],
                against="raw NOTIFY and claim" if other == RAW else other,
                theirs=figures[other],
                goal=goal if other == RAW else None,
            )


def percentile_of(values: list[float], percentile: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percentile - 1]


@row("idle-latency")
def pick_up_by_an_idle_worker(bench: Bench) -> Iterator[Line]:
    goals = {50: at_most(1.5), 99: at_most(1.5)}
    yield from latency_lines(
        bench, "idle-latency", "from enqueue to start, worker idle, 50 tasks/s", 50, 1, bench.scale.short_rounds, goals
    )


@row("steady-latency")
def pick_up_at_a_steady_rate(bench: Bench) -> Iterator[Line]:
    goals = {99: at_most(1.5)}
    yield from latency_lines(
        bench, "steady-latency", "from enqueue to start, 500 tasks/s offered", 500, 4, bench.scale.rounds, goals
    )


# A held snapshot


@row("snapshot")
def drain_under_a_held_snapshot(bench: Bench) -> Iterator[Line | Curve]:
    scale = bench.scale
    passed = [scale.snapshot_tasks * number for number in range(1, scale.snapshot_rounds + 1)]
    curves: dict[str, list[list[float]]] = {}
    for repeat in range(scale.rounds):
        # The others have no goal and are only plotted: one pass is enough.
        for system in bench.all_systems() if repeat == 0 else [bench.ours()]:
            if system.most_tasks is None or system.most_tasks >= scale.snapshot_tasks:
                bench.show(f"pass {repeat + 1} of {scale.rounds}: {beside(system)}")
                curves.setdefault(beside(system), []).append(rounds_under_a_snapshot(system.start(), scale))
    ours = next(iter(curves))
    yield Line(
        row="snapshot",
        workload=f"a snapshot held open while {passed[-1] // 1000}k tasks pass, last rounds",
        unit="tasks/s",
        # The median of three rounds, because one takes half a second and varies with the machine.
        ours=[median(rates[-3:]) for rates in curves[ours]],
        against="our first rounds",
        theirs=[median(rates[:3]) for rates in curves[ours]],
        goal=at_least(0.95),
    )
    for other, passes in curves.items():
        yield Curve(panel="snapshot", name="Underway" if other == ours else other, x=passed, rounds=passes)


def rounds_under_a_snapshot(system: System, scale: Scale) -> list[float]:
    rates = []
    with system.connect() as holder:
        holder.autocommit = False
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from pg_class")
        for _ in range(scale.snapshot_rounds):
            system.enqueue_in_bulk(scale.snapshot_tasks)
            system.settle()
            rates.append(system.drain(scale.snapshot_tasks))
        holder.rollback()
    return rates


# Backlogs

FILL = """
    select count(underway.enqueue_many(%(queue)s, batch.inputs, %(job)s, delay => %(delay)s, priority => %(priority)s))
    from (
        select array_agg(jsonb_build_object('p', jsonb_build_object('i', number))) as inputs
        from generate_series(1, %(tasks)s) as number
        group by number / 1000
    ) as batch"""


def fill(
    system: System, tasks: int, *, queue: str = "bench", job: str = "noop", delay: str | None = None, priority: int = 0
) -> None:
    with system.connect() as connection:
        connection.execute("select underway.create_queue(%s)", [queue])
        connection.execute(FILL, {"queue": queue, "job": job, "tasks": tasks, "delay": delay, "priority": priority})


# In the partition that the drained tasks are moved to: finished today, kept for the default fourteen days.
HISTORY = """
    insert into underway.task_history (
        id, enqueued_at, started_at, finished_at, expires_at, expires_slot,
        priority, attempt, state, queue, job, input
    )
    select
        number - %(tasks)s, now(), now(), now(), now() + interval '14 days', today.slot,
        0, 1, 'succeeded', 'bench', 'noop', '{}'
    from generate_series(1, %(tasks)s) as number,
        underway._history_slot(now() + interval '14 days', now()) as today (slot)"""


def fill_history(system: System, tasks: int) -> None:
    with system.connect() as connection:
        connection.execute(HISTORY, {"tasks": tasks})


@row("backlog")
def drain_beside_a_backlog(bench: Bench) -> Iterator[Line | Curve]:
    scale = bench.scale
    million = f"{scale.backlog / 1e6:g}M"
    history = f"{scale.history / 1e6:g}M"
    prepare: dict[str, Callable[[System], None]] = {
        "an empty table": lambda system: None,
        f"{million} ready behind it": lambda system: fill(system, scale.backlog),
        f"{million} due tomorrow": lambda system: fill(system, scale.backlog, delay="1 day"),
        f"{million} in another queue": lambda system: fill(system, scale.backlog, queue="other"),
        f"{million} at another priority": lambda system: fill(system, scale.backlog, priority=-1),
        f"{history} in the history": lambda system: fill_history(system, scale.history),
    }
    systems: dict[str, System] = {}
    for number, (beside_it, fill_it) in enumerate(prepare.items()):
        bench.show(f"making {beside_it}")
        systems[beside_it] = bench.ours().start(f"bench_backlog_{number}")
        fill_it(systems[beside_it])
        with systems[beside_it].connect() as connection:
            connection.execute("vacuum analyze underway.task, underway.task_history")
            connection.execute("checkpoint")

    def run(system: System) -> float:
        fill(system, scale.backlog_drained)
        return system.drain_some(scale.backlog_drained)

    run(systems["an empty table"])  # the first drain is slower than all later ones
    figures = bench.in_turns(
        {name: lambda system=system: run(system) for name, system in systems.items()}, scale.short_rounds
    )
    for system in systems.values():
        bench.server.drop(system.database)
    empty, *others = systems
    for other in others:
        yield Line(
            row="backlog",
            workload=f"drain with {other}",
            unit="tasks/s",
            ours=figures[other],
            against="our drain of an empty table",
            theirs=figures[empty],
            goal=at_least(0.95),
        )
    rounds = [list(figure) for figure in zip(*figures.values(), strict=True)]
    yield Curve(panel="backlog", name="Underway", x=list(systems), rounds=rounds)


# A million tasks of one concurrency key, enqueued in one call. One of them is claimed and runs for a day.
BLOCKED = """
    select
        underway.create_queue('bench', heartbeat => '1 day', timeout => '1 day'),
        underway.enqueue_many(
            'bench', array_fill('{}'::jsonb, array[%(tasks)s::integer]), 'noop', concurrency_key => 'full'
        )"""


@row("parked")
def drain_beside_a_full_key(bench: Bench) -> Iterator[Line]:
    scale = bench.scale

    def start(number: int, blocked: int | None) -> System:
        system = bench.ours().start(f"bench_parked_{number}")
        if blocked is not None:
            with system.connect() as connection:
                connection.execute(BLOCKED, {"tasks": blocked})
                connection.execute("select from underway.dequeue('bench')")
                connection.execute("checkpoint")
        return system

    def claim_another_key(system: System) -> float:
        """Return the milliseconds of a claim of a task of another key. The first round is the first claim."""
        with system.connect() as connection:
            connection.execute("select underway.enqueue('bench', '{}', 'noop', concurrency_key => 'other')")
            begun_at = time.monotonic()
            claimed = connection.execute("select id, lease from underway.dequeue('bench')").fetchall()
            took = time.monotonic() - begun_at
            assert len(claimed) == 1, "the task of the other key was not claimed"
            connection.execute("select underway.complete(%s, %s)", claimed[0])
        return 1000 * took

    def run(system: System) -> float:
        fill(system, scale.keyed_drained)
        return system.drain_some(scale.keyed_drained)

    systems = {"a plain queue": start(0, None), "none": start(1, 1), "many": start(2, scale.backlog)}
    keyed = {name: systems[name] for name in ("none", "many")}
    claims = bench.in_turns(
        {name: lambda system=system: claim_another_key(system) for name, system in keyed.items()}, scale.rounds
    )
    for system in keyed.values():
        with system.connect() as connection:
            connection.execute("vacuum analyze underway.task")
    run(systems["a plain queue"])  # the first drain is slower than all later ones
    figures = bench.in_turns(
        {name: lambda system=system: run(system) for name, system in systems.items()}, scale.short_rounds
    )
    for system in systems.values():
        bench.server.drop(system.database)
    yield Line(
        row="parked",
        workload=f"claim a task of another key behind {scale.backlog / 1e6:g}M of a full key, from the first claim on",
        unit="ms",
        ours=claims["many"],
        against="the same queue, one task of the key",
        theirs=claims["none"],
        goal=at_most(1.5),
    )
    yield Line(
        row="parked",
        workload=f"drain with {scale.backlog / 1e6:g}M parked behind one concurrency key",
        unit="tasks/s",
        ours=figures["many"],
        against="the same queue, one task of the key",
        theirs=figures["none"],
        goal=at_least(0.95),
    )
    yield Line(
        row="parked",
        workload="drain a queue that has concurrency keys",
        unit="tasks/s",
        ours=figures["none"],
        against="our drain of a plain queue",
        theirs=figures["a plain queue"],
    )


# Inputs of sixty bytes.
WAL_FILL = """
    select count(underway.enqueue_many('bench', batch.inputs, 'noop'))
    from (
        select array_agg(format('{"p": {"i": %%s, "to": "ferris@example.com, corro, tux"}}', number)::jsonb) as inputs
        from generate_series(100001, 100000 + %s) as number
        group by number / 1000
    ) as batch"""


@row("wal")
def wal_of_a_task(bench: Bench) -> Iterator[Line]:
    ours = bench.ours()

    def run(keep_history: bool) -> float:
        ours.start()
        with ours.connect() as connection:
            connection.execute("select underway.create_queue('bench', keep_history => %s)", [keep_history])
            connection.execute("checkpoint")
            before = bench.server.written()
            connection.execute(WAL_FILL, [bench.scale.wal_tasks])
            ours.drain(bench.scale.wal_tasks)
            return (bench.server.written() - before) / bench.scale.wal_tasks

    figures = bench.in_turns({"history": lambda: run(True), "no history": lambda: run(False)}, bench.scale.rounds)
    for kept, words, goal in (("history", "kept", 1200), ("no history", "not kept", 900)):
        yield Line(
            row="wal",
            workload=f"WAL of a task, whole life, history {words}",
            unit="bytes",
            ours=figures[kept],
            goal=at_most(goal),
        )


@row("idle")
def what_an_idle_worker_does(bench: Bench) -> Iterator[Line]:
    if not bench.server.counts_statements:
        raise Failure("pg_stat_statements is not preloaded")
    bench.server.admin.execute("create extension if not exists pg_stat_statements")
    ours, seconds = bench.ours("10").start(), bench.scale.idle_seconds
    counted = """select coalesce(sum(calls), 0)::float8, coalesce(sum(wal_records), 0)::float8
        from pg_stat_statements where dbid = (select oid from pg_database where datname = %s)"""
    with contextlib.ExitStack() as stop:
        (worker,) = ours.work(1, stop)
        time.sleep(2.5)
        before = bench.server.admin.execute(counted, [ours.database]).fetchone()
        bench.show(f"watching for {seconds:g} seconds")
        time.sleep(seconds)
        after = bench.server.admin.execute(counted, [ours.database]).fetchone()
        worker.check()
    assert before is not None
    assert after is not None
    yield Line(
        row="idle",
        workload="an idle worker, statements",
        unit="a second",
        ours=[(after[0] - before[0]) / seconds],
        goal=at_most(1),
    )
    yield Line(
        row="idle", workload=f"an idle worker, WAL records in {seconds:g} s", unit="", ours=[after[1] - before[1]],
        goal=at_most(0),
    )  # fmt: skip


@row("queues")
def drain_many_queues(bench: Bench) -> Iterator[Line]:
    scale = bench.scale

    def run(queues: int) -> float:
        system = bench.ours(f"500:async:{queues}").start()
        tasks = scale.queues_tasks // queues
        with system.connect() as connection, connection.transaction():
            for number in range(queues):
                queue, job = (f"bench-{number}", f"noop-{number}") if number else ("bench", "noop")
                connection.execute("select underway.create_queue(%s)", [queue])
                connection.execute(FILL, {"queue": queue, "job": job, "tasks": tasks, "delay": None, "priority": 0})
        system.settle()
        return 1e6 / system.drain(tasks * queues)

    figures = bench.in_turns({"one queue": lambda: run(1), "many": lambda: run(scale.queues)}, scale.rounds)
    yield Line(
        row="queues",
        workload=f"drain {scale.queues:,} queues, one worker",
        unit="µs a task",
        ours=figures["many"],
        against="our drain of one queue",
        theirs=figures["one queue"],
        goal=at_most(2),
    )


# A session that claims and completes batches without a pause, each in a transaction of its own.
CLAIMER = """
    do $$
    declare
        v_tasks  bigint[];
        v_leases uuid[];
    begin
        for v_number in 1..{calls} loop
            select array_agg(c.id), array_agg(c.lease)
            into v_tasks, v_leases
            from underway.dequeue('bench', {batch}) c;
            exit when v_tasks is null;
            perform from underway.complete_many(v_tasks, v_leases);
            commit;
        end loop;
    end;
    $$"""


@row("crowd")
def claim_in_a_crowd(bench: Bench) -> Iterator[Line]:
    tasks = bench.scale.crowd_tasks

    def run(sessions: int) -> float:
        ours = bench.ours().start()
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(ours.connect()) for _ in range(sessions)]
            pool = stack.enter_context(ThreadPoolExecutor(sessions))

            def claim(batch: int, calls: int) -> None:
                statement = CLAIMER.format(batch=batch, calls=calls).encode()
                list(pool.map(lambda connection: connection.execute(statement), connections))

            # The first calls of a session are slow, because they plan their statements.
            fill(ours, sessions)
            claim(1, 1)
            fill(ours, tasks)
            ours.settle()
            begun_at = time.monotonic()
            claim(100, tasks)
            return tasks / (time.monotonic() - begun_at)

    figures = bench.in_turns(
        {f"{sessions} sessions": lambda sessions=sessions: run(sessions) for sessions in (1, 10, 100)},
        bench.scale.rounds,
    )
    alone, *crowds = figures
    for crowd in crowds:
        yield Line(
            row="crowd",
            workload=f"claim and complete by 100, {crowd}",
            unit="tasks/s",
            ours=figures[crowd],
            against="our single session",
            theirs=figures[alone],
            goal=at_least(1),
        )
