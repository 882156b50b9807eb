"""Install Underway into a database.

`script()` is the installation as one plain SQL text that any client can run, psql included; `migrate()` runs it. It
takes a lock, applies the migrations that the database does not have yet, then replaces the functions if they changed.
Run twice, the second run changes nothing. `steps()` gives the statements of the script one by one, for transactions of
other tools and from any version to any other.

A statement that waits for the lock of a table makes all sessions wait that come later. So it waits for a moment only:
the script fails then and has changed nothing, and `migrate()` tries again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

from . import connections
from .checks import check_number
from .connections import Dsn
from .errors import (
    ConfigurationError,
    MigrationBlocked,
    MissingPrivilege,
    SchemaNewer,
    SchemaTooOld,
    translate_errors,
)

logger = logging.getLogger(__name__)

__all__ = [
    "Migration",
    "MigrationPlan",
    "check_version",
    "function_text",
    "migrate",
    "migrations",
    "plan",
    "script",
    "sql_directory",
    "steps",
    "testing_script",
]

# Seconds. Between two tries of an installation that open transactions block, in which others go on.
_PAUSE = 1.0


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One file of `sql/migrations`. Its checksum is the SHA-256 of its text, frozen once it is released.

    `undo` is the text of the file `<name>.undo.sql`, if there is one.
    """

    version: int
    name: str
    sql: str
    checksum: str
    undo: str | None = None


def sql_directory() -> Path:
    """The SQL files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for directory in (here / "sql", here.parent / "sql"):
        if (directory / "migrations").is_dir():
            return directory
    raise ConfigurationError(f"the SQL files of Underway are missing beside {here}; install the package again")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations in their order."""
    found = []
    for path in sorted((sql_directory() / "migrations").glob("*.sql")):
        if path.suffixes == [".undo", ".sql"]:
            continue
        text, undo = path.read_text(encoding="utf-8"), path.with_suffix(".undo.sql")
        found.append(
            Migration(
                version=int(path.stem.split("_", 1)[0]),
                name=path.stem,
                sql=text,
                checksum=_checksum(text),
                undo=undo.read_text(encoding="utf-8") if undo.exists() else None,
            )
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class MigrationPlan:
    """What a migration does: the names of the migrations to apply, and whether the functions change.

    `version` is that of the schema afterwards: the number of its newest migration. `shard` is the new shard number of
    the database; None if it does not change.
    """

    migrations: tuple[str, ...]
    functions: bool
    shard: int | None = None
    version: int = field(default_factory=lambda: migrations()[-1].version)

    def __bool__(self) -> bool:
        return bool(self.migrations) or self.functions or self.shard is not None


@cache
def function_text() -> str:
    """The text of all functions and views, room by room."""
    files = sorted((sql_directory() / "functions").glob("*/*.sql"), key=lambda path: path.parts[-2:])
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def check_version(version: int, oldest_package: int) -> bool:
    """Whether a schema is exactly the one of this package; if not, it is newer and works with this package too.

    `version` is its newest migration. Packages work with it that know at least the migration `oldest_package`. Raises
    SchemaTooOld and SchemaNewer.
    """
    known = migrations()[-1].version
    if version < known:
        raise SchemaTooOld(
            f"the schema underway has migration {version}, and this package needs migration {known}: run `underway"
            " migrate`"
        )
    if oldest_package > known:
        raise SchemaNewer(
            f"the schema underway has migration {version}, which works with packages that know migration"
            f" {oldest_package}; this one knows {known}: upgrade underway-pg"
        )
    return version == known


_ROLES = "array(select r.rolname::text from pg_roles r where starts_with(r.rolname, 'underway_') order by 1)"

# There is something in a schema of our name, and it is not ours.
_FOREIGN = """exists (
            select from pg_depend d
            where (d.refclassid, d.refobjid) = ('pg_namespace'::regclass, to_regnamespace('underway'))
        ) and not exists (
            select from pg_attribute a where (a.attrelid, a.attname) = (to_regclass('underway.migration'), 'checksum')
        )"""

# The role of the session, its database, and the owners of that and of our schema.
_OWNERS = """
    select current_user::text, d.datname::text, pg_get_userbyid(d.datdba)::text,
        (select pg_get_userbyid(n.nspowner)::text from pg_namespace n where n.nspname = 'underway')
    from pg_database d
    where d.datname = current_database()"""

# The oldest transaction that holds a lock on one of our tables or views.
_BLOCKING = """
    select a.pid, a.application_name, a.xact_start
    from pg_locks l
    join pg_class c on c.oid = l.relation and c.relnamespace = to_regnamespace('underway')
    left join pg_stat_activity a on a.pid = l.pid
    where l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.granted
      and l.pid is distinct from pg_backend_pid()
    order by a.xact_start
    limit 1"""

# One statement, so that every client can send it, by the extended protocol too. The settings are put back for what the
# caller's transaction does next; an error puts them back by itself.
_STEP = """\
do $underway$
declare
    v_lock_timeout          text := current_setting('lock_timeout');
    v_client_min_messages   text := current_setting('client_min_messages');
    v_check_function_bodies text := current_setting('check_function_bodies');
begin
    -- One installation at a time; the others wait here, and then find nothing to do.
    perform pg_advisory_xact_lock(8313840215431);

    -- Who comes later waits behind a change of a table. Longer than deadlock_timeout, after which autovacuum gives way.
    perform set_config('lock_timeout', '1500ms', true);
    perform set_config('client_min_messages', 'warning', true);
    perform set_config('check_function_bodies', 'off', true); -- a function may call one that comes later

{body}

    perform set_config('lock_timeout', v_lock_timeout, true);
    perform set_config('client_min_messages', v_client_min_messages, true);
    perform set_config('check_function_bodies', v_check_function_bodies, true);
end;
$underway$;
"""

_REFUSE_FOREIGN = f"""\
    if {_FOREIGN} then
        raise exception 'the schema underway of this database belongs to something else'
            using hint = 'Rename that schema, or install Underway in another database.';
    end if;
"""

_BEGINNING = f"""\
{_REFUSE_FOREIGN}
    if to_regnamespace('underway') is null then
        create schema underway;
        comment on schema underway is 'Underway: a job queue in PostgreSQL';
    end if;

    create table if not exists underway.migration (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default clock_timestamp()
    );

    -- One row: the functions that are installed, by the SHA-256 of their text, and the roles that they were granted to.
    create table if not exists underway.installation (
        functions text primary key,
        roles text[] not null,
        installed_at timestamptz not null
    );

    if exists (select from underway.migration m where m.version > {{newest}}) then
        raise exception 'the schema underway is newer than this installer, which knows {{newest}} migrations'
            using hint = 'Upgrade the package underway-pg first.';
    end if;

    if (select count(*) from underway.migration m where m.version <= {{first}}) < {{first}} then
        raise exception 'this step begins at version {{first}} of the schema underway, which is not installed here'
            using hint = 'Apply the earlier steps first.';
    end if;"""

_MIGRATION = """\
    if not exists (select from underway.migration m where m.version = {version}) then
        execute $migration$
{sql}
$migration$;
        insert into underway.migration (version, name, checksum) values ({version}, '{name}', '{checksum}');
    elsif not exists (
        select from underway.migration m where m.version = {version} and m.checksum = '{checksum}'
    ) then
        raise exception 'migration {name} was changed after it had been applied here'
            using hint = 'Migrations are frozen; put the change into a new one.';
    end if;"""

_FUNCTIONS = """\
    if not exists (
        select from underway.installation i where i.functions = '{checksum}' and i.roles = {roles}
    ) then
        execute $functions$
{sql}
$functions$;
        delete from underway.installation;
        insert into underway.installation (functions, roles, installed_at)
        values ('{checksum}', {roles}, clock_timestamp());
    end if;"""

_SHARD = "    perform underway.set_shard({shard});"

# The functions are those of the newest migration; the package of the older one installs its own.
_DROP_FUNCTIONS = """\
    if exists (select from underway.migration m where m.version > {version}) then
        execute (
            select coalesce(string_agg(d.statement, '; '), '')
            from (
                select format('drop routine if exists %s cascade', p.oid::regprocedure)
                from pg_proc p
                where p.pronamespace = to_regnamespace('underway')
                union all
                select format('drop view if exists %s cascade', c.oid::regclass)
                from pg_class c
                where c.relnamespace = to_regnamespace('underway') and c.relkind = 'v'
            ) as d (statement)
        );
        delete from underway.installation;
    end if;"""

_UNDO = """\
    if exists (select from underway.migration m where m.version = {version}) then
        execute $migration$
{undo}
$migration$;
        delete from underway.migration m where m.version = {version};
    end if;"""

_SCRIPT = """\
-- Underway: a job queue in PostgreSQL. This file installs or upgrades it; running it again changes nothing.
-- When it fails with a lock timeout, an open transaction has used the tables: nothing was changed, run it again later.

begin isolation level read committed;

set local statement_timeout = 0;

{steps}
commit;
"""


def steps(from_version: int, to_version: int, *, shard: int | None = None) -> list[str]:
    """The statements that take the schema from one version to another, for the migrations of other tools.

    The version of a schema is the number of its newest migration; 0 is a database without Underway. Each statement can
    be sent by itself, without parameters, and leaves the settings of the session as they were. Run them in their order
    in one transaction, which need not be their own. What is done already is not done again.

    Upwards, the functions come with the newest version: a package has those of its newest migration only. Then `shard`
    gives the database its number among the shards of an application; without it the number stays. Downwards,
    functions and views are removed, which the package of that version installs again; and at 0 everything is removed,
    tasks too. Raises ConfigurationError for a version that this package does not know, and for one below which a
    migration cannot be undone.
    """
    newest = migrations()[-1].version
    for version in (from_version, to_version):
        if not 0 <= version <= newest:
            raise ConfigurationError(
                f"this package has no version {version} of the schema; it has 0 to {newest}: give one of these, or"
                " upgrade underway-pg"
            )
    if to_version == 0 < from_version:
        bodies = [f"{_REFUSE_FOREIGN}\n    drop schema if exists underway cascade;"]
    elif to_version < from_version:
        undone = [m for m in reversed(migrations()) if to_version < m.version <= from_version]
        for migration in undone:
            if migration.undo is None:
                raise ConfigurationError(f"migration {migration.name} cannot be undone")
        bodies = [
            _DROP_FUNCTIONS.format(version=to_version),
            *(_UNDO.format(version=m.version, undo=m.undo) for m in undone),
        ]
    else:
        bodies = [_BEGINNING.format(newest=newest, first=from_version)]
        bodies += [_MIGRATION.format(**vars(m)) for m in migrations() if from_version < m.version <= to_version]
        if to_version == newest:
            bodies.append(_FUNCTIONS.format(checksum=_checksum(function_text()), roles=_ROLES, sql=function_text()))
            if shard is not None:
                _check_shard(shard)
                bodies.append(_SHARD.format(shard=shard))
    return [_STEP.format(body=body) for body in bodies]


def _check_shard(shard: int) -> None:
    check_number("shard", shard, int, 0)
    if shard > 511:
        raise ConfigurationError(f"shard is {shard}; give a number from 0 to 511")


def script(shard: int | None = None) -> str:
    """The whole installation as one SQL text; running it is safe at any time and from many sessions at once."""
    return _SCRIPT.format(steps="\n".join(steps(0, migrations()[-1].version, shard=shard)))


def testing_script() -> str:
    """The schema `underway_test` as one SQL text, to be run in one transaction."""
    return (sql_directory() / "testing" / "underway_test.sql").read_text(encoding="utf-8")


def plan(connection: psycopg.Connection, shard: int | None = None) -> MigrationPlan:
    """What `migrate` would do to this database.

    Raises SchemaNewer when the database has migrations that this package does not know, ConfigurationError when a
    migration was changed after it had been applied, or when the schema `underway` belongs to something else,
    ShardInUse when the database has given out ids under another number, and MissingPrivilege when the role may not do
    it.
    """
    applied: dict[int, str] = {}
    functions = new_shard = False
    with _named_rights(connection):
        if connection.execute(f"select {_FOREIGN}").fetchone() == (True,):
            raise ConfigurationError(
                "the schema underway of this database belongs to something else; rename that schema, or install"
                " Underway in another database"
            )
        if connection.execute("select to_regclass('underway.installation')").fetchone() != (None,):
            applied = dict(connection.execute("select version, checksum from underway.migration").fetchall())
            functions = bool(
                connection.execute(
                    f"select from underway.installation i where i.functions = %s and i.roles = {_ROLES}",
                    [_checksum(function_text())],
                ).fetchall()
            )
        if shard is not None:
            new_shard = _would_change(connection, shard)
    last = migrations()[-1].version
    if applied and max(applied) > last:
        raise SchemaNewer(
            f"the database has migration {max(applied)}, this package knows only {last}; upgrade underway-pg"
        )
    for migration in migrations():
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.name} was changed after it had been applied here; put the change into a new one"
            )
    return MigrationPlan(
        migrations=tuple(m.name for m in migrations() if m.version not in applied),
        functions=not functions,
        shard=shard if new_shard else None,
    )


def _would_change(connection: psycopg.Connection, shard: int) -> bool:
    """Whether the database would get another shard number. Raises what `underway.set_shard` raises."""
    _check_shard(shard)
    if connection.execute("select to_regprocedure('underway.set_shard(integer)')").fetchone() == (None,):
        return shard != 0
    with translate_errors(), connection.transaction(force_rollback=True):
        return bool(connection.execute("select underway.set_shard(%s)", [shard]).fetchall()[0][0])


@contextmanager
def _named_rights(connection: psycopg.Connection) -> Iterator[None]:
    """Where the role lacks a right, raise MissingPrivilege, which says what is needed and who can give it."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.execute("rollback")
        role, database, owner, schema_owner = connection.execute(_OWNERS).fetchall()[0]
        if schema_owner is None:
            advice = (
                f"to install Underway, {role} needs the right to create a schema in {database}; its owner, {owner}, or"
                f' a superuser can give it: `grant create on database "{database}" to "{role}"`'
            )
        else:
            advice = (
                f"only the owner of the schema underway, {schema_owner}, can upgrade it, and {role} is not; connect as"
                f' {schema_owner}, or let an administrator `grant "{schema_owner}" to "{role}"`'
            )
        raise MissingPrivilege(f"{error.diag.message_primary}: {advice}") from error


def migrate(dsn: Dsn, *, shard: int | None = None, give_up_after: float = 60.0) -> MigrationPlan:
    """Install or upgrade Underway in a database. Returns what was done, and the version; falsy if nothing was to do.

    `shard` is the number of the database among the shards of an application, 0 to 511; without it the number stays.
    Raises what `plan` raises, DatabaseUnavailable, and MigrationBlocked when an open transaction has used the tables
    for `give_up_after` seconds.
    """
    with (
        connections.connect(dsn, application_name="underway migrate") as connection,
        connections.answer_while_alive(connection),
    ):
        connection.add_notice_handler(lambda notice: logger.warning("%s", notice.message_primary))
        todo = plan(connection, shard)
        give_up_at = time.monotonic() + give_up_after
        while todo:
            try:
                with _named_rights(connection):
                    connection.execute(script(todo.shard).encode())
                break
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                connection.execute("rollback")
                blocking, left = _blocking(connection), give_up_at - time.monotonic()
                if left <= 0:
                    raise MigrationBlocked(
                        f"the migration waited for {blocking} and gave up; nothing has changed"
                    ) from error
                logger.warning("the migration waits for %s; it tries again, for up to %.0f s", blocking, left)
                time.sleep(_PAUSE)
        return todo


def _blocking(connection: psycopg.Connection) -> str:
    """The session that an installation waits for, in words. What the role may not see of it is left out."""
    pid, application, since = connection.execute(_BLOCKING).fetchone() or (None, None, None)
    if pid is None:
        return "another session, or a prepared transaction"
    details = [application, since and f"in a transaction since {since:%Y-%m-%d %H:%M:%S%z}"]
    return f"session {pid} ({', '.join(filter(None, details)) or 'of another role'})"
