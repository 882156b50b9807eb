"""The work: jobs of every kind, a worker of them as a program, and a producer that goes on whatever happens.

python -m tests.chaos.workload DSN LEDGERS
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.checker import Rules
from tests.chaos.ledger import Ledger
from underway_pg import App, Context, Queue, RetryPolicy

HEARTBEAT = 2.0  # seconds
CONCURRENCY = 8
SHORT = 0.02
MIDDLING = 0.5  # long enough to be met at work by whoever had the task before
LONG = 1.6 * HEARTBEAT  # of a task whose lease has to be renewed
TIMEOUT = 20  # which is all that ends a handler whose own statement is not answered

RETRY = RetryPolicy(max_attempts=50, initial_interval=0.1, max_interval=1.0)
QUEUES = [
    Queue(name="dead"),
    Queue(name="plain", retry=RETRY, heartbeat=HEARTBEAT, timeout=TIMEOUT, dead_letter_queue="dead"),
    Queue(name="keyed", retry=RETRY, heartbeat=HEARTBEAT, timeout=TIMEOUT),
    Queue(name="limited", retry=RETRY, heartbeat=HEARTBEAT, timeout=TIMEOUT, max_running=3),
]
RULES = {
    "failing_jobs": frozenset({"hopeless"}),
    "effect_jobs": frozenset({"effect", "effect_async"}),
    "max_attempts": {"hopeless": 3},
    "max_running": {"limited": 3},
}
KEYS = 50


def rules(lossy_after: float = float("inf")) -> Rules:
    return Rules(**RULES, lossy_after=lossy_after)


def job_of(number: int) -> tuple[str, str, str | None]:
    """The queue, the job and the concurrency key of a task, by its number."""
    if number % 50 == 0:
        return "plain", "hopeless", None
    if number % 100 == 11:
        return "plain", "long", None
    if number % 10 == 8:
        return "plain", "middling", None
    match number % 10:
        case 1:
            return "plain", "again", None
        case 2 | 3:
            return "plain", "effect", None
        case 4:
            return "plain", "effect_async", None
        case 5:
            return "keyed", "quick", f"key {number // 10 % KEYS}"
        case 6:
            return "limited", "quick", None
        case 7:
            return "plain", "in_thread", None
    return "plain", "quick", None


def application(dsn: str, ledger: Ledger | None) -> App:
    app = App(dsn, queues=QUEUES)

    @contextlib.contextmanager
    def noted(context: Context, n: int) -> Iterator[None]:
        _, _, key = job_of(n)
        run = {"task": context.id, "lease": context._attempt.task.lease.hex()}
        ledger.write("begin", **run, n=n, attempt=context.attempt, queue=context.queue, key=key)
        try:
            yield
        except BaseException:
            ledger.write("raised", **run)
            raise
        ledger.write("returned", **run)

    @app.job(queue="plain")
    async def quick(context: Context, n: int) -> None:
        with noted(context, n):
            await asyncio.sleep(SHORT)

    @app.job(queue="plain")
    def in_thread(context: Context, n: int) -> int:
        with noted(context, n):
            context.wait_cancelled(SHORT)
        return n

    @app.job(queue="plain")
    async def middling(context: Context, n: int) -> None:
        with noted(context, n):
            await asyncio.sleep(MIDDLING)

    @app.job(queue="plain")
    def long(context: Context, n: int) -> None:
        with noted(context, n):
            context.wait_cancelled(LONG)

    @app.job(queue="plain")
    def again(context: Context, n: int) -> None:
        with noted(context, n):
            if context.attempt == 1:
                raise RuntimeError("not at the first attempt")

    @app.job(queue="plain")
    async def hopeless(context: Context, n: int) -> None:
        with noted(context, n):
            raise RuntimeError("never")

    # What a handler does in its own transaction has been done when it is complete, and not otherwise. The ledger is
    # told before that: with the commit the next task may begin.

    @app.job(queue="plain")
    def effect(context: Context, n: int) -> None:
        with context.transaction() as connection, noted(context, n):
            connection.execute("insert into chaos.effect values (%s, %s, %s)", (n, context.id, context.attempt))

    @app.job(queue="plain")
    async def effect_async(context: Context, n: int) -> None:
        async with context.transaction() as connection:
            with noted(context, n):
                await connection.execute(
                    "insert into chaos.effect values (%s, %s, %s)", (n, context.id, context.attempt)
                )

    return app


class Producer:
    """Enqueues tasks over some seconds, in a thread. What broke is not tried again: its tasks are gone, or there."""

    def __init__(self, dsn: str, directory: Path, first: int) -> None:
        self._dsn = dsn
        self._ledger = Ledger(directory, "producer")
        self._number = first
        self._stopping = threading.Event()

    def enqueue(self, connection: psycopg.Connection[Any], count: int) -> None:
        """So many tasks in one transaction."""
        numbers = list(range(self._number, self._number + count))
        self._number += count
        with connection.transaction():
            tasks = json.dumps([_task(number) for number in numbers])
            connection.execute("select underway.enqueue_many(%s::jsonb)", [tasks])
            # From here on it may be committed; before, it cannot be.
            self._ledger.write("offered", numbers=numbers)
        self._ledger.write("committed", first=numbers[0])

    def enqueue_all(self, count: int, seconds: float) -> int:
        """So many tasks, evenly over the time, and as much longer as it takes. Returns how often the database broke."""
        broke = 0
        batch = max(5, min(100, count // 50))
        pause = seconds * batch / count
        while count > 0 and not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._dsn, autocommit=True, prepare_threshold=None, connect_timeout=5
                ) as connection:
                    while count > 0 and not self._stopping.wait(pause):
                        self.enqueue(connection, min(batch, count))
                        count -= batch
            except psycopg.OperationalError:
                broke += 1
                self._stopping.wait(0.1)
        return broke

    def stop(self) -> None:
        self._stopping.set()


def _task(number: int) -> dict[str, Any]:
    queue, job, key = job_of(number)
    task: dict[str, Any] = {"queue": queue, "job": job, "input": {"n": number}}
    if key is not None:
        task["concurrency_key"] = key
    if job == "hopeless":
        task["retry_policy"] = {"max_attempts": 3, "initial_interval": "0.1 s"}
    return task


if __name__ == "__main__":
    dsn, directory = sys.argv[1:]
    os.environ["PGAPPNAME"] = f"worker {os.getpid()}"  # by which the database knows it
    application(dsn, Ledger(Path(directory), "worker")).run(
        queues=["plain", "keyed", "limited"], concurrency=CONCURRENCY, shutdown_timeout=5.0
    )
