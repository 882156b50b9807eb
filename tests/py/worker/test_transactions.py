"""A handler's own transaction: its writes and its completion commit together."""

from __future__ import annotations

import threading

import pytest

from tests.py.support import SECONDS, Session, beside, final
from tests.py.worker_support import ONCE, Seen, messages
from underway_pg import (
    App,
    Context,
    RetryPolicy,
)


def test_a_transaction_of_a_handler_commits_its_writes_with_the_completion(app: App, session: Session) -> None:
    session.run("create table ledger (task bigint)")

    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction() as connection:
            connection.execute("insert into ledger values (%s)", (context.id,))
            context.output = "plain"

    @app.job(queue="q")
    async def asynchronous(context: Context) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger values (%s)", (context.id,))
            context.output = "async"

    with beside(app.worker()) as worker:
        for job, output in ((plain, "plain"), (asynchronous, "async")):
            id = job.enqueue()
            task = final(app, id, worker)
            assert (task.state, task.output) == ("succeeded", output)
            # It was written by the transaction that completed the task.
            assert session.value(
                "select xmin = (select xmin from ledger where task = id) from underway.task_history where id = %s", id
            )


def test_a_transaction_of_a_handler_that_raises_is_undone_and_the_task_tried_again(app: App, session: Session) -> None:
    session.run("create table ledger (task bigint, attempt int)")

    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction() as connection:
            connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
            if context.attempt == 1:
                raise RuntimeError("oh")

    @app.job(queue="q")
    async def asynchronous(context: Context) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
            if context.attempt == 1:
                raise RuntimeError("oh")

    ids = [plain.enqueue(), asynchronous.enqueue()]
    with beside(app.worker()) as worker:
        for id in ids:
            assert messages(final(app, id, worker)) == ["oh"]
    assert sorted(session.rows("select task, attempt from ledger")) == [(id, 2) for id in ids]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_transaction_of_a_handler_whose_lease_was_lost_is_undone(app: App, session: Session, kind: str) -> None:
    session.run("create table ledger (task bigint, attempt int)")
    seen = Seen()

    def lose(context: Context) -> None:
        # As after a lapse that this worker did not notice.
        if context.attempt == 1:
            session.lapse(context.id)
            session.run("select underway._run_chores()")

    @app.job(queue="q", retry=RetryPolicy(initial_interval=1, jitter=0))
    def plain(context: Context) -> None:
        try:
            with context.transaction() as connection:
                connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
                lose(context)
        except Exception as error:
            seen(type(error).__name__)
            raise

    @app.job(queue="q", retry=RetryPolicy(initial_interval=1, jitter=0))
    async def asynchronous(context: Context) -> None:
        try:
            async with context.transaction() as connection:
                await connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
                lose(context)
        except Exception as error:
            seen(type(error).__name__)
            raise

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert seen.values == ["LeaseLost"]
    assert (task.state, task.attempt, [error["type"] for error in task.errors or []]) == (
        "succeeded", 2, ["LeaseLapsed"],
    )  # fmt: skip
    assert session.rows("select task, attempt from ledger") == [(id, 2)]


def test_an_error_after_a_handlers_own_completion_does_not_undo_it(app: App) -> None:
    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction():
            context.output = "kept"
        raise RuntimeError("too late")

    id = plain.enqueue()
    with beside(app.worker()) as worker:
        assert final(app, id, worker).output == "kept"
        assert final(app, plain.enqueue(), worker).output == "kept"


def test_a_handler_that_hangs_in_its_transaction_leaves_a_connection_for_the_next(app: App) -> None:
    release = threading.Event()

    @app.job(queue="q", retry=ONCE)
    def hangs(context: Context) -> None:
        with context.transaction():
            release.wait(SECONDS)

    @app.job(queue="q", retry=ONCE)
    def next_one(context: Context) -> None:
        with context.transaction():
            context.output = "done"

    first = hangs.options(timeout=0.3, heartbeat=1).enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        assert final(app, first, worker).state == "failed"
        assert final(app, next_one.enqueue(), worker).output == "done"
        release.set()
