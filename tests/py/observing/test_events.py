"""Following events: each one once, whatever the order of commits, and over outages."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.py.support import SECONDS, Session, beside, wait_until
from underway_pg import App, AsyncClient, Client, ConfigurationError, DatabaseUnavailable, Event, Fatal, Queue
from underway_pg.client.events.window import PAGE, Window


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def record(session: Session, kind: str = "task_failed", n: int = 0) -> None:
    session.run(f"select underway._record_event('{kind}', 'q', 'job', {n})")


class Follower:
    """Reads events in a thread until the block ends."""

    def __init__(self, database: str, **options: Any) -> None:
        self.seen: list[Event] = []
        self.error: BaseException | None = None
        self._client = Client(database)
        self._events = self._client.events(**options, timeout=4 * SECONDS)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = threading.Event()

    def _run(self) -> None:
        try:
            for event in self._events:
                self.seen.append(event)
                if self._stop.is_set():
                    return
        except BaseException as error:
            self.error = error

    def numbers(self) -> list[int | None]:
        return [event.task for event in self.seen]

    def see(self, *numbers: int) -> None:
        wait_until(lambda: len(self.seen) >= len(numbers) or self.error, f"events {numbers}")
        assert self.error is None
        assert self.numbers() == list(numbers)


@contextlib.contextmanager
def follow(database: str, session: Session, **options: Any) -> Iterator[Follower]:
    follower = Follower(database, **options)
    follower._thread.start()
    listening(session)
    try:
        yield follower
    finally:
        follower._stop.set()
        record(session, n=-1)
        follower._thread.join(SECONDS)
        assert follower._thread.is_alive() is False


def listening(session: Session, without: int = 0) -> int:
    """Wait until a reader listens and has begun to read; gives its process."""
    query = (
        "select pid from pg_stat_activity where datname = current_database() and pid not in (pg_backend_pid(), %s)"
        " and query like '%%events_after%%' and state = 'idle'"
    )
    found = wait_until(lambda: session.column(query, without), "somebody follows the events")
    pid: int = found[0]
    return pid


def test_what_happens_from_now_on_is_returned_in_order(database: str, session: Session) -> None:
    record(session, n=1)
    with follow(database, session) as follower:
        for n in (2, 3, 4):
            record(session, n=n)
        follower.see(2, 3, 4)
    event = follower.seen[0]
    assert (event.kind, event.queue, event.job, event.details) == ("task_failed", "q", "job", {})
    assert abs((datetime.now(UTC) - event.at).total_seconds()) < 2 * SECONDS


def test_a_notification_brings_an_event_at_once(database: str, session: Session) -> None:
    with follow(database, session) as follower:
        begun = time.monotonic()
        for n in range(5):
            record(session, n=n)
            wait_until(lambda n=n: len(follower.seen) == n + 1, "it is returned")  # type: ignore[misc]
    assert time.monotonic() - begun < 4  # a reader that polls each second would need five


def test_an_event_of_a_transaction_that_commits_late_is_returned_once(database: str, session: Session) -> None:
    with follow(database, session) as follower, Session(database) as other:
        other.run("begin")
        record(other, n=1)
        record(session, n=2)
        follower.see(2)
        other.run("commit")
        follower.see(2, 1)
        record(session, n=3)
        follower.see(2, 1, 3)


def test_an_event_that_was_written_before_and_commits_afterwards_is_returned(database: str, session: Session) -> None:
    with Session(database) as other:
        other.run("begin")
        record(other, n=1)
        record(session, n=2)
        with follow(database, session) as follower:
            other.run("commit")
            follower.see(1)


def test_reading_begins_after_an_id(database: str, session: Session) -> None:
    for n in range(2500):
        session.run("insert into underway.event (at, kind, task, details) values (now(), 'task_failed', %s, '{}')", n)
    first = session.value("select min(id) from underway.event")
    with Client(database) as client:
        found = list(client.events(after=first + 99, timeout=0))
    assert [event.task for event in found] == list(range(100, 2500))


def test_kinds_are_chosen(database: str, session: Session) -> None:
    with follow(database, session, kinds=["queue_blocked", "worker_lost"]) as follower:
        for n, kind in enumerate(("task_failed", "queue_blocked", "attempt_failed", "worker_lost")):
            record(session, kind, n)
        follower.see(1, 3)
        record(session, "worker_lost", -1)


def test_failed_attempts_which_are_not_notified_are_returned_too(database: str, session: Session) -> None:
    with follow(database, session, kinds=["attempt_failed"]) as follower:
        session.run("insert into underway.event (at, kind, task, details) values (now(), 'attempt_failed', 1, '{}')")
        follower.see(1)
        record(session, "attempt_failed", -1)


def test_a_connection_that_is_cut_loses_no_event(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with follow(database, session) as follower:
        record(session, n=1)
        follower.see(1)
        pid = listening(session)
        session.run("select pg_terminate_backend(%s)", pid)
        record(session, n=2)
        follower.see(1, 2)
        listening(session, without=pid)
        record(session, n=3)
        follower.see(1, 2, 3)
    assert "cannot reach the database, retrying" in caplog.text


def test_the_first_connection_has_to_succeed() -> None:
    with pytest.raises(DatabaseUnavailable), Client("postgresql://localhost:1/none") as client:
        next(client.events())


def test_what_a_worker_does_is_followed(database: str, session: Session) -> None:
    with App(database, queues=[Queue(name="q")]) as app:

        @app.job(queue="q")
        def job() -> None:
            raise Fatal("out of paper")

        app.sync()
        with beside(app.worker()), follow(database, session) as follower:
            id = job.enqueue()
            wait_until(lambda: follower.seen, "the failure is returned")
            event = follower.seen[0]
    assert (event.kind, event.task, event.queue, event.job) == ("task_failed", id, "q", "job")
    assert "out of paper" in event.details["message"]


def test_async_code_follows_events(database: str, session: Session) -> None:
    async def followed() -> list[int | None]:
        seen: list[int | None] = []
        async with AsyncClient(database) as client:

            async def read() -> None:
                async for event in client.events(timeout=SECONDS):
                    seen.append(event.task)
                    if len(seen) == 2:
                        return

            reading = asyncio.create_task(read())
            await asyncio.to_thread(listening, session)
            for n in (1, 2):
                await asyncio.to_thread(record, session, n=n)
            await reading
        return seen

    assert asyncio.run(followed()) == [1, 2]


def test_a_reader_that_is_cancelled_closes_its_connection(database: str, session: Session) -> None:
    async def cancelled() -> None:
        async with AsyncClient(database) as client:

            async def read() -> None:
                async for _ in client.events():
                    pass

            reading = asyncio.create_task(read())
            await asyncio.to_thread(listening, session)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    asyncio.run(cancelled())
    query = (
        "select 1 from pg_stat_activity where datname = current_database()"
        " and query like '%events_after%' and pid <> pg_backend_pid()"
    )
    wait_until(lambda: not session.column(query), "the connection is closed")


def test_wrong_arguments_are_refused(database: str) -> None:
    with Client(database) as client:
        with pytest.raises(ConfigurationError, match="no kind of events 'task_lost'; the kinds are task_failed"):
            next(client.events(["task_lost"]))
        with pytest.raises(ConfigurationError, match=r"give a list, as in \['task_failed'\]"):
            next(client.events("task_failed"))
        with pytest.raises(ConfigurationError, match="after is -1"):
            next(client.events(after=-1))


def test_a_role_without_the_right_is_told(database: str, session: Session) -> None:
    session.run("create role stranger login")
    try:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            Client(f"{database}{'&' if '?' in database else '?'}user=stranger") as client,
        ):
            next(client.events())
    finally:
        session.run("drop role stranger")


# The window


def event(id: int) -> Event:
    return Event(id=id, at=datetime.now(UTC), kind="task_failed", queue=None, job=None, task=None, details={})


def test_what_is_older_than_a_minute_is_not_read_again() -> None:
    window = Window(None, 100)
    for now, last in ((0.0, 100), (30.0, 150), (61.0, 200), (91.0, 250)):
        window.begin(last)
        places = window.place
        window.take([event(last)])
        window.end(now)
    assert places == 100  # at 91 s the mark of second 0 has passed
    window.begin(300)
    assert window.place == 150


def test_a_window_remembers_only_what_it_reads_again() -> None:
    window = Window(0, 0)
    for minute in range(10):
        window.begin(minute * 5000)
        window.take([event(minute * 5000 + n) for n in range(PAGE)])
        window.take([])
        window.end(minute * 60.0)
    assert len(window._seen) <= 2 * PAGE
