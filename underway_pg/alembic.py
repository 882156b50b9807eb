"""The schema of Underway in revisions of Alembic, over psycopg, psycopg2 and asyncpg, online and with `--sql`.

In a revision:

    from alembic import op
    from underway_pg import alembic as underway

    def upgrade():
        underway.upgrade(op)

    def downgrade():
        underway.downgrade(op)

When a later version of the package brings a new version of the schema, or other functions, add a revision like it.
"""

from __future__ import annotations

from typing import Any

from . import schema

__all__ = ["downgrade", "upgrade"]


def upgrade(op: Any, version: int | None = None) -> None:
    """Install or upgrade the schema, up to a version: the number of a migration, by default the newest.

    `op` is that of alembic. What is installed already is not installed again. An earlier version than the newest has
    no functions until a later revision upgrades to the newest.
    """
    newest = schema.migrations()[-1].version
    _execute(op, schema.steps(0, newest if version is None else version))


def downgrade(op: Any, version: int = 0) -> None:
    """Take the schema back to a version. At 0, the default, it is removed with all tasks.

    An earlier version has no functions until the package of that version installs them.
    """
    _execute(op, schema.steps(schema.migrations()[-1].version, version))


def _execute(op: Any, statements: list[str]) -> None:
    from sqlalchemy import DDL

    context = op.get_context()
    for statement in statements:
        if context.as_sql:
            context.impl.static_output(statement)
        else:
            # Neither :name nor % is a placeholder here. DDL and the drivers without parameters take %% for a %.
            op.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
