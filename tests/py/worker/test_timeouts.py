"""Timeouts of attempts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.py.support import FOREVER, SECONDS, Session, beside, final
from tests.py.worker_support import ONCE, Seen, away, messages
from underway_pg import (
    App,
    Context,
    Queue,
)


def test_an_async_handler_that_takes_too_long_is_interrupted_and_tried_again(app: App) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=0.2)
    async def slow(context: Context) -> str:
        if context.attempt == 1:
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                seen("interrupted")
                raise
        return "in time"

    id = slow.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.output, seen.values) == ("in time", ["interrupted"])
    assert [error["type"] for error in task.errors or []] == ["TimeoutError"]
    assert "timed out after 0.2 s" in messages(task)[0]


def test_a_plain_handler_that_takes_too_long_is_told_and_its_result_does_not_count(app: App) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=0.2)
    def slow(context: Context) -> str:
        if context.attempt == 1:
            seen(context.wait_cancelled(FOREVER))
            seen(context.cancelled)
            return "too late"
        return "in time"

    id = slow.enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        task = final(app, id, worker)
        worker.until(lambda: len(seen.values) == 2, "the first handler was told")
    assert (task.output, task.attempt, seen.values) == ("in time", 2, [True, True])
    assert "timed out after 0.2 s" in messages(task)[0]


@pytest.mark.parametrize("end", ["returns", "snoozes"])
def test_an_async_handler_that_blocks_the_loop_beyond_its_timeout_does_not_succeed(database: str, end: str) -> None:
    seen = Seen()

    @contextlib.contextmanager
    def middleware(context: Context) -> Iterator[None]:
        try:
            yield
        finally:
            seen(context.outcome and context.outcome.kind)

    for around in ([], [middleware]):
        with App(database, queues=[Queue(name="q", retry=ONCE)], middleware=around) as app:

            @app.job(queue="q", timeout=0.2)
            async def blocks(context: Context) -> str:
                threading.Event().wait(0.4)
                return context.snooze(600) if end == "snoozes" else "too late"

            id = blocks.enqueue()
            with beside(app.worker()) as worker:
                task = final(app, id, worker)
        assert (task.state, task.output) == ("failed", None)
        assert "timed out after 0.2 s" in messages(task)[0]
    assert seen.values == ["failed"]


def test_a_handler_that_is_long_in_ending_after_its_timeout_does_not_end_the_worker(app: App, session: Session) -> None:
    # The lease is not renewed any more.
    over = "select lease is null or lease_expires_at < clock_timestamp() from underway.task where id = %s"

    @app.job(queue="q", timeout=0.3, heartbeat=0.3)
    async def slow(context: Context) -> str:
        if context.attempt == 1:
            try:
                await asyncio.sleep(FOREVER)
            finally:
                while not await asyncio.to_thread(session.value, over, context.id):
                    await asyncio.sleep(0.01)
        return "in time"

    id = slow.enqueue()
    with beside(app.worker(concurrency=2)) as worker:
        task = final(app, id, worker)
    assert (task.state, task.output) == ("succeeded", "in time")
    assert len(task.errors or []) == task.attempt - 1


def test_an_attempt_that_waited_in_the_worker_before_it_began_times_out_and_does_not_lapse(
    app: App, session: Session
) -> None:
    @app.job(queue="t")
    async def hangs(seconds: float) -> None:
        await asyncio.sleep(seconds)

    # For the database the time begins with the claim: it refuses the third heartbeat, after 2.4 s, while for the worker
    # there is some left.
    app.client.create_queue(Queue(name="t", timeout=2.2, heartbeat=2.4, retry=ONCE))
    with beside(app.worker(concurrency=1)) as worker:
        for id in hangs.enqueue_many([{"seconds": 0}] * 10):  # so short that the next two are claimed at once
            final(app, id, worker)
        _, id = hangs.enqueue_many([{"seconds": 0.6}, {"seconds": SECONDS}])
        task = final(app, id, worker)
    (error,) = task.errors or []
    assert error["type"] == "TimeoutError"
    assert "in hangs" in error["traceback"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_handler_that_takes_too_long_is_interrupted_while_the_database_is_away(
    app: App, session: Session, kind: str
) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=1, heartbeat=0.3)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(FOREVER)
        seen("interrupted")

    @app.job(queue="q", timeout=1, heartbeat=0.3)
    async def asynchronous() -> None:
        seen("started")
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen("interrupted")

    (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        with away(app, session):
            worker.until(lambda: seen.values == ["started", "interrupted"], "it is interrupted")
        worker.stop()
        worker.stop()
