"""What the checks look at: rows of the catalogues and of the views of Underway, read when a check first asks."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .. import connections, statements
from ..client import execute
from ..connections.dsn import number_of_hosts
from ..models import QueueStats, ScheduleStats, WorkerStats
from ..schema import function_text

__all__ = ["Facts", "Setting"]

Row = dict[str, Any]

_MILLISECONDS = {"us": 0.001, "ms": 1.0, "": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3, "d": 86400e3}

# Seconds. A notification that has not arrived by then does not arrive.
_PATIENCE = 2.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of the server as sessions have it: a default, or that of one role or database (`of`)."""

    name: str
    value: str
    boot_value: str
    of: str | None = None

    @property
    def milliseconds(self) -> float:
        """The value of a timeout: a number of milliseconds, or a number with a unit, as somebody has written it."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|)", self.value)
        return float(match[1]) * _MILLISECONDS[match[2]] if match else 0.0

    def remedy(self, value: str) -> str:
        """The statement that gives the setting another value."""
        if self.of is not None:
            return f"alter {self.of} set {self.name} = '{value}'"
        return f"alter system set {self.name} = '{value}'; select pg_reload_conf()"


class Facts:
    """The facts about the database of a connection, which is in autocommit mode.

    `dsn` is for a second connection, from which a notification is sent. `now` is the clock of this machine, in seconds
    since 1970.
    """

    def __init__(self, connection: psycopg.Connection[Any], dsn: str, now: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._dsn = dsn
        self._now = now

    def _rows(self, sql: str, *parameters: Any) -> list[Row]:
        cursor = self._connection.execute(sql.encode(), parameters or None)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @cached_property
    def user(self) -> str:
        """The role of the connection."""
        return str(self._rows("select current_user::text as name")[0]["name"])

    @cached_property
    def installed(self) -> bool:
        """Whether the schema is there."""
        return bool(self._rows("select from pg_proc where pronamespace = to_regnamespace('underway') limit 1"))

    @cached_property
    def version(self) -> tuple[int, int]:
        """The migration of the schema, and the oldest one that packages have to know."""
        version, oldest_package = execute(self._connection, statements.schema_version())
        return version or 0, oldest_package

    @cached_property
    def outdated(self) -> bool:
        """Whether the functions are those of another version; false if the user may not know."""
        try:
            rows = self._rows("select functions from underway.installation")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return [row["functions"] for row in rows] != [hashlib.sha256(function_text().encode()).hexdigest()]

    @cached_property
    def functions(self) -> list[Row]:
        """The functions of the schema: name, arguments, body (null for that of standard SQL), public."""
        return self._rows("""
            select p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments,
                case when p.prosqlbody is null then p.prosrc end as body,
                exists (
                    select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0
                ) as public,
                array(
                    select r.rolname::text
                    from aclexplode(p.proacl) a
                    join pg_roles r on r.oid = a.grantee and starts_with(r.rolname, 'underway_')
                ) as roles
            from pg_proc p
            where p.pronamespace = to_regnamespace('underway')""")

    @cached_property
    def views(self) -> list[str]:
        """The names of the views of the schema."""
        return [
            row["name"]
            for row in self._rows("""
                select c.relname::text as name from pg_class c
                where c.relnamespace = to_regnamespace('underway') and c.relkind = 'v'""")
        ]

    @cached_property
    def indexes(self) -> list[str]:
        """The names of the indexes of the schema."""
        rows = self._rows("""
            select c.relname::text as name from pg_class c
            where c.relnamespace = to_regnamespace('underway') and c.relkind in ('i', 'I')""")
        return [row["name"] for row in rows]

    @cached_property
    def table_grants(self) -> list[Row]:
        """Rights on our tables of other roles than their owner: table, role."""
        return self._rows("""
            select distinct c.relname::text as table, coalesce(r.rolname::text, 'public') as role
            from pg_class c
            cross join aclexplode(c.relacl) a
            left join pg_roles r on r.oid = a.grantee
            where c.relnamespace = to_regnamespace('underway') and c.relkind in ('r', 'p') and a.grantee <> c.relowner
              and not (r.rolname = 'underway_worker' and a.privilege_type = 'MAINTAIN') -- workers vacuum
            order by 1, 2""")

    @cached_property
    def roles(self) -> dict[str, bool]:
        """The roles of Underway that exist, and whether the user of the connection has their rights."""
        rows = self._rows("""
            select r.rolname::text as name, pg_has_role(r.oid, 'usage') as mine
            from pg_roles r
            where r.rolname in ('underway_producer', 'underway_worker', 'underway_observer', 'underway_operator')""")
        return {row["name"]: row["mine"] for row in rows}

    @cached_property
    def owner(self) -> bool:
        """Whether the user of the connection has the rights of the owner of the schema."""
        rows = self._rows("""
            select pg_has_role(n.nspowner, 'usage') as mine from pg_namespace n where n.nspname = 'underway'""")
        return bool(rows and rows[0]["mine"])

    @cached_property
    def health(self) -> dict[str, Any]:
        """What `underway.database_health()` says."""
        return execute(self._connection, statements.database_health())

    @cached_property
    def settings(self) -> list[Setting]:
        """The settings that matter here: the defaults of the server, and those of databases and roles."""
        rows = self._rows("""
            with wanted as (
                select s.name, s.boot_val, s.reset_val, s.source
                from pg_settings s
                where s.name like 'enable\\_%' and s.vartype = 'bool'
                   or s.name in (
                       'fsync', 'full_page_writes', 'synchronous_commit', 'track_counts', 'jit', 'jit_above_cost',
                       'default_transaction_isolation', 'default_transaction_read_only', 'statement_timeout',
                       'synchronous_standby_names', 'transaction_timeout',
                       'idle_session_timeout', 'idle_in_transaction_session_timeout', 'autovacuum_freeze_max_age',
                       'max_connections', 'superuser_reserved_connections'
                   )
            )
            select w.name, w.reset_val as value, w.boot_val as boot_value, null as of
            from wanted w
            where not exists (
                select
                from pg_db_role_setting d
                cross join unnest(d.setconfig) as given (text)
                where d.setdatabase in (0, (select oid from pg_database where datname = current_database()))
                  and d.setrole in (0, (select oid from pg_roles where rolname = session_user))
                  and split_part(given.text, '=', 1) = w.name
            )
            union all
            select w.name, split_part(given.text, '=', 2), w.boot_val, concat_ws(' in database ',
                case when d.setrole <> 0 then format('role %I', pg_get_userbyid(d.setrole)) end,
                case
                    when d.setdatabase = 0 then null when d.setrole <> 0 then format('%I', current_database())
                    else format('database %I', current_database())
                end)
            from pg_db_role_setting d
            cross join unnest(d.setconfig) as given (text)
            join wanted w on w.name = split_part(given.text, '=', 1)
            where d.setdatabase in (0, (select oid from pg_database where datname = current_database()))""")
        return [Setting(**row) for row in rows]

    def setting(self, name: str) -> Setting:
        """The default of one setting."""
        found = [setting for setting in self.settings if setting.name == name]
        return min(found, key=lambda setting: setting.of is not None)

    @cached_property
    def jit_available(self) -> bool:
        """Whether the server has a JIT compiler."""
        return bool(self._rows("select pg_jit_available() as value")[0]["value"])

    @cached_property
    def standby(self) -> bool:
        """Whether the server is a standby, which only reads."""
        return bool(self._rows("select pg_is_in_recovery() as value")[0]["value"])

    @cached_property
    def standbys(self) -> list[Row]:
        """The standbys that follow: name, sync_state. None if the user may not see their states."""
        return self._rows("""
            select r.application_name as name, r.sync_state
            from pg_stat_replication r
            where r.state = 'streaming'
              and not exists (
                  select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical'
              )
            order by 1""")

    @cached_property
    def patroni(self) -> bool:
        """Whether Patroni has a session."""
        rows = self._rows("select from pg_stat_activity where application_name ilike 'patroni%'")
        return bool(rows)

    @cached_property
    def hosts(self) -> int:
        """How many hosts the dsn names."""
        return number_of_hosts(conninfo_to_dict(connections.read_dsn(self._dsn)))

    @cached_property
    def chooses_host(self) -> bool:
        """Whether the dsn says which of its hosts is wanted."""
        given = conninfo_to_dict(connections.read_dsn(self._dsn))
        return "target_session_attrs" in given or "PGTARGETSESSIONATTRS" in os.environ

    @cached_property
    def table_options(self) -> list[Row]:
        """Our tables for which autovacuum is switched off: name."""
        return self._rows("""
            select c.relname::text as name
            from pg_class c
            where c.relnamespace = to_regnamespace('underway') and c.relkind = 'r'
              and exists (
                  select from pg_options_to_table(c.reloptions) o
                  where o.option_name = 'autovacuum_enabled' and not o.option_value::boolean
              )
            order by 1""")

    @cached_property
    def workers_vacuum(self) -> bool:
        """Whether workers may vacuum the tasks without being the owner, which PostgreSQL 17 allows first."""
        if self._connection.info.server_version < 170000 or "underway_worker" not in self.roles:
            return False
        sql = "select has_table_privilege('underway_worker', 'underway.task', 'maintain') as value"
        return bool(self._rows(sql)[0]["value"])

    @cached_property
    def prepared_transactions(self) -> list[Row]:
        """Prepared transactions of this database: gid, age (seconds)."""
        return self._rows("""
            select p.gid, extract(epoch from clock_timestamp() - p.prepared)::float8 as age
            from pg_prepared_xacts p where p.database = current_database() order by p.prepared""")

    @cached_property
    def unidentified_tables(self) -> list[Row]:
        """Published tables of ours whose rows a subscriber cannot identify: table, publication."""
        return self._rows("""
            select p.tablename::text as table, p.pubname::text as publication
            from pg_publication_tables p
            join pg_publication b on b.pubname = p.pubname and (b.pubupdate or b.pubdelete)
            join pg_class c on c.relname = p.tablename and c.relnamespace = to_regnamespace('underway')
            where p.schemaname = 'underway'
              and (
                  c.relreplident = 'n'
                  or c.relreplident = 'd'
                  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
              )
            order by 1, 2""")

    @cached_property
    def transaction_id_age(self) -> int:
        """The age of the oldest transaction id of the database, in transactions."""
        rows = self._rows("select age(datfrozenxid) as age from pg_database where datname = current_database()")
        return int(rows[0]["age"])

    @cached_property
    def pooled(self) -> bool:
        """Whether the connection goes through a pooler."""
        return connections.is_pooled(self._connection)

    @cached_property
    def clock_offset(self) -> float:
        """How many seconds the clock of the server is ahead of that of this machine; the smallest of three readings."""
        readings = []
        for _ in range(3):
            before = self._now()
            server = self._rows("select extract(epoch from clock_timestamp())::float8 as now")[0]["now"]
            after = self._now()
            readings.append(0.0 if before <= server <= after else server - (after if server > after else before))
        return min(readings, key=abs)

    @cached_property
    def round_trip(self) -> float | None:
        """How many seconds a notification takes from one connection to another; None if it does not arrive."""
        channel = f"underway_doctor_{uuid.uuid4().hex}"
        with connections.connect(self._dsn, application_name="underway doctor") as listening:
            listening.execute(f"listen {channel}".encode())
            begun = time.monotonic()
            with self._connection.transaction():
                self._connection.execute("set local synchronous_commit = local")  # the standby may be lost
                self._connection.execute("select pg_notify(%s, '')", [channel])
            for _ in listening.notifies(timeout=_PATIENCE, stop_after=1):
                return time.monotonic() - begun
        return None

    @cached_property
    def queues(self) -> list[QueueStats]:
        """Every queue with its depth."""
        return execute(self._connection, statements.queues())

    @cached_property
    def workers(self) -> list[WorkerStats]:
        """The workers that were seen within the last minute."""
        return [worker for worker in self.all_workers if not worker.lost]

    @cached_property
    def all_workers(self) -> list[WorkerStats]:
        """Every registered worker, also those that are lost."""
        return execute(self._connection, statements.workers())

    @cached_property
    def schedules(self) -> list[ScheduleStats]:
        """Every schedule."""
        return execute(self._connection, statements.schedules())

    @cached_property
    def unfinished_moves(self) -> list[Row]:
        """Tasks on their way to another database: shard, tasks, begun_at."""
        return self._rows("select shard, tasks, begun_at from underway.unfinished_moves order by shard")

    @cached_property
    def database_now(self) -> Any:
        """The time by the clock of the database."""
        return self._rows("select underway._clock() as now")[0]["now"]

    @cached_property
    def starts_per_second(self) -> float:
        """How many tasks were started a second, in the last ten minutes."""
        rows = self._rows("""
            select coalesce(sum(s.started), 0)::float8 / 600 as rate
            from underway.stats_by_queue(underway._clock() - interval '10 minutes', underway._clock()) s""")
        return float(rows[0]["rate"])
