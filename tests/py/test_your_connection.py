"""Enqueueing on the caller's connection: of any cursor, rows and mode; and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import rows

from tests.py.support import Session
from underway_pg import App, ConfigurationError, NewTask, Options, Queue, QueueNotFound
from underway_pg.client import execute, execute_async
from underway_pg.statements import enqueue, stats, task_infos, why


@pytest.fixture
def app(database: str) -> App:
    app = App(database)
    app.client.create_queue(Queue(name="q"))
    app.close()
    return app


STATEMENT = enqueue("q", {"n": 1}, None, Options())

FACTORIES = [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor]
ASYNC_FACTORIES = [psycopg.AsyncCursor, psycopg.AsyncClientCursor, psycopg.AsyncRawCursor]


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_cursor_factory_of_a_connection_does_not_matter(app: App, database: str, factory: Any) -> None:
    with psycopg.connect(database, cursor_factory=factory, row_factory=rows.dict_row) as connection:
        task = execute(connection, STATEMENT)
        (info,) = execute(connection, task_infos([task]))
        assert (info.state, info.input) == ("pending", {"n": 1})
        assert execute(connection, why(task))
    assert app.task(task) is not None
    app.close()


@pytest.mark.parametrize("factory", ASYNC_FACTORIES)
def test_the_cursor_factory_of_an_async_connection_does_not_matter(app: App, database: str, factory: Any) -> None:
    async def main() -> int:
        async with await psycopg.AsyncConnection.connect(
            database, cursor_factory=factory, row_factory=rows.scalar_row
        ) as connection:
            return await execute_async(connection, STATEMENT)

    assert app.task(asyncio.run(main())) is not None
    app.close()


def test_a_task_is_enqueued_in_pipeline_mode(app: App, database: str) -> None:
    with psycopg.connect(database) as connection, connection.pipeline():
        connection.execute("create table customer (id int)")
        task = execute(connection, STATEMENT)
        connection.execute("insert into customer values (%s)", [task])

    async def main() -> int:
        async with await psycopg.AsyncConnection.connect(database) as connection, connection.pipeline():
            await connection.execute("insert into customer values (1)")
            return await execute_async(connection, STATEMENT)

    other = asyncio.run(main())
    assert app.task(task) is not None
    assert app.task(other) is not None
    app.close()


def test_a_refusal_in_pipeline_mode_has_its_own_error(app: App, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection, connection.pipeline() as pipeline:
        with pytest.raises(QueueNotFound):
            execute(connection, enqueue("missing", {}, None, Options()))
        pipeline.sync()
        assert execute(connection, STATEMENT)


def test_a_server_side_cursor_that_is_open_is_not_disturbed(app: App, database: str) -> None:
    with psycopg.connect(database) as connection, connection.cursor("numbers") as cursor:
        cursor.execute("select n from generate_series(1, 3) n")
        assert cursor.fetchone() == (1,)
        execute(connection, STATEMENT)
        assert cursor.fetchall() == [(2,), (3,)]


def test_a_connection_with_loaders_of_its_own_gives_the_same_answers(app: App, database: str) -> None:
    with psycopg.connect(database) as connection:
        for name in ("int8", "jsonb", "timestamptz", "text"):
            connection.adapters.register_loader(name, psycopg.types.string.TextLoader)
        (info,) = execute(connection, task_infos([execute(connection, STATEMENT)]))
        assert (info.state, info.input, info.enqueued_at.tzinfo is not None) == ("pending", {"n": 1}, True)


def test_a_connection_of_the_other_kind_is_refused(database: str) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(database) as connection:
            with pytest.raises(ConfigurationError, match="use enqueue_async"):
                execute(connection, STATEMENT)
        with (
            psycopg.connect(database) as plain,
            pytest.raises(ConfigurationError, match="use enqueue, enqueue_many or schedule"),
        ):
            await execute_async(plain, STATEMENT)

    asyncio.run(main())


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_connection_with_another_encoding_than_utf_8_is_refused(
    app: App, database: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    with psycopg.connect(database) as connection:
        with pytest.raises(ConfigurationError, match=f"client_encoding is {encoding}"):
            execute(connection, STATEMENT)
        connection.execute("set client_encoding to 'UTF8'")
        assert execute(connection, STATEMENT)
    assert app.client.enqueue("q", "€")  # our own connections have the right one
    app.close()


def test_tasks_of_several_jobs_and_queues_are_enqueued_by_one_call(app: App, database: str) -> None:
    @app.job(queue="mail")
    def send(to: str) -> None: ...

    @app.job(queue="reports")
    def report(month: int) -> None: ...

    tasks = [send.task(to="a"), report.options(priority=3).task(month=1), send.options(queue="q").task(to="b")]
    handles = app.enqueue_many(tasks)
    found = [app.task(handle) for handle in handles]
    assert [(task.job, task.queue, task.priority) for task in found if task] == [
        ("send", "mail", 0),
        ("report", "reports", 3),
        ("send", "q", 0),
    ]
    with psycopg.connect(database) as connection:
        app.enqueue_many(tasks, connection=connection)
        connection.rollback()
    assert app.client.stats()["ready"] == 3
    with pytest.raises(QueueNotFound):
        app.enqueue_many([*tasks, NewTask(queue="missing")])
    assert app.client.stats()["ready"] == 3

    async def main() -> list[Any]:
        async with app:
            return [handle.id for handle in await app.enqueue_many_async(tasks)]

    assert len(asyncio.run(main())) == 3


def test_a_call_on_a_given_connection_opens_no_other_one(database: str) -> None:
    with App(database).client as client:
        client.create_queue(Queue(name="q"))
    app = App(lambda: pytest.fail("a connection is opened"))
    with psycopg.connect(database) as connection, Session(database):
        assert app.enqueue_many([NewTask(queue="q")], connection=connection)
        assert app.client.enqueue("q", {}, connection=connection)
        assert execute(connection, stats())
