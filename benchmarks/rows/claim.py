"""Claims by SQL alone: one by one, and from many sessions at once."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import instructions
from results import Line, at_least, at_most
from rich.console import Console
from systems import Failure

from rows.bench import Bench, lines, row
from rows.fill import CLAIMER, fill
from underway_pg.embedded import system_binaries

DEQUEUE = "select * from underway.dequeue('bench');"

# The update of a claim, without its checks, limits, settings of jobs and watermark.
UPDATE = """
    update underway.task t
    set
        state = 'in_progress', parked = false, attempt = t.attempt + 1, holds_slot = false, started_at = now(),
        lease = gen_random_uuid(), lease_expires_at = now() + interval '30 s'
    where t.ctid = (
        select c.ctid from underway.task c
        where c.queue = 'bench' and c.priority = 0 and c.ready_at <= now() and c.state = 'pending' and not c.parked
        order by c.ready_at, c.id
        limit 1 for no key update skip locked
    )
    returning
        t.id, t.queue, t.job, t.input, t.attempt, t.lease, t.timeout, t.heartbeat, t.headers, t.priority,
        t.enqueued_at, t.dead_letter;"""


@row("claim")
def claim_one_by_one(bench: Bench) -> Iterator[Line]:
    claims = bench.scale.claims

    def run(statement: str, commit: str) -> float:
        ours = bench.ours().start()
        fill(ours, claims * 2)
        ours.settle()
        rate = bench.server.pgbench(ours.database, statement, 1, transactions=claims, synchronous_commit=commit)
        return 1e6 / rate

    for commit, words, goal in (("off", "in memory", 1.35), ("on", "on disk", 1.3)):
        runs = {
            name: lambda statement=statement, commit=commit: run(statement, commit)
            for name, statement in (("ours", DEQUEUE), ("the update as a plain statement", UPDATE))
        }
        figures = bench.in_turns(runs, bench.scale.short_rounds)
        workload = f"claim one task through pgbench, prepared, commits {words}"
        yield from lines("claim", workload, "µs", figures, at_most(goal))


@row("instructions")
def instructions_of_a_claim(bench: Bench) -> Iterator[Line]:
    binaries = system_binaries()
    if shutil.which("valgrind") is None or binaries is None:
        raise Failure("valgrind or the system's PostgreSQL is not installed")
    (work,) = (work for work in instructions.WORKS if work.name == "claim and completion one by one")
    counts = instructions.measure(binaries, None, Console(quiet=True), [work])
    yield Line(
        row="instructions",
        workload="server's instructions for a claim and completion, one by one",
        unit="",
        ours=[counts[work.name]],
        goal=at_most(1_100_000),
    )


def claim_by_many(bench: Bench, sessions: int, batch: int) -> float:
    """Return the tasks a second of sessions that claim and complete batches until none is left."""
    tasks = bench.scale.crowd_tasks
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
        claim(batch, tasks)
        return tasks / (time.monotonic() - begun_at)


@row("crowd")
def claim_in_a_crowd(bench: Bench) -> Iterator[Line]:
    runs = {
        f"{sessions} sessions": lambda sessions=sessions: claim_by_many(bench, sessions, 100) for sessions in (10, 100)
    }
    figures = bench.in_turns({**runs, "our single session": lambda: claim_by_many(bench, 1, 100)}, bench.scale.rounds)
    for crowd in runs:
        of_crowd = {crowd: figures[crowd], "our single session": figures["our single session"]}
        yield from lines("crowd", f"claim and complete by 100, {crowd}", "tasks/s", of_crowd, at_least(1))
    runs = {
        "100 sessions": lambda: claim_by_many(bench, 100, 10),
        "our four sessions": lambda: claim_by_many(bench, 4, 10),
    }
    figures = bench.in_turns(runs, bench.scale.short_rounds)
    yield from lines("crowd", "claim and complete by 10, 100 sessions", "tasks/s", figures, at_least(0.95))
