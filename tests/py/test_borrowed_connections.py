"""Enqueueing in the transactions of other libraries: each kind of connection and session, with the real library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import django
import django.db
import psycopg
import psycopg2
import psycopg2.extensions
import pytest
import sqlalchemy
import sqlmodel
from django.conf import settings
from django.db import transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_async
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession

from underway_pg import App, AsyncClient, MissingPrivilege, Queue, QueueNotFound, RetryPolicy

if not settings.configured:
    settings.configure(USE_TZ=True)
    django.setup()

# The alias of the test's database, whatever settings Django has in this process.
ALIAS = "shop"


def nothing() -> None:
    pass


@dataclass
class Kind:
    """An open connection of one kind: what is given to `using`, and how its user runs statements and transactions."""

    given: Any
    run: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]
    begin: Callable[[], Any] = nothing
    loop: asyncio.Runner | None = None  # for the kinds of async code

    def do(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        async def main() -> Any:
            answer = call(*arguments, **options)
            return await answer if hasattr(answer, "__await__") else answer

        return call(*arguments, **options) if self.loop is None else self.loop.run(main())

    def call(self, target: Any, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of a job, an application or a client in its form for this kind."""
        if self.loop is not None and not isinstance(target, AsyncClient):
            name += "_async"
        return self.do(getattr(target, name), *arguments, **options)

    def client(self, app: App) -> Any:
        return app.client if self.loop is None else self.loop.run(app.async_client())


@contextmanager
def with_psycopg(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
    with psycopg.connect(dsn) as connection:
        yield Kind(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def with_psycopg_async(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
    connection = loop.run(psycopg.AsyncConnection.connect(dsn))
    yield Kind(connection, connection.execute, connection.commit, connection.rollback, loop=loop)
    loop.run(connection.close())


@contextmanager
def with_psycopg2(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        yield Kind(connection, cursor.execute, connection.commit, connection.rollback)


def asyncpg_kind(connection: Any, loop: asyncio.Runner) -> Kind:
    def statement(sql: str) -> Callable[[], Any]:
        return lambda: connection.execute(sql)

    return Kind(connection, connection.execute, statement("commit"), statement("rollback"), statement("begin"), loop)


@contextmanager
def with_asyncpg(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
    connection = loop.run(asyncpg.connect(dsn))
    yield asyncpg_kind(connection, loop)
    loop.run(connection.close())


@contextmanager
def with_asyncpg_pool(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
    async def connect() -> Any:
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=1)
        return pool, await pool.acquire()

    pool, connection = loop.run(connect())
    yield asyncpg_kind(connection, loop)
    loop.run(pool.release(connection))
    loop.run(pool.close())


def text(call: Callable[[Any], Any]) -> Callable[[str], Any]:
    return lambda sql: call(sqlalchemy.text(sql))


def with_sqlalchemy(driver: str, make: Callable[[Any], Any]) -> Callable[[str, asyncio.Runner], Any]:
    @contextmanager
    def connect(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
        engine = sqlalchemy.create_engine(sqlalchemy_url(dsn, driver))
        with closing(make(engine)) as session:
            yield Kind(session, text(getattr(session, "exec", session.execute)), session.commit, session.rollback)
        engine.dispose()

    return connect


def with_sqlalchemy_async(driver: str, make: Callable[[Any], Any]) -> Callable[[str, asyncio.Runner], Any]:
    @contextmanager
    def connect(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
        engine = sa_async.create_async_engine(sqlalchemy_url(dsn, driver))

        async def started() -> Any:
            session = make(engine)
            return await session if isinstance(session, sa_async.AsyncConnection) else session

        session = loop.run(started())
        yield Kind(session, text(getattr(session, "exec", session.execute)), session.commit, session.rollback, loop=loop)
        loop.run(session.close())
        loop.run(engine.dispose())

    return connect


def sqlalchemy_url(dsn: str, driver: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(dsn).set(drivername=f"postgresql+{driver}")


def with_django(given: Callable[[], Any]) -> Callable[[str, asyncio.Runner], Any]:
    @contextmanager
    def connect(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
        with django_database(dsn) as connection:
            blocks: list[Any] = []

            def begin() -> None:
                blocks.append(transaction.atomic(using=ALIAS))
                blocks[-1].__enter__()

            def rollback() -> None:
                transaction.set_rollback(True, using=ALIAS)
                blocks.pop().__exit__(None, None, None)

            def run(sql: str) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(sql)

            yield Kind(given(), run, lambda: blocks.pop().__exit__(None, None, None), rollback, begin)

    return connect


@contextmanager
def django_database(dsn: str) -> Iterator[Any]:
    """Make the test's database known to Django under the alias."""
    parts = conninfo_to_dict(dsn)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    database = {name: str(parts[key]) for name, key in names.items() if parts.get(key)}
    handler = django.db.connections
    handler.settings[ALIAS] = handler.configure_settings(
        {"default": {"ENGINE": "django.db.backends.postgresql", **database}}
    )["default"]
    try:
        yield handler[ALIAS]
    finally:
        handler[ALIAS].close()
        del handler[ALIAS], handler.settings[ALIAS]


def scoped(engine: Any) -> Any:
    return orm.scoped_session(orm.sessionmaker(engine))


def async_scoped(engine: Any) -> Any:
    return sa_async.async_scoped_session(sa_async.async_sessionmaker(engine), scopefunc=nothing)


KINDS = {
    "psycopg": with_psycopg,
    "psycopg-async": with_psycopg_async,
    "psycopg2": with_psycopg2,
    "asyncpg": with_asyncpg,
    "asyncpg-pool": with_asyncpg_pool,
    "session-psycopg": with_sqlalchemy("psycopg", orm.Session),
    "session-psycopg2": with_sqlalchemy("psycopg2", orm.Session),
    "connection-psycopg": with_sqlalchemy("psycopg", lambda engine: engine.connect()),
    "connection-psycopg2": with_sqlalchemy("psycopg2", lambda engine: engine.connect()),
    "scoped-session": with_sqlalchemy("psycopg", scoped),
    "sqlmodel": with_sqlalchemy("psycopg", sqlmodel.Session),
    "async-session-psycopg": with_sqlalchemy_async("psycopg", sa_async.AsyncSession),
    "async-session-asyncpg": with_sqlalchemy_async("asyncpg", sa_async.AsyncSession),
    "async-connection-psycopg": with_sqlalchemy_async("psycopg", lambda engine: engine.connect()),
    "async-connection-asyncpg": with_sqlalchemy_async("asyncpg", lambda engine: engine.connect()),
    "async-scoped-session": with_sqlalchemy_async("asyncpg", async_scoped),
    "sqlmodel-async": with_sqlalchemy_async("asyncpg", SQLModelAsyncSession),
    "django-connection": with_django(lambda: django.db.connections[ALIAS]),
    "django-proxy": with_django(lambda: django.utils.connection.ConnectionProxy(django.db.connections, ALIAS)),
    "django-alias": with_django(lambda: ALIAS),
}

# One for each way in which statements are sent and answers are read.
DRIVERS = [
    "psycopg2",
    "asyncpg",
    "session-psycopg",
    "session-psycopg2",
    "async-session-psycopg",
    "async-session-asyncpg",
    "django-connection",
]


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database) as app:
        app.client.create_queue(Queue(name="mail"))
        yield app


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def kind(request: pytest.FixtureRequest, app: App, loop: asyncio.Runner) -> Iterator[Kind]:
    with KINDS[request.param](app.dsn, loop) as kind:
        yield kind
        if kind.loop is not None:
            kind.loop.run(app.close_async())


each_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)
each_driver = pytest.mark.parametrize("kind", DRIVERS, indirect=True)


@each_kind
def test_a_task_is_committed_and_rolled_back_with_the_transaction(app: App, kind: Kind) -> None:
    @app.job(queue="mail")
    def send(to: str) -> str:
        return to

    kind.do(kind.begin)
    task = kind.call(send.using(kind.given), "enqueue", to="ann")  # first, so that nothing else began the transaction
    assert app.task(task) is None
    kind.do(kind.run, "create table sent (address text)")
    kind.do(kind.commit)
    found = app.task(task)
    assert found is not None
    assert (found.input, found.job, found.state) == ({"to": "ann"}, "send", "pending")

    kind.do(kind.begin)
    kind.do(kind.run, "insert into sent values ('bob')")
    other = kind.call(send.using(kind.given), "enqueue", to="bob")
    kind.do(kind.rollback)
    assert app.task(other) is None

    kind.do(kind.begin)
    kind.call(send.using(kind.given), "enqueue", to="eve")
    kind.do(kind.rollback)
    assert [each.id for each in app.client.tasks()] == [task]

    app.run(drain=True)
    assert task.wait(timeout=10) == "ann"


@each_kind
def test_an_error_of_the_database_is_one_of_underway(app: App, kind: Kind) -> None:
    @app.job(queue="missing")
    def send(to: str) -> None: ...

    kind.do(kind.begin)
    with pytest.raises(QueueNotFound) as refused:
        kind.call(send.using(kind.given), "enqueue", to="ann")
    assert refused.value.message == "queue 'missing' does not exist"
    assert refused.value.hint is not None
    assert "underway.create_queue" in refused.value.hint
    kind.do(kind.rollback)

    kind.do(kind.begin)
    kind.do(kind.run, "set local role underway_observer")
    with pytest.raises(MissingPrivilege, match="underway_producer"):
        kind.call(send.using(kind.given), "enqueue", to="ann")
    kind.do(kind.rollback)

    kind.do(kind.begin)
    kind.call(send.using(kind.given).options(queue="mail"), "enqueue", to="ann")
    kind.do(kind.commit)
    assert len(app.client.tasks()) == 1


@each_driver
def test_every_call_gives_the_same_on_every_connection(app: App, kind: Kind) -> None:
    @app.job(queue="mail")
    def send(to: str, retries: int = 0) -> None: ...

    kind.do(kind.begin)
    job = send.using(kind.given)
    at = datetime(2100, 1, 2, 3, 4, 5, 678901, UTC)
    calls = [{"to": "a, \"b\" 'c' {d} \\ % %s $1 :x €", "retries": 2**40}, {"to": "b"}]
    first, second = kind.call(job, "enqueue_many", calls, unique_keys=["one", None])
    # Every option, of every type.
    options = {
        "run_at": at,
        "priority": -7,
        "retry": RetryPolicy(max_attempts=7, initial_interval=0.5),
        "timeout": 90.25,
        "heartbeat": timedelta(minutes=1),
        "retention": timedelta(days=400, microseconds=1),
        "headers": {"trace": "x'y"},
        "concurrency_key": "k",
        "after": [first, second],
        "after_failure": "run",
    }
    optional = kind.call(job.options(**options), "enqueue", to="c")
    unique = kind.call(job, "enqueue_unique", [{"to": "d"}, {"to": "e"}], ["one", "two"])
    assert [(each.id == first, each.created) for each in unique] == [(True, False), (False, True)]
    several = kind.call(
        app, "enqueue_many", [send.task(to="f"), send.options(delay=60).task(to="g")], connection=kind.given
    )
    next_time = kind.call(job, "schedule", "0 9 * * *", time_zone="Asia/Tokyo", jitter=1.5, starts_at=at)
    assert next_time == datetime(2100, 1, 3, 0, 0, tzinfo=UTC)

    client, given = kind.client(app), {"connection": kind.given}
    batch = kind.do(
        client.enqueue_batch, [send.task(to="h")], on_final=send.task(to="i"), name="b", retention=60, **given
    )
    kind.do(client.extend_batch, batch, [send.task(to="j")], **given)
    assert kind.do(client.cancel_batch, batch, **given) == 2
    kind.do(client.create_queue, Queue(name="new", timeout=5, max_running=3, fair=True), **given)
    assert kind.do(client.reschedule, several[1], at, **given) == at
    kind.do(client.reprioritize, first, 3, **given)
    assert kind.do(client.cancel, second, **given) is True
    kind.do(client.retry, second, **given)
    assert kind.do(client.pause_key, "mail", "k", **given) is True
    assert kind.do(client.resume_key, "mail", "k", **given) is True
    assert kind.do(client.pause_queue, "mail", **given) is True
    assert kind.do(client.run_schedule_now, "send", **given) > second
    assert kind.do(client.pause_schedule, "send", **given) is True
    kind.do(client.configure, max_input_size="4 MB", **given)
    assert kind.do(client.redrive, "mail", **given) == 0
    assert kind.do(client.stop_workers, queue="mail", **given) == 0

    def answers(client: Any, **given: Any) -> list[Any]:
        return [
            kind.do(client.task, optional, **given),
            kind.do(client.task, first, **given),
            kind.do(client.task, 2**40, **given),
            kind.do(client.why, optional, **given),
            kind.do(client.tasks, **given),
            kind.do(client.tasks, queue="mail", state="pending", limit=2, **given),
            kind.do(client.queues, **given),
            kind.do(client.schedules, **given),
            kind.do(client.batch, batch, **given),
            kind.do(client.batches, **given),
            kind.do(client.workers, **given),
            kind.do(client.stats, **given),
            kind.do(client.cron_preview, "@daily", "Europe/Berlin", after=at, count=2, **given),
        ]

    within = answers(client, **given)
    kind.do(kind.commit)
    assert within == answers(client)
    assert within[0].ready_at == at
    assert within[0].headers == {"trace": "x'y"}
    assert within[1].input == calls[0]
