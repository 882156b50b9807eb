"""Transactions that are held open while tasks pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import psycopg
from results import Curve, Line, at_least, at_most
from systems import System

from rows.bench import Bench, Scale, beside, row


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


def hold_snapshot(holder: psycopg.Connection[Any]) -> None:
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select count(*) from pg_class")


def hold_write(holder: psycopg.Connection[Any]) -> None:
    holder.execute("create table public.written (number integer)")
    holder.commit()
    holder.execute("insert into public.written values (1)")


def hold_enqueue(holder: psycopg.Connection[Any]) -> None:
    holder.execute("select underway.enqueue('bench', '{}', 'noop')")


def rounds_under_a_snapshot(system: System, scale: Scale) -> list[float]:
    rates = []
    with system.connect() as holder:
        holder.autocommit = False
        hold_snapshot(holder)
        for _ in range(scale.snapshot_rounds):
            system.enqueue_in_bulk(scale.snapshot_tasks)
            system.settle()
            rates.append(system.drain(scale.snapshot_tasks))
        holder.rollback()
    return rates


# At a steady rate

ENQUEUE = """select underway.enqueue_many('bench', array_fill('{"i": 1}'::jsonb, array[20]), 'noop')"""
COMPLETE = "select from underway.complete_many(%s, %s)"


def claim_times(
    system: System, rate: float, seconds: float, hold: Callable[[psycopg.Connection[Any]], None]
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each claim of twenty tasks, while tasks come at a rate and a transaction is held open.

    They are those of the first and of the last fifth of the time. Claims that do not keep up fall behind the enqueues.
    """
    enqueued = threading.Semaphore(0)
    stop = threading.Event()
    first: list[float] = []
    last: list[float] = []
    with system.connect() as holder, system.server.connect(system.database) as claimer:
        holder.autocommit = False
        hold(holder)
        begun = time.monotonic()

        def produce() -> None:
            with system.server.connect(system.database) as connection:
                for number in range(int(rate * seconds / 20)):
                    if stop.wait(max(0.0, begun + number * 20 / rate - time.monotonic())):
                        return
                    connection.execute(ENQUEUE)
                    enqueued.release()

        producer = threading.Thread(target=produce)
        producer.start()
        try:
            while (now := time.monotonic() - begun) < seconds and enqueued.acquire(timeout=1):
                before = time.perf_counter()
                claimed = claimer.execute("select id, lease from underway.dequeue('bench', 20)").fetchall()
                took = 1000 * (time.perf_counter() - before)
                if now < seconds / 5:
                    first.append(took)
                elif now > seconds * 4 / 5:
                    last.append(took)
                claimer.execute(COMPLETE, [[task for task, _ in claimed], [lease for _, lease in claimed]])
        finally:
            stop.set()
            producer.join()
        holder.rollback()
    return first, last


def held_line(
    bench: Bench, name: str, words: str, rate: float, hold: Callable[[psycopg.Connection[Any]], None]
) -> Iterator[Line]:
    seconds = bench.scale.held_seconds
    ours = bench.ours().start()
    bench.show(f"{seconds:g} seconds at {rate:,.0f} tasks/s")
    first, last = claim_times(ours, rate, seconds, hold)
    yield Line(
        row=name,
        workload=f"{words} held open for {seconds:g} s at {rate:,.0f} tasks/s: a claim of 20 in the last fifth, p50",
        unit="ms",
        ours=[median(last)],
        against="our first fifth",
        theirs=[median(first)],
        goal=at_most(1.2),
    )


@row("held-writer")
def claims_beside_a_held_writer(bench: Bench) -> Iterator[Line]:
    yield from held_line(bench, "held-writer", "a transaction that has written", 2000, hold_write)


@row("held-enqueuer")
def claims_beside_a_held_enqueuer(bench: Bench) -> Iterator[Line]:
    yield from held_line(bench, "held-enqueuer", "a transaction that has enqueued", 2000, hold_enqueue)


@row("held-snapshot")
def claims_beside_a_held_snapshot(bench: Bench) -> Iterator[Line]:
    for rate in (800, 2000):
        yield from held_line(bench, "held-snapshot", "a snapshot", rate, hold_snapshot)
