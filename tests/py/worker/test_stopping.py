"""Stopping a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.py.support import FOREVER, SECONDS, Beside, Session, beside, wait_until
from tests.py.worker_support import KILL, Seen, away, idle, info
from underway_pg import (
    App,
    Context,
)
from underway_pg.client import execute_async
from underway_pg.errors import ConfigurationError


async def seen_async(seen: Seen, count: int) -> None:
    """Wait on the loop of the worker until handlers have left so much."""
    async with asyncio.timeout(SECONDS):
        while len(seen.values) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_worker_that_stops_lets_running_tasks_end_and_claims_no_more(app: App, kind: str) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def plain() -> str:
        started.set()
        release.wait(SECONDS)
        return "ended"

    @app.job(queue="q")
    async def asynchronous() -> str:
        started.set()
        while not release.is_set():
            await asyncio.sleep(0.01)
        return "ended"

    job = plain if kind == "plain" else asynchronous
    first, *others = [job.enqueue() for _ in range(4)]
    with beside(app.worker(concurrency=1)) as worker:
        assert started.wait(SECONDS)
        worker.stop()
        more = job.enqueue()
        release.set()
        worker.join()
    assert (info(app, first).state, info(app, first).output) == ("succeeded", "ended")
    for id in (*others, more):
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    assert app.client.workers() == []


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("how", ["the shutdown timeout is over", "a second stop"])
def test_what_still_runs_is_interrupted_and_given_back_without_using_an_attempt(app: App, kind: str, how: str) -> None:
    seen = Seen()

    @app.job(queue="q")
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)
        seen("interrupted")

    @app.job(queue="q")
    async def asynchronous() -> None:
        seen("started")
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen("interrupted")

    job = plain if kind == "plain" else asynchronous
    ids = [job.enqueue() for _ in range(5)]
    with beside(app.worker(concurrency=2, shutdown_timeout=0.3 if how.startswith("the shutdown") else 600.0)) as worker:
        worker.until(lambda: len(seen.values) == 2, "two run")
        worker.stop()
        if how == "a second stop":
            worker.stop()
        worker.join()
        wait_until(lambda: seen.values.count("interrupted") == 2, "both were interrupted")
    for id in ids:
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    with beside(app.worker(concurrency=5)) as worker:
        worker.until(lambda: seen.values.count("started") == 7, "another worker runs them all")
        worker.stop()


def test_a_worker_can_be_stopped_while_it_is_idle(app: App, session: Session) -> None:
    with beside(app.worker(shutdown_timeout=600.0)) as worker:
        idle(session, worker)
        worker.stop()
        worker.join()


def test_a_worker_that_could_not_begin_yet_can_be_stopped_while_the_database_is_away(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    worker = Beside(app.worker(shutdown_timeout=600.0, connect_timeout=0.3))
    with away(app, session):
        worker.start()
        worker.until(lambda: "cannot reach the database" in caplog.text, "it tries to begin")
        worker.stop()
        worker.join()
    assert app.client.workers() == []


def test_a_worker_that_is_to_stop_at_once_gives_back_its_tasks_although_its_connections_have_just_broken(
    app: App, session: Session
) -> None:
    started = threading.Event()

    @app.job(queue="q")
    async def runs() -> None:
        started.set()
        await asyncio.sleep(FOREVER)

    id = runs.enqueue()
    with beside(app.worker(shutdown_timeout=600.0)) as worker:
        worker.until(started.is_set, "it runs")
        idle(session, worker)
        session.run(KILL)
        worker.stop()
        worker.stop()
        worker.join()
    assert (session.state(id), session.attempt(id), session.errors(id)) == ("pending", 0, [])
    assert session.column("select name from underway.worker") == []


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_worker_whose_run_is_cancelled_keeps_no_task(app: App, kind: str) -> None:
    seen = Seen()

    @app.job(queue="q")
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)

    @app.job(queue="q")
    async def asynchronous() -> None:
        seen("started")
        await asyncio.sleep(FOREVER)

    job = plain if kind == "plain" else asynchronous
    ids = [job.enqueue() for _ in range(4)]

    async def main() -> None:
        running = asyncio.create_task(app.worker(concurrency=2).run())
        await seen_async(seen, 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    for id in ids:
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    assert app.client.workers() == []


def cancel_twice(running: asyncio.Task[None]) -> None:
    running.cancel()
    asyncio.get_running_loop().call_soon(running.cancel)


def cancel_until_it_ends(running: asyncio.Task[None]) -> None:
    if not running.done():
        running.cancel()
        asyncio.get_running_loop().call_later(0.001, cancel_until_it_ends, running)


@pytest.mark.parametrize("cancel", [cancel_twice, cancel_until_it_ends])
def test_a_worker_that_is_cancelled_again_while_it_gives_back_its_tasks_still_gives_them_back(
    app: App, cancel: Callable[[asyncio.Task[None]], None]
) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def runs() -> None:
        seen("started")
        await asyncio.sleep(FOREVER)

    @app.job(queue="q")
    def waits(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)

    ids = [runs.enqueue(), waits.enqueue()]

    async def main() -> None:
        running = asyncio.create_task(app.worker().run())
        await seen_async(seen, 2)
        cancel(running)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(running), SECONDS)

    asyncio.run(main())
    for id in ids:
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    assert app.client.workers() == []


def test_a_worker_in_a_task_group_of_anyio_that_is_cancelled_gives_back_its_tasks(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def runs() -> None:
        seen("started")
        await asyncio.sleep(FOREVER)

    id = runs.enqueue()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(app.worker().run)
            await seen_async(seen, 1)
            group.cancel_scope.cancel()

    anyio.run(main)
    task = info(app, id)
    assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    assert app.client.workers() == []


def test_a_worker_that_is_cancelled_while_it_registers_does_not_stay_registered(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    async def main() -> None:
        running = asyncio.create_task(app.worker().run())

        async def execute_and_cancel(connection: Any, statement: Any) -> Any:
            answer = await execute_async(connection, statement)
            monkeypatch.undo()
            running.cancel()  # the database has registered the worker, which does not know it yet
            await asyncio.sleep(0)
            return answer

        monkeypatch.setattr("underway_pg.worker.database.execute_async", execute_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert app.client.workers() == []


def test_a_stop_before_the_start_is_not_lost(app: App) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    worker = app.worker()
    worker.stop()
    asyncio.run(asyncio.wait_for(worker.run(), SECONDS))


def test_a_stop_from_another_thread_wakes_the_worker(app: App, session: Session) -> None:
    running = Beside(app.worker(shutdown_timeout=600.0))
    running.start()
    idle(session, running)
    running.worker.stop()
    running.join()


def test_a_stop_after_the_end_does_nothing(app: App) -> None:
    worker = app.worker(drain=True)
    asyncio.run(worker.run())
    worker.stop()


def test_a_worker_that_runs_again_is_refused(app: App) -> None:
    worker = app.worker(drain=True)
    asyncio.run(worker.run())
    with pytest.raises(ConfigurationError, match="has run already; make another one"):
        asyncio.run(worker.run())
