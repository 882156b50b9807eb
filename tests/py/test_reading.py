"""Calls that only read change nothing, and run where nothing can be changed."""

import asyncio
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

import underway_pg as underway
from underway_pg import App, DatabaseUnavailable, NewTask, Queue, Schedule


@pytest.fixture
def app(database: str) -> Any:
    with App(database, queues=[Queue(name="declared")]) as app:

        @app.job(queue="named")
        def work() -> int:
            return 1

        yield app


def test_reading_creates_queues(app: App) -> None:
    async def read() -> list[Any]:
        client = await app.async_client()
        return [await app.task_async(1), await client.queues(), await app.unschedule_async("none")]

    assert [app.task(1), app.client.queues(), app.unschedule("none")] == [None, [], False]
    assert asyncio.run(read()) == [None, [], False]


def test_a_session_that_cannot_write_cannot_read(app: App) -> None:
    app.sync()
    id = app.jobs["work"].enqueue()
    app.run(drain=True)
    with App(make_conninfo(app.dsn, options="-c default_transaction_read_only=on")) as reader:
        job = reader.job(queue="other", name="work")(lambda: 1)
        task = reader.task(id)
        assert task is not None
        assert task.output == 1
        assert {queue.queue for queue in reader.client.queues()} == {"declared", "named"}
        with pytest.raises(DatabaseUnavailable, match="takes no writes"):
            job.enqueue()


def test_a_queue_is_missing_when_it_is_first_used(app: App) -> None:
    async def enqueue_async(app: App) -> None:
        await app.jobs["work"].enqueue_async()

    async def client_async(app: App) -> None:
        await (await app.async_client()).enqueue("declared", {})

    new = NewTask(queue="named", input={})
    uses = [
        lambda app: app.jobs["work"].enqueue(),
        lambda app: app.jobs["work"].enqueue_many([{}]),
        lambda app: app.jobs["work"].enqueue_unique([{}], ["a"]),
        lambda app: app.jobs["work"].schedule("@daily"),
        lambda app: app.enqueue_many([new]),
        lambda app: app.client.enqueue("declared", {}),
        lambda app: app.client.enqueue_batch([new]),
        lambda app: app.client.schedule(Schedule(name="s", queue="named", cron="@daily")),
        lambda app: app.client.within(5).enqueue_tasks([new]),
        lambda app: app.sync(),
        lambda app: app.worker(),
        lambda app: asyncio.run(enqueue_async(app)),
        lambda app: asyncio.run(client_async(app)),
    ]
    for number, use in enumerate(uses):
        with underway.App(app.dsn, queues=[Queue(name="declared")]) as other:
            other.job(queue="named", name="work")(lambda: 1)
            use(other)
            assert {queue.queue for queue in other.client.queues()} == {"declared", "named"}, number
            for queue in ("declared", "named"):
                other.unschedule("s")
                other.unschedule("work")
                other.client.drop_queue(queue, force=True)
