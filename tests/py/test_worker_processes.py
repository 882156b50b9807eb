"""Workers as processes of their own: killed, stopped by signals, killed by a task, beside plain SQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests import forks
from tests.py.support import SECONDS, Session, wait_until

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import asyncio, os, signal, sys, threading, time

import psycopg

import underway_pg as underway
from underway_pg import Context

app = underway.App(sys.argv[1])
local = threading.local()


def note(context: Context) -> None:
    if not hasattr(local, "connection"):
        local.connection = psycopg.connect(sys.argv[1], autocommit=True)
    local.connection.execute("insert into runs (task, attempt) values (%s, %s)", (context.id, context.attempt))


@app.job(queue="ledger")
def record(context: Context, n: int) -> None:
    note(context)


@app.job(queue="ledger")
def record_behind_the_gate(context: Context, n: int) -> None:
    note(context)
    while not local.connection.execute("select open from gate").fetchone()[0]:
        time.sleep(0.01)


@app.job(queue="poison")
def poison(n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.job(queue="slow")
def ends(context: Context, n: int) -> str:
    note(context)
    context.wait_cancelled(0.4)
    return "ended"


@app.job(queue="slow")
def never_ends(context: Context, n: int) -> None:
    note(context)
    time.sleep(600)


@app.job(queue="slow")
async def never_ends_async(context: Context, n: int) -> None:
    note(context)
    await asyncio.sleep(600)


app.run(queues=[sys.argv[2]], concurrency=int(sys.argv[3]), shutdown_timeout=float(sys.argv[4]))
"""

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.run("create table runs (task bigint, attempt int, at timestamptz default clock_timestamp())")
        session.run("create table gate as select false as open")
        at_once_again = "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 3)"
        session.create_queue("ledger", f"heartbeat => '3 seconds', {at_once_again}")
        session.create_queue("dead")
        session.create_queue("poison", f"heartbeat => '1 second', {at_once_again}, dead_letter_queue => 'dead'")
        session.create_queue("slow")
        yield session


@pytest.fixture
def start_worker(database: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers of a queue as processes, and ends what is left of them."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with contextlib.ExitStack() as stack:

        def start(queue: str, *, concurrency: int = 10, shutdown_timeout: float = 10.0) -> subprocess.Popen[bytes]:
            process = forks.Popen(
                [sys.executable, str(program), database, queue, str(concurrency), str(shutdown_timeout)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.DEVNULL,
            )
            stack.enter_context(process)  # which waits for its end
            stack.callback(process.kill)
            return process

        yield start


# Every task has the input {"n": ...}: see Session.enqueue.


def count(session: Session, table: str, condition: str = "true") -> int:
    number: int = session.value(f"select count(*) from {table} where {condition}")
    return number


def test_a_worker_that_is_killed_loses_no_task_and_repeats_none_that_was_completed(
    session: Session, start_worker: StartWorker
) -> None:
    tasks = session.enqueue("ledger", 400, "job => 'record'")
    # The worker cannot end these before it is killed.
    tasks += session.enqueue("ledger", 100, "job => 'record_behind_the_gate'")
    killed = start_worker("ledger", concurrency=20)
    wait_until(lambda: count(session, "underway.task_history") >= 100, "it is in the middle of its work")
    killed.send_signal(signal.SIGKILL)
    killed.wait(SECONDS)
    others = "datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    wait_until(lambda: count(session, "pg_stat_activity", others) == 0, "its last commits are through")

    completed = set(session.column("select id from underway.task_history"))
    held = set(session.column("select id from underway.task where state = 'in_progress'"))
    assert 100 <= len(completed) <= 400
    assert held  # it was in the middle of a batch
    session.run("update gate set open = true")
    next_one = start_worker("ledger", concurrency=20)
    wait_until(lambda: count(session, "underway.task") == 0, "the next worker has done the rest")
    next_one.terminate()
    assert next_one.wait(SECONDS) == 0

    ended = dict(session.rows("select id, state::text from underway.task_history"))
    assert ended == dict.fromkeys(tasks, "succeeded")
    runs = dict(session.rows("select task, count(*) from runs group by task"))
    assert set(runs) == set(tasks)
    assert {id for id, times in runs.items() if times > 1} <= held
    assert max(runs.values()) <= 2
    lapsed = session.column("select id from underway.task_history where errors -> 0 ->> 'type' = 'LeaseLapsed'")
    assert set(lapsed) == held


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_tasks_end_gives_the_rest_back_and_ends_the_process_in_time(
    session: Session, start_worker: StartWorker, number: signal.Signals
) -> None:
    (ends,) = session.enqueue("slow", 1, "job => 'ends'")
    running = session.enqueue("slow", 1, "job => 'never_ends'") + session.enqueue(
        "slow", 1, "job => 'never_ends_async'"
    )
    waiting = session.enqueue("slow", 5, "job => 'never_ends'")
    worker = start_worker("slow", concurrency=3, shutdown_timeout=1.0)
    wait_until(lambda: count(session, "runs") == 3, "three run")
    signalled_at = time.monotonic()
    worker.send_signal(number)
    assert worker.wait(SECONDS) == 0
    # After its grace it has less patience with handlers than the five seconds that it has elsewhere.
    assert time.monotonic() - signalled_at < 1.0 + 5.0

    assert session.state(ends) == "succeeded"
    for id in running + waiting:
        assert (session.state(id), session.attempt(id), session.errors(id)) == ("pending", 0, [])
    assert count(session, "underway.worker") == 0


def test_a_second_signal_ends_the_process_at_once(session: Session, start_worker: StartWorker) -> None:
    (id,) = session.enqueue("slow", 1, "job => 'never_ends'")
    worker = start_worker("slow", shutdown_timeout=600.0)
    wait_until(lambda: count(session, "runs") == 1, "it runs")
    worker.terminate()
    (later,) = session.enqueue("slow", 1, "job => 'never_ends'")
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)  # it waits for the task
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    for task in (id, later):
        assert (session.state(task), session.attempt(task)) == ("pending", 0)


def test_a_worker_that_is_idle_ends_at_once_on_a_signal(session: Session, start_worker: StartWorker) -> None:
    worker = start_worker("slow", shutdown_timeout=600.0)
    wait_until(lambda: count(session, "underway.worker", "idle") == 1, "it is idle")
    worker.terminate()
    assert worker.wait(SECONDS) == 0


def test_a_task_that_kills_its_worker_each_time_fails_for_good_and_leaves_a_dead_letter(
    session: Session, start_worker: StartWorker
) -> None:
    (id,) = session.enqueue("poison", 1, "job => 'poison'")
    deaths = 0
    for _ in range(3):
        worker = start_worker("poison")
        assert worker.wait(SECONDS) == -signal.SIGKILL
        deaths += 1
    start_worker("poison")
    wait_until(lambda: session.state(id) == "failed", "the task has failed for good")

    errors = session.errors(id)
    assert (deaths, session.attempt(id), len(errors)) == (3, 3, 3)
    assert all(error["type"] == "LeaseLapsed" and "lease lapsed" in error["message"] for error in errors)
    letter = session.rows("select queue, (dead_letter ->> 'task')::bigint, state::text from underway.task")
    assert letter == [("dead", id, "pending")]


def test_a_worker_and_plain_sql_drain_a_queue_side_by_side(
    session: Session, database: str, start_worker: StartWorker
) -> None:
    worker = start_worker("ledger", concurrency=5)
    wait_until(lambda: count(session, "underway.worker", "idle") == 1, "the worker is idle")
    enqueued = threading.Event()

    def drain(number: int) -> int:
        done = 0
        with psycopg.connect(database) as connection:
            # As psql would: one transaction claims, runs and completes.
            statement = """
                with claimed as (select id, attempt, lease from underway.dequeue('ledger', 3)),
                ran as (insert into runs (task, attempt) select id, attempt from claimed returning task)
                select count(*)
                from underway.complete_many(
                    array(select id from claimed order by id), array(select lease from claimed order by id)
                )
                where (select count(*) from ran) > 0"""
            while True:
                was_all = enqueued.is_set()
                row = connection.execute(statement).fetchone()
                connection.commit()
                assert row is not None
                if row[0] == 0 and was_all:
                    return done
                done += row[0]

    tasks = []
    with ThreadPoolExecutor() as threads:
        by_sql = [threads.submit(drain, number) for number in range(3)]

        def both_had_some() -> bool:
            tasks.extend(session.enqueue("ledger", 50, "job => 'record'"))
            by_worker = count(session, "underway.task_history", "worker is not null")
            return 0 < by_worker < count(session, "underway.task_history")

        try:
            wait_until(both_had_some, "the worker and plain SQL have both done some")
        finally:
            enqueued.set()
    wait_until(lambda: count(session, "underway.task") == 0, "all are done")
    worker.terminate()
    assert worker.wait(SECONDS) == 0

    assert sorted(session.column("select task from runs")) == tasks
    ended = dict(session.rows("select id, state::text from underway.task_history"))
    assert ended == dict.fromkeys(tasks, "succeeded")
    by_worker = count(session, "underway.task_history", "worker is not null")
    assert sum(future.result() for future in by_sql) + by_worker == len(tasks)
