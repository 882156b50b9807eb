"""Drains and views beside many other tasks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from results import Curve, Line, at_least, at_most
from systems import System

from rows.bench import Bench, lines, row
from rows.fill import CLAIMER, fill
from rows.held import hold_snapshot

# In the partition that the drained tasks are moved to: finished today, kept for the default fourteen days.
HISTORY = """
    insert into underway.task_history (
        id, enqueued_at, started_at, finished_at, kept_until, kept_slot,
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
    for other in list(systems)[1:]:
        of_other = {other: figures[other], "our drain of an empty table": figures["an empty table"]}
        yield from lines("backlog", f"drain with {other}", "tasks/s", of_other, at_least(0.95))
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
    million = f"{scale.backlog / 1e6:g}M"
    one = "the same queue, one task of the key"
    workload = f"claim a task of another key behind {million} of a full key, from the first claim on"
    yield from lines("parked", workload, "ms", {"many": claims["many"], one: claims["none"]}, at_most(1.5))
    workload = f"drain with {million} parked behind one concurrency key"
    yield from lines("parked", workload, "tasks/s", {"many": figures["many"], one: figures["none"]}, at_least(0.95))
    of_none = {"none": figures["none"], "our drain of a plain queue": figures["a plain queue"]}
    yield from lines("parked", "drain a queue that has concurrency keys", "tasks/s", of_none)


VIEWS = {
    "queue_stats": "select * from underway.queue_stats",
    "stats()": "select underway.stats()",
    "the depth of one queue": "select ready, scheduled, in_progress from underway.queue_stats where queue = 'bench'",
}


@row("counts")
def views_beside_dead_rows(bench: Bench) -> Iterator[Line]:
    scale = bench.scale
    ours = bench.ours().start()
    with contextlib.ExitStack() as stack:
        holder, connection = (stack.enter_context(ours.connect()) for _ in range(2))
        connection.execute("select underway.create_queue('bench', keep_history => false)")
        fill(ours, scale.backlog)
        # While the snapshot is held no vacuum removes the tasks that are claimed and completed now.
        holder.autocommit = False
        hold_snapshot(holder)
        bench.show("making dead rows")
        connection.execute(CLAIMER.format(batch=5000, calls=scale.backlog).encode())
        fill(ours, scale.live)
        connection.execute("analyze underway.task")

        def look(view: str) -> float:
            connection.execute("select underway.maintain()")  # as a worker does each second
            begun = time.perf_counter()
            connection.execute(view.encode()).fetchall()
            return 1000 * (time.perf_counter() - begun)

        for name, view in VIEWS.items():
            look(view)
            yield Line(
                row="counts",
                workload=f"{name} with {scale.live // 1000}k live and {scale.backlog / 1e6:g}M dead rows",
                unit="ms",
                ours=[look(view) for _ in range(scale.short_rounds)],
                goal=at_most(5),
            )
