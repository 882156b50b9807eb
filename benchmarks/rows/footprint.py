"""What tasks and workers cost: WAL, CPU time, the size of the live table, an idle worker."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from statistics import median

from results import Line, at_most
from systems import Failure, System

from rows.bench import Bench, row

# Inputs of sixty bytes.
WAL_FILL = """
    select count(underway.enqueue_many('bench', batch.inputs, 'noop'))
    from (
        select array_agg(format('{"p": {"i": %%s, "to": "ferris@example.com, corro, tux"}}', number)::jsonb) as inputs
        from generate_series(100001, 100000 + %s) as number
        group by number / 1000
    ) as batch"""

HISTORY_SIZE = """
    select sum(pg_total_relation_size(part.relid))::float8 from pg_partition_tree('underway.task_history') part"""


@row("wal")
def wal_of_a_task(bench: Bench) -> Iterator[Line]:
    ours = bench.ours()
    history = []

    def run(keep_history: bool) -> float:
        ours.start()
        with ours.connect() as connection:
            connection.execute("select underway.create_queue('bench', keep_history => %s)", [keep_history])
            connection.execute("checkpoint")
            before = bench.server.written()
            connection.execute(WAL_FILL, [bench.scale.wal_tasks])
            ours.drain(bench.scale.wal_tasks)
            written = bench.server.written() - before
            if keep_history:
                (size,) = connection.execute(HISTORY_SIZE).fetchone() or (0.0,)
                history.append(size / bench.scale.wal_tasks)
            return written / bench.scale.wal_tasks

    figures = bench.in_turns({"history": lambda: run(True), "no history": lambda: run(False)}, bench.scale.rounds)
    for kept, words, goal in (("history", "kept", 1000), ("no history", "not kept", 750)):
        yield Line(
            row="wal",
            workload=f"WAL of a task, whole life, history {words}",
            unit="bytes",
            ours=figures[kept],
            goal=at_most(goal),
        )
    yield Line(row="wal", workload="a task in the history", unit="bytes", ours=history)


COMMIT = """insert into raw_task (payload) values ('{"i": 1}');"""


@row("disk")
def writes_of_the_disk(bench: Bench) -> Iterator[Line]:
    def rate(size: int) -> float:
        """Return the synced writes of a size a second, in the directory of the temporary cluster."""
        with tempfile.TemporaryFile(buffering=0) as file:
            block, begun, number = os.urandom(size), time.monotonic(), 0
            while time.monotonic() - begun < bench.scale.single_seconds:
                file.write(block)
                os.fdatasync(file.fileno())
                number += 1
            return number / (time.monotonic() - begun)

    raw = bench.raw().start()
    seconds = bench.scale.single_seconds
    commits = [bench.server.pgbench(raw.database, COMMIT, 64, seconds=seconds) for _ in range(bench.scale.short_rounds)]
    yield Line(row="disk", workload="commits of a small insert, 64 connections", unit="a second", ours=commits)
    syncs = [rate(8192) for _ in range(bench.scale.short_rounds)]
    yield Line(row="disk", workload="the disk: syncs of 8 kB", unit="a second", ours=syncs)
    megabytes = [8 * rate(8_000_000) for _ in range(bench.scale.short_rounds)]
    yield Line(row="disk", workload="the disk: sequential, a sync each 8 MB", unit="MB/s", ours=megabytes)


@row("machine")
def evenness_of_the_machine(bench: Bench) -> Iterator[Line]:
    """How often the processor itself is slow, as that of a virtual machine may be: each p99 has such moments in it."""

    def loop() -> float:
        begun = time.perf_counter()
        for _ in range(4000):
            pass
        return time.perf_counter() - begun

    ended, taken = time.monotonic() + bench.scale.idle_seconds, []
    while time.monotonic() < ended:
        taken.append(loop())
    usual = median(taken)
    slow = [one for one in taken if one > 3 * usual]
    share = 100 * sum(slow) / sum(taken)
    yield Line(row="machine", workload="the machine: time at a third of its speed or less", unit="%", ours=[share])
    slowest = max(taken) / usual
    yield Line(row="machine", workload="the machine: its slowest moment", unit="times the usual", ours=[slowest])


@row("cpu")
def cpu_of_a_task(bench: Bench) -> Iterator[Line]:
    ours, tasks = bench.ours(), bench.scale.drained
    steps: dict[str, list[float]] = {}
    for _ in range(bench.scale.rounds):
        ours.start()
        before = bench.server.cpu_seconds()
        ours.enqueue_one_by_one(4, 2 * bench.scale.single_seconds)
        after_single = bench.server.cpu_seconds()
        with ours.connect() as connection:
            (singles,) = connection.execute("select count(*) from underway.task").fetchone() or (0,)
        ours.start()
        settled = bench.server.cpu_seconds()
        ours.enqueue_in_bulk(tasks)
        after_bulk = bench.server.cpu_seconds()
        ours.settle()
        before_drain = bench.server.cpu_seconds()
        ours.drain(tasks)
        drained = bench.server.cpu_seconds()
        for step, seconds in (
            ("server, enqueue one by one", (after_single - before) / singles),
            ("server, enqueue by 1000", (after_bulk - settled) / tasks),
            ("server, claim and completion by 500", (drained - before_drain) / tasks),
            ("worker, no-op handler", ours.worker_cpu_seconds / tasks),
        ):
            steps.setdefault(step, []).append(1e6 * seconds)
    for step, figures in steps.items():
        yield Line(row="cpu", workload=f"CPU time of a task: {step}", unit="µs", ours=figures)


LIVE_TASKS, LIVE_RATE = 5000, 10_000
ENQUEUE_DELAYED = """
    select underway.enqueue_many(
        'bench', array_fill('{"p": {"i": 1}}'::jsonb, array[500]), 'noop', delay => interval '1 second' * %s
    )"""


@row("live-size")
def size_of_the_live_table(bench: Bench) -> Iterator[Line]:
    seconds = bench.scale.live_size_seconds
    ours = bench.ours().start()
    sizes = []
    # Each task is due half a second after its enqueue, so 5,000 are live.
    with contextlib.ExitStack() as stop:
        ours.work(1, stop)
        connection = stop.enter_context(ours.server.connect(ours.database))
        begun = time.monotonic()
        for number in range(int(LIVE_RATE * seconds / 500)):
            time.sleep(max(0.0, begun + number * 500 / LIVE_RATE - time.monotonic()))
            connection.execute(ENQUEUE_DELAYED, [LIVE_TASKS / LIVE_RATE])
            if number % 20 == 0:
                bench.show(f"{time.monotonic() - begun:.0f} of {seconds:g} s")
                size = connection.execute("select pg_total_relation_size('underway.task') / 1e6").fetchone()
                assert size is not None
                sizes.append(float(size[0]))
        took = time.monotonic() - begun
        live = connection.execute("select count(*) from underway.task").fetchone()
    assert live is not None
    if took > 1.05 * seconds or live[0] > 3 * LIVE_TASKS:
        raise Failure(f"it took {took:.0f} s instead of {seconds:g}, and {live[0]} tasks are live: too slow")
    yield Line(
        row="live-size",
        workload=f"live table and indexes after {seconds:g} s at {LIVE_RATE:,} tasks/s, {LIVE_TASKS:,} live",
        unit="MB",
        ours=[sizes[-1]],
        goal=at_most(100),
    )
    yield Line(row="live-size", workload="the same, largest size of a second", unit="MB", ours=[max(sizes)])


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


@row("idle-many")
def what_many_idle_workers_cost(bench: Bench) -> Iterator[Line]:
    workers, seconds = bench.scale.idle_workers, bench.scale.idle_seconds
    ours = bench.ours(f"10:async:1:{workers}").start()
    with contextlib.ExitStack() as stop:
        ours.work(1, stop)
        with ours.connect() as connection:
            deadline = time.monotonic() + 120
            while connection.execute("select count(*) from underway.worker_stats").fetchone() != (workers,):
                if time.monotonic() > deadline:
                    raise Failure(f"not all of {workers} workers started")
                time.sleep(0.1)
            counted = connection.execute(
                "select count(*) - 1 from pg_stat_activity where datname = current_database()"
            ).fetchone()
        assert counted is not None
        time.sleep(5)
        bench.show(f"watching {workers} workers for {seconds:g} seconds")
        before = bench.server.cpu_seconds()
        time.sleep(seconds)
        used = bench.server.cpu_seconds() - before
        bench.show(f"enqueueing for {workers} idle workers")
        cost, waited = _single_tasks_of_idle_workers(bench, ours, seconds, used / seconds)
    yield Line(
        row="idle-many",
        workload=f"{workers} idle worker processes: the server's CPU",
        unit="% of a core",
        ours=[100 * used / seconds],
        goal=at_most(2),
    )
    yield Line(row="idle-many", workload="connections of an idle worker", unit="", ours=[counted[0] / workers])
    single = f"a task every 50 ms to {workers} idle workers"
    yield Line(row="idle-many", workload=f"{single}: the server's CPU, each", unit="ms", ours=[cost])
    yield Line(row="idle-many", workload=f"{single}: until it starts, p50", unit="ms", ours=[waited])


def _single_tasks_of_idle_workers(bench: Bench, ours: System, seconds: float, idle: float) -> tuple[float, float]:
    """Return ms of CPU that a task costs beside the `idle` CPU of a second, and the median of ms until it starts."""
    every = 0.05
    tasks = int(seconds / every)
    with ours.connect() as connection:
        begun, before = time.monotonic(), bench.server.cpu_seconds()
        for number in range(tasks):
            connection.execute("""select underway.enqueue('bench', '{"p": 1}', job => 'noop')""")
            time.sleep(max(0.0, begun + every * (number + 1) - time.monotonic()))
        used = bench.server.cpu_seconds() - before - idle * (time.monotonic() - begun)
        started = """
            select extract(epoch from percentile_cont(0.5) within group (order by started_at - enqueued_at)) * 1000
            from underway.task_history"""
        waited = connection.execute(started).fetchone()
    assert waited is not None
    return 1000 * used / tasks, float(waited[0])
