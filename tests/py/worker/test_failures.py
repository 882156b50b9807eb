"""How attempts fail, and what is recorded of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.py.support import FOREVER, SECONDS, Session, beside, final
from tests.py.worker_support import ONCE, Seen, info, messages, seconds_to_start, see_chores
from underway_pg import (
    App,
    Context,
    Fatal,
    Retry,
    RetryPolicy,
    statements,
)


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    ("error", "type_name", "message"),
    [
        (ValueError("bad value"), "ValueError", "bad value"),
        (SystemExit(3), "SystemExit", "3"),
        (asyncio.CancelledError("by itself"), "CancelledError", "by itself"),
        (TimeoutError("from a socket"), "TimeoutError", "from a socket"),
        (StopIteration("out"), "", ""),
        (ValueError("nul \0 here"), "ValueError", "nul \\x00 here"),
        (ValueError("lone \ud800 surrogate"), "ValueError", "lone \\ud800 surrogate"),
        (ValueError("\\u0000"), "ValueError", "\\u0000"),
        (ValueError("x" * 100_000), "ValueError", "xxxx"),
        (ExceptionGroup("several", [ValueError("one")]), "ExceptionGroup", "several (1 sub-exception)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_a_handler_raises_is_kept_and_the_task_tried_again(
    app: App, kind: str, error: BaseException, type_name: str, message: str
) -> None:
    @app.job(queue="q")
    def plain(context: Context) -> int:
        if context.attempt == 1:
            raise error
        return context.attempt

    @app.job(queue="q")
    async def asynchronous(context: Context) -> int:
        if context.attempt == 1:
            raise error
        return context.attempt

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        task = final(app, id, worker)
    assert (task.state, task.output) == ("succeeded", 2)
    (kept,) = task.errors or []
    if isinstance(error, StopIteration):  # Python does not let a coroutine raise it
        type_name, message = ("StopIteration", "out") if kind == "plain" else ("RuntimeError", "StopIteration")
    assert (kept["type"], kept["attempt"]) == (type_name, 1)
    assert message in kept["message"]
    assert "Traceback" in kept["traceback"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_exception_that_is_no_exception_fails_its_task_and_not_the_worker(app: App, kind: str) -> None:
    class Stop(BaseException):
        pass

    @app.job(queue="q", retry=ONCE)
    def plain() -> None:
        raise Stop("stop")

    @app.job(queue="q", retry=ONCE)
    async def asynchronous() -> None:
        raise Stop("stop")

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        task = final(app, id, worker)
    assert (task.state, messages(task)) == ("failed", ["stop"])


def test_an_error_without_words_fails_its_task_and_not_the_worker(app: App) -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @app.job(queue="q", retry=ONCE)
    def fails() -> None:
        raise Speechless

    id = fails.enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        task = final(app, id, worker)
    assert task.state == "failed"
    assert "Speechless" in (task.errors or [])[0]["type"]


@pytest.mark.parametrize(("waits", "state"), [(True, "failed"), (False, "succeeded")])
def test_a_handler_that_cancels_its_own_asyncio_task_harms_no_other(app: App, waits: bool, state: str) -> None:
    """It is raised where the handler waits next; one that returns does not, nor may the runner."""

    @app.job(queue="q", retry=ONCE)
    async def suicidal() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        if waits:
            await asyncio.sleep(FOREVER)

    @app.job(queue="q")
    async def next_one() -> str:
        await asyncio.sleep(0)
        return "alive"

    first, second = suicidal.enqueue(), next_one.enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        assert final(app, first, worker).state == state
        assert final(app, second, worker).output == "alive"
        assert final(app, next_one.enqueue(), worker).output == "alive"


def test_a_fatal_error_is_not_tried_again(app: App) -> None:
    @app.job(queue="q")
    def fails() -> None:
        raise Fatal("never")

    id = fails.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.state, task.attempt, messages(task)) == ("failed", 1, ["never"])


def test_attempts_are_used_up_and_all_their_errors_kept(app: App) -> None:
    @app.job(queue="q", retry=RetryPolicy(max_attempts=3, initial_interval=0))
    def fails(context: Context) -> None:
        raise RuntimeError(f"attempt {context.attempt}")

    id = fails.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.state, task.attempt) == ("failed", 3)
    assert messages(task) == ["attempt 1", "attempt 2", "attempt 3"]


def test_a_handler_chooses_when_it_is_tried_again(app: App, session: Session) -> None:
    @app.job(queue="q", retry=RetryPolicy(initial_interval=3600, max_interval=3600, jitter=0))
    def busy(context: Context) -> None:
        if context.attempt == 1:
            raise Retry("too many requests", after=0.3)

    id = busy.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert messages(task) == ["too many requests"]
    assert seconds_to_start(session, id, "(errors -> 0 ->> 'failed_at')::timestamptz") >= 0.3


@pytest.mark.parametrize(
    "outcome",
    [
        lambda context: Retry("again", after=-5),
        lambda context: Retry("again", after=timedelta(days=365 * 1000)),
        lambda context: Retry("again", after="5 minutes"),
        lambda context: context.snooze(-5),
        lambda context: context.snooze(timedelta(days=365 * 1000)),
        lambda context: context.snooze("5 minutes"),
        lambda context: context.snooze(None),
    ],
    ids=["retry-negative", "retry-far", "retry-text", "snooze-negative", "snooze-far", "snooze-text", "snooze-none"],
)
def test_a_delay_that_can_not_be_meant_fails_its_task_and_nothing_else(
    app: App, outcome: Callable[[Context], BaseException]
) -> None:
    gate = threading.Barrier(3, timeout=SECONDS)

    @app.job(queue="q", retry=ONCE)
    def wrong(context: Context) -> None:
        gate.wait()
        raise outcome(context)

    @app.job(queue="q", retry=ONCE)
    def fails() -> None:
        gate.wait()
        raise RuntimeError("beside it")

    @app.job(queue="q")
    def succeeds() -> str:
        gate.wait()
        return "beside it"

    ids = [wrong.enqueue(), fails.enqueue(), succeeds.enqueue()]
    with beside(app.worker()) as worker:
        assert final(app, ids[0], worker).state == "failed"
        assert messages(final(app, ids[1], worker)) == ["beside it"]
        assert final(app, ids[2], worker).output == "beside it"


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (object(), "JSON"),
        (lambda: None, "JSON"),
        ("a\0b", "NUL"),
        ({"a\0b": 1}, "NUL"),
        (float("nan"), "JSON"),
        ([float("inf")], "JSON"),
        ("\ud800", "JSON"),
        (10**5000, "JSON"),
    ],
    ids=["object", "function", "NUL", "NUL in a key", "NaN", "infinity", "surrogate", "long number"],
)
def test_an_output_that_can_not_be_kept_fails_its_task_and_no_other_of_the_batch(
    app: App, output: Any, why: str
) -> None:
    gate = threading.Barrier(4, timeout=SECONDS)

    @app.job(queue="q")
    def returns(context: Context, wrong: bool) -> Any:
        if context.attempt == 1:
            gate.wait()  # they end together, and are settled together
        return output if wrong else "fine"

    ids = returns.enqueue_many([{"wrong": number == 1} for number in range(4)])
    with beside(app.worker(concurrency=4)) as worker:
        tasks = [final(app, id, worker) for id in ids]
    assert [task.state for task in tasks] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert (tasks[1].attempt, why in messages(tasks[1])[0]) == (1, True)


def refuse(session: Session, state: str, when: str = "true") -> None:
    """Have the database refuse to finish tasks of the job `poison` in a state, with the SQLSTATE in public.refusal."""
    session.run("create table public.refusal as select 'P0001' as code")
    session.run("create sequence public.refusals")
    session.run(
        f"""create function refuse() returns trigger language plpgsql as $$
        begin
            if new.job = 'poison' and new.state = '{state}' and {when} then
                raise exception 'not this one' using errcode = (select code from public.refusal);
            end if;
            return new;
        end;
        $$"""
    )
    session.run(
        "create trigger refuse before insert on underway.task_history for each row execute function public.refuse()"
    )


def poisoned(app: App) -> Callable[[], tuple[int, list[int]]]:
    """Enqueues four tasks that end together, and are settled together; the first is of the job `poison`."""
    gate = threading.Barrier(4, timeout=SECONDS)

    @app.job(queue="q", retry=RetryPolicy(max_attempts=2, initial_interval=0))
    def poison(context: Context) -> str:
        if context.attempt == 1:
            gate.wait()
        return "poison"

    @app.job(queue="q")
    def good() -> str:
        gate.wait()
        return "good"

    return lambda: (poison.enqueue(), [good.enqueue() for _ in range(3)])


def test_a_result_that_the_server_refuses_fails_its_attempt_and_no_other_of_the_batch(
    app: App, session: Session
) -> None:
    refuse(session, "succeeded")
    enqueue = poisoned(app)
    # The same result would be refused again, or perhaps not.
    attempts = {"57014": 2, "P0001": 2, "XX000": 2, "54000": 1, "22P05": 1, "UW014": 1}
    with beside(app.worker(concurrency=4, result_retry_pause=0.01)) as worker:
        for sqlstate, times in attempts.items():
            session.run("update public.refusal set code = %s", sqlstate)
            bad, good = enqueue()
            assert [final(app, id, worker).output for id in good] == ["good"] * 3, sqlstate
            task = final(app, bad, worker)
            assert (task.state, task.attempt) == ("failed", times), sqlstate
            assert all("not this one" in message for message in messages(task)), sqlstate


def test_a_result_is_sent_again_after_an_error_that_passes(app: App, session: Session) -> None:
    refuse(session, "succeeded", "nextval('public.refusals') % 4 <> 0")
    enqueue = poisoned(app)
    passing = "08006 25006 40001 40P01 53100 53200 53300 55P03 57014 57P01 57P03"
    with beside(app.worker(concurrency=4, result_retry_pause=0.01)) as worker:
        for sqlstate in passing.split():
            session.run("update public.refusal set code = %s", sqlstate)
            bad, good = enqueue()
            assert [final(app, id, worker).output for id in good] == ["good"] * 3, sqlstate
            task = final(app, bad, worker)
            assert (task.state, task.attempt, task.output) == ("succeeded", 1, "poison"), sqlstate


def test_a_failure_that_the_server_never_takes_holds_up_no_other_result(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(session, "failed")

    @app.job(queue="q", retry=ONCE)
    def poison() -> None:
        raise RuntimeError("broken")

    @app.job(queue="q")
    def good() -> str:
        return "good"

    bad = poison.enqueue()
    with beside(app.worker(concurrency=4)) as worker:
        worker.until(lambda: f"task {bad}: its end cannot be recorded" in caplog.text, "it says so")
        assert final(app, good.enqueue(), worker).output == "good"
    assert info(app, bad).state == "in_progress"  # until its lease lapses


def test_results_are_sent_in_calls_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch, app: App) -> None:
    real, sent = statements.complete_many, []

    def complete_many(tasks: list[int], leases: list[bytes], outputs: list[str | None]) -> Any:
        sent.append(outputs)
        return real(tasks, leases, outputs)

    monkeypatch.setattr(statements, "complete_many", complete_many)
    gate = threading.Barrier(4, timeout=SECONDS)

    @app.job(queue="q")
    def returns(size: int) -> str:
        gate.wait()
        return "x" * size

    ids = returns.enqueue_many([{"size": size} for size in (8, 8, 8, 100)])
    with beside(app.worker(concurrency=4, max_settlement_bytes=25)) as worker:
        assert [final(app, id, worker).state for id in ids] == ["succeeded"] * 4
    assert sum(map(len, sent)) == 4
    assert all(len(outputs) == 1 or sum(len(output or "") for output in outputs) <= 25 for outputs in sent)


@pytest.mark.parametrize("executor", ["async", "thread", "transaction"])
def test_an_output_that_is_too_large_fails_its_task_at_once_and_no_other(app: App, executor: str) -> None:
    app.client.configure(max_output_size="1 kB")

    @app.job(queue="q")
    async def on_loop(size: int) -> str:
        return "ü" * (size // 2)

    @app.job(queue="q")
    def in_thread(size: int) -> str:
        return "ü" * (size // 2)

    @app.job(queue="q")
    def in_transaction(context: Context, size: int) -> None:
        with context.transaction():
            context.output = "ü" * (size // 2)

    job = {"async": on_loop, "thread": in_thread, "transaction": in_transaction}[executor]
    ids = job.enqueue_many([{"size": size} for size in (1022, 1024, 1022)])
    with beside(app.worker(concurrency=3)) as worker:
        tasks = [final(app, id, worker) for id in ids]
    assert [(task.state, task.attempt) for task in tasks] == [("succeeded", 1), ("failed", 1), ("succeeded", 1)]
    (error,) = tasks[1].errors
    assert error["type"] == "OutputTooLarge"
    assert error["message"].startswith("the output has 1026 bytes of text; the limit is 1024. Store the data elsewhere")


def test_an_output_that_refers_to_itself_or_is_deep_fails_its_task_only(app: App) -> None:
    @app.job(queue="q", retry=ONCE)
    def circle() -> Any:
        output: list[Any] = []
        output.append(output)
        return output

    @app.job(queue="q", retry=ONCE)
    def deep(levels: int) -> Any:
        output: list[Any] = []
        for _ in range(levels):
            output = [output]
        return output

    ids = [circle.enqueue(), *(deep.enqueue(levels) for levels in (100, 900, 100_000))]
    with beside(app.worker()) as worker:
        states = [final(app, id, worker).state for id in ids]
    assert states[:2] == ["failed", "succeeded"]
    assert states[3] == "failed"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "missing argument 'n'"),
        ({"n": 1, "m": 2}, "unknown argument 'm'"),
        ({"n": "many"}, "argument n does not fit"),
        ([1], "not an object"),
        (None, "not an object"),
    ],
)
def test_an_input_that_does_not_fit_fails_for_good_and_says_why(app: App, given: Any, why: str) -> None:
    seen = Seen()

    @app.job(queue="q")
    def double(n: int) -> int:
        seen(n)
        return 2 * n

    id = app.client.enqueue("q", given, job="double")
    with beside(app.worker(unknown_jobs="fail")) as worker:
        task = final(app, id, worker)
    assert (task.state, task.attempt, seen.values) == ("failed", 1, [])
    assert messages(task)[0].startswith("job double: ")
    assert why in messages(task)[0]


@pytest.mark.parametrize(
    "value",
    ["repeat('9', 5000)", "repeat('[', 4000) || repeat(']', 4000)"],
    ids=["a number of 5000 digits", "4000 levels"],
)
def test_json_that_python_cannot_read_harms_neither_client_nor_worker(app: App, session: Session, value: str) -> None:
    @app.job(queue="q")
    def work(n: Any) -> str:
        return "done"

    fine = work.enqueue(1)
    (text,) = session.column(f"select ({value})::jsonb::text")
    call = f"""select underway.enqueue('q', jsonb_build_object('n', ({value})::jsonb), job => 'work',
        headers => jsonb_build_object('h', ({value})::jsonb))"""
    id = session.value(call)
    assert info(app, id).input == f'{{"n": {text}}}'
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
        assert (task.state, task.attempt) == ("failed", 1)
        assert messages(task)[0].startswith("job work: the input cannot be read: ")
        assert final(app, fine, worker).output == "done"
        assert final(app, work.enqueue(2), worker).output == "done"


@pytest.mark.parametrize("value", [{"text": "x" * 40_000}, ["changed afterwards"]], ids=["large", "changed"])
def test_a_progress_that_can_not_be_kept_harms_neither_the_task_nor_the_worker(
    app: App, session: Session, value: Any
) -> None:
    release = threading.Event()

    @app.job(queue="q")
    def long(context: Context) -> str:
        with contextlib.suppress(Exception):
            context.progress(value)
        if isinstance(value, list):
            value.append(object())
        release.wait(SECONDS)
        return "done"

    @app.job(queue="q")
    def next_one() -> str:
        return "alive"

    id = long.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: info(app, id).state == "in_progress", "it runs")
        see_chores(session, worker)  # before them the progress is sent
        see_chores(session, worker)
        release.set()
        assert final(app, id, worker).output == "done"
        assert final(app, next_one.enqueue(), worker).output == "alive"
