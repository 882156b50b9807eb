"""The clients: at a cold start, on several loops, in forked processes, with pools, while the database is down."""

from __future__ import annotations

import asyncio
import gc
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests import forks
from tests.chaos.proxy import Proxy
from tests.py.support import SECONDS, Session, at_once, beside, wait_until
from tests.py.worker_support import away, listening
from tools import async_to_sync
from underway_pg import (
    App,
    AsyncClient,
    Client,
    ConfigurationError,
    DatabaseUnavailable,
    Queue,
    QueueNotFound,
    ServerUnresponsive,
    Snooze,
    TaskFailed,
    TaskHandle,
    UnderwayError,
    WaitTimeout,
    errors,
)

SESSIONS = """select count(*) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""

KILL = """select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""


def jobs(dsn: Any, **settings: Any) -> tuple[App, Any]:
    app = App(dsn, **settings)

    @app.job(queue="q")
    def work(n: int) -> int:
        return n

    return app, work


def test_the_plain_modules_are_generated_from_the_async_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["async_to_sync", "--check"])
    assert async_to_sync.main() == 0


# A cold start, and several loops


def test_a_hundred_coroutines_at_a_cold_start_share_one_client(database: str) -> None:
    app, work = jobs(database)
    with Session(database) as session:
        peak, over = [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.005):
                peak[0] = max(peak[0], session.value(SESSIONS))

        async def main() -> list[int]:
            async with app:
                return await asyncio.gather(*(work.enqueue_async(n) for n in range(100)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            ids = asyncio.run(main())
        finally:
            over.set()
            watcher.join()
        assert len(set(ids)) == 100
        assert peak[0] <= 4
        assert session.value("select count(*) from underway.task") == 100


def test_threads_at_a_cold_start_share_one_client(database: str) -> None:
    app, work = jobs(database)
    with app, Session(database) as session:
        assert len(set(at_once(lambda n: work.enqueue(n), 20))) == 20
        assert session.value(SESSIONS) <= 4


def test_event_loops_one_after_the_other_leave_no_connections_open(database: str) -> None:
    app, work = jobs(database)
    with app, Session(database) as session:
        for n in range(5):
            assert asyncio.run(work.enqueue_async(n))
            wait_until(lambda: session.value(SESSIONS) <= 1, "the connections of the loop before are closed")
    gc.collect()
    with Session(database) as session:
        wait_until(lambda: session.value(SESSIONS) == 0, "all connections are closed")


def test_event_loops_in_two_threads_have_a_client_each(database: str) -> None:
    app, work = jobs(database)

    async def enqueue() -> list[int]:
        return [await work.enqueue_async(n) for n in range(20)]

    with app:
        found = at_once(lambda _: asyncio.run(enqueue()), 2)
    assert len({*found[0], *found[1]}) == 40


def test_an_async_application_is_a_context_manager_and_can_be_used_again(database: str) -> None:
    app, work = jobs(database)

    async def main() -> None:
        for n in range(2):
            async with app:
                handle = await work.enqueue_async(n)
                task = await app.task_async(handle)
                assert task is not None
                assert await app.cancel_async(handle)

    asyncio.run(main())
    with Session(database) as session:
        wait_until(lambda: session.value(SESSIONS) == 0, "all connections are closed")


def test_the_connections_of_a_worker_and_of_a_client_are_told_apart(database: str) -> None:
    app, work = jobs(database)
    names = """select distinct application_name from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
        order by 1"""
    with app, Session(database) as session, beside(app.worker(name="w1")) as running:
        listening(session, running)
        work.enqueue(1)
        assert session.column(names) == ["underway client", "underway worker w1"]


# A forked process


FORK_OF_ASYNC = """
import asyncio, os, sys
from underway_pg import App

app = App(sys.argv[1])

@app.job(queue="q")
async def work(who: str) -> None: ...

async def main(who, times):
    return [int(await work.enqueue_async(who)) for _ in range(times)]

loop = asyncio.new_event_loop()
loop.run_until_complete(main("before", 1))
pid = os.fork()
if pid == 0:
    asyncio.run(main("child", 5))
    sys.exit(0)
ids = loop.run_until_complete(main("parent", 5))
assert os.waitpid(pid, 0)[1] == 0
loop.run_until_complete(main("parent", 1))
loop.run_until_complete(app.close_async())
loop.close()
"""


def test_a_forked_process_does_not_touch_the_async_connections_of_its_parent(database: str) -> None:
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK_OF_ASYNC, database]
    done = forks.run(program, capture_output=True, text=True, timeout=2 * SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    with Session(database) as session:
        found = session.rows("select input ->> 'who', count(*) from underway.task group by 1 order by 1")
    assert found == [("before", 1), ("child", 5), ("parent", 6)]


# Outages


def test_a_program_that_fails_after_its_connection_was_cut_ends(database: str) -> None:
    program = """
import asyncio, psycopg, sys
from underway_pg import App

app = App(sys.argv[1])

@app.job(queue="q")
async def work(n: int) -> None: ...

async def main():
    await work.enqueue_async(1)
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute(sys.argv[2])
    await work.enqueue_async(2)
    raise RuntimeError("the program's own error")

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", program, database, KILL]
    done = forks.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr.strip().endswith("RuntimeError: the program's own error")


def test_a_call_while_the_database_is_down_fails_at_once_with_the_cause(database: str) -> None:
    app, work = jobs(database)

    async def enqueue() -> None:
        await work.enqueue_async(1)

    with app, Session(database) as session:
        work.enqueue(0)
        with away(app, session):
            for call in (lambda: work.enqueue(1), lambda: asyncio.run(enqueue()), lambda: app.wait_for(1)):
                started_at = time.monotonic()
                with pytest.raises(
                    DatabaseUnavailable, match=r"not currently accepting|terminating connection"
                ) as down:
                    call()
                assert time.monotonic() - started_at < 5
                assert isinstance(down.value.__cause__, psycopg.OperationalError)
        assert work.enqueue(2)


def test_a_server_that_is_not_there_is_unavailable_with_the_cause(database: str) -> None:
    with Proxy(database) as closed:
        dsn = closed.dsn
    with pytest.raises(DatabaseUnavailable, match="refused"):
        Client(dsn).stats()
    with pytest.raises(DatabaseUnavailable, match="refused"):
        asyncio.run(AsyncClient(dsn).stats())


def test_a_call_that_is_not_answered_within_its_timeout_fails(database: str) -> None:
    app, work = jobs(database, timeout=0.3)

    async def enqueue() -> None:
        await work.enqueue_async(1)

    with app, Session(database) as session:
        work.enqueue(0)
        session.run("begin")
        session.run("lock table underway.task in access exclusive mode")
        with pytest.raises(ServerUnresponsive, match=r"no answer for 0\.\d+ s"):
            work.enqueue(1)
        with pytest.raises(ServerUnresponsive):
            asyncio.run(enqueue())
        with ThreadPoolExecutor(1) as thread:
            slow = thread.submit(app.client.within(None).enqueue, "q", {"n": 2})
            assert not slow.done()
            session.run("rollback")
            assert slow.result(SECONDS)


def test_a_call_waits_for_a_free_connection_no_longer_than_its_timeout(database: str) -> None:
    with (
        Client(database, pool_size=1, timeout=0.2) as client,
        client._pool.connection(),
        pytest.raises(DatabaseUnavailable, match=r"none of the 1 connections of the pool was free for 0\.2 s"),
    ):
        client.stats()

    async def main() -> None:
        async with AsyncClient(database, pool_size=1, timeout=0.2) as client, client._pool.connection():
            with pytest.raises(DatabaseUnavailable, match="none of the 1 connections"):
                await client.stats()

    asyncio.run(main())


def test_an_async_call_that_is_cancelled_leaves_the_pool_whole(database: str) -> None:
    async def main() -> None:
        async with AsyncClient(database, pool_size=2) as client:
            await client.create_queue(Queue(name="q"))
            session.run("begin")
            session.run("lock table underway.task in access exclusive mode")
            calls = [asyncio.create_task(client.enqueue("q", n)) for n in range(6)]
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*calls), 0.2)
            session.run("rollback")
            assert len({await client.enqueue("q", n) for n in range(4)}) == 4

    with Session(database) as session:
        asyncio.run(main())


def test_a_session_that_is_ended_in_the_middle_of_a_statement_costs_no_call(database: str) -> None:
    terminate = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where wait_event_type = 'Lock'"
    with Client(database) as client, Session(database) as session, ThreadPoolExecutor(1) as thread:
        client.create_queue(Queue(name="q"))
        session.run("begin")
        session.run("lock table underway.task in access exclusive mode")
        enqueueing = thread.submit(client.enqueue, "q", 1)
        assert wait_until(lambda: session.column(terminate), "it waits for the lock, and is ended") == [True]
        session.run("rollback")
        assert enqueueing.result(SECONDS)
        assert session.value("select count(*) from underway.task") == 1


# One's own pool


def test_a_pool_without_connections_is_refused_by_each_client() -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(ConfigurationError, match="pool_size is 0; give an integer of at least 1"):
            client("postgresql://nobody@nowhere.invalid/nothing", pool_size=0)


def test_an_application_takes_pools_of_the_caller(database: str) -> None:
    kwargs = {"application_name": "mine"}
    with ConnectionPool(database, kwargs=kwargs, min_size=1, max_size=2, check=ConnectionPool.check_connection) as pool:
        app, work = jobs(None, pool=pool)
        handle = work.enqueue(1)
        with pytest.raises(WaitTimeout):
            app.wait_for(handle, timeout=0)
        with Session(database) as session:
            names = session.column("select application_name from pg_stat_activity where datname = current_database()")
            assert "mine" in names
            session.run(KILL)
        assert work.enqueue(2)
        assert not app.migrate()
        app.close()
        assert not pool.closed
        with pool.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)

    async def main() -> None:
        async with AsyncConnectionPool(database, open=False) as pool:
            app, work = jobs(None, async_pool=pool)
            async with app:
                await work.enqueue_async(3)
                assert not await app.migrate_async()

    asyncio.run(main())


# Waiting


def test_a_thousand_waits_use_one_connection_beside_the_pool(database: str) -> None:
    app, _ = jobs(database)

    async def main() -> None:
        async with app:
            client = await app.async_client()
            ids = await client.enqueue_many("q", range(1000))
            waits = [asyncio.create_task(client.wait_for_many([id], timeout=4 * SECONDS)) for id in ids]

            async def all_wait() -> None:
                while len(client._waits._events) < 1000 or client._waits._connection is None:
                    await asyncio.sleep(0.01)

            await asyncio.wait_for(all_wait(), SECONDS)
            assert await asyncio.to_thread(session.value, SESSIONS) <= 5
            await client.drop_queue("q", force=True)
            found = await asyncio.gather(*waits)
            assert {task.state for each in found for task in each.values()} == {"cancelled"}
            assert client._waits._connection is None

    with Session(database) as session:
        asyncio.run(main())


def test_threads_that_wait_share_a_connection_and_hand_it_over(database: str) -> None:
    app, _ = jobs(database)
    with app, Session(database) as session, ThreadPoolExecutor(30) as threads:
        ids = app.client.enqueue_many("q", range(30))
        waits = {id: threads.submit(app.client.wait_for_many, [id], timeout=SECONDS) for id in ids}
        listening = (
            "select count(*) from pg_stat_activity where datname = current_database() and query ~ 'underway_fin'"
        )
        wait_until(lambda: len(app.client._waits._events) == 30, "all wait")
        for id in ids:
            app.cancel(id)
            assert waits[id].result(SECONDS)[id].state == "cancelled"
            assert session.value(listening) <= 1
        assert app.client._waits._connection is None


def test_a_wait_that_ends_early_does_not_keep_others_from_their_notifications(database: str) -> None:
    async def main() -> None:
        async with app:
            client = await app.async_client()
            first, second = await client.enqueue_many("q", [1, 2])
            leader = asyncio.create_task(client.wait_for(first))
            while client._waits._connection is None:
                await asyncio.sleep(0.01)
            follower = asyncio.create_task(client.wait_for_many([second], timeout=SECONDS))
            while len(client._waits._events) < 2:
                await asyncio.sleep(0.01)
            leader.cancel()
            with suppress(asyncio.CancelledError):
                await leader
            await client.cancel(second)
            assert (await follower)[second].state == "cancelled"

    app, _ = jobs(database)
    asyncio.run(main())


def test_waiting_survives_a_listening_connection_that_is_cut(database: str) -> None:
    app, _ = jobs(database)
    with app, Session(database) as session, ThreadPoolExecutor(2) as threads:
        ids = app.client.enqueue_many("q", [1, 2])
        waits = [threads.submit(app.client.wait_for_many, [id], timeout=SECONDS) for id in ids]
        wait_until(lambda: app.client._waits._connection is not None and app.client._waits._poll_at, "it listens")
        session.run(KILL)
        for id in ids:
            session.run("select underway.cancel(%s)", id)
        assert [each.result(SECONDS)[id].state for each, id in zip(waits, ids, strict=True)] == ["cancelled"] * 2


def test_all_that_wait_learn_that_the_database_is_down(database: str) -> None:
    app, _ = jobs(database)
    with app, Session(database) as session, ThreadPoolExecutor(3) as threads:
        ids = app.client.enqueue_many("q", [1, 2, 3])
        waits = [threads.submit(app.client.wait_for, id) for id in ids]
        wait_until(lambda: app.client._waits._connection is not None, "they wait")
        with away(app, session):
            for each in waits:
                with pytest.raises(DatabaseUnavailable, match="not currently accepting connections"):
                    each.result(SECONDS)


# Handles


def test_a_handle_is_the_id_of_its_task_and_waits_for_the_result(database: str) -> None:
    app, work = jobs(database)
    with app:
        handle = work.enqueue(1)
        assert isinstance(handle, TaskHandle)
        assert (handle == handle.id, type(handle.id), f"{handle}") == (True, int, str(handle.id))
        assert type(pickle.loads(pickle.dumps(handle))) is int
        with Session(database) as session:
            assert session.value("select id from underway.task where id = %s", handle) == handle
        with pytest.raises(WaitTimeout):
            handle.wait(timeout=0)
        app.run(drain=True)
        assert handle.wait(timeout=SECONDS) == 1

        async def main() -> int:
            async with app:
                return await handle.result(timeout=SECONDS)

        assert asyncio.run(main()) == 1


# Errors


@pytest.mark.parametrize(
    "error",
    [
        TaskFailed(3, {"type": "ValueError", "message": "no"}),
        Snooze(5),
        errors.Retry("again", after=3),
        errors.Fatal("no"),
        QueueNotFound("queue 'x' does not exist", "create it"),
        DatabaseUnavailable("the database cannot be reached"),
        ServerUnresponsive("no answer for 3 s"),
        WaitTimeout("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_whole_from_another_process(error: UnderwayError) -> None:
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)


def test_an_outage_is_caught_as_the_error_of_psycopg_too() -> None:
    assert issubclass(DatabaseUnavailable, (UnderwayError, psycopg.OperationalError))
    assert issubclass(DatabaseUnavailable, psycopg.OperationalError)
