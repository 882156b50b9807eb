"""What the tests of workers share: states to wait for, and what handlers leave for the test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.py.support import Beside, Session
from underway_pg import (
    App,
    RetryPolicy,
    TaskInfo,
)
from underway_pg.worker.listener import Listener

AT_ONCE = RetryPolicy(initial_interval=0, jitter=0)

ONCE = RetryPolicy(max_attempts=1)


def info(app: App, task: int) -> TaskInfo:
    found = app.task(task)
    assert found is not None
    return found


def put_back(app: App, task: int) -> TaskInfo | None:
    """Return a task that was claimed and is to wait now; a task that nobody has claimed is pending too."""
    found = info(app, task)
    return found if found.state == "pending" and found.ready_at and found.ready_at > datetime.now(UTC) else None


def messages(task: TaskInfo) -> list[Any]:
    return [error["message"] for error in task.errors or []]


def listening(session: Session, worker: Beside) -> None:
    """Wait until the worker hears what is notified."""
    # What a connection has asked for last: the channel of the worker itself.
    query = (
        "select pid from pg_stat_activity where datname = current_database() and state = 'idle'"
        " and query like 'listen _underway_ready_%'"
    )
    worker.until(lambda: session.column(query), "the worker listens")


def idle(session: Session, worker: Beside) -> None:
    """Wait until the worker has said that it is idle, and would hear if it is woken."""
    worker.until(lambda: session.column("select id from underway.worker where idle"), "the worker is idle")
    listening(session, worker)


def see_chores(session: Session, worker: Beside) -> None:
    """Wait until the worker has done its chores once more: one that is lost since long is forgotten."""
    lost = session.value("select underway.register_worker('lost', '{q}')")
    session.run("update underway.worker set seen_at = now() - interval '2 hours' where id = %s", lost)
    gone = "select 1 where not exists (select from underway.worker where id = %s)"
    worker.until(lambda: session.column(gone, lost), "the chores are done")


def seconds_to_start(session: Session, task: int, since: str) -> float:
    """How long after `since` (SQL, over the task's row in the history) the last attempt began."""
    seconds: float = session.value(
        f"select extract(epoch from started_at - ({since}))::float8 from underway.task_history where id = %s", task
    )
    return seconds


# Of all other sessions of the database.
KILL = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()"""


@contextlib.contextmanager
def away(app: App, session: Session) -> Iterator[None]:
    """The database takes no connections, and has ended all but that of the test."""
    name = session.value("select current_database()")
    with psycopg.connect(app.dsn, dbname="template1", autocommit=True) as operator:
        operator.execute(f"alter database {name} with allow_connections false".encode())
        session.run(KILL)
        try:
            yield
        finally:
            operator.execute(f"alter database {name} with allow_connections true".encode())


def deafen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers hear no notifications."""

    async def deaf(self: Listener) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Listener, "run", deaf)


class Seen:
    """What handlers leave for the test."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.values: list[Any] = []
        self.running = 0
        self.most_running = 0

    def __call__(self, value: Any) -> None:
        with self._lock:
            self.values.append(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1
