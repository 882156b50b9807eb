"""Enqueueing in the transactions of other libraries: each kind of connection and session, with the real library."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import django
import django.db
import psycopg
import psycopg2
import psycopg2.extras
import psycopg2.pool
import psycopg_pool
import pytest
import sqlalchemy
import sqlmodel
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.test import override_settings
from django.utils.connection import ConnectionProxy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_async
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession

from tests import forks
from underway_pg import (
    App,
    AsyncClient,
    ConfigurationError,
    Job,
    MissingPrivilege,
    Queue,
    QueueNotFound,
    QueueStats,
    RetryPolicy,
    UniqueConflict,
    UnsupportedConnection,
)

if not settings.configured:
    settings.configure(USE_TZ=True)
    django.setup()

# The alias of the test's database, whatever settings Django has in this process.
ALIAS = "shop"


def nothing() -> None:
    pass


def uncounted(queues: list[QueueStats]) -> list[QueueStats]:
    """Without the time when their tasks were counted, which is that of the call."""
    return [replace(queue, counted_at=None) for queue in queues]


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
        yield Kind(
            session, text(getattr(session, "exec", session.execute)), session.commit, session.rollback, loop=loop
        )
        loop.run(session.close())
        loop.run(engine.dispose())

    return connect


def sqlalchemy_url(dsn: str, driver: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(dsn).set(drivername=f"postgresql+{driver}")


def with_django(given: Callable[[], Any], **options: Any) -> Callable[[str, asyncio.Runner], Any]:
    @contextmanager
    def connect(dsn: str, loop: asyncio.Runner) -> Iterator[Kind]:
        with django_database(dsn, **options) as connection:
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
def django_database(dsn: str, **options: Any) -> Iterator[Any]:
    """Make the test's database known to Django under the alias."""
    parts = conninfo_to_dict(dsn)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    database = {name: str(parts[key]) for name, key in names.items() if parts.get(key)}
    handler = django.db.connections
    handler.settings[ALIAS] = handler.configure_settings(
        {"default": {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, **database}}
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


def proxy() -> Any:
    """What `django.db.connection` is, for the alias."""
    return ConnectionProxy(django.db.connections, ALIAS)


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
    "django-proxy": with_django(proxy),
    "django-alias": with_django(lambda: ALIAS),
    "django-server-side-binding": with_django(lambda: ALIAS, server_side_binding=True),
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
    "django-server-side-binding",
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
    next_time = kind.call(
        job, "schedule", "0 9 * * *", arguments={"to": "t"}, time_zone="Asia/Tokyo", jitter=1.5, starts_at=at
    )
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
            uncounted(kind.do(client.queues, **given)),
            kind.do(client.schedules, **given),
            kind.do(client.batch, batch, **given),
            kind.do(client.batch, 2**40, **given),
            kind.do(client.batches, **given),
            kind.do(client.workers, **given),
            kind.do(client.stats, **given)["scheduled"],
            kind.do(client.cron_preview, "@daily", "Europe/Berlin", after=at, count=2, **given),
        ]

    within = answers(client, **given)
    kind.do(kind.commit)
    assert within == answers(client)
    assert within[0].ready_at == at
    assert within[0].headers == {"trace": "x'y"}
    assert within[1].input == calls[0]


# Libraries in other modes


def send_mail(app: App) -> Job[..., Any]:
    @app.job(queue="mail")
    def send(to: str) -> None: ...

    return send


def test_a_savepoint_of_sqlalchemy_rolls_back_its_tasks_only(app: App) -> None:
    send = send_mail(app)
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"))
    with orm.Session(engine) as session, session.begin():
        kept = send.using(session).enqueue(to="ann")
        with session.begin_nested() as savepoint:
            send.using(session).enqueue(to="bob")
            savepoint.rollback()
        unique = send.using(session).options(unique_key="k").enqueue(to="cat")
        with pytest.raises(UniqueConflict), session.begin_nested():
            send.using(session).options(unique_key="k", on_conflict="error").enqueue(to="dan")
        last = send.using(session).enqueue(to="eve")
    engine.dispose()
    assert [task.id for task in app.client.tasks()] == [last, unique, kept]


def test_an_autocommit_connection_of_sqlalchemy_commits_each_task(app: App) -> None:
    send = send_mail(app)
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect().execution_options(yield_per=10) as connection:  # which streams results
        task = send.using(connection).enqueue(to="ann")
        assert app.task(task) is not None
        connection.rollback()
    engine.dispose()
    assert app.task(task) is not None


class Base(orm.DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


def test_an_enqueue_does_not_flush_the_session(app: App) -> None:
    send = send_mail(app)
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"))
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(customer := Customer())
        send.using(session).enqueue(to="before")
        assert customer.id is None
        session.flush()
        send.using(session).enqueue(to=str(customer.id))
        session.commit()
        assert session.scalars(sqlalchemy.select(Customer.id)).all() == [1]
    engine.dispose()
    assert len(app.client.tasks()) == 2


def test_a_session_with_several_engines_needs_one_of_its_connections(app: App) -> None:
    send = send_mail(app)
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"))
    with orm.Session(binds={Customer: engine}) as session:
        with pytest.raises(ConfigurationError, match=r"session\.connection\(bind_arguments="):
            send.using(session).enqueue(to="ann")
        send.using(session.connection(bind_arguments={"mapper": Customer})).enqueue(to="ann")
        session.commit()
    engine.dispose()
    assert len(app.client.tasks()) == 1


def test_a_session_of_another_database_or_driver_is_refused(app: App) -> None:
    send = send_mail(app)
    session = orm.Session(sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.NullPool))
    with session, pytest.raises(UnsupportedConnection, match="sqlite with the driver pysqlite; supported are"):
        send.using(session).enqueue(to="ann")


def test_sqlalchemy_shows_the_statement_to_its_events(app: App) -> None:
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"))
    seen: list[str] = []

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def record(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with orm.Session(engine) as session:
        send_mail(app).using(session).enqueue(to="ann")
    engine.dispose()
    assert seen[-1].startswith("select underway.enqueue(")


def test_an_asyncpg_connection_with_codecs_of_its_own_and_without_prepared_statements(app: App) -> None:
    async def main() -> int:
        connection = await asyncpg.connect(app.dsn, statement_cache_size=0)
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        await connection.set_type_codec("timestamptz", encoder=str, decoder=str, schema="pg_catalog", format="text")
        task: int = await send_mail(app).using(connection).options(delay=60).enqueue_async(to="ann")
        await connection.close()
        return task

    task = app.task(asyncio.run(main()))
    assert task is not None
    assert task.input == {"to": "ann"}
    assert task.ready_at is not None
    assert task.ready_at - task.enqueued_at == timedelta(minutes=1)


def test_the_cursor_factory_of_a_psycopg2_connection_does_not_matter(app: App) -> None:
    factory = psycopg2.extras.RealDictCursor
    with closing(psycopg2.connect(app.dsn, cursor_factory=factory)) as connection, connection:
        task = send_mail(app).using(connection).enqueue(to="ann")
    assert app.task(task) is not None


# Django


def test_the_style_of_intervals_does_not_matter(app: App) -> None:
    app.sync()
    with closing(psycopg2.connect(app.dsn, options="-c IntervalStyle=iso_8601")) as connection:
        assert uncounted(app.client.queues(connection=connection)) == uncounted(app.client.queues())
        assert app.client.jobs(connection=connection) == app.client.jobs()


@pytest.fixture
def shop(app: App) -> Iterator[Any]:
    with django_database(app.dsn) as connection:
        yield connection


def test_an_inner_block_of_django_rolls_back_its_tasks_only(app: App, shop: Any) -> None:
    send = send_mail(app)
    with transaction.atomic(using=ALIAS):
        kept = send.using(shop).enqueue(to="ann")
        with pytest.raises(QueueNotFound), transaction.atomic(using=ALIAS):
            app.enqueue_many([send.task(to="bob"), send.options(queue="missing").task(to="bob")], connection=shop)
        last = send.using(shop).enqueue(to="eve")
    assert [task.id for task in app.client.tasks()] == [last, kept]


def test_django_knows_that_an_error_has_broken_the_transaction(app: App, shop: Any) -> None:
    send = send_mail(app)
    with transaction.atomic(using=ALIAS):
        send.using(shop).enqueue(to="ann")
        with pytest.raises(QueueNotFound):
            send.using(shop).options(queue="missing").enqueue(to="bob")
        assert shop.needs_rollback
        with pytest.raises(transaction.TransactionManagementError, match="until the end of the 'atomic' block"):
            send.using(shop).enqueue(to="eve")
    assert app.client.tasks() == []
    send.using(shop).enqueue(to="eve")  # committed at once
    assert len(app.client.tasks()) == 1


def test_django_connects_again_and_shows_the_statement_to_its_wrappers(app: App, shop: Any) -> None:
    shop.close()
    seen: list[str] = []

    def record(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, parameters, many, context)

    with shop.execute_wrapper(record):
        send_mail(app).using(ALIAS).enqueue(to="ann")
    assert [sql.startswith("select underway.enqueue(") for sql in seen] == [True]


def test_async_code_uses_the_connection_of_djangos_own_thread(app: App, shop: Any) -> None:
    send = send_mail(app)

    async def main() -> list[int]:
        tasks = [await send.using(given).enqueue_async(to="ann") for given in (shop, proxy(), ALIAS)]

        def within_atomic() -> int:
            with transaction.atomic(using=ALIAS):
                task = send.using(ALIAS).enqueue(to="bob")
                transaction.set_rollback(True, using=ALIAS)
            django.db.connections[ALIAS].close()
            return task

        rolled_back = await sync_to_async(within_atomic)()
        async with app:
            assert await app.task_async(rolled_back) is None
        return tasks

    assert asyncio.run(main()) == sorted(task.id for task in app.client.tasks())


def test_times_have_a_zone_where_django_uses_none(app: App, database: str) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"), django_database(database):
        at = datetime(2100, 1, 2, 3, 4, 5, 678901, UTC)
        task = send_mail(app).using(ALIAS).options(run_at=at).enqueue(to="ann")
        found = app.client.task(task, connection=ALIAS)
        assert found is not None
        assert found.ready_at == at


def test_a_database_of_django_that_is_not_postgresql_is_refused(app: App) -> None:
    handler = django.db.connections
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    handler.settings[ALIAS] = handler.configure_settings({"default": database})["default"]
    with pytest.raises(UnsupportedConnection, match="the database 'shop' of Django is one of SQLite; supported are"):
        send_mail(app).using(ALIAS).enqueue(to="ann")
    del handler[ALIAS], handler.settings[ALIAS]


# What is refused


class Other:
    """Not a connection."""


def test_an_object_that_is_no_connection_is_refused_with_what_to_give_instead(
    app: App, shop: Any, loop: asyncio.Runner
) -> None:
    send = send_mail(app)
    engine = sqlalchemy.create_engine(sqlalchemy_url(app.dsn, "psycopg"))
    async_engine = sa_async.create_async_engine(sqlalchemy_url(app.dsn, "asyncpg"))
    of_pool = "give a connection of the pool, not the pool, because"
    supported = "supported are connections of psycopg, psycopg2 and asyncpg, sessions and connections of SQLAlchemy"
    for given, message in [
        (
            engine,
            r"sqlalchemy\.engine\.base\.Engine is not .+: give a session or a connection, not the engine, because",
        ),
        (async_engine, "AsyncEngine is not a supported connection: give a session or a connection, not the engine"),
        (orm.sessionmaker(engine), "give a session that it makes, not the sessionmaker, because"),
        (sa_async.async_sessionmaker(async_engine), "give a session that it makes, not the sessionmaker, because"),
        (psycopg_pool.ConnectionPool(app.dsn, open=False), of_pool),
        (psycopg_pool.AsyncConnectionPool(app.dsn, open=False), of_pool),
        (psycopg2.pool.SimpleConnectionPool(0, 1), of_pool),
        (asyncpg.create_pool(app.dsn, loop=loop.get_loop()), of_pool),
        (django.db.connections, r"give one of the connections, such as connections\['default'\]"),
        ("shopp", "'shopp' is no database alias of Django; supported"),
        (Other(), r"test_borrowed_connections\.Other is not a supported connection; supported are"),
        (psycopg.Connection, "type is not a supported connection; supported"),
        (None, "NoneType is not a supported connection; supported"),
    ]:
        with pytest.raises(TypeError, match=message) as refused:
            send.using(given)
        assert isinstance(refused.value, (UnsupportedConnection, ConfigurationError))
        assert supported in str(refused.value)
    with pytest.raises(UnsupportedConnection, match="Other is not"):
        app.client.stats(connection=Other())


each_kind_of_one_form = pytest.mark.parametrize(
    "kind", ["psycopg2", "asyncpg", "session-psycopg", "async-session-asyncpg"], indirect=True
)


@each_kind_of_one_form
def test_a_call_of_the_other_form_is_refused(app: App, kind: Kind) -> None:
    send = send_mail(app)

    async def call_async() -> None:
        await send.using(kind.given).enqueue_async(to="ann")

    if kind.loop is None:
        with pytest.raises(ConfigurationError, match="plain code, the call is async: use enqueue, enqueue_many or"):
            asyncio.run(call_async())
    else:
        with pytest.raises(ConfigurationError, match="async code, the call is not async: use enqueue_async"):
            send.using(kind.given).enqueue(to="ann")


def test_no_library_is_imported_that_the_caller_does_not_use() -> None:
    program = """import sys, underway_pg, underway_pg.alembic
print({"sqlalchemy", "asyncpg", "psycopg2", "django"} & set(sys.modules))"""
    run = forks.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "set()\n"
