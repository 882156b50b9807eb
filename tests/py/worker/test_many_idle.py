"""Many idle workers, of which two are notified of a task: it starts at once all the same, and the others rest."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.py.support import SECONDS, Beside, Session, beside, wait_until
from underway_pg import App, Worker, statements

MANY = 12

NO_POLLS = 2 * SECONDS

pytestmark = pytest.mark.usefixtures("no_looks")


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has looked, and found nothing, looks again after `NO_POLLS`, and not after a second."""
    for name in ("look", "maintain"):
        statement_of = getattr(statements, name)

        def rarely(*arguments: Any, statement_of: Any = statement_of, **options: Any) -> Any:
            statement = statement_of(*arguments, **options)

            def read(rows: list[Any]) -> statements.Looked:
                looked = statement.read(rows)
                return looked if looked.pause < 1.0 else looked._replace(pause=NO_POLLS)

            return dataclasses.replace(statement, read=read)

        monkeypatch.setattr(statements, name, rarely)


@contextlib.contextmanager
def many(app: App, session: Session, **settings: Any) -> Iterator[list[Worker]]:
    """Workers that are all idle."""
    workers = [app.worker(name=f"worker {number}", poll_interval=NO_POLLS, **settings) for number in range(MANY)]
    with beside(*workers):
        wait_until(lambda: idle(session) == MANY, "all are idle")
        yield workers


def idle(session: Session) -> int:
    return int(session.value("select count(*) from underway.worker where idle"))


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The worker of each claim."""
    claims: list[int] = []
    dequeue = statements.dequeue

    def recorded(queues: Any, limit: int, worker: int | None = None) -> Any:
        claims.append(worker or 0)
        return dequeue(queues, limit, worker)

    monkeypatch.setattr(statements, "dequeue", recorded)
    return claims


def test_a_task_is_claimed_by_two_workers_of_many(app: App, session: Session, claims: list[int]) -> None:
    @app.job(queue="q")
    async def job() -> None: ...

    with many(app, session):
        claims.clear()
        for _ in range(20):
            app.wait_for(job.enqueue(), timeout=SECONDS)
        assert len(claims) < 100  # 40, and those with which the workers begin; 240 if all were notified


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
def test_as_many_tasks_start_at_once_as_workers_have_a_slot(app: App, session: Session, at_once: bool) -> None:
    together = threading.Barrier(MANY, timeout=SECONDS)

    @app.job(queue="q")
    def job() -> str:
        together.wait()
        return "together"

    with many(app, session, concurrency=1, prefetch_seconds=0):
        for _ in range(3):
            ids = job.enqueue_many([{}] * MANY) if at_once else [job.enqueue() for _ in range(MANY)]
            found = app.client.wait_for_many(ids, timeout=SECONDS)
            assert [task.output for task in found.values()] == ["together"] * MANY


@pytest.fixture
def others(session: Session) -> list[int]:
    """Idle workers that are only rows; the session hears what they are notified of."""
    session.create_queue("q")
    ids = [session.value("select underway.register_worker('other', '{q}')") for _ in range(MANY)]
    for id in ids:
        session.run("select underway.set_idle(%s, true)", id)
        session.run(f"listen underway_ready_{id}")
    return ids


def own_channel(worker: Beside, session: Session) -> str:
    name = worker.worker.name
    found = worker.until(
        lambda: session.column("select id from underway.worker where name = %s and idle", name), "idle"
    )
    return f"underway_ready_{found[0]}"


@pytest.mark.parametrize("stops", [False, True], ids=["has no room", "stops"])
def test_a_worker_that_cannot_claim_passes_the_notification_on(
    app: App, session: Session, others: list[int], stops: bool
) -> None:
    runs, end = threading.Event(), threading.Event()

    @app.job(queue="q")
    def job() -> None:
        runs.set()
        end.wait(SECONDS)

    with beside(app.worker(concurrency=2 if stops else 1, poll_interval=NO_POLLS)) as worker:
        channel = own_channel(worker, session)
        session.run("update underway.worker set idle = false where name = 'other'")
        job.enqueue()
        worker.until(runs.is_set, "it holds a task")
        session.run("update underway.worker set idle = true where name = 'other'")
        if stops:
            worker.stop()
        session.run("select pg_notify(%s, 'q')", channel)
        passed_on = list(session.connection.notifies(timeout=SECONDS, stop_after=2))
        assert {each.payload for each in passed_on} == {"q"}
        assert {each.channel for each in passed_on} <= {f"underway_ready_{id}" for id in others}
        assert session.value("select idle from underway.worker where name = %s", worker.worker.name) is False
        end.set()


def test_a_worker_with_room_for_other_queues_stays_idle_and_notifies_all(
    app: App, session: Session, others: list[int]
) -> None:
    """It could be drawn again at once, and pass on again, without end."""
    runs, end = threading.Event(), threading.Event()

    @app.job(queue="q")
    def job() -> None:
        runs.set()
        end.wait(SECONDS)

    session.create_queue("r")
    session.run("listen underway_ready")
    with beside(app.worker(queues={"q": 1, "r": 1}, poll_interval=NO_POLLS)) as worker:
        channel = own_channel(worker, session)
        session.run("update underway.worker set idle = false where name = 'other'")
        job.enqueue()
        worker.until(runs.is_set, "it holds a task")
        session.run("update underway.worker set idle = true where name = 'other'")
        list(session.connection.notifies(timeout=0))
        session.run("select pg_notify(%s, 'q')", channel)
        (passed_on,) = session.connection.notifies(timeout=SECONDS, stop_after=1)
        assert (passed_on.channel, passed_on.payload) == ("underway_ready", "q")
        assert session.value("select idle from underway.worker where name = %s", worker.worker.name) is True
        end.set()


def test_a_worker_that_is_registered_again_listens_on_its_new_channel(app: App, session: Session) -> None:
    @app.job(queue="q")
    async def job() -> None: ...

    with beside(app.worker(poll_interval=NO_POLLS, silent_after=0.5)) as worker:
        old = own_channel(worker, session)
        session.run("delete from underway.worker")

        def is_registered() -> bool:
            session.run("notify underway_look, 'due'")
            return idle(session) == 1

        worker.until(is_registered, "it is registered again")
        new = own_channel(worker, session)
        assert new != old
        for _ in range(3):  # the first may be claimed because the worker listens again
            session.run("update underway.worker set idle = false")
            id = job.enqueue()

            def is_done(id: int = id) -> bool:
                session.run("select pg_notify(%s, 'q')", new)
                return bool(session.column("select id from underway.task_history where id = %s", id))

            worker.until(is_done, "a notification on the new channel makes it claim")
