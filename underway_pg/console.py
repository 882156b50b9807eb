"""The SQL of a console for operators: a router schema for PL/Proxy, generated from the catalogue of a shard.

A call of the console runs on the shard that the id of a task, batch or worker names, or on all shards at once. Each of
its calls commits by itself, so the functions of producers and workers are stubs that raise an error: a task that they
enqueued would stay after a rollback on the router, and a task that they claimed would be lost with the transaction.

The parts of the schema that do not depend on the catalogue are the files in sql/console.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .connections.dsn import conninfo
from .errors import ConfigurationError
from .schema import sql_directory
from .shardfile import Shard

__all__ = ["router_sql"]

Connection = psycopg.Connection[Any]

# A schedule belongs to one shard: on each of several it would enqueue its task several times.
_ON_ONE_SHARD = frozenset({"pause_schedule", "resume_schedule", "run_schedule_now", "schedule", "unschedule"})

# Of no use through a router: the notification for which it asks stays on the shard.
_NOT_ROUTED = frozenset({"watch"})

# It would fetch all tasks of all shards; sql/console has the function `tasks`, which takes a filter and a limit.
_NOT_LISTED = ["task_list"]

# The names of first arguments that are ids with the number of a shard in them.
_IDS = frozenset({"batch", "task", "worker"})

# A function that none of these roles may call is for the owner of the schema, on the shard.
_CONSOLE_ROLES = frozenset({"underway_observer", "underway_operator"})
_OTHER_ROLES = frozenset({"underway_producer", "underway_worker"})


def router_sql(connection: Connection, shards: Sequence[Shard]) -> str:
    """The SQL that makes a database with the language PL/Proxy the console of these shards.

    `connection` leads to one of them, whose catalogue it reads. Raises ConfigurationError if the shards have several
    users or passwords, since PL/Proxy has one account for all.
    """
    begin, routing, end = (path.read_text(encoding="utf-8") for path in sorted((sql_directory() / "console").iterdir()))
    statements = [
        _cluster(shards), _shard_list(shards), routing, *_types(connection), *_functions(connection),
        *_views(connection),
    ]  # fmt: skip
    return "\n".join([begin, *statements, end])


def _cluster(shards: Sequence[Shard]) -> str:
    """The shards as PL/Proxy connects to them. The account is in the user mapping, whose options nobody can read."""
    partitions, accounts = [], set()
    for number, shard in enumerate(shards):
        place = conninfo_to_dict(conninfo(shard.dsn, "underway console"))
        accounts.add((place.pop("user", None), place.pop("password", None)))
        del place["connect_timeout"]  # which libpq does not apply to connections in the background
        partitions.append(f"    p{number} {_literal(make_conninfo('', **place))}")
    if len(accounts) > 1:
        raise ConfigurationError(
            "the dsns of the shards differ in user or password, and PL/Proxy has one account for all shards: use one"
            " account, or leave the passwords to the passfile of the router"
        )
    ((user, password),) = accounts
    given = (("user", user), ("password", password))
    account = ", ".join(f"{key} {_literal(str(value))}" for key, value in given if value)
    return (
        "create server underway foreign data wrapper plproxy options (\n    modular_mapping '1',\n"
        + ",\n".join(partitions)
        + "\n);\ncreate user mapping for public server underway"
        + (f" options ({account});\n" if account else ";\n")
    )


def _shard_list(shards: Sequence[Shard]) -> str:
    rows = ", ".join(f"({shard.number}, {_literal(shard.name)}, {number})" for number, shard in enumerate(shards))
    return (
        "create view underway.shard_list as\n"
        f"select s.shard, s.name, s.partition from (values {rows}) as s (shard, name, partition);\n"
    )


@dataclass(frozen=True, kw_only=True)
class _Function:
    """A public function of a shard, and the roles that may call it there."""

    name: str
    arguments: str
    types: str
    result: str
    returns_set: bool
    is_pure: bool
    needs_argument: bool
    first_argument: str | None
    roles: list[str]


def _functions(connection: Connection) -> Iterator[str]:
    """The public functions: those of observers and operators run on shards, the others raise an error."""
    for row in connection.execute(
        """select
            p.proname, pg_get_function_arguments(p.oid), pg_get_function_identity_arguments(p.oid),
            regexp_replace(pg_get_function_result(p.oid), '^SETOF ', ''), p.proretset, p.provolatile = 'i',
            p.pronargs > p.pronargdefaults, p.proargnames[1], r.names
        from pg_catalog.pg_proc p
        cross join lateral (
            select array_agg(r.rolname::text) from pg_catalog.pg_roles r
            where r.rolname = any (%s) and has_function_privilege(r.oid, p.oid, 'execute')
        ) r (names)
        where p.pronamespace = to_regnamespace('underway') and p.proname not like '\\_%%' and r.names is not null
        order by p.proname, p.oid""",
        [[*_CONSOLE_ROLES, *_OTHER_ROLES]],
    ):
        function = _Function(**dict(zip(_Function.__dataclass_fields__, row, strict=True)))
        is_routed = function.name not in _NOT_ROUTED and not _CONSOLE_ROLES.isdisjoint(function.roles)
        yield _routed(function) if is_routed else _stub(function)


def _routed(function: _Function) -> str:
    """A function that runs on one shard, or on all that are chosen, with the rows of each."""
    on_one = True
    if function.is_pure:
        where = "any"
    elif function.name in _ON_ONE_SHARD:
        where = "underway._chosen_partition()"
    elif function.first_argument in _IDS:
        where, on_one = f"underway._partitions({function.first_argument})", function.needs_argument
    else:
        where, on_one = "underway._partitions(null)", False
    body = f"    cluster 'underway';\n    run on {where};"
    return _created(function, "plproxy", body, _CONSOLE_ROLES & set(function.roles), is_set=not on_one)


def _stub(function: _Function) -> str:
    """A function that only says why it does not run through a router."""
    body = f"""\
begin
    raise exception using
        errcode = 'feature_not_supported',
        message = 'underway.{function.name} does not run through this console: each of its calls commits at once',
        hint = 'Connect to the shard, and call it in the transaction that it belongs to.';
end;"""
    return _created(function, "plpgsql", body, _CONSOLE_ROLES)


def _created(function: _Function, language: str, body: str, roles: Set[str], *, is_set: bool = False) -> str:
    result = f"setof {function.result}" if is_set or function.returns_set else function.result
    signature = f"underway.{function.name}({function.types})"
    return f"""\
create function underway.{function.name}({function.arguments}) returns {result} language {language} as $$
{body}
$$;
revoke all on function {signature} from public;
grant execute on function {signature} to {", ".join(sorted(roles))};
"""


# The columns of a relation with their types, as they are written in a definition.
_COLUMNS = """
    select array_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) order by a.attnum)
    from pg_catalog.pg_attribute a where a.attnum > 0 and a.attrelid = """


def _types(connection: Connection) -> Iterator[str]:
    """The types of the schema that functions and views use, each after those of its columns."""
    for name, labels, columns in connection.execute(
        f"""with recursive used (id) as (
            select t.id
            from pg_catalog.pg_proc p
            cross join lateral unnest(p.proargtypes::oid[] || p.proallargtypes || p.prorettype) as t (id)
            where p.pronamespace = to_regnamespace('underway') and p.proname not like '\\_%'
            union
            select a.atttypid
            from pg_catalog.pg_class v join pg_catalog.pg_attribute a on a.attrelid = v.oid
            where v.relnamespace = to_regnamespace('underway') and v.relkind = 'v'
            union
            select coalesce(nullif(t.typelem, 0), a.atttypid)
            from used u
            join pg_catalog.pg_type t on t.oid = u.id and t.typnamespace = to_regnamespace('underway')
            left join pg_catalog.pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0
        )
        select
            t.typname,
            (select array_agg(quote_literal(e.enumlabel) order by e.enumsortorder)
             from pg_catalog.pg_enum e where e.enumtypid = t.oid),
            ({_COLUMNS} t.typrelid)
        from used u
        join pg_catalog.pg_type t on t.oid = u.id
        where t.typnamespace = to_regnamespace('underway') and t.typtype in ('c', 'e')
        order by t.oid""".encode()
    ):
        yield f"create type underway.{name} as {'enum ' if labels else ''}({', '.join(labels or columns)});\n"


def _views(connection: Connection) -> Iterator[str]:
    """The views, with the rows of all chosen shards and the name of the shard of each."""
    for name, columns in connection.execute(
        f"""select c.relname, ({_COLUMNS} c.oid)
        from pg_catalog.pg_class c
        where c.relnamespace = to_regnamespace('underway') and c.relkind = 'v' and c.relname <> all (%s)
        order by c.relname""".encode(),
        [_NOT_LISTED],
    ):
        names = ", ".join(f"v.{column.partition(' ')[0]}" for column in columns)
        yield f"""\
create function underway._{name}() returns table (shard_number integer, {", ".join(columns)}) language plproxy as $$
    cluster 'underway';
    run on underway._partitions(null);
    select underway.shard() as shard_number, v.* from underway.{name} v;
$$;
create view underway.{name} as
select s.name as shard, {names} from underway._{name}() v join underway.shard_list s on s.shard = v.shard_number;
"""


def _literal(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"
