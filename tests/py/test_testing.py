"""The testing kit. The test of docs/guides/testing.md runs its plugin with a database for each test."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import unittest.mock
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql_text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import underway_pg as underway
from tests.servers import Server
from underway_pg import App, Context, Fatal, OutcomeKind, Queue, Retry, RetryPolicy, connections, testing
from underway_pg.testing import (
    Clock,
    assert_enqueued,
    assert_enqueued_async,
    assert_not_enqueued,
    bind,
    enqueued,
    enqueued_async,
    immediate,
    run_pending,
    run_pending_async,
    template_databases,
    truncate,
    truncate_async,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dsn(server: Server) -> Iterator[str]:
    """A database for the tests of this file, whose tasks each of them deletes."""
    with template_databases(server.dsn) as databases, databases.new() as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute("create table note (text text)")
        yield dsn


@pytest.fixture
def app(dsn: str) -> Iterator[App]:
    """An application that is bound to the empty database."""
    with connections.connect(dsn) as connection:
        truncate(connection)
        connection.execute("truncate note")
        connection.execute("delete from underway.job")  # these tests use the same names for different jobs
    app = App(queues=[Queue(name="mail", dead_letter_queue="dead")], state={"setting": 1})
    with bind(app, dsn=dsn):
        yield app


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test, in a transaction that is rolled back."""
    with psycopg.connect(dsn) as connection:
        yield connection
        connection.rollback()


@dataclass
class Address:
    street: str
    code: int


# Assertions


def test_a_task_is_found_by_the_arguments_that_the_handler_would_receive(app: App) -> None:
    @app.job(queue="mail")
    def send(to: UUID, address: Address, subject: str = "Hi", **more: int) -> None: ...

    to = UUID(int=7)
    task = send.options(priority=3).enqueue(to, Address("Main St", 1), extra=5)
    for found in (
        assert_enqueued(send),
        assert_enqueued(send, to),
        assert_enqueued(send, to=str(to)),
        assert_enqueued(send, address=Address("Main St", 1), extra=5, times=1),
        assert_enqueued(send, subject="Hi", queue="mail"),
        assert_enqueued(send, address=unittest.mock.ANY),
        assert_enqueued("send", extra=5),
    ):
        assert (found.id, found.priority) == (task.id, 3)
    assert_not_enqueued(send, UUID(int=8))
    assert_not_enqueued(send, subject="Ho")
    assert_not_enqueued(send, queue="other")
    assert_not_enqueued("sent")


def test_a_wrong_assertion_is_an_error_and_not_a_mismatch(app: App) -> None:
    @app.job
    def send(to: str) -> None: ...

    with pytest.raises(underway.InputError, match="'subjekt'; it takes"):
        assert_not_enqueued(send, subjekt="Hi")
    with pytest.raises(underway.InputError, match="by their names"):
        assert_not_enqueued("send", "ann")
    with pytest.raises(underway.InputError, match="assert_not_enqueued"):
        assert_enqueued(send, times=0)


def test_a_failed_assertion_shows_what_is_enqueued_instead_the_nearest_first(app: App) -> None:
    @app.job
    def send(to: str, lines: list[int] | None = None) -> None: ...

    @app.job
    def report(day: int) -> None: ...

    done = send.enqueue("done").id
    run_pending()
    other, near, far = report.enqueue(1).id, send.enqueue("ann", [1]).id, send.enqueue("bob").id
    with pytest.raises(AssertionError) as failed:
        assert_enqueued(send, to="ann", lines=[1, 1])
    assert str(failed.value).splitlines() == [
        "no task enqueued of job send with to='ann', lines=[1, 1]; expected at least 1",
        f"  enqueued: task {near} send({{'to': 'ann', 'lines': [1]}}) in queue default: lines is [1]",
        f"  enqueued: task {far} send({{'to': 'bob'}}) in queue default: to is 'bob', lines is None",
        f"  enqueued: task {other} report({{'day': 1}}) in queue default: it is of job report",
        f"  not live: task {done} send({{'to': 'done'}}) in queue default has succeeded",
    ]
    with pytest.raises(AssertionError, match="2 tasks enqueued of job send; expected 1\n  found: task"):
        assert_enqueued(send, times=1)
    with pytest.raises(AssertionError, match="1 task enqueued of job send with to='bob'; expected 0"):
        assert_not_enqueued(send, to="bob")


def test_an_empty_database_hints_at_the_open_transaction(app: App, connection: psycopg.Connection[Any]) -> None:
    @app.job
    def send(to: str) -> None: ...

    app.client.create_queue(Queue(name="default"))
    send.using(connection).enqueue("ann")
    with pytest.raises(AssertionError, match="within=connection"):
        assert_enqueued(send)
    assert_enqueued(send, within=connection)
    assert_enqueued(send.using(connection), "ann")
    assert [task.input for task in enqueued(send, within=connection)] == [{"to": "ann"}]


# Running


def test_tasks_run_in_order_with_what_handlers_enqueue(app: App) -> None:
    ran: list[str] = []

    @app.job(queue="a")
    def first(name: str) -> str:
        ran.append(name)
        if name == "parent":
            second.enqueue("child")
        return name.upper()

    @app.job(queue="b")
    async def second(name: str) -> None:
        ran.append(name)
        assert threading.current_thread() is threading.main_thread()

    first.enqueue("parent")
    second.enqueue("one")
    first.enqueue("two")
    second.options(priority=5).enqueue("urgent")
    second.options(delay=60).enqueue("later")
    result = run_pending()
    assert ran == ["urgent", "parent", "one", "two", "child"]
    assert [(task.job, task.output) for task in result[:2]] == [("second", None), ("first", "PARENT")]
    assert [task.input for task in enqueued()] == [{"name": "later"}]


def test_only_the_tasks_of_a_job_or_a_queue_run(app: App) -> None:
    @app.job(queue="a")
    def one(n: int) -> None: ...

    @app.job(queue="a")
    def two(n: int) -> None: ...

    @app.job(queue="b")
    def three(n: int) -> None: ...

    one.enqueue(1)
    two.enqueue(1)
    two.options(queue="b").enqueue(2)
    three.enqueue(1)
    assert [(task.job, task.queue) for task in run_pending(two)] == [("two", "a"), ("two", "b")]
    assert [(task.job, task.attempt, task.state) for task in enqueued()] == [
        ("one", 0, "pending"),
        ("three", 0, "pending"),
    ]
    assert [task.job for task in run_pending("b")] == ["three"]
    assert [task.job for task in run_pending(app, queue="a")] == ["one"]
    with pytest.raises(underway.QueueNotFound):
        run_pending("c")


def test_an_error_of_a_handler_is_recorded_and_raised(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.job(queue="mail", retry=RetryPolicy(max_attempts=3, initial_interval=10, jitter=0))
    def send(to: str) -> None:
        raise {"retry": Retry("busy", after=99), "fatal": Fatal("never")}.get(to, ValueError(to))

    task = send.enqueue("ann")
    with Clock() as clock:
        with pytest.raises(ValueError, match="ann"):
            run_pending()
        assert "failed, retry at" in caplog.text
        assert run_pending() == []
        clock.move(seconds=10)
        [second] = run_pending(record_errors=True)
        assert (second.outcome, second.attempt, second.will_retry) == (OutcomeKind.FAILED, 2, True)
        clock.move(minutes=1)
        [third] = run_pending(record_errors=True)
        assert not third.will_retry
        info = app.task(task)
        assert info is not None
        assert [error["type"] for error in info.errors or []] == ["ValueError"] * 3
        [letter] = enqueued(send, queue="dead")
        assert letter.dead_letter is not None
        send.enqueue("retry")
        send.enqueue("fatal")
        retried, fatal = run_pending("mail", record_errors=True)
        assert (retried.will_retry, fatal.will_retry) == (True, False)
        clock.move(timedelta(seconds=98))
        assert run_pending("mail") == []
        clock.move(seconds=1)
        assert len(run_pending("mail", record_errors=True)) == 1


def test_what_is_no_exception_is_raised_even_when_errors_are_recorded(app: App) -> None:
    @app.job
    def check() -> None:
        pytest.fail("seen in the handler")

    check.enqueue()
    with pytest.raises(pytest.fail.Exception, match="seen"):
        run_pending(record_errors=True)


def test_arguments_outputs_and_unknown_jobs_are_checked_as_by_a_worker(app: App) -> None:
    @app.job
    def send(to: str, day: datetime | None = None) -> Any:
        return {"object": object(), "large": 2000 * "x"}.get(to, day)

    send.enqueue("ann", datetime(2030, 1, 1, tzinfo=UTC))
    [ran] = run_pending()
    assert ran.output == "2030-01-01T00:00:00Z"
    send.enqueue("object")
    with pytest.raises(underway.InputError, match="the output does not fit into JSON"):
        run_pending()
    app.client.enqueue("default", {"too": "ann"}, job="send")
    with pytest.raises(underway.UnknownArguments, match="'too'"):
        run_pending()
    task = app.client.enqueue("default", {}, job="sent")
    with pytest.raises(underway.ConfigurationError, match=r"job 'sent' .* known jobs: send"):
        run_pending()
    assert [(info.id, info.attempt) for info in enqueued("sent")] == [(task, 0)]
    app.client.cancel(task)
    app.client.configure(max_output_size="1 kB")
    send.enqueue("large")
    with pytest.raises(underway.OutputTooLarge):
        run_pending()
    app.client.configure(max_output_size="1 MB")


def test_a_job_that_enqueues_itself_is_stopped(app: App) -> None:
    @app.job
    def again() -> None:
        again.enqueue()

    again.enqueue()
    with pytest.raises(underway.ConfigurationError, match="3 tasks have run and more are ready"):
        run_pending(limit=3)
    assert [(task.state, task.attempt) for task in enqueued()] == [("pending", 0)]


def test_middleware_lifespan_progress_and_snooze_are_those_of_a_worker(app: App) -> None:
    seen: list[Any] = []

    @contextmanager
    def middleware(context: Context) -> Iterator[None]:
        try:
            yield
        finally:
            assert context.outcome is not None
            seen.append((context.job, str(context.outcome.kind), context.state))

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[str]:
        task = asyncio.current_task()
        yield "opened"
        assert asyncio.current_task() is task
        seen.append("closed")

    app.middleware, app.lifespan = [middleware], lifespan

    @app.job
    def plain(context: Context) -> None:
        context.progress({"percent": 40})
        if context.attempt == 1:
            context.snooze(60)

    @app.job
    async def asynchronous(context: Context) -> None: ...

    plain.enqueue()
    asynchronous.enqueue()
    snoozed, done = run_pending()
    assert (snoozed.outcome, snoozed.progress, done.outcome) == ("snoozed", {"percent": 40}, "succeeded")
    assert seen == [("plain", "snoozed", "opened"), ("asynchronous", "succeeded", "opened"), "closed"]
    assert enqueued()[0].progress == {"percent": 40}


def test_schedules_and_batches_run_when_the_clock_is_moved(app: App) -> None:
    days: list[datetime | None] = []

    @app.schedule("0 9 * * *", name="daily")
    @app.job
    def report(context: Context) -> None:
        days.append(context.scheduled_at)

    @app.job
    def part(n: int) -> None: ...

    @app.job
    def whole(context: Context) -> None:
        days.append(None)

    clock = Clock()
    clock.stop(datetime(2030, 1, 1, 8, tzinfo=UTC))
    app.sync()
    app.client.enqueue_batch([part.task(1), part.task(2)], on_success=whole.task())
    assert [task.job for task in run_pending()] == ["part", "part", "whole"]
    clock.move(hours=1)
    run_pending()
    clock.move(days=1)
    run_pending()
    assert days == [None, datetime(2030, 1, 1, 9, tzinfo=UTC), datetime(2030, 1, 2, 9, tzinfo=UTC)]
    app.unschedule("daily")


def test_a_stopped_clock_does_not_stop_a_fair_queue(app: App, dsn: str) -> None:
    app = App(queues=[Queue(name="fair", fair=True)])

    @app.job(queue="fair")
    def work(n: int) -> None: ...

    with bind(app, dsn=dsn), Clock() as clock:
        for n in range(3):
            work.options(concurrency_key="customer").enqueue(n)
        before = clock.now()
        assert [task.input["n"] for task in run_pending()] == [0, 1, 2]
        assert clock.now() - before < timedelta(seconds=1)


# Within the transaction of the test


def test_a_task_runs_in_the_open_transaction_and_nothing_is_committed(
    app: App, connection: psycopg.Connection[Any], dsn: str
) -> None:
    @app.job
    def write(context: Context, text: str) -> None:
        with context.transaction() as inner:
            assert inner is connection
            inner.execute("insert into note values (%s)", [text])
            context.output = {"text": text}
        follow.enqueue(text)

    @app.job
    async def follow(text: str) -> None:
        await last.enqueue_async(text)

    @app.job
    def last(text: str) -> None: ...

    app.client.create_queue(Queue(name="default"))
    write.using(connection).enqueue("hello")
    with Clock(within=connection) as clock:
        clock.move(days=400)
        ran = run_pending(within=connection)
    assert [task.job for task in ran] == ["write", "follow", "last"]
    assert ran[0].output == {"text": "hello"}
    with psycopg.connect(dsn, options="-c lock_timeout=5s") as other:
        assert other.execute("select * from note").fetchall() == []
        assert other.execute("select * from underway.task_list").fetchall() == []
        assert other.execute("select underway._clock() < now() + interval '1 hour'").fetchone() == (True,)
    assert connection.execute("select * from note").fetchall() == [("hello",)]
    connection.rollback()
    assert connection.execute("select * from note").fetchall() == []


def test_a_lost_statement_of_a_handler_breaks_the_transaction_and_is_raised(
    app: App, connection: psycopg.Connection[Any]
) -> None:
    @app.job
    def write() -> None:
        connection.execute("select 1/0")

    with bind(app, within=connection):
        write.enqueue()
        with pytest.raises(psycopg.errors.DivisionByZero) as raised:
            run_pending(record_errors=True)
    assert "could not be recorded" in raised.value.__notes__[0]


def test_all_of_an_application_runs_within_a_connection(app: App, connection: psycopg.Connection[Any]) -> None:
    @app.job
    def send(to: str) -> str:
        return to

    with bind(app, within=connection):
        task = send.enqueue("ann")
        app.enqueue_many([send.task("bob")])
        assert_enqueued(send, times=2)
        assert len(run_pending()) == 2
        assert task.wait(timeout=1) == "ann"
    assert app.task(task) is None


# Async


async def in_async_code(app: App, dsn: str) -> None:
    threads: list[threading.Thread] = []

    @app.job
    async def parent(context: Context, text: str) -> str:
        async with context.transaction() as inner:
            await inner.execute("insert into note values (%s)", [text])
            context.output = text
        await child.enqueue_async(text)
        return text

    @app.job
    def child(text: str) -> None:
        threads.append(threading.current_thread())
        grandchild.enqueue(text)

    @app.job
    def grandchild(text: str) -> None: ...

    await parent.enqueue_async("one")
    await assert_enqueued_async(parent, text="one")
    assert [task.job for task in await run_pending_async()] == ["parent", "child", "grandchild"]
    parent.enqueue("two")
    with pytest.raises(underway.ConfigurationError, match="await run_pending_async"):
        run_pending()
    assert [(task.job, task.attempt) for task in await enqueued_async()] == [("parent", 0)]
    async with await psycopg.AsyncConnection.connect(dsn) as within:
        await truncate_async(within)
        await parent.using(within).enqueue_async("two and a half")
        assert [task.job for task in await run_pending_async(within=within)] == ["parent", "child", "grandchild"]
        with bind(app, within=within):
            await parent.enqueue_async("three")
            async with Clock() as clock:
                assert await clock.move_async(hours=1) == await clock.now_async()
                assert [task.job for task in await run_pending_async()] == ["parent", "child", "grandchild"]
            with pytest.raises(underway.ConfigurationError, match="use enqueue_async"):
                child.enqueue("four")
        await within.rollback()
    assert [task.input for task in await enqueued_async()] == [{"text": "two"}]
    with immediate():
        task = await parent.enqueue_async("five")
    assert await task.result(timeout=5) == "five"
    assert enqueued() == []
    assert threading.main_thread() not in threads
    app.close()


def test_async_code_has_the_same(app: App, dsn: str) -> None:
    asyncio.run(in_async_code(app, dsn))


# Sessions of other libraries


def test_tasks_run_in_a_session_of_sqlalchemy(app: App, dsn: str) -> None:
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))

    @app.job
    def write(context: Context, text: str) -> None:
        with context.transaction() as inner:
            inner.execute("insert into note values (%s)", [text])
        write_plainly.enqueue(text)

    @app.job
    def write_plainly(text: str) -> None:
        session.execute(sql_text("insert into note values (:text)"), {"text": text})

    with Session(engine) as session:
        with bind(app, within=session), Clock() as clock:
            write.enqueue("orm")
            clock.move(days=1)
            assert [task.job for task in run_pending()] == ["write", "write_plainly"]
        assert session.scalars(sql_text("select text from note")).all() == ["orm", "orm"]
        session.rollback()
        assert session.scalars(sql_text("select text from note")).all() == []
    assert enqueued() == []
    engine.dispose()


async def in_async_sessions(app: App, dsn: str) -> None:
    texts: list[str] = []

    @app.job
    async def keep(text: str) -> str:
        texts.append(text)
        if text == "first":
            await keep.enqueue_async("second")
        return text

    @app.job
    async def write(context: Context) -> None:
        async with context.transaction() as inner:
            await inner.execute("insert into note values ('in a session')")

    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    async with AsyncSession(engine) as session, Clock(within=session) as clock:
        with bind(app, within=session):
            await keep.enqueue_async("first")
            await keep.options(delay=60).enqueue_async("third")
            await assert_enqueued_async(keep, "first", times=1)
            await run_pending_async()
            await clock.move_async(minutes=1)
            [third] = await run_pending_async(keep)
            assert (third.output, texts) == ("third", ["first", "second", "third"])
            await write.enqueue_async()
            with pytest.raises(underway.ConfigurationError, match=r"the connection of the test is a asyncpg"):
                await run_pending_async(write)
        await session.rollback()
    await engine.dispose()

    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    async with AsyncSession(engine) as session, session.begin() as transaction:
        with bind(app, within=session):
            await write.enqueue_async()
            await run_pending_async()
        assert await session.scalar(sql_text("select text from note")) == "in a session"
        await transaction.rollback()
    await engine.dispose()

    await app.sync_async()
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    await keep.using(connection).enqueue_async("asyncpg")
    await run_pending_async(keep.using(connection))
    assert texts[-1] == "asyncpg"
    await transaction.rollback()
    await connection.close()
    assert await enqueued_async() == []


def test_tasks_run_in_async_sessions(app: App, dsn: str) -> None:
    asyncio.run(in_async_sessions(app, dsn))


# Immediate mode


def test_an_enqueue_runs_its_task_at_once_through_json(app: App, connection: psycopg.Connection[Any]) -> None:
    seen: list[Any] = []

    @app.job
    def send(to: UUID) -> None:
        seen.append(to)
        if len(seen) == 1:
            send.enqueue(UUID(int=2))
            seen.append("enqueued")

    @app.job
    def fail() -> None:
        raise ValueError("at once")

    with immediate():
        send.enqueue(UUID(int=1))
        assert seen == [UUID(int=1), "enqueued", UUID(int=2)]
        send.using(connection).enqueue(UUID(int=3))
        app.enqueue_many([send.task(UUID(int=4))], connection=connection)
        app.client.enqueue_batch([send.task(UUID(int=5))])
        send.options(delay=60).enqueue(UUID(int=6))
        assert seen[3:] == [UUID(int=3), UUID(int=4), UUID(int=5)]
        with pytest.raises(ValueError, match="at once"):
            fail.enqueue()
        with pytest.raises(underway.InputError):
            send.enqueue(object())  # type: ignore[arg-type]
    send.enqueue(UUID(int=7))
    assert UUID(int=7) not in seen
    with immediate(record_errors=True):
        fail.enqueue()


# Contexts


def test_a_fake_context_records_what_a_handler_does(app: App, connection: psycopg.Connection[Any]) -> None:
    @app.job
    def work(context: Context, n: int) -> str:
        context.progress({"n": n})
        if context.attempt < 3:
            context.snooze(5)
        with context.transaction() as inner:
            inner.execute("insert into note values ('fake')")
            context.output = n
        return "cancelled" if context.wait_cancelled(10) else "done"

    context = testing.context(attempt=3, max_attempts=4, headers={"batch": 7}, state="s", connection=connection)
    context.cancel()
    assert work(context, 1) == "cancelled"
    assert (context.reported, context.completed, context.output) == ([{"n": 1}], True, 1)
    assert (context.attempt, context.max_attempts, context.batch, context.state) == (3, 4, 7, "s")
    assert (context.id, context.queue, context.dead_letter) == (1, "default", None)
    assert abs(context.enqueued_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert connection.execute("select count(*) from note").fetchone() == (1,)
    with pytest.raises(underway.Snooze):
        work(testing.context(), 1)
    with pytest.raises(underway.InputError):
        testing.context().progress(object())
    with pytest.raises(underway.ConfigurationError, match="connection="):
        testing.context().transaction()
    assert testing.context(cancelled=True).cancelled


# Databases


def test_a_database_that_is_not_marked_is_refused(app: App, database: str) -> None:
    with bind(app, dsn=database):
        with pytest.raises(underway.ConfigurationError, match="underway migrate --testing"):
            Clock().stop()
        with psycopg.connect(database) as connection, pytest.raises(underway.ConfigurationError, match="--testing"):
            truncate(connection)


def test_a_function_without_an_application_says_so() -> None:
    with pytest.raises(underway.ConfigurationError, match="no application is bound"):
        run_pending()


def test_a_run_logs_what_a_worker_logs(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.job
    def send(to: str) -> None: ...

    caplog.set_level(logging.INFO, "underway_pg")
    send.enqueue("ann")
    run_pending()
    assert [record.getMessage().split(")")[1] for record in caplog.records] == [" starts", " returned"]


SHOP = """
import underway_pg as underway

app = underway.App("postgresql://nobody@nowhere.invalid/none")

@app.job(queue="mail")
def send(to: str) -> None: ...
"""

TESTS = """
import pytest
from shop import send
from underway_pg.testing import assert_enqueued, enqueued

@pytest.mark.parametrize("n", range(4))
def test_each_test_begins_without_tasks(underway, underway_dsn, worker_id, n):
    assert enqueued() == []
    send.enqueue("ann")
    assert_enqueued(send, times=1)
    assert underway_dsn.partition("?")[0].endswith("_" + worker_id)

def test_the_clock_goes_again_after_a_test(underway_clock):
    underway_clock.move(days=400)
"""


def test_a_database_is_emptied_for_each_test_and_copied_for_each_process(database: str, tmp_path: Path) -> None:
    testing.install(database)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["underway_pg.testing"]')
    options = ["-n2", "-Werror", "-o", "underway_app=shop:app", "-o", "underway_reset=truncate", "-o", "pythonpath=."]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, f"--underway-server={database}"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "5 passed" in ended.stdout, ended.stdout + ended.stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from underway.task_list").fetchone() == (0,)
        copies = connection.execute("select from pg_database where starts_with(datname, current_database() || '_gw')")
        assert copies.rowcount == 0
