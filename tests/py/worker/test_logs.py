"""What a worker logs."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import Any

import pytest

from tests.py.support import FOREVER, SECONDS, beside, final
from tests.py.worker_support import ONCE, Seen
from underway_pg import (
    App,
    Context,
    Fatal,
    RetryPolicy,
)
from underway_pg.errors import Snooze
from underway_pg.worker import log


def lines(caplog: pytest.LogCaptureFixture, task: int) -> list[str]:
    """What the log says of a task, without its durations."""
    said = [record.getMessage() for record in caplog.records if getattr(record, "task", None) == task]
    said = [re.sub(r"after \d+\.\d{3} s", "after _ s", message) for message in said]
    return [re.sub(r"retry at \d{4}-\d\d-\d\dT[\d:.]+\+00:00", "retry at _", message) for message in said]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_log_has_a_line_for_the_start_and_one_for_the_end_of_each_attempt(
    app: App, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised = iter([Snooze(0), ValueError("no such address"), None])

    def plain() -> None:
        if (error := next(raised)) is not None:
            raise error

    async def asynchronous() -> None:
        plain()

    retry = RetryPolicy(initial_interval=0.3, jitter=0)
    id = app.job(name="send", queue="q", retry=retry)(plain if kind == "plain" else asynchronous).enqueue()
    with caplog.at_level(logging.INFO, "underway_pg"), beside(app.worker()) as worker:
        final(app, id, worker)
    first, second = (f"task {id} (send, queue q, attempt {attempt})" for attempt in (1, 2))
    assert lines(caplog, id) == [
        f"{first} starts",
        f"{first} snoozes after _ s: for 0:00:00",
        f"{first} starts",
        f"{first} failed after _ s, retry at _: ValueError: no such address",
        f"{second} starts",
        f"{second} returned after _ s",
    ]
    ends = [vars(record) for record in caplog.records if hasattr(record, "outcome")]
    common = {"task": id, "job": "send", "queue": "q"}
    assert [{name: end[name] for name in (*common, "attempt", "levelname", "outcome")} for end in ends] == [
        {**common, "attempt": 1, "levelname": "INFO", "outcome": "snoozed"},
        {**common, "attempt": 1, "levelname": "WARNING", "outcome": "failed"},
        {**common, "attempt": 2, "levelname": "INFO", "outcome": "succeeded"},
    ]
    assert all(0 <= end["duration"] < SECONDS for end in ends)
    assert [end["exc_info"] is None for end in ends] == [True, False, True]
    assert "in plain" in ends[1]["exc_text"]


def test_the_log_says_how_long_a_handler_ran_and_why_it_was_interrupted(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    def wait(context: Context) -> None:
        context.wait_cancelled(FOREVER)

    with caplog.at_level(logging.INFO, "underway_pg"), beside(app.worker(shutdown_timeout=0.2)) as worker:
        cancelled, timed_out = wait.enqueue(), wait.options(timeout=0.3, retry=ONCE).enqueue()
        worker.until(lambda: lines(caplog, cancelled), "it has started")
        app.cancel(cancelled)
        worker.until(lambda: len(lines(caplog, cancelled)) == 2, "it was interrupted")
        assert final(app, timed_out, worker).state == "failed"
        returned = wait.enqueue()
        worker.until(lambda: lines(caplog, returned), "it has started")
    ends = {record.__dict__["task"]: record for record in caplog.records if hasattr(record, "outcome")}
    assert {id: vars(end)["outcome"] for id, end in ends.items()} == {
        cancelled: "cancelled",
        timed_out: "failed",
        returned: "released",
    }
    assert (
        lines(caplog, returned)[1]
        == f"task {returned} (wait, queue q, attempt 1) ended after _ s: the worker is shutting down"
    )
    assert "the task was cancelled, or its lease was lost" in ends[cancelled].getMessage()
    assert 0.3 <= vars(ends[timed_out])["duration"] < 5
    assert 0.2 <= vars(ends[returned])["duration"] < 5


def test_a_task_that_its_own_transaction_has_completed_has_succeeded_for_the_log(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job(queue="q")
    def complete(context: Context, fails: bool) -> None:
        with context.transaction():
            pass
        if fails:
            raise RuntimeError("afterwards")

    ids = [complete.enqueue(fails=fails) for fails in (False, True)]
    with caplog.at_level(logging.INFO, "underway_pg"), beside(app.worker(drain=True)) as worker:
        worker.join()
    assert [lines(caplog, id)[-1].endswith("returned after _ s") for id in ids] == [True, True]
    assert f"task {ids[1]} is complete, but its handler raised afterwards: afterwards" in caplog.text


@pytest.mark.parametrize(("level", "log_tasks"), [(logging.INFO, False), (logging.WARNING, True)])
def test_a_log_without_the_lines_of_tasks_has_their_failures(
    app: App, level: int, log_tasks: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.job(queue="q")
    def divide(by: int) -> float:
        return 1 / by

    started = Seen()
    monkeypatch.setattr(
        log, "started", lambda attempt, **_: started(attempt.task.id)
    )  # not even made, to be thrown away
    ids = [divide.options(retry=ONCE).enqueue(by=by) for by in (0, 1)]
    with caplog.at_level(level, "underway_pg"), beside(app.worker(log_tasks=log_tasks)) as worker:
        for id in ids:
            final(app, id, worker)
    failed = (
        f"task {ids[0]} (divide, queue q, attempt 1) failed permanently after _ s: ZeroDivisionError: division by zero"
    )
    assert (lines(caplog, ids[0]), lines(caplog, ids[1]), started.values) == ([failed], [], [])
    assert "return 1 / by" in caplog.text  # the traceback


def test_inputs_are_in_the_log_only_when_that_is_asked_for(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.job(queue="q")
    def pay(card: int, note: str = "") -> None:
        if card < 0:
            raise Fatal("no such card")

    inputs: list[Any] = [{"card": 4321}, {"card": -4321}, {"card": "4321 x"}, ["4321"]]
    with caplog.at_level(logging.DEBUG, "underway_pg"):
        with beside(app.worker()) as worker:
            for id in [app.client.enqueue("q", input, job="pay") for input in inputs]:
                final(app, id, worker)
        assert "failed permanently after" in caplog.text
        assert "4321" not in caplog.text
        with beside(app.worker(log_inputs=True)) as worker:
            short, long = pay.enqueue(card=1), pay.enqueue(card=1, note="\N{BLACK HEART SUIT}" * 2000)
            final(app, short, worker)
            final(app, long, worker)
    assert lines(caplog, short)[0].endswith('starts with {"card": 1}')
    (start,) = (
        vars(record)["input"]
        for record in caplog.records
        if vars(record).get("task") == long and hasattr(record, "input")
    )
    assert len(start) == 1000
    assert start.startswith('{"card": 1, "note": "\N{BLACK HEART SUIT}')


def test_a_retry_and_a_final_failure_do_not_look_alike(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.job(queue="q", retry=RetryPolicy(max_attempts=3, initial_interval=0, jitter=0))
    def fails() -> None:
        raise ValueError("no")

    id = fails.enqueue()
    with beside(app.worker()) as worker:
        final(app, id, worker)
    ends = [vars(record) for record in caplog.records if vars(record).get("outcome") == "failed"]
    assert [(end["levelname"], end["will_retry"]) for end in ends] == [
        ("WARNING", True),
        ("WARNING", True),
        ("ERROR", False),
    ]
    assert all(datetime.fromisoformat(end["retry_at"]).tzinfo is not None for end in ends[:2])
    assert ends[2]["retry_at"] is None


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unprintable(Exception):
    def __getattribute__(self, name: str) -> Any:
        if name in ("__notes__", "__cause__", "__context__"):
            raise RuntimeError("no looking inside")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "error", [Unspeakable(), Unprintable("x"), ValueError("x" * 50_000_000)], ids=lambda error: type(error).__name__
)
def test_an_exception_of_an_odd_kind_floods_no_log_and_ends_no_worker(
    app: App, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    @app.job(queue="q", retry=ONCE)
    def fails() -> None:
        raise error

    @app.job(queue="q")
    def good() -> str:
        return "good"

    id = fails.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
        assert final(app, good.enqueue(), worker).output == "good"
    assert (task.state, (task.errors or [])[0]["type"]) == ("failed", type(error).__name__)
    assert "failed permanently after" in caplog.text
    assert len(caplog.text) < 100_000
