"""An application with several databases: where its tasks go, where an id is looked up, and what needs a name."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

import underway_pg as underway
from tests.py.support import AWAY, beside
from underway_pg import App, ConfigurationError, testing
from underway_pg.embedded import EmbeddedPostgres
from underway_pg.errors import DatabaseUnavailable, ShardsUnavailable, UnknownShard, WaitTimeout
from underway_pg.settings import NewTask

Databases = Callable[[int], str]


@pytest.fixture
def dsns(databases: Databases) -> dict[str, str]:
    return {"eu": databases(0), "us": databases(1)}


@pytest.fixture
def app(dsns: dict[str, str]) -> Iterator[App]:
    with App(dsns=dsns) as app:
        declare(app)
        yield app


def declare(app: App) -> None:
    @app.job
    def greet(name: str) -> str:
        return f"hello {name}"


def inputs(app: App) -> dict[str, list[Any]]:
    """The inputs of the tasks in each database."""
    found: dict[str, list[Any]] = {}
    for name in app.shards:
        client = app.shard(name).client
        tasks = [client.task(task.id) for task in reversed(client.tasks())]
        found[name] = [task.input for task in tasks if task is not None]
    return found


NAMES = {"eu": [{"name": "Ada"}], "us": [{"name": "Bob"}]}


def test_a_task_goes_to_the_database_that_on_shard_names(app: App) -> None:
    greet = app.jobs["greet"]

    ada = greet.on_shard("eu").enqueue(name="Ada")
    bob = greet.options(priority=5).on_shard("us").enqueue(name="Bob")

    assert inputs(app) == NAMES
    assert (ada >> 44, bob >> 44) == (0, 1)
    task = app.task(bob)
    assert task is not None
    assert task.priority == 5


def test_async_code_goes_to_the_database_that_on_shard_names(app: App) -> None:
    async def main() -> None:
        greet = app.jobs["greet"]
        await asyncio.gather(
            greet.on_shard("eu").enqueue_async(name="Ada"), greet.on_shard("us").enqueue_async(name="Bob")
        )

    asyncio.run(main())

    assert inputs(app) == NAMES


def test_a_task_goes_where_the_function_of_the_application_says(dsns: dict[str, str]) -> None:
    calls: list[Any] = []

    def shard_of(job: str | None, input: Any) -> str:
        calls.append((job, input))
        return "us" if input["name"] == "Bob" else "eu"

    with App(dsns=dsns, shard_of=shard_of) as app:
        declare(app)
        greet = app.jobs["greet"]
        greet.enqueue("Ada")
        greet.enqueue_many([{"name": "Bob"}])

        assert calls == [("greet", {"name": "Ada"}), ("greet", {"name": "Bob"})]
        assert inputs(app) == NAMES


def test_a_connection_comes_before_a_name_and_a_name_before_the_function(dsns: dict[str, str]) -> None:
    with App(dsns=dsns, shard_of=lambda job, input: "eu") as app:
        declare(app)
        app.shard("us").sync()
        greet = app.jobs["greet"]
        with closing(psycopg.connect(dsns["us"])) as connection:
            greet.on_shard("eu").using(connection).enqueue(name="connection")
            connection.commit()
            greet.using(connection).enqueue(name="rolled back")
            connection.rollback()
        greet.on_shard("us").enqueue(name="name")
        greet.enqueue(name="function")

        assert inputs(app) == {"eu": [{"name": "function"}], "us": [{"name": "connection"}, {"name": "name"}]}


def test_a_job_may_have_its_database(app: App) -> None:
    @app.job(shard="us")
    def report() -> None: ...

    assert report.enqueue() >> 44 == 1
    assert report.on_shard("eu").enqueue() >> 44 == 0


def test_an_enqueue_that_does_not_say_where_names_the_three_ways(app: App) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        app.jobs["greet"].enqueue(name="Ada")

    assert str(refusal.value) == (
        "job greet: the application has several databases (eu, us). Say where the task belongs: by"
        " on_shard('eu').enqueue(...), by using(connection), or by a function, App(shard_of=...)"
    )
    assert inputs(app) == {"eu": [], "us": []}


@pytest.mark.parametrize("name", ["asia", "", None, 3])
def test_a_database_that_does_not_exist_is_named(dsns: dict[str, str], name: Any) -> None:
    with App(dsns=dsns, shard_of=lambda job, input: name) as app:
        declare(app)
        message = re.escape(f"job greet: the shard is {name!r}, and the databases of the application are eu, us")
        with pytest.raises(ConfigurationError, match=message):
            app.jobs["greet"].enqueue(name="Ada")


def test_tasks_of_several_databases_in_one_call_are_refused(dsns: dict[str, str]) -> None:
    with App(dsns=dsns, shard_of=lambda job, input: "us" if input["name"] == "Bob" else "eu") as app:
        declare(app)
        greet = app.jobs["greet"]
        calls: list[Callable[[], Any]] = [
            lambda: greet.enqueue_many([{"name": "Ada"}, {"name": "Bob"}]),
            lambda: greet.enqueue_unique([{"name": "Ada"}, {"name": "Bob"}], ["a", "b"]),
            lambda: app.enqueue_many([greet.task("Ada"), greet.task("Bob")]),
            lambda: app.enqueue_many([greet.task("Ada"), greet.on_shard("us").task("Ada")]),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError, match=r"several databases \(eu, us\), .*; make a call for each"):
                call()
        assert inputs(app) == {"eu": [], "us": []}

        app.enqueue_many([greet.task("Ada"), greet.task("Ada")])
        app.enqueue_many([])
        assert inputs(app) == {"eu": [{"name": "Ada"}, {"name": "Ada"}], "us": []}


def test_a_task_without_a_job_is_named_by_its_queue(app: App) -> None:
    with pytest.raises(ConfigurationError, match="queue mail: the application has several databases"):
        app.enqueue_many([NewTask(queue="mail")])


def test_an_id_is_looked_up_in_its_database(app: App) -> None:
    ids = [app.jobs["greet"].on_shard(name).enqueue(name=name) for name in ("eu", "us")]

    for id, name in zip(ids, ("eu", "us"), strict=True):
        task = app.task(id)
        assert task is not None
        assert task.input == {"name": name}
    assert app.cancel(ids[1])
    assert [app.task(id).state for id in ids] == ["pending", "cancelled"]  # type: ignore[union-attr]
    assert app.task(4711) is None
    with pytest.raises(UnknownShard, match=r"shard 2, .*: eu \(0\), us \(1\)"):
        app.task(2 << 44)


def test_async_code_looks_an_id_up_in_its_database(app: App) -> None:
    async def main() -> None:
        id = await app.jobs["greet"].on_shard("us").enqueue_async(name="Bob")
        task = await app.task_async(id)
        assert task is not None
        assert task.input == {"name": "Bob"}
        assert await app.cancel_async(id)
        assert not await app.cancel_async(id)

    asyncio.run(main())


def test_results_of_several_databases_are_waited_for(app: App) -> None:
    greet = app.jobs["greet"]
    handles = [greet.on_shard(name).enqueue(name=name) for name in ("us", "eu", "us")]

    with beside(app.worker(shard="eu"), app.shard("us").worker()):
        assert [handle.wait(30) for handle in handles] == ["hello us", "hello eu", "hello us"]
        assert app.wait_for(handles[0], timeout=30) == "hello us"
        assert asyncio.run(handles[1].result(30)) == "hello eu"

    for final in (app.wait_for_many(handles), asyncio.run(app.wait_for_many_async(handles))):
        assert list(final) == handles
        assert {task.state for task in final.values()} == {"succeeded"}


def test_waiting_for_tasks_of_several_databases_ends_with_the_timeout(app: App) -> None:
    greet = app.jobs["greet"]
    handles = [greet.on_shard(name).enqueue(name=name) for name in ("us", "eu")]

    with pytest.raises(WaitTimeout):
        app.wait_for_many(handles, timeout=0.2)
    with pytest.raises(WaitTimeout):
        asyncio.run(app.wait_for_many_async(handles, timeout=0.2))


def test_a_database_that_is_away_fails_what_concerns_it_only(databases: Databases) -> None:
    with EmbeddedPostgres() as server, App(dsns={"eu": databases(0), "us": server.dsn}) as app:
        declare(app)
        app.shard("us").migrate(shard=1)
        greet = app.jobs["greet"]
        ids = {name: greet.on_shard(name).enqueue(name=name) for name in ("us", "eu")}
        assert app.task(ids["us"]) is not None
        app.cancel(ids["eu"])
        server.stop()

        with pytest.raises(DatabaseUnavailable):
            greet.on_shard("us").enqueue(name="Bob")
        assert greet.on_shard("eu").enqueue(name="Ada") >> 44 == 0
        with pytest.raises(DatabaseUnavailable):
            app.task(ids["us"])
        assert app.cancel(ids["eu"]) is False
        for wait in (app.wait_for_many, lambda tasks: asyncio.run(app.wait_for_many_async(tasks))):
            with pytest.raises(ShardsUnavailable, match=r"database us: .*cannot be reached") as refusal:
                wait(ids.values())
            assert list(refusal.value.unreachable) == ["us"]
            assert {id: task.state for id, task in refusal.value.final.items()} == {ids["eu"]: "cancelled"}


def test_a_database_that_was_never_reached_does_not_hinder_the_others(databases: Databases) -> None:
    with App(dsns={"away": AWAY, "eu": databases(3)}) as app:
        declare(app)
        ada = app.jobs["greet"].on_shard("eu").enqueue(name="Ada")
        app.cancel(ada)

        with pytest.raises(ShardsUnavailable, match=r"of task 7: .*perhaps away") as refusal:
            app.wait_for_many([7, ada])
        assert list(refusal.value.final) == [ada]


def test_what_is_done_in_one_database_asks_for_its_name(app: App) -> None:
    async def client(app: App) -> None:
        await app.async_client()

    calls: list[Callable[[App], Any]] = [
        lambda app: app.client, lambda app: asyncio.run(client(app)), lambda app: app.dsn, App.migrate, App.sync,
        App.worker, App.run, lambda app: app.unschedule("nightly"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"\(eu, us\): say which, as in app.shard\('eu'\).client"):
            call(app)


def test_shard_gives_the_application_with_one_database(app: App, dsns: dict[str, str]) -> None:
    us = app.shard("us")

    assert us.dsn == dsns["us"]
    assert us.client.run(underway.statements.shard()) == 1
    assert us.jobs == app.jobs
    assert not us.migrate()
    assert us.sync().queues.created == ["default"]
    assert [queue.queue for queue in app.shard("eu").client.queues()] == []
    with pytest.raises(ConfigurationError, match="no database 'asia': the application has the databases eu, us"):
        app.shard("asia")
    with pytest.raises(ConfigurationError, match="no database 'eu': the application has one database"):
        us.shard("eu")
    with pytest.raises(ConfigurationError, match="no database 'eu': the application has one database"):
        App("postgresql://localhost").shard("eu")


def test_migrate_gives_the_numbers(server: Any) -> None:
    with server.new_database() as eu, server.new_database() as us, App(dsns={"eu": eu, "us": us}) as app:
        for number, name in enumerate(app.shards):
            app.shard(name).migrate(shard=number)
        declare(app)

        assert [app.jobs["greet"].on_shard(name).enqueue(name="Ada") >> 44 for name in app.shards] == [0, 1]


def test_schedules_are_written_to_the_home_unless_they_say_another_database(dsns: dict[str, str]) -> None:
    def names(app: App) -> dict[str, list[str]]:
        for name in app.shards:
            app.shard(name).sync()
        return {name: sorted(s.schedule for s in app.shard(name).client.schedules()) for name in app.shards}

    with App(dsns=dsns, home="us") as app:

        @app.schedule("@daily", name="at home")
        @app.schedule("@daily", name="eu", shard="eu")
        @app.schedule("@daily", name="everywhere", shard="every")
        @app.job
        def nightly() -> None: ...

        @app.schedule("@daily", name="where its job is")
        @app.job(shard="eu")
        def report() -> None: ...

        assert names(app) == {"eu": ["eu", "everywhere", "where its job is"], "us": ["at home", "everywhere"]}

        nightly.schedule("@weekly", name="weekly")
        nightly.on_shard("eu").schedule("@weekly", name="weekly eu")
        nightly.schedule("@weekly", name="weekly eu too", shard="eu")

        assert names(app) == {
            "eu": ["eu", "everywhere", "weekly eu", "weekly eu too", "where its job is"],
            "us": ["at home", "everywhere", "weekly"],
        }


def test_a_schedule_of_an_unknown_database_is_refused_with_its_line(app: App) -> None:
    @app.schedule("@daily", shard="asia")
    @app.job
    def nightly() -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"test_sharded_app.py:\d+: shard is 'asia'; give 'eu', 'us' or 'every'"
    ):
        app.shard("eu").sync()
    with pytest.raises(ConfigurationError, match="the shard is 'every', and the databases of the application are"):
        nightly.schedule("@daily", shard="every")


def test_the_environment_of_a_test_replaces_all_databases(app: App, database: str) -> None:
    greet = app.jobs["greet"]
    with testing.bind(app, dsn=database):
        greet.on_shard("us").enqueue(name="Bob")
        greet.enqueue(name="Ada")
        app.enqueue_many([greet.on_shard("us").task("a"), greet.on_shard("eu").task("b")])
        testing.run_pending()
        assert app.client.count_tasks({"state": "succeeded"}).count == 4
        assert app.shard("us").dsn == database

    assert inputs(app) == {"eu": [], "us": []}


def test_a_dsn_may_be_a_function(dsns: dict[str, str]) -> None:
    asked = threading.Event()

    def us() -> str:
        asked.set()
        return dsns["us"]

    with App(dsns={"eu": dsns["eu"], "us": us}) as app:
        declare(app)
        assert not asked.is_set()
        assert app.cancel(app.jobs["greet"].on_shard("us").enqueue(name="Bob"))
        assert asked.is_set()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dsns": {"eu": "x"}, "dsn": "y"}, "has dsns, and a dsn or a pool for one database"),
        ({"dsns": {"eu": "x"}, "embedded": True}, "has a database and embedded=True"),
        ({"dsns": {}}, r"dsns has the names \[\]"),
        ({"dsns": {"every": "x"}}, r"dsns has the names \['every'\]"),
        ({"dsns": {"": "x"}}, r"dsns has the names \[''\]"),
        ({"dsns": {1: "x"}}, r"dsns has the names \[1\]"),
        ({"dsns": ["x", "y"]}, r"dsns is \['x', 'y'\]; give the databases by name"),
        ({"dsns": {"eu": 5}}, "the dsn of eu is 5; give a URI"),
        ({"dsns": {"eu": "x"}, "home": "us"}, "home is 'us'; give one of eu"),
        ({"dsns": {"eu": "x"}, "shard_of": "eu"}, "shard_of is 'eu'; give a function"),
        ({"shard_of": lambda job, input: "eu"}, "several databases: give it dsns"),
        ({"home": "eu"}, "several databases: give it dsns"),
    ],
)
def test_databases_that_do_not_fit_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        App(**given)
