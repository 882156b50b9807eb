"""Tasks start when they are due."""

from __future__ import annotations

import pytest

from tests.py.support import Session, beside, final
from tests.py.worker_support import deafen, idle, seconds_to_start
from underway_pg import (
    App,
    Context,
    RetryPolicy,
)


@pytest.mark.usefixtures("no_polls")
def test_a_delayed_task_starts_when_it_is_due_and_not_at_a_poll(app: App, session: Session) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        for _ in range(5):
            id = job.options(delay=0.3).enqueue()
            final(app, id, worker)
            assert seconds_to_start(session, id, "enqueued_at") >= 0.3


@pytest.mark.usefixtures("no_polls")
def test_a_retry_starts_when_it_is_due_and_not_at_a_poll(app: App, session: Session) -> None:
    @app.job(queue="q", retry=RetryPolicy(initial_interval=0.3, jitter=0))
    def job(context: Context) -> None:
        if context.attempt == 1:
            raise RuntimeError("oh")

    with beside(app.worker()) as worker:
        idle(session, worker)
        for _ in range(3):
            id = job.enqueue()
            final(app, id, worker)
            assert seconds_to_start(session, id, "(errors -> 0 ->> 'failed_at')::timestamptz") >= 0.3


def test_a_task_of_a_longer_delay_starts_when_it_is_due(app: App, session: Session) -> None:
    # Nobody is notified of it: the worker finds it when it looks, and waits for it to the moment.
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        delays = (1.3, 1.55, 1.8)
        ids = [job.options(delay=delay).enqueue() for delay in delays]
        for id in ids:
            final(app, id, worker)
        late = sorted(
            seconds_to_start(session, id, "enqueued_at") - delay for id, delay in zip(ids, delays, strict=True)
        )
    assert late[0] >= 0
    assert late[1] < 0.25  # a look each second would find one of them so soon, and not two


@pytest.mark.usefixtures("no_polls")
def test_enqueueing_wakes_an_idle_worker(app: App, session: Session) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        for _ in range(8):
            assert final(app, job.enqueue(), worker).state == "succeeded"


def test_a_worker_that_hears_nothing_finds_tasks_within_a_second_or_so(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(monkeypatch)

    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        worker.until(lambda: session.column("select id from underway.worker where idle"), "the worker is idle")
        ids = [final(app, job.enqueue(), worker).id for _ in range(3)]
    assert sorted(seconds_to_start(session, id, "enqueued_at") for id in ids)[1] < 1.5
