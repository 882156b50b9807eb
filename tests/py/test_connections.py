"""Connections: a database that says nothing any more, and what a dsn says of patience."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests import forks
from tests.chaos.proxy import Proxy
from tests.chaos.scenarios import cluster
from tests.py import process_jobs
from tests.py.support import SECONDS, Beside, Session, beside, final, wait_until
from tests.py.worker_support import Seen, listening
from tests.servers import Server
from underway_pg import (
    App,
    AsyncClient,
    Client,
    Context,
    Queue,
    RetryPolicy,
    Worker,
    WorkerSettings,
    connections,
    schema,
)
from underway_pg.connections import sessions
from underway_pg.settings import Options


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


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
        with connections.Pool(server.dsn, max_size=1) as pool, pool.connection() as connection:
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
                pytest.raises(connections.ServerUnresponsive, match=r"no answer for 0\.2 s;"),
                connections.answer_within(0.1999982, connection),
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


def silence_once(monkeypatch: pytest.MonkeyPatch, proxy: Proxy, name: str) -> None:
    """Have the proxy fall silent for all connections there are, when this function is called for the first time."""
    module = connections if name == "connect_async" else sessions
    real, called = getattr(module, name), threading.Event()

    def fall_silent() -> None:
        if not called.is_set():
            called.set()
            proxy.fall_silent()
            proxy.speak(of_old=False)

    def before(connection: Any) -> Any:
        fall_silent()
        return real(connection)

    async def after(dsn: str, **settings: Any) -> Any:
        connection = await real(dsn, **settings)
        fall_silent()
        return connection

    monkeypatch.setattr(module, name, after if name == "connect_async" else before)


def test_a_connection_that_falls_silent_after_the_login_keeps_no_place_in_its_pool(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence_once(monkeypatch, proxy, "session_parameters")
    with connections.Pool(f"{proxy.dsn}?connect_timeout=2", max_size=1) as pool:
        with pytest.raises(connections.ServerUnresponsive), pool.connection():
            pass
        with pool.connection(timeout=SECONDS / 3) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_an_async_connection_that_falls_silent_after_the_login_keeps_no_place_in_its_pool(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with connections.AsyncPool(f"{proxy.dsn}?connect_timeout=2", max_size=1) as pool:
            with pytest.raises(connections.ServerUnresponsive):
                async with pool.connection():
                    pass
            async with pool.connection(timeout=SECONDS / 3) as connection:
                assert await (await connection.execute("select 1")).fetchone() == (1,)

    silence_once(monkeypatch, proxy, "session_parameters")
    asyncio.run(main())


def test_a_worker_whose_connection_falls_silent_before_it_listens_listens_over_another(
    database: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    silence_once(monkeypatch, proxy, "connect_async")
    app = App(f"{proxy.dsn}?connect_timeout=2", queues=[Queue(name="plain")])
    with app, Session(database) as session, beside(app.worker(silent_after=0.5)) as running:
        listening(session, running)
    assert "LISTEN connection lost, reconnecting: no answer" in caplog.text


def test_a_statement_that_a_worker_has_given_up_is_ended_on_the_server_too(database: str) -> None:
    app = App(database, queues=[Queue(name="plain")])
    release = threading.Event()

    @app.job(queue="plain")
    def work() -> str:
        release.wait(SECONDS)
        return "done"

    completing = """select pid from pg_stat_activity
        where datname = current_database() and state = 'active' and wait_event_type = 'Lock'"""
    with (
        app,
        Session(database) as session,
        Session(database) as locker,
        beside(app.worker(silent_after=0.5)) as running,
    ):
        id = work.enqueue()
        running.until(lambda: session.state(id) == "in_progress", "it runs")
        locker.run("begin")
        locker.run("select from underway.task where id = %s for update", id)
        release.set()
        (first,) = running.until(lambda: session.column(completing), "its completion waits for the lock")
        running.until(lambda: first not in session.column(completing), "the first try is ended")
        locker.run("rollback")
        assert final(app, id, running).output == "done"


def test_a_worker_whose_connections_have_fallen_silent_goes_on_over_new_ones(
    database: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(f"{proxy.dsn}?connect_timeout=2")

    @app.job(queue="plain")
    async def work(n: int) -> int:
        return n

    with app, Session(database) as session, beside(app.worker(silent_after=0.5)) as running:
        session.run("select underway.enqueue('plain', '{\"n\": 1}', job => 'work')")
        running.until(lambda: session.value("select count(*) from underway.task_history") == 1, "it works")
        listening = """select count(*) from pg_stat_activity
            where datname = current_database() and (query like 'listen _underway_ready_%%' or query = '')"""
        running.until(lambda: session.value(listening) == 1, "it listens")
        proxy.fall_silent()
        session.run("select underway.enqueue('plain', '{\"n\": 2}', job => 'work')")
        proxy.speak(of_old=False)
        running.until(lambda: session.value("select count(*) from underway.task_history") == 2, "it works again")
        running.until(
            lambda: "LISTEN connection lost, reconnecting: no answer" in caplog.text, "it notices that it is deaf"
        )


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

    with app, Session(database) as session, beside(app.worker(concurrency=1, silent_after=0.5)) as running:
        session.run("select underway.enqueue('plain', '{}', job => 'work')")
        running.until(inside.is_set, "the handler is in its transaction")
        proxy.fall_silent()
        silent.set()
        session.run("update underway.task set lease_expires_at = clock_timestamp()")
        session.run("select underway._run_chores()")
        proxy.speak(of_old=False)
        wait_until(broke.is_set, "the handler has learned of it")
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
    running.until(lambda: session.state(task) == "succeeded", "the task is final", seconds=4 * SECONDS)
    assert session.attempt(task) == 2
    assert not session.value("select count(*) from pg_stat_activity where pid = %s", lost)
    (error,) = session.errors(task)
    return str(error["type"])


@pytest.mark.parametrize("job", ["in_thread", "on_loop"])
def test_a_transaction_whose_end_is_not_answered_is_given_up_with_its_session(
    database: str, proxy: Proxy, job: str
) -> None:
    app = holding_jobs(f"{proxy.dsn}?connect_timeout=2", database)
    with app, Session(database) as session, beside(app.worker(silent_after=0.5)) as running:
        session.run("select pg_advisory_lock(1)")
        task: int = session.value("select underway.enqueue('q', '{}', job => %s)", job)
        lost = see_silenced(proxy, session, running)
        proxy.speak(of_old=False)
        begun = time.monotonic()
        assert see_tried_again(session, running, task, lost) == "ServerUnresponsive"
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


@pytest.mark.parametrize("may", [True, False])
def test_a_worker_ends_sessions_of_its_own_role_and_says_so_when_it_may_not(
    database: str, proxy: Proxy, plain_role: str, caplog: pytest.LogCaptureFixture, may: bool
) -> None:
    dsn = make_conninfo(proxy.dsn, user=plain_role, connect_timeout=2)
    with (
        holding_jobs(dsn, database) as app,
        Session(database) as session,
        beside(app.worker(silent_after=0.5)) as running,
    ):
        if not may:
            session.run("revoke execute on function pg_terminate_backend from public")
        session.run("select pg_advisory_lock(1)")
        task: int = session.value("select underway.enqueue('q', '{}', job => 'in_thread')")
        lost = see_silenced(proxy, session, running)
        proxy.speak(of_old=False)
        if not may:
            running.until(lambda: "cannot end a lost session" in caplog.text, "it says that it may not")
            session.run("select pg_terminate_backend(%s)", lost)
        assert see_tried_again(session, running, task, lost) == "ServerUnresponsive"


@pytest.mark.parametrize(
    ("dies", "silent_after", "error"),
    [(False, 5.5, "TimeoutError"), (False, 0.5, "ServerUnresponsive"), (True, 0.5, "ProcessDied")],
)
def test_the_session_of_a_process_that_ends_in_a_silent_transaction_is_ended(
    database: str, proxy: Proxy, dies: bool, silent_after: float, error: str
) -> None:
    retry = RetryPolicy(max_attempts=9, initial_interval=0)
    with App(database, queues=[Queue(name="q", heartbeat=20, retry=retry)]) as app, Session(database) as session:
        first = app.client.enqueue("q", {}, job="pid")
        settings = WorkerSettings(queues=["q"], concurrency=1, silent_after=silent_after)
        worker = Worker(f"{proxy.dsn}?connect_timeout=2", process_jobs.app.jobs, settings)
        with beside(worker) as running:
            final(app, first, running)  # the process is there
            session.run("select pg_advisory_lock(1)")
            # The handler has to be at the gate by then.
            options = Options(timeout=60 if dies else 4)
            task = app.client.enqueue("q", {"dsn": database, "dies": dies}, job="holds", options=options)
            lost = see_silenced(proxy, session, running)
            proxy.speak(of_old=False)
            assert see_tried_again(session, running, task, lost) == error


# Behind a pooler


class Pooler(Proxy):
    """A proxy that gives itself away as a pooler does: the number of the session that it tells is not the server's."""

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await super()._connect()
        return _Renumbered(reader), writer


class _Renumbered(asyncio.StreamReader):
    """What the server says, with the first number of a session in it changed."""

    KEY = b"K\0\0\0\x0c"  # BackendKeyData, of a key of four bytes

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._reader = reader
        self._is_told = False

    async def read(self, n: int = -1) -> bytes:
        data = await self._reader.read(n)
        before, key, after = data.partition(self.KEY)
        if self._is_told or not key:
            return data
        self._is_told = True
        return before + key + (int.from_bytes(after[:4], "big") ^ 1 << 20).to_bytes(4, "big") + after[4:]


def hears_a_cancellation(app: App, session: Session, running: Beside, seen: Seen) -> None:
    """See that a running task, whose heartbeat is far away, is interrupted by its cancellation."""
    id = session.value("select underway.enqueue('plain', '{}', job => 'work')")
    running.until(lambda: seen.values == ["started"], "it runs")
    session.run("select underway.cancel(%s)", id)
    running.until(lambda: seen.values == ["started", "interrupted"], "it is interrupted")


def jobs_that_wait(dsn: str) -> tuple[App, Seen]:
    app, seen = App(dsn, queues=[Queue(name="plain", heartbeat=600)]), Seen()

    @app.job(queue="plain")
    async def work() -> None:
        seen("started")
        try:
            await asyncio.sleep(2 * SECONDS)
        finally:
            seen("interrupted")

    return app, seen


def test_a_worker_behind_a_pooler_says_that_it_hears_nothing(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Pooler(database) as pooler,
        App(pooler.dsn, queues=[Queue(name="plain")]) as app,
        caplog.at_level(logging.INFO, "underway_pg"),
        beside(app.worker(name="w")) as running,
    ):
        running.until(
            lambda: (
                "worker w: connected through a pooler, LISTEN unavailable, polling; set listen_dsn" in caplog.messages
            ),
            "it says so",
        )


def test_a_worker_behind_a_pooler_hears_past_it_where_it_is_told_how(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Pooler(database) as pooler, Session(database) as session:
        app, seen = jobs_that_wait(pooler.dsn)
        with app, caplog.at_level(logging.INFO, "underway_pg"), beside(app.worker(listen_dsn=database)) as running:
            listening(session, running)
            hears_a_cancellation(app, session, running, seen)
    assert "behind a pooler" not in caplog.text


def test_a_worker_that_can_not_listen_where_it_was_told_says_so_and_works_nevertheless(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy(database) as closed:
        nobody_there = closed.dsn
    app = App(database, queues=[Queue(name="plain")])

    @app.job(queue="plain")
    async def work() -> str:
        return "done"

    with app, beside(app.worker(listen_dsn=nobody_there)) as running:
        running.until(lambda: "LISTEN connection lost, reconnecting: " in caplog.text, "it says so")
        assert final(app, work.enqueue(), running).output == "done"


# Isolation


@pytest.fixture(params=["repeatable read", "serializable"])
def isolated(request: pytest.FixtureRequest, database: str) -> str:
    """A database whose sessions begin with a stricter isolation than read committed."""
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database {name} set default_transaction_isolation = '{request.param}'".encode())
    return database


LEVEL = "select current_setting('transaction_isolation')"


def test_every_connection_is_read_committed_whatever_the_database_prefers(isolated: str) -> None:
    def levels(connection: psycopg.Connection[Any]) -> list[Any]:
        with connection.transaction():
            inside = connection.execute(LEVEL).fetchone()
        return [connection.execute(LEVEL).fetchone(), inside]

    async def levels_async(connection: psycopg.AsyncConnection[Any]) -> list[Any]:
        async with connection.transaction():
            inside = await (await connection.execute(LEVEL)).fetchone()
        return [await (await connection.execute(LEVEL)).fetchone(), inside]

    async def main() -> None:
        async with (
            connections.AsyncPool(isolated, max_size=1) as pool,
            pool.connection() as pooled,
            await connections.connect_async(isolated) as single,
        ):
            assert await levels_async(pooled) == await levels_async(single) == [("read committed",)] * 2

    with (
        connections.Pool(isolated, max_size=1) as pool,
        pool.connection() as pooled,
        connections.connect(isolated) as single,
    ):
        assert levels(pooled) == levels(single) == [("read committed",)] * 2
    asyncio.run(main())


def test_a_transaction_through_a_pooler_is_read_committed_whatever_the_database_prefers(isolated: str) -> None:
    with (
        Pooler(isolated) as pooler,
        connections.connect(pooler.dsn) as connection,
        connection.transaction(),
    ):
        assert connection.execute(LEVEL).fetchone() == ("read committed",)


def test_options_of_the_dsn_are_kept(isolated: str) -> None:
    with connections.connect(make_conninfo(isolated, options="-c work_mem=5MB")) as connection:
        assert connection.execute("show work_mem").fetchone() == ("5MB",)


def test_a_worker_of_a_database_with_strict_isolation_runs_every_kind_of_task(isolated: str) -> None:
    app = App(isolated, queues=[Queue(name="plain", heartbeat=3, retry=RetryPolicy(max_attempts=1))])

    @app.job(queue="plain")
    async def work(n: int) -> int:
        return n

    @app.job(queue="plain")
    def ledger(context: Context) -> str:
        renewed = "select lease_expires_at > %s from underway.task where id = %s"
        with context.transaction() as connection, psycopg.connect(isolated, autocommit=True) as other:
            (lease,) = connection.execute(
                "select lease_expires_at from underway.task where id = %s", [context.id]
            ).fetchall()[0]
            wait_until(lambda: other.execute(renewed, [lease, context.id]).fetchone() == (True,), "a heartbeat")
            context.output = "done"
        return "done"

    with app, beside(app.worker()) as running:
        first = [work.enqueue(1), work.enqueue(2)]
        after = work.options(after=first).enqueue(3)
        batch = app.client.enqueue_batch([work.task(4)], on_success=work.task(5))
        keyed = [work.options(concurrency_key="customer").enqueue(n) for n in (6, 7)]
        transaction = ledger.enqueue()
        found = app.client.batch(batch)
        assert found is not None
        assert found.on_success is not None
        for task in [*first, after, *keyed, found.on_success, transaction]:
            assert final(app, task, running).state == "succeeded"


# Encodings


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_JP"])
def encoded(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """A database with an encoding that is not UTF8."""
    name = f"underway_encoded_{os.getpid()}"
    drop = f"drop database if exists {name} with (force)".encode()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(
            f"create database {name} template template0 encoding '{request.param}' lc_collate 'C' lc_ctype 'C'".encode()
        )
        try:
            dsn = urlsplit(server.dsn)._replace(path=f"/{name}").geturl()
            schema.migrate(dsn)
            yield dsn
        finally:
            connection.execute(drop)


def test_a_message_that_the_encoding_of_the_database_lacks_is_escaped_and_fails_its_attempt_only(encoded: str) -> None:
    app = App(encoded, queues=[Queue(name="plain", retry=RetryPolicy(max_attempts=1))])

    @app.job(queue="plain")
    def bad() -> None:
        raise RuntimeError("broken \U0001f600")

    @app.job(queue="plain")
    def emoji() -> str:
        return "\U0001f600"

    @app.job(queue="plain")
    def good(context: Context, word: str) -> str:
        context.progress("\U0001f600")
        return word

    with app, beside(app.worker(concurrency=4)) as running:
        failed, output = bad.enqueue(), emoji.enqueue()
        fine = [good.enqueue(word="caf\xe9") for _ in range(3)]
        assert [final(app, task, running).output for task in fine] == ["caf\xe9"] * 3
        (error,) = final(app, failed, running).errors or []
        assert error["message"] in ("broken \U0001f600", r"broken \U0001f600")  # escaped where it has to be
        ended = final(app, output, running)
        assert (ended.output, ended.state) in (("\U0001f600", "succeeded"), (None, "failed"))
        assert final(app, good.enqueue(word="later"), running).output == "later"


# Idle connections that the server has closed


# Waits until the sessions have ended.
END_OTHERS = """select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""


def test_a_client_enqueues_although_the_server_has_closed_all_its_idle_connections(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(database) as client, Session(database) as session:
        client.create_queue(Queue(name="plain"))
        with client._pool.connection(), client._pool.connection(), client._pool.connection():
            pass
        assert session.column(END_OTHERS) == [True] * 3
        started_at = time.monotonic()
        assert [session.state(client.enqueue("plain", n)) for n in range(4)] == ["pending"] * 4
        assert time.monotonic() - started_at < 2.0  # psycopg_pool waits a second after each failed check but the first


def test_an_async_client_enqueues_although_the_server_has_closed_all_its_idle_connections(database: str) -> None:
    async def main() -> None:
        async with AsyncClient(database) as client:
            await client.create_queue(Queue(name="plain"))
            async with client._pool.connection(), client._pool.connection(), client._pool.connection():
                pass
            assert session.column(END_OTHERS) == [True] * 3
            started_at = time.monotonic()
            assert [session.state(await client.enqueue("plain", n)) for n in range(4)] == ["pending"] * 4
            assert time.monotonic() - started_at < 2.0

    with Session(database) as session:
        asyncio.run(main())


# A process that was forked


FORKS = """
import os, sys
from underway_pg import App, Queue

def backend():
    with app.client._pool.connection() as connection:
        return connection.info.backend_pid, connection.execute("select pg_backend_pid()").fetchone()[0]

app = App(sys.argv[1], queues=[Queue(name="q")])
app.client.enqueue("q", "before the fork")
mine = backend()
child = os.fork()
app.client.enqueue("q", "in both")
theirs = backend()
if child == 0:
    sys.exit(theirs == mine)
assert os.waitpid(child, 0)[1] == 0
app.client.enqueue("q", "afterwards")
assert backend() == mine
"""


def test_a_forked_process_enqueues_over_connections_of_its_own_and_leaves_those_of_its_parent(database: str) -> None:
    program = forks.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, database],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert (program.returncode, program.stderr) == (0, "")
    with Session(database) as session:
        found = session.column("select input #>> '{}' from underway.task order by 1")
    assert found == ["afterwards", "before the fork", "in both", "in both"]
