"""Connections: a database that says nothing any more, and what a dsn says of patience."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.chaos.proxy import Proxy
from tests.py.support import SECONDS, Session, beside, wait_until
from underway_pg import App, Context, Queue, RetryPolicy, connections, worker


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_SILENT_AFTER", 0.5)


def test_what_a_dsn_says_of_patience_counts(database: str) -> None:
    with connections.connect(database) as connection:
        given = connection.info.get_parameters()
    assert (given["connect_timeout"], given["tcp_user_timeout"], given["keepalives_idle"]) == ("10", "20000", "10")
    with connections.connect(make_conninfo(database, connect_timeout=3, tcp_user_timeout=7000)) as connection:
        given = connection.info.get_parameters()
    assert (given["connect_timeout"], given["tcp_user_timeout"], given["keepalives_idle"]) == ("3", "7000", "10")


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
