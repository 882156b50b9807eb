"""Databases, queues and connections that go away."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.py.support import FOREVER, SECONDS, Beside, Session, beside, final
from tests.py.worker_support import AT_ONCE, KILL, Seen, away, idle, info
from underway_pg import App, Client, DatabaseUnavailable, Queue
from underway_pg.errors import SchemaMissing
from underway_pg.worker.listener import Listener


def test_what_keeps_a_worker_from_working_at_all_is_raised_as_it_is(app: App, session: Session) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    worker = app.worker()
    session.run("drop function underway.dequeue(text[], integer, bigint)")
    with pytest.raises(SchemaMissing, match="underway migrate"):
        asyncio.run(worker.run())


def test_a_worker_whose_queue_is_dropped_goes_on_with_the_others_and_settles_what_it_has(
    app: App, session: Session
) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def kept(n: int) -> int:
        if n == 1:
            started.set()
            release.wait(SECONDS)
        return n

    @app.job(queue="gone")
    def lost() -> None: ...

    held = kept.enqueue(1)
    with beside(app.worker(concurrency=2)) as worker:
        assert started.wait(SECONDS)
        app.client.drop_queue("gone", force=True)
        next_one = kept.enqueue(2)
        release.set()
        assert final(app, held, worker).output == 1
        assert final(app, next_one, worker).output == 2

        # And it serves the queue again when it is there again.
        app.client.create_queue(Queue(name="gone"))
        assert final(app, lost.enqueue(), worker).state == "succeeded"


def test_a_worker_whose_running_tasks_are_cancelled_with_their_queue_goes_on(app: App, session: Session) -> None:
    seen = Seen()

    @app.job(queue="gone", heartbeat=3)
    async def runs() -> None:
        seen("started")
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen("interrupted")

    id = runs.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        app.client.drop_queue("gone", force=True)
        worker.until(lambda: len(seen.values) == 2, "it is interrupted")
        assert info(app, id).state == "cancelled"
        app.client.create_queue(Queue(name="gone"))
        runs.enqueue()
        worker.until(lambda: len(seen.values) == 3, "the queue is served again")
        worker.stop()
        worker.stop()


def test_nothing_is_lost_when_connections_are_killed_during_work(app: App, session: Session) -> None:
    runs: Counter[int] = Counter()
    lock = threading.Lock()

    def note(n: int) -> None:
        with lock:
            runs[n] += 1

    @app.job(queue="busy")
    def plain(n: int) -> None:
        note(n)
        time.sleep(0.002)

    @app.job(queue="busy")
    async def asynchronous(n: int) -> None:
        note(n)
        await asyncio.sleep(0.002)

    app.client.create_queue(Queue(name="busy", heartbeat=1, retry=AT_ONCE))
    plain.enqueue_many([{"n": n} for n in range(250)])
    asynchronous.enqueue_many([{"n": n} for n in range(250, 500)])
    done = "select count(*) from underway.task_history where state = 'succeeded'"

    def more_done(share: int) -> bool:
        return bool(session.value(done) >= share)

    with beside(app.worker(concurrency=5)) as worker:
        for share in (50, 150, 250, 350):
            worker.until(functools.partial(more_done, share), f"{share} are done")
            session.run(KILL)
        worker.until(lambda: session.value(done) == 500, "all are done", seconds=30)

        session.run("""select underway.enqueue('busy', '{"n": 1000}', 'plain')""")
        worker.until(lambda: session.value(done) == 501, "the next is done")
    assert set(runs) == {*range(500), 1000}


def test_a_worker_whose_database_is_away_at_first_begins_when_it_is_there(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    def job() -> str:
        return "done"

    id = job.enqueue()
    running = Beside(app.worker())
    with away(app, session):
        running.start()
        running.until(lambda: "cannot reach the database" in caplog.text, "it notices")
    running.until(lambda: session.state(id) == "succeeded", "it works")
    running.stop()
    running.join()


def test_a_worker_outlives_a_time_in_which_the_database_is_read_only(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    async def work() -> str:
        return "done"

    name = session.value("select current_database()")
    with beside(app.worker()) as worker:
        assert final(app, work.enqueue(), worker).output == "done"
        session.run(f"alter database {name} set default_transaction_read_only = on")  # as of what was the primary
        session.run(KILL)
        worker.until(lambda: "read-only transaction" in caplog.text, "the worker notices")
        session.run(f"alter database {name} reset default_transaction_read_only")
        id = session.value("select underway.enqueue('q', '{}', job => 'work')")
        worker.until(lambda: session.state(id) == "succeeded", "it works again")
    assert not [message for message in caplog.messages if "read-only" in message and "\n" in message]


@contextlib.contextmanager
def garbling(answers: list[bytes]) -> Iterator[int]:
    """The port of a server that lets each connection log in, and gives it the next of these answers to all it sends.

    When there are no more answers, it closes the connection.
    """

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):  # the client closes it first
                    connection.recv(4096)
                    connection.sendall(message(b"R", bytes(4)) + message(b"K", bytes(8)) + message(b"Z", b"I"))
                    connection.recv(4096)
                    connection.sendall(answers.pop(0) if answers else b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_worker_and_a_client_outlive_answers_that_make_no_sense(database: str, session: Session) -> None:
    nonsense = [b"Z\0\0\0\5I", b"\7\0\0\0\x10what is this", b"D\0\0\0\5IDT"]
    answers: list[bytes] = []
    with garbling(answers) as port:

        def dsn() -> str:
            return f"host=127.0.0.1 port={port} user=u sslmode=disable gssencmode=disable" if answers else database

        app = App(dsn, queues=[Queue(name="q")])

        @app.job(queue="q")
        def work() -> None: ...

        with app, beside(app.worker()) as worker:
            final(app, work.enqueue(), worker)
            answers += nonsense
            session.run(KILL)
            worker.until(lambda: not answers, "all answers were given")
            final(app, work.enqueue(), worker)
        for answer in nonsense:
            answers.append(answer)
            with Client(dsn) as client:
                with pytest.raises(DatabaseUnavailable):
                    client.queues()
                assert client.queues()


def test_a_worker_that_was_forgotten_goes_on_although_one_of_its_queues_was_dropped(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    async def work() -> str:
        return "done"

    session.create_queue("gone")
    with beside(app.worker(queues=["q", "gone"], name="w")) as worker:
        idle(session, worker)
        app.client.drop_queue("gone", force=True)
        session.run("delete from underway.worker")
        worker.until(lambda: "worker w cannot be registered again" in caplog.text, "it says what is wrong")
        assert final(app, work.enqueue(), worker).output == "done"
        session.create_queue("gone")
        worker.until(lambda: session.column("select name from underway.worker") == ["w"], "it is registered again")


def test_an_outage_does_not_flood_the_log_and_its_end_is_logged(
    app: App, session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens = Seen()
    listen = Listener._listen

    async def listen_seen(self: Listener) -> None:
        listens("tries")
        await listen(self)

    monkeypatch.setattr(Listener, "_listen", listen_seen)

    @app.job(queue="q", heartbeat=0.6)
    async def long() -> None:
        await asyncio.sleep(FOREVER)

    long.enqueue()
    with beside(app.worker()) as worker:
        idle(session, worker)
        with away(app, session):
            worker.until(lambda: "cannot reach the database" in caplog.text, "it notices")
            worker.until(lambda: len(listens.values) > 3, "it tries for a while")
        worker.until(lambda: "the database is back after" in caplog.text, "it says that the outage is over")
        worker.stop()
        worker.stop()
    (lost,) = [message for message in caplog.messages if "LISTEN connection lost" in message]
    assert "\n" not in lost
    said = [message for message in caplog.messages if "cannot reach the database" in message]
    assert len(said) == sum("the database is back after" in message for message in caplog.messages)
