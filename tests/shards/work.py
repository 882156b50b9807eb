"""The work: one short job, a worker of it as a program, and producers that record what was acknowledged.

python -m tests.shards.work DSN LEDGERS
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.ledger import Ledger
from underway_pg import App, Client, Context, DatabaseUnavailable, Queue

QUEUE = "work"
CONCURRENCY = 16
TASK_SECONDS = 0.02
BATCH = 10

# Of the worker, in seconds: longer than a failover takes at most.
HEARTBEAT = float(os.environ.get("HEARTBEAT", "40"))

# Seconds: of a call of a producer.
TIMEOUT = 6.0


def application(dsn: str, ledger: Ledger | None = None) -> App:
    app = App(dsn, queues=[Queue(name=QUEUE, heartbeat=HEARTBEAT, timeout=300)])

    @app.job(queue=QUEUE)
    async def work(context: Context, n: int) -> None:
        assert ledger is not None
        ledger.write("begin", n=n, attempt=context.attempt)
        await asyncio.sleep(TASK_SECONDS)

    return app


@dataclass(frozen=True)
class Acknowledged:
    """Tasks whose enqueueing was confirmed, and the positions in the WAL before and after its commit, where known."""

    numbers: list[int]
    at: float
    before: int | None = None
    after: int | None = None


class Producer(threading.Thread):
    """Enqueues until so many tasks are acknowledged; what was not is not tried again."""

    def __init__(self, dsn: str, tasks: int, seconds: float) -> None:
        super().__init__(name="producer")
        self._dsn = dsn
        self._tasks = tasks
        self._pause = seconds * BATCH / tasks
        self._number = 0
        self.acknowledged: list[Acknowledged] = []
        self.gave_up: list[float] = []  # the seconds that each call took that failed
        self.error: BaseException | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        try:
            while len(self.acknowledged) * BATCH < self._tasks and not self.stopping.wait(self._pause):
                numbers = list(range(self._number, self._number + BATCH))
                self._number += BATCH
                begun = time.monotonic()
                try:
                    self.acknowledged.append(self._enqueue(numbers))
                except (DatabaseUnavailable, psycopg.OperationalError, psycopg.InterfaceError):
                    self.gave_up.append(time.monotonic() - begun)
        except BaseException as error:
            self.error = error
        finally:
            self._close()

    def _enqueue(self, numbers: list[int]) -> Acknowledged:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


class ClientProducer(Producer):
    """With a client of the package."""

    def __init__(self, dsn: str, tasks: int, seconds: float) -> None:
        super().__init__(dsn, tasks, seconds)
        self._client = Client(dsn, timeout=TIMEOUT)

    def _enqueue(self, numbers: list[int]) -> Acknowledged:
        self._client.enqueue_many(QUEUE, [{"n": n} for n in numbers], job="work")
        return Acknowledged(numbers, time.monotonic())

    def _close(self) -> None:
        self._client.drain()


class TransactionProducer(Producer):
    """In transactions of a connection of its own, with the positions in the WAL around each commit."""

    _connection: psycopg.Connection[Any] | None = None

    def _enqueue(self, numbers: list[int]) -> Acknowledged:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=2)
            with self._connection.transaction():
                tasks = json.dumps([{"queue": QUEUE, "job": "work", "input": {"n": n}} for n in numbers])
                self._connection.execute("select underway.enqueue_many(%s::jsonb)", [tasks])
                before = self._position()
            at = time.monotonic()
            return Acknowledged(numbers, at, before, self._position())
        except psycopg.Error:
            self._close()
            raise

    def _position(self) -> int:
        assert self._connection is not None
        return int(self._connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchall()[0][0])

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


if __name__ == "__main__":
    dsn, directory = sys.argv[1:]
    application(dsn, Ledger(Path(directory), "worker")).run(
        queues=[QUEUE], concurrency=CONCURRENCY, shutdown_timeout=5.0
    )
