"""What follows each `manage.py migrate` and `manage.py flush`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections, router, transaction
from django.db.migrations.loader import MigrationLoader

from ..schema import migrations, steps
from .application import app

__all__ = ["after_migrate"]

_INSTALLATION = """
    select has_table_privilege(c.oid, 'select')
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where (n.nspname, c.relname) = ('underway', 'migration')"""

# The settings of the schema stay: they are no data of the project.
_EMPTY = """
    do $$
    declare
        v_table text;
        v_found boolean;
    begin
        for v_table in
            select c.oid::regclass
            from pg_class c
            where c.relnamespace = 'underway'::regnamespace
              and c.relkind = 'r'
              and c.relname not in ('migration', 'installation', 'setting')
        loop
            execute format('select exists (select from %s)', v_table) into v_found;
            if v_found then
                execute format('truncate %s cascade', v_table);
            end if;
        end loop;
    end;
    $$"""


def after_migrate(sender: AppConfig, using: str, **details: Any) -> None:
    """Bring the functions up to date, and write the declared queues, jobs and schedules into the database.

    A new version of the package may have new functions without a migration. Without migrations, as in the tests of some
    projects, the whole schema is installed here. After a flush all tasks are gone: the signal has no `plan` then.
    """
    if using != app.database or not router.allow_migrate(using, sender.label):
        return
    newest = migrations()[-1].version
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(_INSTALLATION)
        is_readable = cursor.fetchone()
        if is_readable == (True,):
            cursor.execute("select coalesce(max(version), 0) from underway.migration")
            (version,) = cursor.fetchone()
            if version != newest:
                return  # migrated to an older version, on purpose
        elif is_readable is None and MigrationLoader.migrations_module(sender.label)[0] is None:
            version = 0
        else:
            return  # the schema belongs to another role, or it is not installed
        if version and "plan" not in details:
            cursor.execute(_EMPTY)
        for statement in steps(version, newest):
            cursor.execute(statement)
    app.sync()
