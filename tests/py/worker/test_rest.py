"""An idle worker rests while others look for work."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.py.support import Session, beside, final, wait_until
from tests.py.worker_support import idle
from underway_pg import App, statements
from underway_pg.worker import rest
from underway_pg.worker.rest import PATIENCE, SIGN_OF_LIFE, Rest

# States without a worker


def test_a_worker_rests_after_two_looks_of_others_that_found_nothing() -> None:
    one = Rest()
    one.looked(10.0, did_chores=False, due=False)
    assert not one.notified("none", 11.0, idle=True)
    assert one.seconds(11.0) == 0.0
    assert not one.notified("none", 12.0, idle=True)
    assert PATIENCE[0] <= one.seconds(12.0) <= PATIENCE[1]
    assert one.seconds(12.0 + PATIENCE[1]) == 0.0


def test_lapsed_leases_are_noticed_within_two_seconds_by_a_worker_that_rests() -> None:
    assert PATIENCE[1] < 2.0


def resting() -> Rest:
    one = Rest()
    one.looked(10.0, did_chores=False, due=False)
    one.notified("none", 11.0, idle=True)
    one.notified("none", 12.0, idle=True)
    assert one.seconds(12.0) > 0
    return one


def test_a_worker_looks_when_something_is_due_and_rests_only_after_two_more_looks() -> None:
    one = resting()
    assert one.notified("due", 12.5, idle=True)
    assert one.seconds(12.5) == 0.0
    one.notified("none", 13.0, idle=True)
    assert one.seconds(13.0) == 0.0


def test_a_worker_that_has_found_a_task_that_is_due_soon_does_not_rest() -> None:
    one = resting()
    one.looked(12.1, did_chores=False, due=True)
    assert one.seconds(12.1) == 0.0


def test_a_worker_that_was_busy_does_not_count_the_looks_before() -> None:
    one = resting()
    assert not one.notified("none", 13.0, idle=False)
    one.notified("none", 14.0, idle=True)
    assert one.seconds(14.0) == 0.0


def test_the_worker_that_does_the_chores_does_not_rest() -> None:
    one = resting()
    one.looked(12.1, did_chores=True, due=False)
    assert one.seconds(12.1) == 0.0


def test_a_worker_that_rests_shows_that_it_is_alive() -> None:
    one = resting()
    for second in range(13, 13 + int(SIGN_OF_LIFE)):
        one.notified("none", float(second), idle=True)
    assert one.seconds(10.0 + SIGN_OF_LIFE) == 0.0


# Workers


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the worker looks."""
    found: list[float] = []
    maintain = statements.maintain

    def recorded(worker: int, queues: Sequence[str], **options: Any) -> statements.Statement[statements.Looked]:
        found.append(time.monotonic())
        # As if another worker had done the chores a moment ago.
        return statements.Statement(
            "select 1.0::float8, underway.worker_state(%(worker)s), null from underway.maintain(%(worker)s)",
            {"worker": worker},
            maintain(worker, queues, **options).read,
        )

    monkeypatch.setattr(statements, "maintain", recorded)
    return found


def rests(session: Session, looks: list[float]) -> bool:
    """Notify as the worker does that looks; whether a worker has not looked for a while."""
    session.run("notify underway_look, 'none'")
    return time.monotonic() - looks[-1] > 2.5


def test_a_worker_that_rests_starts_tasks_at_once_and_looks_when_it_receives_nothing(
    app: App, session: Session, looks: list[float]
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        worker.until(lambda: rests(session, looks), "it rests")
        assert final(app, job.enqueue(), worker).state == "succeeded"
        worker.until(lambda: rests(session, looks), "it rests again")
        seen = len(looks)
        worker.until(lambda: len(looks) > seen + 1, "it looks once a second again")


def test_a_worker_that_rests_looks_when_it_is_told_to(app: App, session: Session, looks: list[float]) -> None:
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker()) as worker:
        idle(session, worker)
        worker.until(lambda: rests(session, looks), "it rests")
        seen = len(looks)
        session.run("notify underway_look, 'due'")

        def looked() -> bool:
            session.run("notify underway_look, 'none'")
            return len(looks) > seen

        worker.until(looked, "it has looked")
        worker.until(lambda: rests(session, looks), "it rests again")
        assert app.client.stop_workers(all_workers=True) == 1
        wait_until(lambda: worker.ended, "it has stopped")


def test_a_worker_that_rests_shows_that_it_is_alive_and_is_registered_again(
    app: App, session: Session, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "SIGN_OF_LIFE", 0.2)
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker()) as worker:
        idle(session, worker)
        worker.until(lambda: rests(session, looks), "it rests")
        session.run("update underway.worker set seen_at = now() - interval '20 seconds'")
        seen = "select id from underway.worker where seen_at > now() - interval '10 seconds'"

        def found(sql: str) -> bool:
            session.run("notify underway_look, 'none'")
            return bool(session.column(sql))

        worker.until(lambda: found(seen), "it is seen")
        session.run("delete from underway.worker")
        worker.until(lambda: found("select id from underway.worker"), "it is registered again")


def test_a_worker_that_holds_a_task_does_not_rest(app: App, session: Session, looks: list[float]) -> None:
    runs, end = threading.Event(), threading.Event()

    @app.job(queue="q")
    def job() -> None:
        runs.set()
        end.wait(60)

    with beside(app.worker()) as worker:
        idle(session, worker)
        worker.until(lambda: rests(session, looks), "it rests")
        job.enqueue()
        worker.until(runs.is_set, "the task runs")
        seen = len(looks)

        def looked() -> bool:
            session.run("notify underway_look, 'none'")
            return len(looks) > seen + 3

        worker.until(looked, "it looks")
        end.set()


def test_a_worker_that_rests_takes_the_chores_over(app: App, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    maintain = statements.maintain

    def recorded(worker: int, queues: Sequence[str], **options: Any) -> statements.Statement[statements.Looked]:
        looks.append(time.monotonic())
        return maintain(worker, queues, **options)

    monkeypatch.setattr(statements, "maintain", recorded)
    app.job(name="job", queue="q")(lambda: None)
    session.create_queue("other")
    with beside(app.worker()) as worker:
        idle(session, worker)
        session.run("select underway.set_idle(underway.register_worker('x', '{q}'), true) from generate_series(1, 10)")

        def rests_beside_chores() -> bool:
            session.run("select underway.maintain()")
            return time.monotonic() - looks[-1] > 2.5

        worker.until(rests_beside_chores, "it rests while another session does the chores")
        session.enqueue("other")
        session.claim("other")
        session.run("update underway.task set lease_expires_at = now()")
        pending = "select id from underway.task where state = 'pending'"
        worker.until(lambda: session.column(pending), "it has taken the lapsed lease back")


def test_of_many_idle_workers_one_looks_for_all(app: App, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    maintain = statements.maintain

    def recorded(worker: int, queues: Sequence[str], **options: Any) -> statements.Statement[statements.Looked]:
        looks.append(worker)
        return maintain(worker, queues, **options)

    monkeypatch.setattr(statements, "maintain", recorded)
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker(name="one")) as one, beside(app.worker(name="two")) as two:
        for worker in (one, two):
            idle(session, worker)
        session.run(
            "select underway.set_idle(underway.register_worker('other', '{q}'), true) from generate_series(1, 10)"
        )
        one.until(lambda: len(looks) > 5 and len(set(looks[-4:])) == 1, "one of them looks, the other rests")
