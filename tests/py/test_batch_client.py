"""Batches and dependencies in Python: what is given arrives, in the callbacks too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.py.support import Session, beside, final
from underway_pg import App, AsyncClient, Client, Context, NewTask, Queue, RetryPolicy
from underway_pg.errors import ConfigurationError, DatabaseRefusal, InputError
from underway_pg.settings import Options, Schedule


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database, queues=[Queue(name="q")]) as app:
        yield app


@pytest.fixture
def client(app: App) -> Client:
    return app.client


def new(input: Any = 1, **options: Any) -> NewTask:
    return NewTask(queue="q", input=input, options=Options(**options))


def test_a_batch_runs_its_tasks_and_then_its_callbacks(app: App) -> None:
    seen: list[tuple[str, int | None]] = []

    @app.job(queue="q")
    def part(number: int) -> None:
        seen.append(("part", number))

    @app.job(queue="q")
    def done(context: Context) -> None:
        seen.append(("done", context.batch))

    @app.job(queue="q")
    def over(context: Context) -> None:
        seen.append(("over", context.batch))

    batch = app.client.enqueue_batch(
        [part.task(number) for number in range(5)], on_success=done.task(), on_final=over.options(priority=-1).task()
    )
    now = app.client.batch(batch)
    assert now is not None
    assert (now.state, now.tasks, now.live, now.progress) == ("live", 5, 5, 0.0)
    with beside(app.worker(concurrency=1)) as worker:
        assert now.on_success is not None
        assert now.on_final is not None
        final(app, now.on_success, worker)
        final(app, now.on_final, worker)
    assert seen == [*(("part", number) for number in range(5)), ("done", batch), ("over", batch)]
    after = app.client.batch(batch)
    assert after is not None
    assert (after.state, after.succeeded, after.live, after.progress) == ("succeeded", 5, 0, 1.0)
    assert app.client.batches(limit=1) == [after]


def test_a_worker_that_drains_runs_what_comes_of_a_batch_whose_last_tasks_end_at_once(app: App, database: str) -> None:
    @app.job(queue="q")
    def done(context: Context) -> int | None:
        return context.batch

    batch = app.client.enqueue_batch([new(), new()], on_success=done.task())
    with Session(database) as first, Session(database) as second:
        grants = first.claim("q", 2)
        for session, (task, lease) in zip((first, second), grants, strict=True):
            session.run("begin")
            session.run("select underway.complete(%s, %s)", task, lease)
        for session in (first, second):
            session.run("commit")
    now = app.client.batch(batch)
    assert now is not None
    assert now.state == "live"  # as far as anybody has looked
    asyncio.run(app.worker(drain=True).run())
    assert app.wait_for(now.on_success or 0, timeout=10) == batch


def test_every_option_of_a_task_arrives(client: Client) -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    (first,) = client.enqueue_many("q", [0])
    options: dict[str, Any] = {
        "run_at": at, "priority": 7, "retry": RetryPolicy(max_attempts=9, max_interval=3), "timeout": 120,
        "heartbeat": timedelta(seconds=20), "retention": 3600.5, "headers": {"trace": "1"},
        "unique_key": "order", "unique_for": 60, "on_conflict": "error", "concurrency_key": "customer",
    }  # fmt: skip
    batch = client.enqueue_batch([NewTask(queue="q", input={"a": None}, job="send", options=Options(**options))])
    (task,) = (each for each in client.tasks() if each.id != first)
    info = client.task(task.id)
    assert info is not None
    assert (info.input, info.job, info.ready_at, info.priority) == ({"a": None}, "send", at, 7)
    assert (info.max_attempts, info.headers, info.unique_key) == (9, {"trace": "1"}, "order")
    assert info.concurrency_key == "customer"
    assert client.batch(batch) is not None
    with pytest.raises(DatabaseRefusal, match="order"):
        client.enqueue_batch([NewTask(queue="q", options=Options(unique_key="order", on_conflict="error"))])


def test_the_settings_of_attempts_arrive(client: Client, database: str) -> None:
    client.enqueue_batch(
        [new(timeout=1.25, heartbeat=2, retention=timedelta(days=2), delay=3600, retry=RetryPolicy(jitter=0))]
    )
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select timeout, heartbeat, retention, (retry_policy).jitter, ready_at - enqueued_at from underway.task"
        ).fetchall()
    day = timedelta(days=2)
    assert rows == [(timedelta(seconds=1.25), timedelta(seconds=2), day, 0.0, timedelta(hours=1))]


def test_falsy_inputs_arrive_as_they_are(client: Client) -> None:
    for input in (None, 0, "", False, [], {}):
        client.enqueue_batch([new(input)])
        (task,) = client.tasks(limit=1)
        info = client.task(task.id)
        assert info is not None
        assert info.input == input
        assert type(info.input) is type(input)


def test_a_batch_is_part_of_the_callers_transaction(client: Client, database: str) -> None:
    client.create_queue(Queue(name="q"))
    with psycopg.connect(database) as connection:
        client.enqueue_batch([new()], on_final=new(), connection=connection)
        connection.rollback()
    assert client.batches() == []
    assert client.tasks() == []


def test_a_batch_is_extended_and_cancelled(client: Client) -> None:
    batch = client.enqueue_batch([new()], name="import", retention=3600)
    assert len(client.extend_batch(batch, [new(), new()])) == 2
    assert client.cancel_batch(batch) == 3
    now = client.batch(batch)
    assert now is not None
    assert (now.name, now.state, now.cancelled, now.tasks) == ("import", "failed", 3, 3)
    assert now.expires_at is not None
    assert now.final_at is not None
    assert now.expires_at - now.final_at == timedelta(hours=1)
    with pytest.raises(DatabaseRefusal, match="final"):
        client.extend_batch(batch, [new()])
    with pytest.raises(DatabaseRefusal, match="batch 9999 does not exist"):
        client.cancel_batch(9999)
    assert client.batch(9999) is None


def test_a_job_comes_after_others(app: App, database: str) -> None:
    @app.job(queue="q")
    def step(number: int) -> int:
        return number

    first = step.enqueue(1)
    second = step.options(after=[first]).enqueue(2)
    third = step.options(after=[first, second], after_failure="run").enqueue(3)
    (reason,) = app.client.why(third)
    assert (reason.code, reason.details["live"]) == ("after", [first, second])
    app.cancel(second)
    with beside(app.worker()) as worker:
        assert final(app, third, worker).output == 3


def test_several_inputs_come_after_others(client: Client) -> None:
    first = client.enqueue("q", 1)
    both = client.enqueue_many("q", [2, 3], options=Options(after=[first], after_failure="fail"))
    client.cancel(first)
    assert [task.state for task in client.tasks() if task.id in both] == ["failed", "failed"]


def test_an_empty_after_is_none(client: Client) -> None:
    task = client.enqueue("q", 1, options=Options(after=[]))
    info = client.task(task)
    assert info is not None
    assert info.state == "pending"


def test_an_unknown_task_is_refused(client: Client) -> None:
    with pytest.raises(DatabaseRefusal, match="task 9999 does not exist"):
        client.enqueue("q", 1, options=Options(after=[9999]))


def test_a_schedule_has_no_after(client: Client) -> None:
    with pytest.raises(InputError, match="after"):
        client.schedule(Schedule(name="s", queue="q", cron="@daily", options=Options(after=[1])))


def test_a_new_task_has_no_connection(app: App, database: str) -> None:
    @app.job(queue="q")
    def step() -> None: ...

    with psycopg.connect(database) as connection, pytest.raises(ConfigurationError, match="connection"):
        step.using(connection).task()


def test_a_new_task_is_checked_as_an_enqueue_is(app: App) -> None:
    @app.job(queue="q")
    def step(number: int) -> None: ...

    with pytest.raises(InputError, match="number"):
        step.task("no number")  # type: ignore[arg-type]


def test_the_async_client_has_batches_too(database: str) -> None:
    with Session(database) as session:
        session.create_queue("q")

    async def use() -> None:
        async with AsyncClient(database) as client:
            batch = await client.enqueue_batch([new()], on_success=new(), name="b")
            await client.extend_batch(batch, [new()])
            assert await client.cancel_batch(batch) == 2
            now = await client.batch(batch)
            assert now is not None
            assert now.cancelled == 2
            assert await client.batches() == [now]

    asyncio.run(use())
