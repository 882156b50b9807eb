"""The settings of a worker."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import FrozenInstanceError, fields
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from tests.py.support import SECONDS, Session, beside, final
from tests.py.worker_support import ONCE, Seen
from underway_pg import App, Context, RetryPolicy
from underway_pg.errors import ConfigurationError
from underway_pg.worker import WorkerOptions, WorkerSettings


def test_app_worker_takes_each_setting_by_name() -> None:
    assert get_type_hints(WorkerOptions) == {
        field.name: get_type_hints(WorkerSettings)[field.name] for field in fields(WorkerSettings)
    }


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        WorkerSettings().concurrency = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"concurrency": 0}, "concurrency is 0; it must be at least 1"),
        ({"queues": {"email": 0}}, "concurrency of queue email is 0; it must be at least 1"),
        ({"shutdown_timeout": -1}, "shutdown_timeout is -1 s; it must be at least 0"),
        ({"prefetch_seconds": 2}, "prefetch_seconds is 2 s; it must lie between 0 and 1"),
        ({"unknown_jobs": "leave"}, 'unknown_jobs is \'leave\'; it is "skip" or "fail"'),
        ({"max_tasks_per_process": 0}, "max_tasks_per_process is 0; it must be at least 1"),
        ({"poll_interval": 0}, "poll_interval is 0 s; it must be more than 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        WorkerSettings(**settings)


def test_one_queue_may_be_given_by_its_name_and_is_not_taken_for_its_letters(app: App) -> None:
    assert app.worker(queues="email").queues == ["email"]


def test_a_worker_serves_queues_whose_names_need_quotes_in_an_array(app: App, session: Session) -> None:
    names = ['a"b', "back\\slash", "{1,2}", "null", "it's", "two words"]
    for name in names:
        session.connection.execute("select underway.create_queue(%s)", [name])

    @app.job(name="work", queue=names[0])
    def work() -> None: ...

    ids = [app.client.enqueue(name, {}, job="work") for name in names]
    with beside(app.worker(queues=names)) as worker:
        assert [final(app, id, worker).queue for id in ids] == names


def test_a_worker_runs_at_most_as_many_tasks_of_each_queue_as_its_settings_say(database: str, session: Session) -> None:
    running = {"email": Seen(), "reports": Seen()}
    release = threading.Event()
    with App(database) as app:

        @app.job(queue="email")
        def send() -> None:
            with running["email"].inside():
                release.wait(SECONDS)

        @app.job(queue="reports")
        def report() -> None:
            with running["reports"].inside():
                release.wait(SECONDS)

        send.enqueue_many([{}] * 8)
        report.enqueue_many([{}] * 8)
        worker = app.worker(queues={"email": 4, "reports": 2})
        assert worker.concurrency == 6
        done = "select count(*) from underway.task_history"
        with beside(worker) as beside_it:
            beside_it.until(
                lambda: (running["email"].running, running["reports"].running) == (4, 2), "all slots are taken"
            )
            assert worker.stats().running == 6
            release.set()
            beside_it.until(lambda: session.value(done) == 16, "all are done")
    assert (running["email"].most_running, running["reports"].most_running) == (4, 2)


def test_a_worker_counts_what_it_does(app: App) -> None:
    @app.job(queue="q", retry=RetryPolicy(max_attempts=2, initial_interval=0, jitter=0))
    def second_time(context: Context) -> None:
        if context.attempt == 1:
            raise ValueError("again")

    @app.job(queue="q", retry=ONCE)
    def fails() -> None:
        raise ValueError("never")

    @app.job(queue="q")
    def in_transaction(context: Context) -> None:
        with context.transaction():
            pass

    worker = app.worker()
    assert worker.stats().claimed == 0
    with beside(worker) as running:
        for id in (second_time.enqueue(), fails.enqueue(), in_transaction.enqueue()):
            final(app, id, running)
        running.until(lambda: worker.stats().succeeded == 2, "all are counted")
        stats = worker.stats()
    assert (stats.claimed, stats.succeeded, stats.failed, stats.retried) == (4, 2, 1, 1)
    assert (stats.running, stats.prefetched) == (0, 0)
    assert worker.stats().claimed == 4


def test_a_program_that_its_processes_cannot_find_does_not_use_up_attempts(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None: ...

    work.__module__ = "__main__"
    program = ModuleType("__main__")
    program.__file__ = "/nowhere/program.py"
    program.work = app.job(queue="q", executor="process")(work)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", program)
    id = program.work.enqueue()
    with pytest.raises(ConfigurationError, match=r"import the program from /nowhere/program\.py, which does not exist"):
        asyncio.run(app.worker(drain=True).run())
    assert (session.state(id), session.attempt(id)) == ("pending", 0)
