"""The command `migrate`: install or upgrade the schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import schema
from .database import connect, require_dsn
from .errors import WrongUsage
from .options import Dsn, Json
from .output import echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be done, and do nothing.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the whole schema as SQL. Needs no database.")] = False,
    no_transaction: Annotated[
        bool, typer.Option("--no-transaction", help="With --sql: no begin and commit, for a tool that has its own.")
    ] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Install or upgrade the schema. An up-to-date schema is not changed."""
    if sql and (plan or as_json):
        raise WrongUsage("--sql does not go together with --plan or --json")
    if no_transaction and not sql:
        raise WrongUsage("--no-transaction goes together with --sql only")
    if sql:
        steps = "\n".join(schema.steps(0, schema.migrations()[-1].version))
        typer.echo(steps if no_transaction else schema.script(), nl=False)
        return
    if plan:
        with connect(dsn) as connection:
            todo = schema.plan(connection)
    else:
        todo = schema.migrate(require_dsn(dsn))
    if as_json:
        echo_json(asdict(todo))
        return
    for name in todo.migrations:
        echo(f"{'to apply' if plan else 'applied'}: migration {name}")
    if todo.functions:
        echo(f"{'to install' if plan else 'installed'}: the functions")
    if not todo:
        echo("the schema is up to date")
