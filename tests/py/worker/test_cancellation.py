"""Cancelling tasks that run."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest

from tests.py.support import FOREVER, SECONDS, Session, beside, final
from tests.py.worker_support import Seen, deafen, info, listening, see_chores
from underway_pg import (
    App,
    Context,
    Worker,
)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_cancellation_reaches_a_running_handler_at_once(app: App, session: Session, kind: str) -> None:
    seen = Seen()

    @app.job(queue="q", heartbeat=600)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)
        seen("interrupted")

    @app.job(queue="q", heartbeat=600)
    async def asynchronous(context: Context) -> None:
        seen("started")
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen("interrupted")

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        assert app.cancel(id)
        worker.until(lambda: len(seen.values) == 2, "it is interrupted")
        assert info(app, id).state == "cancelled"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_cancellation_that_is_not_heard_is_found_by_the_heartbeat(
    app: App, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(monkeypatch)
    seen = Seen()

    @app.job(queue="q", heartbeat=1.5)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)
        seen("interrupted")

    @app.job(queue="q", heartbeat=1.5)
    async def asynchronous(context: Context) -> None:
        seen("started")
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen("interrupted")

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        assert app.cancel(id)
        worker.until(lambda: len(seen.values) == 2, "it is interrupted")
        assert info(app, id).state == "cancelled"


def test_a_task_that_is_cancelled_and_retried_while_its_handler_cleans_up_runs_again(
    app: App, session: Session
) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def tidy(context: Context) -> str:
        seen("started")
        if len(seen.values) == 1:
            try:
                await asyncio.sleep(FOREVER)
            finally:
                while seen.values.count("started") < 2:
                    await asyncio.sleep(0.01)
                seen("cleaned up")
        while "cleaned up" not in seen.values:
            await asyncio.sleep(0.01)
        while worker.worker.stats().running > 1:  # until the first one is gone from the worker's books
            await asyncio.sleep(0.01)
        return "ran again"

    @app.job(queue="q")
    def next_one() -> str:
        return "alive"

    id = tidy.enqueue()
    with beside(app.worker(concurrency=3)) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        app.client.retry(id)
        task = final(app, id, worker)
        assert (task.state, task.output) == ("succeeded", "ran again")
        assert final(app, next_one.enqueue(), worker).output == "alive"


@pytest.mark.parametrize("channel", ["underway_cancelled", "underway_ready"])
def test_a_notification_that_means_nothing_is_ignored(app: App, session: Session, channel: str) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def runs() -> str:
        started.set()
        release.wait(SECONDS)
        return "done"

    @app.job(queue="q", heartbeat=600)  # so that no heartbeat finds the cancellation
    def waits(context: Context) -> None:
        started.set()
        context.wait_cancelled(FOREVER)

    with beside(app.worker()) as worker:
        id = runs.enqueue()
        assert started.wait(SECONDS)
        listening(session, worker)
        for payload in ("nonsense", "", "99999999999999999999", "q' or true"):
            session.run("select pg_notify(%s, %s)", channel, payload)
        # What is notified later is heard later: when this cancellation is heard, so was all that.
        started.clear()
        other = waits.enqueue()
        assert started.wait(SECONDS)
        app.cancel(other)
        worker.until(lambda: session.value("select underway.stats() ->> 'in_progress'") == "1", "it was heard")
        release.set()
        assert final(app, id, worker).output == "done"


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[psycopg.Notify]:
    """Cancellations that no worker has heard of yet; a test lets `hear` do it."""
    notifications: list[psycopg.Notify] = []
    hear = Worker._on_notify

    def hear_late(self: Worker, notification: psycopg.Notify) -> None:
        if notification.channel == "underway_cancelled" and notification not in notifications:
            notifications.append(notification)
        else:
            hear(self, notification)

    monkeypatch.setattr(Worker, "_on_notify", hear_late)
    return notifications


def test_a_cancellation_that_is_heard_late_does_not_end_the_run_after_a_retry(
    app: App, session: Session, late: list[psycopg.Notify]
) -> None:
    seen = Seen()
    release = threading.Event()

    @app.job(queue="q", heartbeat=3)
    async def runs() -> str:
        seen("started")
        try:
            while not release.is_set():
                await asyncio.sleep(0.01)
        finally:
            seen("ended")
        return "done"

    id = runs.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        worker.until(lambda: late and "ended" in seen.values, "the heartbeat has found it")
        app.client.retry(id)
        worker.until(lambda: seen.values.count("started") == 2, "it runs again")
        worker.on_loop(lambda: worker.worker._on_notify(late[0]))
        worker.on_loop(release.set)
        task = final(app, id, worker)
    assert (task.output, task.attempt, task.errors, seen.values.count("started")) == ("done", 1, None, 2)


def test_a_cancellation_that_is_heard_after_a_retry_ends_the_first_run_and_not_the_second(
    app: App, session: Session, late: list[psycopg.Notify]
) -> None:
    seen = Seen()
    release = threading.Event()

    @app.job(queue="q")
    async def runs() -> str:
        run = 2 if 1 in seen.values else 1
        seen(run)
        try:
            while not release.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            seen(f"{run} was interrupted")
            raise
        return f"run {run}"

    id = runs.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        app.client.retry(id)
        worker.until(lambda: late and {1, 2} <= set(seen.values), "it runs twice")
        worker.on_loop(lambda: worker.worker._on_notify(late[0]))
        worker.until(lambda: len(seen.values) > 2, "one is interrupted")
        release.set()
        assert final(app, id, worker).output == "run 2"
    assert set(seen.values) == {1, 2, "1 was interrupted"}


def test_a_handler_that_raises_cancelled_error_while_its_task_is_cancelled_does_not_end_the_worker(
    app: App, database: str, session: Session
) -> None:
    locked = threading.Event()
    started = threading.Event()

    @app.job(queue="q")
    async def raises() -> None:
        started.set()
        while not locked.is_set():
            await asyncio.sleep(0.005)
        raise asyncio.CancelledError("by itself")

    id = raises.enqueue()
    with Session(database) as observer, beside(app.worker()) as worker:
        assert started.wait(SECONDS)
        session.run("begin")
        session.run("select from underway.task where id = %s for update", id)
        locked.set()
        waiting = "select 1 from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
        worker.until(lambda: observer.column(waiting, session.pid), "the failure is being reported")
        session.run("select underway.cancel(%s)", id)
        worker.on_loop(lambda: worker.worker._on_notify(psycopg.Notify("underway_cancelled", str(id), 0)))
        session.run("commit")
        assert final(app, id, worker).state == "cancelled"
        see_chores(session, worker)
