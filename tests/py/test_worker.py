"""The worker: how it runs tasks, how they end, how it hears of things, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import itertools
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.py.support import SECONDS, Beside, Session, beside, final, wait_until
from underway_pg import (
    App,
    AsyncClient,
    Client,
    Context,
    Fatal,
    Queue,
    Retry,
    RetryPolicy,
    TaskCancelled,
    TaskFailed,
    TaskInfo,
    Worker,
    settling,
    statements,
    tasklog,
)
from underway_pg.errors import SchemaMissing, Snooze, TaskNotFound, WaitTimeout
from underway_pg.rows import Reason
from underway_pg.settings import Options

AT_ONCE = RetryPolicy(initial_interval=0, jitter=0)
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database, queues=[Queue(name="q", retry=AT_ONCE)], state={"color": "green"}) as app:
        yield app


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def info(app: App, task: int) -> TaskInfo:
    found = app.task(task)
    assert found is not None
    return found


def messages(task: TaskInfo) -> list[Any]:
    return [error["message"] for error in task.errors or []]


def listening(session: Session, worker: Beside) -> None:
    """Wait until the worker hears what is notified."""
    # What a connection has asked for last; the channels of a worker are asked for in this order.
    query = (
        "select pid from pg_stat_activity where datname = current_database() and state = 'idle'"
        " and query = 'listen underway_cancelled'"
    )
    worker.until(lambda: session.column(query), "the worker listens")


def idle(session: Session, worker: Beside) -> None:
    """Wait until the worker has said that it is idle, and would hear if it is woken."""
    worker.until(lambda: session.column("select id from underway.worker where idle"), "the worker is idle")
    listening(session, worker)


def see_chores(session: Session, worker: Beside) -> None:
    """Wait until the worker has done its chores once more: one that is lost since long is forgotten."""
    lost = session.value("select underway.register_worker('lost', '{q}')")
    session.run("update underway.worker set seen_at = now() - interval '2 hours' where id = %s", lost)
    gone = "select 1 where not exists (select from underway.worker where id = %s)"
    worker.until(lambda: session.column(gone, lost), "the chores are done")


def seconds_to_start(session: Session, task: int, since: str) -> float:
    """How long after `since` (SQL, over the task's row in the history) the last attempt began."""
    seconds: float = session.value(
        f"select extract(epoch from started_at - ({since}))::float8 from underway.task_history where id = %s", task
    )
    return seconds


# Of all other sessions of the database.
KILL = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()"""


@contextlib.contextmanager
def away(app: App, session: Session) -> Iterator[None]:
    """The database takes no connections, and has ended all but that of the test."""
    name = session.value("select current_database()")
    with psycopg.connect(app.dsn, dbname="template1", autocommit=True) as operator:
        operator.execute(f"alter database {name} with allow_connections false".encode())
        session.run(KILL)
        try:
            yield
        finally:
            operator.execute(f"alter database {name} with allow_connections true".encode())


class Seen:
    """What handlers leave for the test."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.values: list[Any] = []
        self.running = 0
        self.most_running = 0

    def __call__(self, value: Any) -> None:
        with self._lock:
            self.values.append(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and clients look again only when they are notified, or when they know that something is due."""
    maintain = statements.maintain

    def maintain_and_sleep(
        worker: int, queues: Sequence[str], **options: bool
    ) -> statements.Statement[tuple[float, str]]:
        statement = maintain(worker, queues, **options)

        def read(rows: list[Any]) -> tuple[float, str]:
            pause, state = statement.read(rows)
            return (pause if pause < 1.0 else 2 * SECONDS), state

        return dataclasses.replace(statement, read=read)

    monkeypatch.setattr(statements, "maintain", maintain_and_sleep)
    monkeypatch.setattr("underway_pg.waiting._LOOK_AGAIN", 2 * SECONDS)


# Handlers and their outputs


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
    assert "known are: known" in messages(task)[0]


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
        f"task {id}: worker old does not know job 'known' of queue q and skips its tasks; known jobs: also_known"
        in caplog.messages
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


# A handler's own transaction


def test_a_transaction_of_a_handler_commits_its_writes_with_the_completion(app: App, session: Session) -> None:
    session.run("create table ledger (task bigint)")

    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction() as connection:
            connection.execute("insert into ledger values (%s)", (context.id,))
            context.output = "plain"

    @app.job(queue="q")
    async def asynchronous(context: Context) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger values (%s)", (context.id,))
            context.output = "async"

    with beside(app.worker()) as worker:
        for job, output in ((plain, "plain"), (asynchronous, "async")):
            id = job.enqueue()
            task = final(app, id, worker)
            assert (task.state, task.output) == ("succeeded", output)
            # It was written by the transaction that completed the task.
            assert session.value(
                "select xmin = (select xmin from ledger where task = id) from underway.task_history where id = %s", id
            )


def test_a_transaction_of_a_handler_that_raises_is_undone_and_the_task_tried_again(app: App, session: Session) -> None:
    session.run("create table ledger (task bigint, attempt int)")

    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction() as connection:
            connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
            if context.attempt == 1:
                raise RuntimeError("oh")

    @app.job(queue="q")
    async def asynchronous(context: Context) -> None:
        async with context.transaction() as connection:
            await connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
            if context.attempt == 1:
                raise RuntimeError("oh")

    ids = [plain.enqueue(), asynchronous.enqueue()]
    with beside(app.worker()) as worker:
        for id in ids:
            assert messages(final(app, id, worker)) == ["oh"]
    assert sorted(session.rows("select task, attempt from ledger")) == [(id, 2) for id in ids]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_transaction_of_a_handler_whose_lease_was_lost_is_undone(app: App, session: Session, kind: str) -> None:
    session.run("create table ledger (task bigint, attempt int)")
    seen = Seen()

    def lose(context: Context) -> None:
        # As after a lapse that this worker did not notice.
        if context.attempt == 1:
            session.lapse(context.id)
            session.run("select underway._run_chores()")

    @app.job(queue="q", retry=RetryPolicy(initial_interval=1, jitter=0))
    def plain(context: Context) -> None:
        try:
            with context.transaction() as connection:
                connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
                lose(context)
        except Exception as error:
            seen(type(error).__name__)
            raise

    @app.job(queue="q", retry=RetryPolicy(initial_interval=1, jitter=0))
    async def asynchronous(context: Context) -> None:
        try:
            async with context.transaction() as connection:
                await connection.execute("insert into ledger values (%s, %s)", (context.id, context.attempt))
                lose(context)
        except Exception as error:
            seen(type(error).__name__)
            raise

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert seen.values == ["LeaseLost"]
    assert (task.state, task.attempt, [error["type"] for error in task.errors or []]) == (
        "succeeded", 2, ["LeaseLapsed"],
    )  # fmt: skip
    assert session.rows("select task, attempt from ledger") == [(id, 2)]


def test_an_error_after_a_handlers_own_completion_does_not_undo_it(app: App) -> None:
    @app.job(queue="q")
    def plain(context: Context) -> None:
        with context.transaction():
            context.output = "kept"
        raise RuntimeError("too late")

    id = plain.enqueue()
    with beside(app.worker()) as worker:
        assert final(app, id, worker).output == "kept"
        assert final(app, plain.enqueue(), worker).output == "kept"


# How attempts fail


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    ("error", "type_name", "message"),
    [
        (ValueError("bad value"), "ValueError", "bad value"),
        (SystemExit(3), "SystemExit", "3"),
        (asyncio.CancelledError("by itself"), "CancelledError", "by itself"),
        (TimeoutError("from a socket"), "TimeoutError", "from a socket"),
        (StopIteration("out"), "RuntimeError", "StopIteration"),
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
            await asyncio.sleep(SECONDS)

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


def refuse(session: Session, state: str, error: str) -> None:
    """Have the database refuse to finish tasks of the job `poison` in a state; `error` is how, in PL/pgSQL."""
    session.run("create sequence refusals")
    session.run(
        f"""create function refuse() returns trigger language plpgsql as $$
        begin
            if new.job = 'poison' and new.state = '{state}' then
                {error}
            end if;
            return new;
        end;
        $$"""
    )
    session.run(
        "create trigger refuse before insert on underway.task_history for each row execute function public.refuse()"
    )


def poisoned(app: App) -> tuple[int, list[int]]:
    """Four tasks that end together, and are settled together; the first is of the job `poison`."""
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

    return poison.enqueue(), [good.enqueue() for _ in range(3)]


@pytest.mark.parametrize(
    ("sqlstate", "attempts"), [("57014", 2), ("P0001", 2), ("XX000", 2), ("54000", 1), ("22P05", 1), ("UW014", 1)]
)
def test_a_result_that_the_server_refuses_fails_its_attempt_and_no_other_of_the_batch(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch, sqlstate: str, attempts: int
) -> None:
    monkeypatch.setattr(settling, "_PAUSE", 0.01)
    refuse(session, "succeeded", f"raise exception 'never this one' using errcode = '{sqlstate}';")
    bad, good = poisoned(app)
    with beside(app.worker(concurrency=4)) as worker:
        assert [final(app, id, worker).output for id in good] == ["good"] * 3
        task = final(app, bad, worker)
    assert (task.state, task.attempt) == ("failed", attempts)  # the same result would be refused again, or perhaps not
    assert all("never this one" in message for message in messages(task))


@pytest.mark.parametrize(
    "sqlstate", ["08006", "25006", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P03"]
)
def test_a_result_is_sent_again_after_an_error_that_passes(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    monkeypatch.setattr(settling, "_PAUSE", 0.01)
    refuse(
        session,
        "succeeded",
        f"if nextval('public.refusals') < 4 then raise exception 'not now' using errcode = '{sqlstate}'; end if;",
    )
    bad, good = poisoned(app)
    with beside(app.worker(concurrency=4)) as worker:
        assert [final(app, id, worker).output for id in good] == ["good"] * 3
        task = final(app, bad, worker)
    assert (task.state, task.attempt, task.output) == ("succeeded", 1, "poison")


def test_a_failure_that_the_server_never_takes_holds_up_no_other_result(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(session, "failed", "raise exception 'not this one';")

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
    monkeypatch.setattr(settling, "_MOST_OUTPUT", 25)
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
    with beside(app.worker(concurrency=4)) as worker:
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
        ({}, "missing a required argument: 'n'"),
        ({"n": 1, "m": 2}, "unexpected keyword argument 'm'"),
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
    with beside(app.worker()) as worker:
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


# Timeouts


def test_an_async_handler_that_takes_too_long_is_interrupted_and_tried_again(app: App) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=0.2)
    async def slow(context: Context) -> str:
        if context.attempt == 1:
            try:
                await asyncio.sleep(SECONDS)
            except asyncio.CancelledError:
                seen("interrupted")
                raise
        return "in time"

    id = slow.enqueue()
    with beside(app.worker()) as worker:
        task = final(app, id, worker)
    assert (task.output, seen.values) == ("in time", ["interrupted"])
    assert [error["type"] for error in task.errors or []] == ["TimeoutError"]
    assert "timed out after 0.2 s" in messages(task)[0]


def test_a_plain_handler_that_takes_too_long_is_told_and_its_result_does_not_count(app: App) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=0.2)
    def slow(context: Context) -> str:
        if context.attempt == 1:
            seen(context.wait_cancelled(SECONDS))
            seen(context.cancelled)
            return "too late"
        return "in time"

    id = slow.enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        task = final(app, id, worker)
        worker.until(lambda: len(seen.values) == 2, "the first handler was told")
    assert (task.output, task.attempt, seen.values) == ("in time", 2, [True, True])
    assert "timed out after 0.2 s" in messages(task)[0]


def test_a_handler_that_is_long_in_ending_after_its_timeout_does_not_end_the_worker(app: App) -> None:
    @app.job(queue="q", timeout=0.3, heartbeat=0.3)
    async def slow(context: Context) -> str:
        if context.attempt == 1:
            try:
                await asyncio.sleep(SECONDS)
            finally:
                await asyncio.sleep(0.8)  # the lease, which is not renewed any more, lapses meanwhile
        return "in time"

    id = slow.enqueue()
    with beside(app.worker(concurrency=2)) as worker:
        task = final(app, id, worker)
    assert (task.state, task.output) == ("succeeded", "in time")
    assert len(task.errors or []) == task.attempt - 1


def test_an_attempt_that_waited_in_the_worker_before_it_began_times_out_and_does_not_lapse(
    app: App, session: Session
) -> None:
    @app.job(queue="t")
    async def hangs(seconds: float) -> None:
        await asyncio.sleep(seconds)

    # For the database the time begins with the claim: it refuses the third heartbeat, after 2.4 s, while for the worker
    # there is some left.
    app.client.create_queue(Queue(name="t", timeout=2.2, heartbeat=2.4, retry=ONCE))
    with beside(app.worker(concurrency=1)) as worker:
        for id in hangs.enqueue_many([{"seconds": 0}] * 10):  # so short that the next two are claimed at once
            final(app, id, worker)
        _, id = hangs.enqueue_many([{"seconds": 0.6}, {"seconds": SECONDS}])
        task = final(app, id, worker)
    (error,) = task.errors or []
    assert error["type"] == "TimeoutError"
    assert "in hangs" in error["traceback"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_handler_that_takes_too_long_is_interrupted_while_the_database_is_away(
    app: App, session: Session, kind: str
) -> None:
    seen = Seen()

    @app.job(queue="q", timeout=1, heartbeat=0.3)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(SECONDS)
        seen("interrupted")

    @app.job(queue="q", timeout=1, heartbeat=0.3)
    async def asynchronous() -> None:
        seen("started")
        try:
            await asyncio.sleep(SECONDS)
        finally:
            seen("interrupted")

    (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        with away(app, session):
            worker.until(lambda: seen.values == ["started", "interrupted"], "it is interrupted")
        worker.stop()
        worker.stop()


# Cancellation


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_cancellation_reaches_a_running_handler_at_once(app: App, session: Session, kind: str) -> None:
    seen = Seen()

    @app.job(queue="q", heartbeat=600)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(SECONDS)
        seen("interrupted")

    @app.job(queue="q", heartbeat=600)
    async def asynchronous(context: Context) -> None:
        seen("started")
        try:
            await asyncio.sleep(SECONDS)
        finally:
            seen("interrupted")

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        assert app.cancel(id)
        worker.until(lambda: len(seen.values) == 2, "it is interrupted")
        assert info(app, id).state == "cancelled"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_cancellation_that_is_not_heard_is_found_by_the_heartbeat(
    app: App, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(self: Worker) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Worker, "_listen", deaf)
    seen = Seen()

    @app.job(queue="q", heartbeat=1.5)
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(SECONDS)
        seen("interrupted")

    @app.job(queue="q", heartbeat=1.5)
    async def asynchronous(context: Context) -> None:
        seen("started")
        try:
            await asyncio.sleep(SECONDS)
        finally:
            seen("interrupted")

    id = (plain if kind == "plain" else asynchronous).enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        assert app.cancel(id)
        worker.until(lambda: len(seen.values) == 2, "it is interrupted")
        assert info(app, id).state == "cancelled"


def test_a_task_that_is_cancelled_and_retried_while_its_handler_cleans_up_runs_again(
    app: App, session: Session
) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def tidy(context: Context) -> str:
        seen("started")
        if len(seen.values) == 1:
            try:
                await asyncio.sleep(SECONDS)
            finally:
                while seen.values.count("started") < 2:
                    await asyncio.sleep(0.01)
                seen("cleaned up")
        while "cleaned up" not in seen.values:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the first one is gone from the worker's books
        return "ran again"

    @app.job(queue="q")
    def next_one() -> str:
        return "alive"

    id = tidy.enqueue()
    with beside(app.worker(concurrency=3)) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        app.client.retry(id)
        task = final(app, id, worker)
        assert (task.state, task.output) == ("succeeded", "ran again")
        assert final(app, next_one.enqueue(), worker).output == "alive"


@pytest.mark.parametrize("channel", ["underway_cancelled", "underway_ready"])
def test_a_notification_that_means_nothing_is_ignored(app: App, session: Session, channel: str) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def runs() -> str:
        started.set()
        release.wait(SECONDS)
        return "done"

    @app.job(queue="q")
    def waits(context: Context) -> None:
        started.set()
        context.wait_cancelled(SECONDS)

    with beside(app.worker()) as worker:
        id = runs.enqueue()
        assert started.wait(SECONDS)
        listening(session, worker)
        for payload in ("nonsense", "", "99999999999999999999", "q' or true"):
            session.run("select pg_notify(%s, %s)", channel, payload)
        # What is notified later is heard later: when this cancellation is heard, so was all that.
        started.clear()
        other = waits.enqueue()
        assert started.wait(SECONDS)
        cancelled_at = time.monotonic()
        app.cancel(other)
        worker.until(lambda: session.value("select underway.stats() ->> 'in_progress'") == "1", "it was heard")
        assert time.monotonic() - cancelled_at < SECONDS
        release.set()
        assert final(app, id, worker).output == "done"


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[psycopg.Notify]:
    """Cancellations that no worker has heard of yet; a test lets `hear` do it."""
    notifications: list[psycopg.Notify] = []
    hear = Worker._hear

    def hear_late(self: Worker, notification: psycopg.Notify) -> None:
        if notification.channel == "underway_cancelled" and notification not in notifications:
            notifications.append(notification)
        else:
            hear(self, notification)

    monkeypatch.setattr(Worker, "_hear", hear_late)
    return notifications


def test_a_cancellation_that_is_heard_late_does_not_end_the_run_after_a_retry(
    app: App, session: Session, late: list[psycopg.Notify]
) -> None:
    seen = Seen()
    release = threading.Event()

    @app.job(queue="q", heartbeat=1.5)
    async def runs() -> str:
        seen("started")
        try:
            while not release.is_set():
                await asyncio.sleep(0.01)
        finally:
            seen("ended")
        return "done"

    id = runs.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        worker.until(lambda: late and "ended" in seen.values, "the heartbeat has found it")
        app.client.retry(id)
        worker.until(lambda: seen.values.count("started") == 2, "it runs again")
        worker.on_loop(lambda: worker.worker._hear(late[0]))
        worker.on_loop(release.set)
        task = final(app, id, worker)
    assert (task.output, task.attempt, task.errors, seen.values.count("started")) == ("done", 1, None, 2)


def test_a_cancellation_that_is_heard_after_a_retry_ends_the_first_run_and_not_the_second(
    app: App, session: Session, late: list[psycopg.Notify]
) -> None:
    seen = Seen()
    release = threading.Event()

    @app.job(queue="q")
    async def runs() -> str:
        run = 2 if 1 in seen.values else 1
        seen(run)
        try:
            while not release.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            seen(f"{run} was interrupted")
            raise
        return f"run {run}"

    id = runs.enqueue()
    with beside(app.worker()) as worker:
        worker.until(lambda: seen.values, "it runs")
        listening(session, worker)
        app.cancel(id)
        app.client.retry(id)
        worker.until(lambda: late and {1, 2} <= set(seen.values), "it runs twice")
        worker.on_loop(lambda: worker.worker._hear(late[0]))
        worker.until(lambda: len(seen.values) > 2, "one is interrupted")
        release.set()
        assert final(app, id, worker).output == "run 2"
    assert set(seen.values) == {1, 2, "1 was interrupted"}


def test_a_handler_that_raises_cancelled_error_while_its_task_is_cancelled_does_not_end_the_worker(
    app: App, database: str, session: Session
) -> None:
    locked = threading.Event()
    started = threading.Event()

    @app.job(queue="q")
    async def raises() -> None:
        started.set()
        while not locked.is_set():
            await asyncio.sleep(0.005)
        raise asyncio.CancelledError("by itself")

    id = raises.enqueue()
    with Session(database) as observer, beside(app.worker()) as worker:
        assert started.wait(SECONDS)
        session.run("begin")
        session.run("select from underway.task where id = %s for update", id)
        locked.set()
        waiting = "select 1 from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
        worker.until(lambda: observer.column(waiting, session.pid), "the failure is being reported")
        session.run("select underway.cancel(%s)", id)
        worker.on_loop(lambda: worker.worker._hear(psycopg.Notify("underway_cancelled", str(id), 0)))
        session.run("commit")
        assert final(app, id, worker).state == "cancelled"
        see_chores(session, worker)


# Leases


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_lease_of_a_long_task_is_renewed(app: App, session: Session, kind: str) -> None:
    seen = Seen()
    renewed = threading.Event()

    @app.job(queue="q", heartbeat=3)
    def plain(context: Context) -> str:
        seen(context.attempt)
        renewed.wait(SECONDS)
        return "done"

    @app.job(queue="q", heartbeat=3)
    async def asynchronous(context: Context) -> str:
        seen(context.attempt)
        while not renewed.is_set():
            await asyncio.sleep(0.01)
        return "done"

    ids = [(plain if kind == "plain" else asynchronous).enqueue() for _ in range(3)]
    expiries: dict[int, set[datetime]] = {id: set() for id in ids}
    with beside(app.worker()) as worker:

        def all_renewed_twice() -> bool:
            assert session.value("select underway._run_chores() -> 'reclaimed'") == 0
            for id, expires_at in session.rows(
                "select id, lease_expires_at from underway.task where lease is not null"
            ):
                expiries[id].add(expires_at)
            return all(len(seen) > 2 for seen in expiries.values())

        worker.until(all_renewed_twice, "all leases are renewed twice")
        renewed.set()
        for id in ids:
            final(app, id, worker)
    assert [(info(app, id).output, info(app, id).attempt) for id in ids] == [("done", 1)] * 3
    assert seen.values == [1, 1, 1]


def test_a_worker_whose_loop_was_blocked_until_its_leases_lapsed_goes_on(app: App, session: Session) -> None:
    seen = Seen()
    blocked = threading.Event()

    @app.job(queue="q", heartbeat=1.5)
    async def waits(context: Context) -> str:
        seen(context.attempt)
        if context.attempt == 1:
            # What nobody should write: the loop stands still, and all leases of the worker lapse.
            while not blocked.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.7)  # until a heartbeat
        return f"attempt {context.attempt}"

    @app.job(queue="q", heartbeat=1.5)
    async def blocks(context: Context) -> str:
        if context.attempt == 1:
            for held in (first, context.id):
                session.lapse(held)
            session.run("select underway._run_chores()")
            blocked.set()
        return f"attempt {context.attempt}"

    first = waits.enqueue()
    with beside(app.worker(concurrency=4)) as worker:
        worker.until(lambda: seen.values, "the first runs")
        second = blocks.enqueue()
        for id in (first, second):
            task = final(app, id, worker)
            assert (task.output, [error["type"] for error in task.errors or []]) == ("attempt 2", ["LeaseLapsed"])
        assert final(app, blocks.enqueue(), worker).state == "succeeded"


def test_a_result_that_comes_after_the_lease_was_lost_is_dropped_with_a_warning(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def work() -> str:
        started.set()
        release.wait(SECONDS)
        return "done"

    id = work.enqueue()
    with beside(app.worker()) as worker:
        worker.until(started.is_set, "it runs")
        session.run("update underway.task set lease = gen_random_uuid()")  # as if another had it now
        release.set()
        dropped = f"task {id} is not held any more; the result is dropped, unless an earlier report of it had arrived"
        worker.until(lambda: dropped in caplog.messages, "it says so")
    assert info(app, id).output is None


def test_a_result_that_waits_for_long_to_be_settled_harms_no_other_task(app: App, session: Session) -> None:
    """Its time is over and its lease not renewed any more; its runner has long had another task, or none."""
    session.run(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception using errcode = 'disk_full', message = 'no room'; end $$"
    )
    session.run("create trigger full_disk before insert on underway.task_history execute function public.refuse()")

    @app.job(queue="q")
    async def ends() -> None: ...

    first = ends.options(timeout=0.5, heartbeat=0.9).enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        worker.until(lambda: session.errors(first), "its lease was taken back")
        session.run("drop trigger full_disk on underway.task_history")
        assert final(app, ends.enqueue(), worker).state == "succeeded"
        assert final(app, first, worker).state == "succeeded"


def calls_of_chores(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The times at which workers do their chores, and those at which they only look what is due; lists that grow."""
    chores: list[float] = []
    looks: list[float] = []
    for name, times in (("maintain", chores), ("look", looks)):
        real = getattr(statements, name)

        def called(*arguments: Any, real: Any = real, times: list[float] = times, **options: bool) -> Any:
            times.append(time.monotonic())
            return real(*arguments, **options)

        monkeypatch.setattr(statements, name, called)
    return chores, looks


def test_a_worker_does_not_look_all_the_time_for_a_task_that_another_session_has_locked(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, looks = calls_of_chores(monkeypatch)

    @app.job(queue="q")
    def work() -> None: ...

    with Session(app.dsn) as holder:
        id = work.enqueue()
        holder.run("begin")
        holder.run("select from underway.task where id = %s for update", id)
        with beside(app.worker()) as worker:
            worker.until(lambda: len(looks) >= 20, "it looks again and again")
            assert looks[19] - looks[0] > 0.3
            holder.run("commit")
            assert final(app, id, worker).state == "succeeded"


def test_a_busy_worker_does_its_chores_once_a_second_whatever_backlog_a_limited_queue_has(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.client.create_queue(Queue(name="limited", max_running=100, fair=True))
    chores, looks = calls_of_chores(monkeypatch)
    started, release = threading.Event(), threading.Event()

    @app.job(queue="limited")
    def work() -> None:
        started.set()
        release.wait(SECONDS)

    work.enqueue_many([{}] * 50)
    with beside(app.worker(concurrency=1)) as worker:
        worker.until(started.is_set, "it is busy")
        before = len(chores)
        worker.until(lambda: len(chores) >= before + 3, "it has done its chores three times more")
        release.set()
    assert len(looks) < 10
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(chores))


def test_an_idle_worker_that_looks_often_does_its_chores_once_a_second(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores, looks = calls_of_chores(monkeypatch)
    app.job(queue="q")(lambda: None).enqueue()
    session.run("select underway.schedule('s', 'q', '0 0 1 1 *')")
    session.run("update underway.schedule set check_at = now()")
    with Session(app.dsn) as holder, beside(app.worker()) as worker:
        holder.run("begin")
        holder.run("select from underway.schedule for update")  # due, and cannot run: the worker looks every 50 ms
        worker.until(lambda: len(chores) >= 4, "it has done its chores")
        holder.run("rollback")
    assert len(looks) > 10
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(chores))


def test_a_task_that_becomes_due_soon_after_a_worker_was_busy_starts_when_it_is_due(app: App, session: Session) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def long() -> None:
        started.set()
        release.wait(SECONDS)

    @app.job(queue="q")
    def soon() -> None: ...

    with beside(app.worker(concurrency=1)) as worker:
        long.enqueue()
        worker.until(started.is_set, "it is busy")
        see_chores(session, worker)  # so that the next look by itself is a second away
        due = soon.options(delay=0.3).enqueue()
        release.set()
        final(app, due, worker)
    assert seconds_to_start(session, due, "enqueued_at + interval '0.3 s'") < 0.3


def test_a_worker_that_is_idle_has_three_connections(app: App, session: Session) -> None:
    @app.job(queue="q")
    async def work() -> None: ...

    others = """select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
    worker = app.worker()
    wait_until(lambda: session.value(others) == 0, "that which has created the queues is closed")
    with beside(worker) as running:
        session.run("select underway.enqueue('q', '{}', job => 'work')")
        running.until(lambda: session.value("select count(*) from underway.task_history") == 1, "it has worked")
        idle(session, running)
        assert session.value(others) <= 3


# Starting in time


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
    async def deaf(self: Worker) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Worker, "_listen", deaf)

    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        worker.until(lambda: session.column("select id from underway.worker where idle"), "the worker is idle")
        ids = [final(app, job.enqueue(), worker).id for _ in range(3)]
    assert sorted(seconds_to_start(session, id, "enqueued_at") for id in ids)[1] < 1.5


# Many tasks


def test_a_draining_worker_does_all_that_is_ready_and_ends(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    def work(n: int) -> None:
        seen(n)
        if n % 10 == 0:
            next_one.enqueue(n)

    @app.job(queue="q")
    async def next_one(n: int) -> None:
        seen(-n)

    work.enqueue_many([{"n": n} for n in range(1, 201)])
    later = work.options(delay=3600).enqueue(0)
    with beside(app.worker(drain=True, concurrency=7)) as worker:
        worker.join()
    assert sorted(seen.values) == sorted([*range(1, 201), *range(-200, 0, 10)])
    assert info(app, later).state == "pending"


def test_a_draining_worker_of_an_empty_queue_ends(app: App) -> None:
    with beside(app.worker(drain=True)) as worker:
        worker.join()


def test_higher_priorities_run_first_and_then_those_that_came_first(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    def work(n: int) -> None:
        seen(n)

    for n, priority in enumerate([0, 5, -3, 5, 10, 0]):
        work.options(priority=priority).enqueue(n)
    with beside(app.worker(drain=True, concurrency=1)) as worker:
        worker.join()
    assert seen.values == [4, 1, 3, 0, 5, 2]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_as_many_tasks_run_at_once_as_the_concurrency_and_never_more(app: App, kind: str) -> None:
    seen = Seen()
    together = threading.Event()

    def enter() -> None:
        if seen.running == 4:
            together.set()

    @app.job(queue="q")
    def plain() -> None:
        with seen.inside():
            enter()
            together.wait(SECONDS)
            time.sleep(0.002)

    @app.job(queue="q")
    async def asynchronous() -> None:
        with seen.inside():
            enter()
            while not together.is_set():
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.002)

    (plain if kind == "plain" else asynchronous).enqueue_many([{}] * 60)
    with beside(app.worker(drain=True, concurrency=4)) as worker:
        worker.join()
    assert seen.most_running == 4


def test_a_worker_claims_no_more_than_it_can_run_at_once(app: App, session: Session) -> None:
    release = threading.Event()

    @app.job(queue="q")
    def work() -> None:
        release.wait(SECONDS)

    ids = [work.enqueue() for _ in range(5)]
    held = "select count(*) from underway.task where state = 'in_progress'"
    with beside(app.worker(concurrency=2)) as worker:
        worker.until(lambda: session.value(held) == 2, "two run")
        work.enqueue()
        see_chores(session, worker)
        see_chores(session, worker)
        assert session.value(held) == 2
        release.set()
        for id in ids:
            assert final(app, id, worker).state == "succeeded"


def sizes_of_claims(
    app: App, session: Session, *, prefetch_seconds: float, retried_from: int | None = None
) -> list[int]:
    """How many of 600 short tasks each claim of a worker of concurrency 2 took; some of them were tried before."""

    @app.job(queue="q")
    async def short(n: int) -> None:
        pass

    short.enqueue_many({"n": n} for n in range(600))
    if retried_from is not None:
        session.run("update underway.task set attempt = 1 where (input ->> 'n')::integer >= %s", retried_from)
    with beside(app.worker(concurrency=2, prefetch_seconds=prefetch_seconds, drain=True)) as worker:
        worker.join()
    # The tasks of a claim begin at one moment, as the database sees it.
    return session.column("select count(*)::integer from underway.task_history group by started_at order by started_at")


def test_a_worker_claims_ahead_where_tasks_are_short(app: App, session: Session) -> None:
    first, *others = sizes_of_claims(app, session, prefetch_seconds=0.25)
    assert first == 2  # nothing is known of their length yet
    assert 2 < max(others) <= 1000


def test_a_worker_claims_nothing_ahead_where_it_is_told_so(app: App, session: Session) -> None:
    assert max(sizes_of_claims(app, session, prefetch_seconds=0)) <= 2


def test_a_worker_claims_nothing_ahead_of_tasks_that_are_tried_again(app: App, session: Session) -> None:
    assert max(sizes_of_claims(app, session, prefetch_seconds=0.25, retried_from=0)) <= 2


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_was_claimed_ahead_and_not_begun_is_given_back_when_tasks_turn_out_long(
    app: App, session: Session, kind: str
) -> None:
    release = threading.Event()
    seen = Seen()

    @app.job(queue="q")
    def plain(long: bool) -> None:
        if long:
            seen("long")
            release.wait(SECONDS)

    @app.job(queue="q")
    async def asynchronous(long: bool) -> None:
        if long:
            seen("long")
            while not release.is_set():
                await asyncio.sleep(0.01)

    job = plain if kind == "plain" else asynchronous
    job.enqueue_many({"long": False} for _ in range(3000))
    ids = job.enqueue_many({"long": True} for _ in range(200))
    held = "select count(*) from underway.task where state = 'in_progress'"
    not_begun = "select count(*) from underway.task where state = 'pending' and attempt = 0"
    with beside(app.worker(concurrency=2)) as worker:
        worker.until(lambda: len(seen.values) == 2, "two of the long ones run")
        for _ in range(2):  # the first two may run before the others are claimed
            worker.until(lambda: session.value(held) == 2 and session.value(not_begun) == 198, "they were given back")
            see_chores(session, worker)
        assert session.value(held) <= 2 + 2  # it has learned how long they are
        release.set()
        assert final(app, ids[-1], worker).attempt == 1


def test_a_worker_of_short_tasks_claims_ahead_and_gives_the_rest_back_when_it_stops(app: App, session: Session) -> None:
    blocked, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    async def short(n: int) -> None:
        ahead = "select count(*) from underway.task where state = 'in_progress' and (input ->> 'n')::integer > %s"
        if n >= 1000 and not blocked.is_set() and session.value(ahead, n) > 2:
            blocked.set()
            release.wait(SECONDS)  # the loop itself, so that what is held then stays held

    short.enqueue_many({"n": n} for n in range(4000))
    with beside(app.worker(concurrency=2)) as worker:
        assert blocked.wait(SECONDS)
        worker.stop()
        release.set()
    states = dict(session.rows("select state::text, count(*) from underway.task group by state"))
    assert set(states) == {"pending"}
    assert session.column("select distinct attempt from underway.task") == [0]
    done = session.value("select count(*) from underway.task_history where attempt = 1")
    assert done + states["pending"] == 4000


def test_a_task_of_higher_priority_waits_for_no_more_than_what_was_claimed_ahead(app: App, session: Session) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def work(n: int) -> None:
        seen(n)
        if n == 100:
            session.run("select underway.enqueue('q', '{\"n\": -1}', job => 'work', priority => 9)")

    work.enqueue_many({"n": n} for n in range(6000))
    with beside(app.worker(concurrency=2, drain=True)) as worker:
        worker.join()
    assert len(seen.values) == 6001
    assert seen.values.index(-1) < 100 + 2 * (1000 + 2)


def test_workers_that_share_a_queue_run_each_task_once(app: App) -> None:
    seen: dict[str, Seen] = {"plain": Seen(), "async": Seen()}

    @app.job(queue="q")
    def plain(context: Context, n: int) -> None:
        seen["plain"](n)

    @app.job(queue="q")
    async def asynchronous(context: Context, n: int) -> None:
        seen["async"](n)
        await asyncio.sleep(0)

    with contextlib.ExitStack() as stack:
        workers = [app.worker(concurrency=5, name=f"worker {number}") for number in range(3)]
        stack.enter_context(beside(*workers))
        for job in (plain, asynchronous):
            job.enqueue_many([{"n": n} for n in range(300)])
        wait_until(lambda: app.client.stats()["ready"] + app.client.stats()["in_progress"] == 0, "all are done")
    for kind in seen.values():
        assert sorted(kind.values) == list(range(300))


@pytest.mark.usefixtures("no_polls")
def test_queues_that_are_paused_are_served_again_when_a_notification_says_that_they_are_resumed(
    app: App, session: Session
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        app.client.pause_queue("q")
        id = job.enqueue()
        session.value("select underway._run_chores()")
        assert info(app, id).state == "pending"
        app.client.resume_queue("q")
        assert final(app, id, worker).state == "succeeded"


# Stopping


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_worker_that_stops_lets_running_tasks_end_and_claims_no_more(app: App, kind: str) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def plain() -> str:
        started.set()
        release.wait(SECONDS)
        return "ended"

    @app.job(queue="q")
    async def asynchronous() -> str:
        started.set()
        while not release.is_set():
            await asyncio.sleep(0.01)
        return "ended"

    job = plain if kind == "plain" else asynchronous
    first, *others = [job.enqueue() for _ in range(4)]
    with beside(app.worker(concurrency=1)) as worker:
        assert started.wait(SECONDS)
        worker.stop()
        more = job.enqueue()
        release.set()
        worker.join()
    assert (info(app, first).state, info(app, first).output) == ("succeeded", "ended")
    for id in (*others, more):
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    assert app.client.workers() == []


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("how", ["the shutdown timeout is over", "a second stop"])
def test_what_still_runs_is_interrupted_and_given_back_without_using_an_attempt(app: App, kind: str, how: str) -> None:
    seen = Seen()

    @app.job(queue="q")
    def plain(context: Context) -> None:
        seen("started")
        context.wait_cancelled(SECONDS)
        seen("interrupted")

    @app.job(queue="q")
    async def asynchronous() -> None:
        seen("started")
        try:
            await asyncio.sleep(SECONDS)
        finally:
            seen("interrupted")

    job = plain if kind == "plain" else asynchronous
    ids = [job.enqueue() for _ in range(5)]
    with beside(app.worker(concurrency=2, shutdown_timeout=0.3 if how.startswith("the shutdown") else 600.0)) as worker:
        worker.until(lambda: len(seen.values) == 2, "two run")
        worker.stop()
        if how == "a second stop":
            worker.stop()
        worker.join()
        wait_until(lambda: seen.values.count("interrupted") == 2, "both were interrupted")
    for id in ids:
        task = info(app, id)
        assert (task.state, task.attempt, task.errors) == ("pending", 0, None)
    with beside(app.worker(concurrency=5)) as worker:
        worker.until(lambda: seen.values.count("started") == 7, "another worker runs them all")
        worker.stop()


def test_a_worker_can_be_stopped_while_it_is_idle(app: App, session: Session) -> None:
    with beside(app.worker(shutdown_timeout=600.0)) as worker:
        idle(session, worker)
        worker.stop()
        worker.join()


def test_a_worker_that_could_not_begin_yet_can_be_stopped_while_the_database_is_away(
    app: App, session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underway_pg.worker._AWAY_AFTER", 0.3)

    @app.job(queue="q")
    def job() -> None: ...

    worker = Beside(app.worker(shutdown_timeout=600.0))
    with away(app, session):
        worker.start()
        worker.until(lambda: "the database is away" in caplog.text, "it tries to begin")
        worker.stop()
        worker.join()
    assert app.client.workers() == []


def test_a_worker_that_is_to_stop_at_once_gives_back_its_tasks_although_its_connections_have_just_broken(
    app: App, session: Session
) -> None:
    started = threading.Event()

    @app.job(queue="q")
    async def runs() -> None:
        started.set()
        await asyncio.sleep(SECONDS)

    id = runs.enqueue()
    with beside(app.worker(shutdown_timeout=600.0)) as worker:
        worker.until(started.is_set, "it runs")
        idle(session, worker)
        session.run(KILL)
        worker.stop()
        worker.stop()
        worker.join()
    assert (session.state(id), session.attempt(id), session.errors(id)) == ("pending", 0, [])
    assert session.column("select name from underway.worker") == []


# When things go away


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

    @app.job(queue="gone", heartbeat=1.5)
    async def runs() -> None:
        seen("started")
        try:
            await asyncio.sleep(SECONDS)
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
        running.until(lambda: "the database is away" in caplog.text, "it notices")
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


# Logs


def lines(caplog: pytest.LogCaptureFixture, task: int) -> list[str]:
    """What the log says of a task, without its durations."""
    said = [record.getMessage() for record in caplog.records if getattr(record, "task", None) == task]
    return [re.sub(r"after \d+\.\d{3} s", "after _ s", message) for message in said]


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

    id = app.job(name="send", queue="q")(plain if kind == "plain" else asynchronous).enqueue()
    with caplog.at_level(logging.INFO, "underway_pg"), beside(app.worker()) as worker:
        final(app, id, worker)
    first, second = (f"task {id} (send, queue q, attempt {attempt})" for attempt in (1, 2))
    assert lines(caplog, id) == [
        f"{first} starts",
        f"{first} was snoozed after _ s: for 0:00:00",
        f"{first} starts",
        f"{first} failed after _ s: ValueError: no such address",
        f"{second} starts",
        f"{second} succeeded after _ s",
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
        context.wait_cancelled(SECONDS)

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
        cancelled: "interrupted",
        timed_out: "failed",
        returned: "interrupted",
    }
    assert (
        lines(caplog, returned)[1]
        == f"task {returned} (wait, queue q, attempt 1) was interrupted after _ s: the worker stops"
    )
    assert "it was cancelled" in ends[cancelled].getMessage()
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
        for id in ids:
            worker.until(lambda id=id: len(lines(caplog, id)) == 2, "it has ended")
            assert lines(caplog, id)[1].endswith("succeeded after _ s")
    assert "its handler raised RuntimeError('afterwards')" in caplog.text


@pytest.mark.parametrize(("level", "log_tasks"), [(logging.INFO, False), (logging.WARNING, True)])
def test_a_log_without_the_lines_of_tasks_has_their_failures(
    app: App, level: int, log_tasks: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.job(queue="q")
    def divide(by: int) -> float:
        return 1 / by

    started = Seen()
    monkeypatch.setattr(tasklog, "starts", lambda task, *_, **__: started(task.id))  # not even made, to be thrown away
    ids = [divide.options(retry=ONCE).enqueue(by=by) for by in (0, 1)]
    with caplog.at_level(level, "underway_pg"), beside(app.worker(log_tasks=log_tasks)) as worker:
        for id in ids:
            final(app, id, worker)
    failed = f"task {ids[0]} (divide, queue q, attempt 1) failed after _ s: ZeroDivisionError: division by zero"
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
        assert "failed after" in caplog.text
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


# Waiting for a task


class Waiter:
    """`wait_for` in both forms, from plain code."""

    def __init__(self, app: App, kind: str) -> None:
        self._app = app
        self._kind = kind

    def __call__(self, task: int, timeout: float | None = SECONDS) -> Any:
        if self._kind == "sync":
            return self._app.wait_for(task, timeout=timeout)

        async def wait() -> Any:
            try:
                return await self._app.wait_for_async(task, timeout=timeout)
            finally:
                await (await self._app.async_client()).close()

        return asyncio.run(wait())

    def many(self, tasks: list[int], timeout: float | None = SECONDS) -> dict[int, TaskInfo]:
        if self._kind == "sync":
            return self._app.wait_for_many(tasks, timeout=timeout)

        async def wait() -> dict[int, TaskInfo]:
            try:
                return await self._app.wait_for_many_async(tasks, timeout=timeout)
            finally:
                await (await self._app.async_client()).close()

        return asyncio.run(wait())


@pytest.fixture(params=["sync", "async"])
def wait_for(request: pytest.FixtureRequest, app: App) -> Waiter:
    return Waiter(app, request.param)


def test_waiting_gives_the_output(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def answer() -> dict[str, int]:
        return {"answer": 42}

    with beside(app.worker()):
        id = answer.enqueue()
        assert wait_for(id) == {"answer": 42}
        assert wait_for(id) == {"answer": 42}  # it is final already


def see_watched(session: Session, context: Context) -> None:
    """Wait in a handler until the end of its task will be notified."""
    watched = "select 1 from underway.task where id = %s and watched"
    wait_until(lambda: session.rows(watched, context.id), "somebody waits for the task")


@pytest.mark.usefixtures("no_polls")
def test_waiting_ends_by_notification_and_not_at_a_look(app: App, session: Session, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def slow(context: Context) -> str:
        see_watched(session, context)
        return "done"

    with beside(app.worker()):  # the client asks before the task is claimed, whose row is locked for a moment
        assert wait_for(slow.options(delay=0.5).enqueue()) == "done"


def test_waiting_raises_how_the_task_ended_otherwise(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def fails() -> None:
        raise Fatal("because")

    id = fails.enqueue()
    cancelled = fails.options(delay=3600).enqueue()
    with beside(app.worker()):
        with pytest.raises(TaskFailed, match=f"task {id} failed: Fatal: because") as failure:
            wait_for(id)
        assert (failure.value.task, failure.value.error["message"]) == (id, "because")
    app.cancel(cancelled)
    with pytest.raises(TaskCancelled):
        wait_for(cancelled)
    with pytest.raises(TaskNotFound):
        wait_for(987654321)


def test_waiting_ends_after_its_time_and_the_task_goes_on(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def later() -> str:
        return "done"

    id = later.options(delay=3600).enqueue()
    began_at = time.monotonic()
    with pytest.raises(WaitTimeout, match=f"task {id} was not final after 0.3 s"):
        wait_for(id, timeout=0.3)
    assert 0.3 <= time.monotonic() - began_at < SECONDS
    with pytest.raises(WaitTimeout):
        wait_for(id, timeout=0)
    assert info(app, id).state == "pending"
    app.client.reschedule(id, datetime.now(UTC))
    with beside(app.worker()):
        assert wait_for(id) == "done"


def test_waiting_ends_after_its_time_while_a_handler_completes_in_an_open_transaction(
    app: App, session: Session, wait_for: Waiter
) -> None:
    id = app.client.enqueue("q", {})
    _ = session.claim("q")
    ((lease,),) = session.rows("select lease from underway.task")
    session.run("begin")
    session.run("select underway.complete(%s, %s, '7')", id, lease)
    commit = threading.Timer(SECONDS, session.run, ["commit"])  # for a wait that would not end before
    commit.start()
    try:
        with pytest.raises(WaitTimeout):
            wait_for(id, timeout=0.3)
        assert not commit.finished.is_set()
    finally:
        commit.cancel()
        commit.join()


def test_waiting_for_many_gives_how_each_ended_in_the_order_in_which_they_were_given(
    app: App, wait_for: Waiter
) -> None:
    @app.job(queue="q")
    def half(n: int) -> int:
        if n % 2:
            raise Fatal("odd")
        return n // 2

    ids = half.enqueue_many({"n": n} for n in range(20))
    cancelled = half.options(delay=3600).enqueue(n=0)
    app.cancel(cancelled)
    asked = [cancelled, *reversed(ids), ids[3]]
    with beside(app.worker()):
        ended = wait_for.many(asked)
    assert list(ended) == asked[:-1]
    assert [ended[id].output for id in ids[::2]] == list(range(10))
    assert {ended[id].state for id in ids[1::2]} == {"failed"}
    assert messages(ended[ids[1]]) == ["odd"]
    assert ended[cancelled].state == "cancelled"
    assert wait_for.many([]) == {}


@pytest.mark.usefixtures("no_polls")
def test_waiting_for_many_ends_by_the_notification_of_the_last_and_not_at_a_look(
    app: App, session: Session, wait_for: Waiter
) -> None:
    @app.job(queue="q")
    def slow(context: Context, seconds: float) -> None:
        see_watched(session, context)
        context.wait_cancelled(seconds)

    with beside(app.worker(concurrency=3)):
        for _ in range(3):
            # The client asks before the tasks are claimed, whose rows are locked for a moment.
            later = slow.options(delay=0.5)
            ended = wait_for.many(later.enqueue_many({"seconds": seconds} for seconds in (0.1, 0.2, 0.3)))
            assert {task.state for task in ended.values()} == {"succeeded"}


def test_waiting_for_many_waits_for_none_when_one_does_not_exist(app: App, wait_for: Waiter) -> None:
    id = app.client.enqueue("q", {})
    with pytest.raises(TaskNotFound, match="task 987654321 does not exist"):
        wait_for.many([id, 987654321], timeout=None)


def test_waiting_for_many_ends_after_its_time_and_says_which_go_on(app: App, wait_for: Waiter) -> None:
    first, *rest = app.client.enqueue_many("q", [{}] * 7)
    app.cancel(first)
    with pytest.raises(WaitTimeout) as late:
        wait_for.many([first, *rest], timeout=0.3)
    names = ", ".join(map(str, rest[:5]))
    assert str(late.value) == f"6 of 7 tasks ({names}, ...) were not final after 0.3 s; they go on"
    for id in rest[1:]:
        app.cancel(id)
    with pytest.raises(WaitTimeout, match=rf"^1 of 7 tasks \({rest[0]}\) was not final after 0 s; it goes on$"):
        wait_for.many([first, *rest], timeout=0)


def test_waiting_goes_on_when_what_is_told_is_not_so(app: App, session: Session, wait_for: Waiter) -> None:
    ids = app.client.enqueue_many("q", [{}] * 2)
    looks = "select 1 from underway.task where id = %s and watched"

    def tell_lies() -> None:
        wait_until(lambda: session.column(looks, ids[1]), "the tasks are watched")
        for payload in (ids[0], ids[1], "nonsense", ids[1], "", "-1"):
            session.run("select pg_notify('underway_finished', %s)", str(payload))
        for id in ids:
            session.run("select underway.cancel(%s)", id)

    teller = threading.Thread(target=tell_lies)
    teller.start()
    ended = wait_for.many(ids)
    teller.join()
    assert [ended[id].state for id in ids] == ["cancelled", "cancelled"]


def test_a_client_says_why_a_task_is_not_running(app: App) -> None:
    app.client.create_queue(Queue(name="q"))
    id = app.client.enqueue("q", {}, options=Options(delay=3600))
    app.client.pause_queue("q")

    async def ask() -> list[Reason]:
        async with AsyncClient(app.dsn) as client:
            with pytest.raises(TaskNotFound):
                await client.why(987654321)
            return await client.why(id)

    reasons = app.client.why(id)
    assert [reason.code for reason in reasons] == ["not_due", "queue_paused", "no_worker"]
    assert reasons[1].reason.startswith("queue 'q' has been paused since ")
    assert (reasons[1].details["queue"], reasons[2].details) == ("q", {"queue": "q"})
    assert [reason.code for reason in asyncio.run(ask())] == ["not_due", "queue_paused", "no_worker"]
    with pytest.raises(TaskNotFound):
        app.client.why(987654321)


# The two clients


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, str]:
        found = {}
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                signature = inspect.signature(member)
                found[name] = str(signature).replace("AsyncConnection", "Connection")
        return found

    assert calls(AsyncClient) == calls(Client)
    for name in calls(AsyncClient):
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name)), name
        assert not inspect.iscoroutinefunction(getattr(Client, name)), name
        assert getattr(AsyncClient, name).__doc__ == getattr(Client, name).__doc__, name


def test_both_clients_do_the_same(app: App, database: str) -> None:
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("create_queue", (Queue(name="calls", timeout=5),), {}),
        ("pause_queue", ("calls",), {}),
        ("resume_queue", ("calls",), {}),
        ("pause_key", ("calls", "a"), {}),
        ("resume_key", ("calls", "a"), {}),
        ("enqueue", ("calls", {"a": 1}), {"options": Options(priority=3)}),
        ("enqueue_many", ("calls", [1, None, "x"]), {}),
        ("drop_queue", ("calls",), {"force": True}),
    ]

    async def with_async() -> list[Any]:
        async with AsyncClient(database) as client:
            return [await getattr(client, name)(*args, **named) for name, args, named in calls]

    plain = [getattr(app.client, name)(*args, **named) for name, args, named in calls]
    assert plain == [None, True, True, True, True, 1, [2, 3, 4], None]
    assert asyncio.run(with_async()) == [None, True, True, True, True, 5, [6, 7, 8], None]
