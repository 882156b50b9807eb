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
    shard: Annotated[
        int | None,
        typer.Option(
            "--shard",
            min=0,
            max=511,
            metavar="N",
            help="The number of this database among the shards of an application, before its first task; 0 if it is"
            " never given. Ids have it in their high bits.",
            show_default=False,
        ),
    ] = None,
    testing: Annotated[
        bool | None,
        typer.Option(
            "--testing/--no-testing",
            help="Mark the database as one for tests, whose tasks may be deleted and whose clock may be stopped (schema"
            " underway_test), or remove the mark.",
            show_default=False,
        ),
    ] = None,
    no_transaction: Annotated[
        bool, typer.Option("--no-transaction", help="With --sql: no begin and commit, for a tool that has its own.")
    ] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Install or upgrade the schema. An up-to-date schema is not changed."""
    if sql and (plan or as_json):
        raise WrongUsage("--sql does not go together with --plan or --json")
    if testing is not None and (plan or as_json):
        raise WrongUsage("--testing does not go together with --plan or --json")
    if no_transaction and not sql:
        raise WrongUsage("--no-transaction goes together with --sql only")
    if sql:
        steps = "\n".join(schema.steps(0, schema.migrations()[-1].version, shard=shard))
        script = steps if no_transaction else schema.script(shard)
        typer.echo(script + (schema.testing_script() if testing else ""), nl=False)
        return
    if plan:
        with connect(dsn) as connection:
            todo = schema.plan(connection, shard)
    else:
        todo = schema.migrate(require_dsn(dsn), shard=shard)
    if as_json:
        echo_json(asdict(todo))
        return
    for name in todo.migrations:
        echo(f"{'to apply' if plan else 'applied'}: migration {name}")
    if todo.functions:
        echo(f"{'to install' if plan else 'installed'}: the functions")
    if todo.shard is not None:
        echo(f"{'to set' if plan else 'set'}: the shard number {todo.shard}")
    if not todo:
        echo("the schema is up to date")
    if testing is not None:
        _mark(require_dsn(dsn), for_tests=testing)


def _mark(dsn: str, *, for_tests: bool) -> None:
    from ..testing import install, uninstall  # few need it

    if for_tests:
        install(dsn)
        echo("installed: the schema underway_test; the database is now one for tests")
    elif uninstall(dsn):
        echo("removed: the schema underway_test")
