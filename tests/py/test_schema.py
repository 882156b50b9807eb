"""The installer: what it does to a database, what it leaves alone, and what it refuses."""

import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url

from tests import forks
from tests.py.support import SECONDS, Session, wait_until
from tests.servers import Server
from underway_pg import schema, statements
from underway_pg.client import execute
from underway_pg.errors import ConfigurationError, MigrationBlocked, MissingPrivilege, SchemaNewer
from underway_pg.settings import Options, Queue

ROOT = Path(__file__).resolve().parents[2]

EVERYTHING = schema.MigrationPlan(migrations=tuple(migration.name for migration in schema.migrations()), functions=True)
NOTHING = schema.MigrationPlan(migrations=(), functions=False)

# All that an installation makes, without what differs from one database to the next: object ids and times.
CATALOGUE = {
    "schema": "select nspacl::text, obj_description(oid) from pg_namespace where nspname = 'underway'",
    "relations": """
        select relname, relkind, relacl::text, reloptions, obj_description(oid, 'pg_class'),
            case when relkind = 'v' then pg_get_viewdef(oid) end, pg_get_expr(relpartbound, oid)
        from pg_class where relnamespace = 'underway'::regnamespace order by relname""",
    "columns": """
        select attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
            pg_get_expr(adbin, adrelid)
        from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attrelid in (select oid from pg_class where relnamespace = 'underway'::regnamespace) and attnum > 0
        order by 1, 2""",
    "indexes": """
        select pg_get_indexdef(indexrelid) from pg_index
        where indrelid in (select oid from pg_class where relnamespace = 'underway'::regnamespace) order by 1""",
    "constraints": """
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'underway'::regnamespace order by 1, 2""",
    "functions": """
        select oid::regprocedure::text, pg_get_functiondef(oid), proacl::text, obj_description(oid, 'pg_proc')
        from pg_proc where pronamespace = 'underway'::regnamespace order by 1""",
    "types": """
        select typname, typtype,
            (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid)
        from pg_type t where typnamespace = 'underway'::regnamespace order by 1""",
    "migrations": "select version, name, checksum from underway.migration order by version",
    "installation": "select functions from underway.installation",
}

# When a row was written last: unchanged exactly when nothing was done.
TRACES = """
    select 'function', oid::text, xmin::text from pg_proc where pronamespace = 'underway'::regnamespace
    union all
    select 'relation', oid::text, xmin::text from pg_class where relnamespace = 'underway'::regnamespace
    union all
    select 'migration', version::text, xmin::text from underway.migration
    union all
    select 'installation', functions, xmin::text from underway.installation
    order by 1, 2"""


def rows(dsn: str, query: str) -> list[Any]:
    # Without a timeout, whatever the database prefers: the catalogue takes longer to read than 20 ms.
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set statement_timeout = 0")
        return connection.execute(query.encode()).fetchall()


def run_sql(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.encode())


def catalogue(dsn: str) -> dict[str, list[Any]]:
    return {name: rows(dsn, query) for name, query in CATALOGUE.items()}


def plan(dsn: str) -> schema.MigrationPlan:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return schema.plan(connection)


@pytest.fixture
def another_database(server: Server) -> Iterator[str]:
    """The dsn of one more fresh database with nothing in it."""
    with server.new_database() as dsn:
        yield dsn


# What there is to install


def test_the_migrations_are_numbered_without_a_gap() -> None:
    found = schema.migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    for migration in found:
        assert migration.name.startswith(f"{migration.version:04}_")
        assert len(migration.checksum) == 64


def test_the_script_is_plain_sql_that_holds_every_file() -> None:
    script = schema.script()
    files = [*(ROOT / "sql/migrations").glob("*.sql"), *(ROOT / "sql/functions").glob("**/*.sql")]
    assert len(files) > 40
    for file in files:
        assert file.read_text() in script
    assert not [line for line in script.splitlines() if line.startswith("\\")]


# Installing


def test_a_fresh_installation_does_everything_and_works(empty_database: str) -> None:
    assert schema.migrate(empty_database) == EVERYTHING
    with psycopg.connect(empty_database, autocommit=True) as connection:
        execute(connection, statements.create_queue(Queue(name="q")))
        id = execute(connection, statements.enqueue("q", {"n": 1}, None, Options()))
        assert [task.id for task in execute(connection, statements.dequeue(["q"], 1))] == [id]
    recorded = rows(empty_database, "select version, name, checksum from underway.migration order by version")
    assert recorded == [(m.version, m.name, m.checksum) for m in schema.migrations()]


def test_a_second_installation_changes_nothing(empty_database: str) -> None:
    schema.migrate(empty_database)
    before = rows(empty_database, TRACES)
    assert schema.migrate(empty_database) == NOTHING
    assert not schema.migrate(empty_database)
    run_sql(empty_database, schema.script())
    assert rows(empty_database, TRACES) == before


def test_the_plan_says_what_would_be_done_and_does_nothing(empty_database: str) -> None:
    assert plan(empty_database) == EVERYTHING
    assert plan(empty_database)
    assert rows(empty_database, "select to_regnamespace('underway')") == [(None,)]
    schema.migrate(empty_database)
    assert plan(empty_database) == NOTHING
    assert not plan(empty_database)


def test_the_script_alone_installs_the_same(empty_database: str, another_database: str) -> None:
    schema.migrate(empty_database)
    run_sql(another_database, schema.script())
    assert plan(another_database) == NOTHING
    assert catalogue(another_database) == catalogue(empty_database)


@pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql on the PATH")
def test_psql_installs_the_same_from_what_the_command_line_prints(empty_database: str, another_database: str) -> None:
    printed = forks.run(
        [sys.executable, "-m", "underway_pg", "migrate", "--sql"], cwd=ROOT, capture_output=True, check=True, timeout=60
    ).stdout
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for _ in range(2):  # the second time with nothing to do
        psql = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", empty_database, "-f", "-"],
            input=printed, capture_output=True, env=environment, timeout=60,
        )  # fmt: skip
        assert (psql.returncode, psql.stdout, psql.stderr) == (0, b"", b"")
    schema.migrate(another_database)
    assert catalogue(empty_database) == catalogue(another_database)


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call a function from so many threads at the same moment; gives their answers."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(30)
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def test_eight_installations_at_once_all_succeed_and_one_does_the_work(
    empty_database: str, another_database: str
) -> None:
    at_once(8, lambda _: schema.migrate(empty_database))
    assert plan(empty_database) == NOTHING
    assert len(rows(empty_database, "select version from underway.migration")) == len(schema.migrations())
    assert len(rows(empty_database, "select functions from underway.installation")) == 1
    schema.migrate(another_database)
    assert catalogue(empty_database) == catalogue(another_database)


def test_eight_runs_of_the_script_at_once_all_succeed(empty_database: str) -> None:
    at_once(8, lambda _: run_sql(empty_database, schema.script()))
    assert plan(empty_database) == NOTHING
    assert len(rows(empty_database, "select version from underway.migration")) == len(schema.migrations())
    assert len(rows(empty_database, "select functions from underway.installation")) == 1


def test_an_installation_waits_for_another_one(empty_database: str) -> None:
    script = schema.script()
    assert script.count("\ncommit;\n") == 1
    with psycopg.connect(empty_database, autocommit=True) as first:
        first.execute(script.replace("\ncommit;\n", "\n").encode())
        with psycopg.connect(empty_database, autocommit=True) as second:
            second.execute("set lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second.execute(script.encode())
        first.execute("commit")
    assert plan(empty_database) == NOTHING


# Upgrading


def test_functions_are_installed_again_when_they_differ(database: str, another_database: str) -> None:
    schema.migrate(another_database)
    run_sql(database, "update underway.installation set functions = 'those of another version'")
    run_sql(
        database,
        """create or replace function underway.pause_queue(name text) returns boolean language sql
        begin atomic select null::boolean; end""",
    )
    run_sql(database, "drop function underway.cancel(bigint)")
    assert plan(database) == schema.MigrationPlan(migrations=(), functions=True)
    assert schema.migrate(database) == schema.MigrationPlan(migrations=(), functions=True)
    assert schema.migrate(database) == NOTHING
    assert catalogue(database) == catalogue(another_database)


def test_tasks_survive_an_installation_of_the_functions(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        execute(connection, statements.create_queue(Queue(name="q")))
        id = execute(connection, statements.enqueue("q", {"n": 1}, None, Options()))
        connection.execute("update underway.installation set functions = 'those of another version'")
        schema.migrate(database)
        assert [task.id for task in execute(connection, statements.dequeue(["q"], 1))] == [id]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a migration to those that there are."""

    def add(sql: str, undo: str | None = None) -> None:
        known = schema.migrations()
        version = len(known) + 1
        migration = schema.Migration(version=version, name=f"{version:04}_later", sql=sql, checksum="later", undo=undo)
        monkeypatch.setattr(schema, "migrations", lambda: (*known, migration))

    return add


def test_a_failed_installation_leaves_nothing_behind(empty_database: str, later: Callable[..., None]) -> None:
    later("select 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        schema.migrate(empty_database)
    assert rows(empty_database, "select to_regnamespace('underway')::text") == [(None,)]


@pytest.mark.parametrize(
    "setting", ["default_transaction_isolation = 'serializable'", "statement_timeout = '20ms'", "lock_timeout = '1ms'"]
)
def test_an_installation_does_not_depend_on_the_settings_of_the_database(
    empty_database: str, another_database: str, setting: str
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set {setting}".encode())
    assert at_once(4, lambda _: schema.migrate(empty_database)).count(EVERYTHING) >= 1
    schema.migrate(another_database)
    assert catalogue(empty_database) == catalogue(another_database)


# Step by step, in transactions of other tools

NEWEST = schema.migrations()[-1].version


def run_steps(dsn: str, from_version: int, to_version: int) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in schema.steps(from_version, to_version):
            connection.execute(statement.encode(), prepare=True)  # each is one statement, as only that can be prepared


def versions(dsn: str) -> list[int]:
    return [version for (version,) in rows(dsn, "select version from underway.migration order by version")]


def test_the_steps_install_the_same_and_leave_the_settings_of_the_transaction(
    empty_database: str, another_database: str
) -> None:
    schema.migrate(another_database)
    settings = b"select name, setting from pg_settings where name !~ 'transaction|plpgsql' order by 1"
    with psycopg.connect(empty_database) as connection:
        connection.execute("set local lock_timeout = '7s'")
        before = connection.execute(settings).fetchall()
        for statement in schema.steps(0, NEWEST):
            connection.execute(statement.encode())
        assert connection.execute(settings).fetchall() == before
        assert rows(empty_database, "select to_regnamespace('underway')") == [(None,)]
    assert catalogue(empty_database) == catalogue(another_database)
    before = rows(empty_database, TRACES)
    run_steps(empty_database, 0, NEWEST)
    assert rows(empty_database, TRACES) == before


def test_steps_take_the_schema_from_any_version_to_any_other(
    empty_database: str, another_database: str, later: Callable[..., None]
) -> None:
    later("create table underway.later (id integer)", "drop table underway.later")
    schema.migrate(another_database)
    run_steps(empty_database, 0, NEWEST)
    assert versions(empty_database)[-1] == NEWEST
    assert rows(empty_database, CATALOGUE["functions"]) == []  # they are those of the newest migration
    run_steps(empty_database, NEWEST, NEWEST + 1)
    assert catalogue(empty_database) == catalogue(another_database)
    run_steps(empty_database, NEWEST + 1, NEWEST)
    assert versions(empty_database)[-1] == NEWEST
    assert rows(empty_database, "select to_regclass('underway.later')") == [(None,)]
    assert rows(empty_database, CATALOGUE["functions"]) == []
    assert rows(empty_database, "select relname from pg_class where relname in ('task_list', 'task')") == [("task",)]
    run_sql(empty_database, "create function underway.older() returns int language sql begin atomic select 1; end")
    run_steps(empty_database, NEWEST + 1, NEWEST)
    assert len(rows(empty_database, CATALOGUE["functions"])) == 1  # nothing to undo: those of the older package stay
    run_sql(empty_database, "drop function underway.older()")
    run_steps(empty_database, 0, NEWEST + 1)
    assert catalogue(empty_database) == catalogue(another_database)
    for _ in range(2):
        run_steps(empty_database, NEWEST + 1, 0)
        assert rows(empty_database, "select to_regnamespace('underway')") == [(None,)]


def test_steps_that_cannot_be_taken_are_refused(empty_database: str, later: Callable[..., None]) -> None:
    with pytest.raises(ConfigurationError, match=f"has no version {NEWEST + 1} of the schema; it has 0 to {NEWEST}"):
        schema.steps(0, NEWEST + 1)
    later("select 1")
    with pytest.raises(ConfigurationError, match=f"migration {NEWEST + 1:04}_later cannot be undone"):
        schema.steps(NEWEST + 1, NEWEST)
    with pytest.raises(psycopg.errors.RaiseException, match=f"begins at version {NEWEST} of the schema"):
        run_steps(empty_database, NEWEST, NEWEST + 1)
    run_sql(empty_database, "create schema underway; create table underway.mine (id integer)")
    with pytest.raises(psycopg.errors.RaiseException, match="belongs to something else"):
        run_steps(empty_database, NEWEST, 0)


@pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql on the PATH")
def test_psql_installs_the_steps_in_a_transaction_of_its_own(empty_database: str, another_database: str) -> None:
    migrate = [sys.executable, "-m", "underway_pg", "migrate", "--sql", "--no-transaction"]
    printed = forks.run(migrate, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    psql = ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", empty_database, "-f", "-"]
    run = subprocess.run(psql, input=printed, capture_output=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    schema.migrate(another_database)
    assert catalogue(empty_database) == catalogue(another_database)


# Alembic

ENV = """
import asyncio
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

url = context.config.get_main_option("sqlalchemy.url")


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def migrate_async():
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=url)
    with context.begin_transaction():
        context.run_migrations()
elif "asyncpg" in url:
    asyncio.run(migrate_async())
else:
    engine = create_engine(url)
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()
"""

REVISIONS = {
    "first": """
def upgrade():
    underway.upgrade(op, version={newest})


def downgrade():
    underway.downgrade(op)
""",
    "second": """
def upgrade():
    underway.upgrade(op)
    op.execute("select underway.create_queue('mail')")


def downgrade():
    underway.downgrade(op, version={newest})
""",
}


def alembic_project(directory: Path, dsn: str, driver: str) -> Config:
    """A project with two revisions, the first of which stops before the newest migration."""
    (directory / "versions").mkdir()
    (directory / "env.py").write_text(ENV)
    before = None
    for name, body in REVISIONS.items():
        head = f"from alembic import op\nfrom underway_pg import alembic as underway\n\nrevision = {name!r}\n"
        text = f"{head}down_revision = {before!r}\n\n{body.format(newest=NEWEST)}"
        (directory / "versions" / f"{name}.py").write_text(text)
        before = name
    config = Config(output_buffer=io.StringIO())
    config.set_main_option("script_location", str(directory))
    config.set_main_option("path_separator", "os")
    url = make_url(dsn).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


LATER = "create table underway.later (id integer); comment on table underway.later is '100% :sure, $1 \\:no %s %%'"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_alembic_upgrades_and_downgrades_step_by_step(
    empty_database: str, another_database: str, tmp_path: Path, later: Callable[..., None], driver: str
) -> None:
    later(LATER, "drop table underway.later")
    schema.migrate(another_database)
    config = alembic_project(tmp_path, empty_database, driver)
    command.upgrade(config, "first")
    assert versions(empty_database)[-1] == NEWEST
    command.upgrade(config, "second")
    assert catalogue(empty_database) == catalogue(another_database)
    assert rows(empty_database, "select queue from underway.queue_stats") == [("mail",)]
    command.downgrade(config, "first")
    assert versions(empty_database)[-1] == NEWEST
    command.downgrade(config, "base")
    assert rows(empty_database, "select to_regnamespace('underway')") == [(None,)]
    command.upgrade(config, "head")
    assert catalogue(empty_database) == catalogue(another_database)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_alembic_prints_the_same_as_a_script(
    empty_database: str, another_database: str, tmp_path: Path, later: Callable[..., None], driver: str
) -> None:
    later(LATER, "drop table underway.later")
    schema.migrate(another_database)
    config = alembic_project(tmp_path, empty_database, driver)
    command.upgrade(config, "head", sql=True)
    run_sql(empty_database, config.output_buffer.getvalue())
    assert catalogue(empty_database) == catalogue(another_database)


# Behind an open transaction


ADD_COLUMN = "alter table underway.task add column later integer"


def test_a_migration_waits_behind_an_open_transaction_and_delays_nobody_else(
    database: str, later: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    later(ADD_COLUMN)
    with (
        Session(make_conninfo(database, application_name="nightly report")) as report,
        Session(database) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        report.create_queue("q")
        report.run("begin")
        report.enqueue("q")
        migration = thread.submit(schema.migrate, database)
        waiting = "select count(*) from pg_locks where relation = 'underway.task'::regclass and not granted"
        wait_until(lambda: other.value(waiting) == 1, "the migration waits")
        other.enqueue("q")  # behind it
        wait_until(lambda: caplog.messages, "the migration says so")
        assert not migration.done()
        report.run("commit")
        assert migration.result(SECONDS).migrations == (schema.migrations()[-1].name,)
        assert other.value("select count(*) from underway.task where later is null") == 2
    assert re.fullmatch(
        rf"the migration waits for session {report.pid} \(nightly report, in a transaction since .+\);"
        r" it tries again, for up to \d+ s",
        caplog.messages[0],
    )


def test_a_migration_that_an_open_transaction_blocks_for_too_long_gives_up_and_names_it(
    database: str, later: Callable[..., None]
) -> None:
    later(ADD_COLUMN)
    with Session(make_conninfo(database, application_name="nightly report")) as report:
        report.create_queue("q")
        report.run("begin")
        report.enqueue("q")
        before = rows(database, TRACES)
        with pytest.raises(MigrationBlocked, match=rf"session {report.pid} \(nightly report, in a transaction since"):
            schema.migrate(database, give_up_after=0.5)
        assert rows(database, TRACES) == before


def test_the_script_waits_for_a_lock_for_a_moment_only(database: str, later: Callable[..., None]) -> None:
    later(ADD_COLUMN)
    with Session(database) as report:
        report.create_queue("q")
        report.run("begin")
        report.enqueue("q")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            run_sql(database, schema.script())


# Refusing


@pytest.mark.parametrize(
    "objects",
    [
        "create table underway.task (mine integer)",
        "create table underway.migration (version integer, name text)",
        "create type underway.task_state as enum ('mine')",
        "create function underway.enqueue() returns integer language sql begin atomic select 1; end",
    ],
)
def test_a_schema_of_this_name_that_belongs_to_somebody_else_is_refused(empty_database: str, objects: str) -> None:
    run_sql(empty_database, f"create schema underway; {objects}")
    objects_there = "select count(*) from pg_depend where refobjid = 'underway'::regnamespace"
    before = rows(empty_database, objects_there)
    message = "the schema underway of this database belongs to something else"
    for install in (plan, schema.migrate):
        with pytest.raises(ConfigurationError, match=message):
            install(empty_database)
    with pytest.raises(psycopg.errors.RaiseException, match=message) as refusal:
        run_sql(empty_database, schema.script())
    assert refusal.value.diag.message_hint == "Rename that schema, or install Underway in another database."
    assert rows(empty_database, objects_there) == before


def test_an_empty_schema_that_an_administrator_has_created_is_taken(empty_database: str) -> None:
    run_sql(empty_database, "create schema underway")
    assert schema.migrate(empty_database) == EVERYTHING
    assert schema.migrate(empty_database) == NOTHING


def changed(database: str) -> str:
    """Change what the database says about the first migration; gives the migration's name."""
    run_sql(database, "update underway.migration set checksum = 'another' where version = 1")
    return schema.migrations()[0].name


def test_the_script_refuses_a_migration_that_was_changed_after_it_was_applied(database: str) -> None:
    name = changed(database)
    before = rows(database, TRACES)
    with pytest.raises(psycopg.errors.RaiseException, match=f"migration {name} was changed") as refusal:
        run_sql(database, schema.script())
    assert refusal.value.diag.message_hint == "Migrations are frozen; put the change into a new one."
    assert rows(database, TRACES) == before


def test_migrate_refuses_a_migration_that_was_changed_after_it_was_applied(database: str) -> None:
    name = changed(database)
    with pytest.raises((ConfigurationError, psycopg.errors.RaiseException), match=f"{name} was changed"):
        schema.migrate(database)


def test_a_database_that_is_newer_is_refused(database: str) -> None:
    run_sql(database, "insert into underway.migration (version, name, checksum) values (9999, '9999_later', '')")
    run_sql(database, "update underway.installation set functions = 'those of a later version'")
    before = rows(database, TRACES)
    with pytest.raises(SchemaNewer, match="9999"):
        plan(database)
    with pytest.raises(SchemaNewer, match="9999"):
        schema.migrate(database)
    with pytest.raises(psycopg.errors.RaiseException, match="newer than this installer") as refusal:
        run_sql(database, schema.script())
    assert refusal.value.diag.message_hint == "Upgrade the package underway-pg first."
    assert rows(database, TRACES) == before


# Who installs


@contextmanager
def owned_by_a_plain_role(server: Server) -> Iterator[tuple[str, str]]:
    """A fresh database whose owner may neither be superuser nor create roles: its dsn as that owner, and the owner."""
    owner = f"owner_{secrets.token_hex(4)}"
    run_sql(server.dsn, f"create role {owner} nosuperuser nocreaterole nocreatedb")
    try:
        with server.new_database() as dsn:
            name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
            run_sql(server.dsn, f"alter database {name} owner to {owner}")
            as_owner = f"{dsn}{'&' if '?' in dsn else '?'}options={quote(f'-c role={owner}')}"
            yield as_owner, owner
    finally:
        run_sql(server.dsn, f"drop role {owner}")


def test_an_owner_that_may_not_create_roles_installs(server: Server) -> None:
    with owned_by_a_plain_role(server) as (dsn, owner):
        assert rows(
            dsn, "select current_user::text, rolsuper, rolcreaterole from pg_roles where rolname = current_user"
        ) == [(owner, False, False)]
        assert schema.migrate(dsn) == EVERYTHING
        assert schema.migrate(dsn) == NOTHING
        with psycopg.connect(dsn, autocommit=True) as connection:
            execute(connection, statements.create_queue(Queue(name="q")))
            id = execute(connection, statements.enqueue("q", {}, None, Options()))
            assert [task.id for task in execute(connection, statements.dequeue(["q"], 1))] == [id]
            execute(connection, statements.maintain(1, ["q"]))


def test_a_role_without_the_right_to_migrate_is_told_which_it_needs_and_who_can_give_it(server: Server) -> None:
    with owned_by_a_plain_role(server) as (dsn, owner):
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        run_sql(server.dsn, f"create role other_of_{owner}")
        as_other = dsn.replace(quote(f"role={owner}"), quote(f"role=other_of_{owner}"))
        try:
            with pytest.raises(MissingPrivilege, match=f'`grant create on database "{name}" to "other_of_{owner}"`'):
                schema.migrate(as_other)
            run_sql(server.dsn, f'grant create on database "{name}" to "other_of_{owner}"')
            schema.migrate(dsn)
            for usage in (False, True):  # to see the schema is not to own it
                if usage:
                    run_sql(dsn, f"grant usage on schema underway to other_of_{owner}")
                with pytest.raises(MissingPrivilege, match=f'connect as {owner}, or .* `grant "{owner}" to "other'):
                    schema.migrate(as_other)
            run_sql(dsn, f"grant select on all tables in schema underway to other_of_{owner}")
            run_sql(dsn, "delete from underway.installation")
            with pytest.raises(MissingPrivilege, match=f"only the owner of the schema underway, {owner},"):
                schema.migrate(as_other)
        finally:
            run_sql(
                make_conninfo(server.dsn, dbname=name), f"drop owned by other_of_{owner}; drop role other_of_{owner}"
            )


def test_roles_that_exist_are_granted_by_an_owner_that_may_not_create_them(server: Server) -> None:
    _ = server.template  # an administrator has installed elsewhere in this cluster, so the roles are there
    with owned_by_a_plain_role(server) as (dsn, _owner):
        schema.migrate(dsn)
        granted = rows(
            dsn, "select has_function_privilege('underway_worker', 'underway.maintain(bigint, boolean)', 'execute')"
        )
        assert granted == [(True,)]


def test_an_installation_revokes_what_its_version_does_not_grant(database: str) -> None:
    held = """select has_function_privilege('underway_producer', 'underway._prune(integer)', 'execute'),
        has_table_privilege('underway_producer', 'underway.task_list', 'select'),
        has_table_privilege('underway_worker', 'underway.task', 'select, update'),
        has_any_column_privilege('underway_worker', 'underway.task', 'select'),
        has_sequence_privilege('underway_producer', 'underway.task_id_seq', 'usage'),
        has_schema_privilege('underway_observer', 'underway', 'create')"""
    kept = rows(database, CATALOGUE["functions"]), rows(database, CATALOGUE["relations"])
    run_sql(
        database,
        "grant execute on function underway._prune(integer) to underway_producer;"
        "grant select on underway.task_list to underway_producer;"
        "grant select, update on underway.task to underway_worker;"
        "grant usage on sequence underway.task_id_seq to underway_producer;"
        "grant create on schema underway to underway_observer",
    )
    assert rows(database, held) == [(True,) * 6]

    run_sql(database, "update underway.installation set functions = 'of an earlier version'")
    schema.migrate(database)

    assert rows(database, held) == [(False,) * 6]
    assert (rows(database, CATALOGUE["functions"]), rows(database, CATALOGUE["relations"])) == kept
