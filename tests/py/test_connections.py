"""Connections: a database that says nothing any more, and what a dsn says of patience."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.chaos.proxy import Proxy
from tests.chaos.scenarios import cluster
from tests.py import process_jobs
from tests.py.support import SECONDS, Beside, Session, beside, final, wait_until
from underway_pg import App, Context, Queue, RetryPolicy, Worker, connections
from underway_pg.settings import Options


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT_AFTER", 0.5)


def test_what_a_dsn_says_of_patience_counts(database: str) -> None:
    with connections.connect(database) as connection:
        given = connection.info.get_parameters()
    assert (given["connect_timeout"], given["tcp_user_timeout"], given["keepalives_idle"]) == ("10", "20000", "10")
    with connections.connect(make_conninfo(database, connect_timeout=3, tcp_user_timeout=7000)) as connection:
        given = connection.info.get_parameters()
    assert (given["connect_timeout"], given["tcp_user_timeout"], given["keepalives_idle"]) == ("3", "7000", "10")


def test_the_server_looks_for_a_vanished_client_as_the_client_does_for_the_server() -> None:
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")

    def said(connection: psycopg.Connection[Any]) -> list[str]:
        return [connection.execute(f"show {name}".encode()).fetchone()[0] for name in names]  # type: ignore[index]

    with cluster() as server:  # which is reached over TCP; elsewhere there is nothing to look for
        with connections.pool(server.dsn, most=1, name="test") as pool, pool.connection() as connection:
            assert said(connection) == ["10", "5", "3", "20000"]
        with connections.connect(make_conninfo(server.dsn, keepalives_idle=7, tcp_user_timeout=7000)) as connection:
            assert said(connection) == ["7", "5", "3", "7000"]


def test_a_connection_to_the_server_itself_is_not_pooled(database: str) -> None:
    with connections.connect(database) as connection:
        assert not connections.is_pooled(connection)
        assert connection.prepare_threshold is not None


def test_a_statement_that_is_not_answered_in_time_ends_with_its_connection(proxy: Proxy) -> None:
    async def main() -> None:
        async with await connections.connect_async(proxy.dsn) as connection:
            with connections.answer_within(SECONDS, connection):
                await connection.execute("select 1")
            proxy.fall_silent()
            with (
                pytest.raises(connections.Silent, match=r"no answer for 0\.2 s"),
                connections.answer_within(0.2, connection),
            ):
                await connection.execute("select 1")
            assert connection.closed

    asyncio.run(main())


def test_an_error_is_not_silence(database: str) -> None:
    async def main() -> None:
        async with await connections.connect_async(database) as connection:
            with pytest.raises(psycopg.errors.QueryCanceled), connections.answer_within(SECONDS, connection):
                await connection.execute("set statement_timeout = '10ms'; select pg_sleep(60)")

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_a_worker_whose_connections_have_fallen_silent_goes_on_over_new_ones(
    database: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(f"{proxy.dsn}?connect_timeout=2")

    @app.job(queue="plain")
    async def work(n: int) -> int:
        return n

    with app, Session(database) as session, beside(app.worker()) as running:
        session.run("select underway.enqueue('plain', '{\"n\": 1}', job => 'work')")
        running.until(lambda: session.value("select count(*) from underway.task_history") == 1, "it works")
        listening = """select count(*) from pg_stat_activity
            where datname = current_database() and query in ('listen underway_cancelled', '')"""
        running.until(lambda: session.value(listening) == 1, "it listens")
        proxy.fall_silent()
        session.run("select underway.enqueue('plain', '{\"n\": 2}', job => 'work')")
        proxy.speak(of_old=False)
        running.until(lambda: session.value("select count(*) from underway.task_history") == 2, "it works again")
        running.until(lambda: "does not hear the database: no answer" in caplog.text, "it notices that it is deaf")


@pytest.mark.usefixtures("impatient")
def test_a_handler_in_a_silent_transaction_is_freed_when_its_lease_is_lost(database: str, proxy: Proxy) -> None:
    retry = RetryPolicy(max_attempts=9, initial_interval=0)
    app = App(f"{proxy.dsn}?connect_timeout=2", queues=[Queue(name="plain", heartbeat=0.6, retry=retry)])
    inside, broke = threading.Event(), threading.Event()
    silent = threading.Event()

    @app.job(queue="plain")
    def work(context: Context) -> None:
        with context.transaction() as connection:
            if context.attempt > 1:
                return
            inside.set()
            silent.wait(SECONDS)
            try:
                connection.execute("select 1")
            except psycopg.OperationalError:
                broke.set()
                raise

    with app, Session(database) as session, beside(app.worker(concurrency=1)) as running:
        session.run("select underway.enqueue('plain', '{}', job => 'work')")
        running.until(inside.is_set, "the handler is in its transaction")
        proxy.fall_silent()
        silent.set()
        begun = time.monotonic()
        session.run("update underway.task set lease_expires_at = clock_timestamp()")
        session.run("select underway.maintain()")
        proxy.speak(of_old=False)
        wait_until(broke.is_set, "the handler has learned of it")
        assert time.monotonic() - begun < SECONDS
        running.until(
            lambda: session.column("select state::text from underway.task_history") == ["succeeded"],
            "the next attempt succeeds",
        )


# A handler holds its task, as its completion does, when its connection falls silent: nobody can settle the task while
# that session lives. The handler waits beside its transaction until the test goes on.

IN_TRANSACTION = """select pid from pg_stat_activity
    where datname = current_database() and state = 'idle in transaction'"""


def holding_jobs(dsn: str, direct: str) -> App:
    app = App(dsn, queues=[Queue(name="q", retry=RetryPolicy(max_attempts=9, initial_interval=0))])

    @app.job(queue="q")
    def in_thread(context: Context) -> None:
        with context.transaction() as connection:
            connection.execute(process_jobs.HOLD, [context.id])
            if context.attempt == 1:
                with psycopg.connect(direct) as gate:
                    gate.execute(process_jobs.GATE)

    @app.job(queue="q")
    async def on_loop(context: Context) -> None:
        async with context.transaction() as connection:
            await connection.execute(process_jobs.HOLD, [context.id])
            if context.attempt == 1:
                async with await psycopg.AsyncConnection.connect(direct) as gate:
                    await gate.execute(process_jobs.GATE)

    return app


def see_silenced(proxy: Proxy, session: Session, running: Beside) -> int:
    """Let the only transaction fall silent before its end; gives the number of its session."""
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    running.until(lambda: session.value(waiting) == 1, "the handler is at the gate")
    (lost,) = session.column(IN_TRANSACTION)
    proxy.fall_silent()
    session.run("select pg_advisory_unlock(1)")
    return int(lost)


def see_tried_again(session: Session, running: Beside, task: int, lost: int) -> str:
    """Wait until the second attempt has succeeded; gives the error of the first one."""
    running.until(lambda: session.state(task) == "succeeded", "the task is final")
    assert session.attempt(task) == 2
    assert not session.value("select count(*) from pg_stat_activity where pid = %s", lost)
    (error,) = session.errors(task)
    return str(error["type"])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("job", ["in_thread", "on_loop"])
def test_a_transaction_whose_end_is_not_answered_is_given_up_with_its_session(
    database: str, proxy: Proxy, job: str
) -> None:
    app = holding_jobs(f"{proxy.dsn}?connect_timeout=2", database)
    with app, Session(database) as session, beside(app.worker()) as running:
        session.run("select pg_advisory_lock(1)")
        task: int = session.value("select underway.enqueue('q', '{}', job => %s)", job)
        lost = see_silenced(proxy, session, running)
        proxy.speak(of_old=False)
        begun = time.monotonic()
        assert see_tried_again(session, running, task, lost) == "Silent"
        assert time.monotonic() - begun < SECONDS / 3


@pytest.fixture
def plain_role(database: str) -> Iterator[str]:
    """A role that works, and is no superuser."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create role works_only_here login in role underway_worker, underway_operator")
        connection.execute("grant usage on schema underway to works_only_here")
        connection.execute("grant select, update on underway.task to works_only_here")
        yield "works_only_here"
        connection.execute("drop owned by works_only_here")
        connection.execute("drop role works_only_here")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("may", [True, False])
def test_a_worker_ends_sessions_of_its_own_role_and_says_so_when_it_may_not(
    database: str, proxy: Proxy, plain_role: str, caplog: pytest.LogCaptureFixture, may: bool
) -> None:
    dsn = make_conninfo(proxy.dsn, user=plain_role, connect_timeout=2)
    with holding_jobs(dsn, database) as app, Session(database) as session, beside(app.worker()) as running:
        if not may:
            session.run("revoke execute on function pg_terminate_backend from public")
        session.run("select pg_advisory_lock(1)")
        task: int = session.value("select underway.enqueue('q', '{}', job => 'in_thread')")
        lost = see_silenced(proxy, session, running)
        proxy.speak(of_old=False)
        if not may:
            running.until(lambda: "can not end a lost session" in caplog.text, "it says that it may not")
            session.run("select pg_terminate_backend(%s)", lost)
        assert see_tried_again(session, running, task, lost) == "Silent"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("dies", "error"), [(False, "TimeoutError"), (True, "ProcessDied")])
def test_the_session_of_a_process_that_ends_in_a_silent_transaction_is_ended(
    database: str, proxy: Proxy, dies: bool, error: str
) -> None:
    retry = RetryPolicy(max_attempts=9, initial_interval=0)
    with App(database, queues=[Queue(name="q", heartbeat=6, retry=retry)]) as app, Session(database) as session:
        first = app.client.enqueue("q", {}, job="pid")
        worker = Worker(f"{proxy.dsn}?connect_timeout=2", process_jobs.app.jobs, queues=["q"], concurrency=1)
        with beside(worker) as running:
            final(app, first, running)  # the process is there
            session.run("select pg_advisory_lock(1)")
            task = app.client.enqueue("q", {"dsn": database, "dies": dies}, job="holds", options=Options(timeout=1))
            lost = see_silenced(proxy, session, running)
            proxy.speak(of_old=False)
            assert see_tried_again(session, running, task, lost) == error
