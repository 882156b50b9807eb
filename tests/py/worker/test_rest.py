"""How often a worker without tasks looks for them: less often while many others look as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.py.support import Session, beside, final, wait_until
from tests.py.worker_support import deafen, idle, listening
from underway_pg import App, statements
from underway_pg.statements import Statement

Looks = list[tuple[float, bool]]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """When the worker looks, and whether it then may rest for longer than a second."""
    found: Looks = []
    maintain, look = statements.maintain, statements.look

    def recorded(
        worker: int, queues: Sequence[str], *, at_once: bool = False, rests: bool = False
    ) -> Statement[tuple[float, str, list[str]]]:
        found.append((time.monotonic(), rests))
        return maintain(worker, queues, at_once=at_once, rests=rests)

    def looking(worker: int, queues: Sequence[str]) -> Statement[tuple[float, str, list[str]]]:
        found.append((time.monotonic(), False))
        return look(worker, queues)

    monkeypatch.setattr(statements, "maintain", recorded)
    monkeypatch.setattr(statements, "look", looking)
    return found


def add_others(session: Session, count: int) -> None:
    session.run(
        "select underway.set_idle(underway.register_worker('other', '{q}'), true) from generate_series(1, %s)", count
    )


def longest_pause(looks: Looks) -> float:
    return max((later - earlier for (earlier, _), (later, _) in pairwise(looks)), default=0.0)


def test_an_idle_worker_among_many_looks_less_often_and_starts_tasks_at_once(
    app: App, session: Session, looks: Looks
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        add_others(session, 400)
        worker.until(lambda: longest_pause(looks) > 2.4, "it has rested")
        assert final(app, job.enqueue(), worker).state == "succeeded"


@pytest.mark.usefixtures("no_polls")
def test_a_worker_that_rests_stops_when_it_is_asked(app: App, session: Session, looks: Looks) -> None:
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker()) as worker:
        idle(session, worker)
        worker.until(lambda: looks and time.monotonic() - looks[-1][0] > 2.4, "it rests")
        assert app.client.stop_workers(all_workers=True) == 1
        wait_until(lambda: worker.ended, "it has stopped")


def test_a_worker_that_holds_a_task_looks_each_second(app: App, session: Session, looks: Looks) -> None:
    runs, end = threading.Event(), threading.Event()

    @app.job(queue="q")
    def job() -> None:
        runs.set()
        end.wait(60)

    with beside(app.worker()) as worker:
        idle(session, worker)
        add_others(session, 400)
        worker.until(lambda: longest_pause(looks) > 2.4, "it has rested")
        job.enqueue()
        worker.until(runs.is_set, "the task runs")
        seen = len(looks)
        worker.until(lambda: len(looks) > seen + 3, "it has looked again")
        end.set()
        assert not any(rests for _, rests in looks[seen:][1:4])
        assert longest_pause(looks[seen:][1:4]) < 2.4


def test_a_worker_that_hears_nothing_looks_each_second(
    app: App, session: Session, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(monkeypatch)
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker()) as worker:
        worker.until(lambda: session.column("select id from underway.worker where idle"), "the worker is idle")
        add_others(session, 400)
        worker.until(lambda: len(looks) > 3, "it has looked")
    assert not any(rests for _, rests in looks)


def test_a_worker_that_rests_looks_when_its_notifications_are_lost(app: App, session: Session, looks: Looks) -> None:
    app.job(name="job", queue="q")(lambda: None)
    with beside(app.worker()) as worker:
        idle(session, worker)
        add_others(session, 400)
        worker.until(lambda: longest_pause(looks) > 2.4, "it has rested")
        listeners = "from pg_stat_activity where datname = current_database() and query like 'listen %'"
        seen = len(looks)
        session.run(f"select pg_terminate_backend(pid) {listeners}")
        worker.until(lambda: any(not rests for _, rests in looks[seen:]), "it looks at once")
        listening(session, worker)
