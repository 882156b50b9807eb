"""Handlers: what they get, and what they return."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.py.support import SECONDS, Session, beside, final
from tests.py.worker_support import ONCE, Seen, info, messages, put_back
from underway_pg import (
    App,
    Context,
    statements,
)


@pytest.mark.parametrize(
    "output",
    [None, 0, False, "", 1.5, 'text with "quotes", \\ and \U0001f600', [1, [2, None]], {"a": {"b": []}}, "\\u0000"],
)
def test_what_a_handler_returns_is_the_output_of_its_task(app: App, output: Any) -> None:
    @app.job(queue="q")
    def plain() -> Any:
        return output

    @app.job(queue="q")
    async def asynchronous() -> Any:
        return output

    with beside(app.worker()) as worker:
        for job in (plain, asynchronous):
            task = final(app, job.enqueue(), worker)
            assert (task.state, task.attempt, task.output, task.errors) == ("succeeded", 1, output, None)


def test_a_handler_gets_its_arguments_and_knows_its_task(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    def plain(context: Context, a: int, b: datetime) -> None:
        seen((context.id, context.queue, context.job, context.attempt, context.priority, context.headers))
        seen((context.state, context.cancelled, context.dead_letter, a, b))
        if context.attempt == 1:
            raise RuntimeError("again")

    moment = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    id = plain.options(headers={"trace": "t-1"}, priority=4).enqueue(7, b=moment)
    with beside(app.worker()) as worker:
        assert final(app, id, worker).state == "succeeded"
    facts = ({"color": "green"}, False, None, 7, moment)
    assert seen.values == [
        (id, "q", "plain", 1, 4, {"trace": "t-1"}),
        facts,
        (id, "q", "plain", 2, 4, {"trace": "t-1"}),
        facts,
    ]


def test_a_task_without_the_name_of_a_job_goes_to_the_only_job_of_its_queue(app: App) -> None:
    @app.job(queue="q")
    def double(n: int) -> int:
        return 2 * n

    @app.job(queue="other")
    def one() -> None: ...

    @app.job(queue="other")
    def two() -> None: ...

    id = app.client.enqueue("q", {"n": 4})
    ambiguous = app.client.enqueue("other", {})
    with beside(app.worker(unknown_jobs="fail")) as worker:
        assert final(app, id, worker).output == 8
        assert final(app, ambiguous, worker).state == "failed"


def test_a_task_of_an_unknown_job_fails_for_good_where_that_is_asked_for(app: App) -> None:
    @app.job(queue="q")
    def known() -> None: ...

    id = app.client.enqueue("q", {}, job="unheard_of")
    with beside(app.worker(unknown_jobs="fail")) as worker:
        task = final(app, id, worker)
    assert (task.state, task.attempt) == ("failed", 1)
    assert "unheard_of" in messages(task)[0]
    assert "known jobs: known" in messages(task)[0]


def test_a_task_of_an_unknown_job_waits_without_using_an_attempt_for_a_worker_that_knows_it(
    app: App, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    def known() -> str:
        return "done"

    with App(database) as elsewhere:

        @elsewhere.job(queue="q")
        def also_known() -> None: ...

        id = known.enqueue()
        with beside(elsewhere.worker(name="old")) as worker:
            skipped = worker.until(
                lambda: (task := info(app, id)).ready_at and task.ready_at > datetime.now(UTC) and task, "it is skipped"
            )
            assert (skipped.state, skipped.attempt, skipped.errors) == ("pending", 0, None)
    assert (
        f"task {id}: worker old skips it, another worker may know it: job 'known' of queue 'q' is not known here;"
        " known jobs: also_known" in caplog.messages
    )
    app.client.reschedule(id, datetime.now(UTC))
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.output, task.attempt) == ("done", 1)


def test_the_progress_of_a_running_task_is_seen(app: App) -> None:
    release = threading.Event()

    @app.job(queue="q")
    def long(context: Context) -> None:
        context.progress({"percent": 10})
        context.progress({"percent": 40})
        release.wait(SECONDS)

    id = long.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: info(app, id).progress == {"percent": 40}, "the progress is seen")
        release.set()
        assert final(app, id, worker).state == "succeeded"


def test_a_snooze_puts_the_task_back_and_uses_no_attempt(app: App) -> None:
    seen = Seen()

    @app.job(queue="q", retry=ONCE)
    async def patient(context: Context) -> str:
        seen(context.attempt)
        if len(seen.values) < 4:
            context.snooze(0.05)
        return "awake"

    id = patient.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.state, task.output, task.attempt, task.errors) == ("succeeded", "awake", 1, None)
    assert seen.values == [1, 1, 1, 1]


@pytest.mark.parametrize("given", [{"n": 1, "added": 2}, {}], ids=["one more", "one less"])
def test_a_task_with_other_arguments_than_the_job_has_waits_for_a_worker_that_knows_them(
    app: App, session: Session, given: Any
) -> None:
    @app.job(queue="q")
    def job(n: int) -> None: ...

    id = app.client.enqueue("q", given, job="job")
    with beside(app.worker(name="old")) as worker:
        skipped = worker.until(lambda: put_back(app, id), "it is skipped")
        worker.until(
            lambda: "skipped" in session.column("select code from underway.why(%s)", id), "the database knows why"
        )
        (reason,) = session.column("select reason from underway.why(%s) where code = 'skipped'", id)
    assert (skipped.state, skipped.attempt, skipped.errors) == ("pending", 0, None)
    assert reason == ("put back by workers that do not know job 'job', or not with the arguments of all its tasks: old")


def test_a_value_that_does_not_fit_its_type_fails_for_good_as_before(app: App) -> None:
    @app.job(queue="q")
    def job(n: int) -> None: ...

    id = app.client.enqueue("q", {"n": "many"}, job="job")
    with beside(app.worker()) as worker:
        assert final(app, id, worker).state == "failed"


def test_many_snoozes_are_one_statement_and_hold_up_no_completion(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Seen()
    real = statements.snooze_many

    def snooze_many(tasks: list[int], leases: list[bytes], delays: list[Any]) -> Any:
        sent(len(tasks))
        return real(tasks, leases, delays)

    monkeypatch.setattr(statements, "snooze_many", snooze_many)
    gate = threading.Barrier(20, timeout=SECONDS)

    @app.job(queue="q")
    def patient(context: Context) -> None:
        gate.wait()
        context.snooze(3600)

    ids = patient.enqueue_many([{}] * 20)
    with beside(app.worker(concurrency=20)) as worker:
        worker.until(lambda: all(put_back(app, id) for id in ids), "all are snoozed")
    assert sum(sent.values) == 20
    assert len(sent.values) < 10
    assert [info(app, id).attempt for id in ids] == [0] * 20


def test_the_progress_of_many_handlers_is_one_statement(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Seen()
    real = statements.report_progress_many

    def report_progress_many(tasks: list[int], leases: list[bytes], progress: list[str]) -> Any:
        sent(len(tasks))
        return real(tasks, leases, progress)

    monkeypatch.setattr(statements, "report_progress_many", report_progress_many)
    release = threading.Event()

    @app.job(queue="q")
    def reports(context: Context, n: int) -> None:
        context.progress(n)
        release.wait(SECONDS)

    ids = reports.enqueue_many([{"n": n} for n in range(20)])
    with beside(app.worker(concurrency=20)) as worker:
        worker.until(lambda: [info(app, id).progress for id in ids] == list(range(20)), "all is seen")
        release.set()
    assert sum(sent.values) == 20
    assert len(sent.values) < 5
