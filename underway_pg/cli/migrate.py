"""The command `migrate`: the schema, installed or upgraded."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import schema
from .database import connect, given
from .errors import WrongUsage
from .options import Dsn, Json
from .output import say, say_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and do nothing.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the installation as SQL; needs no database.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Install or upgrade the schema; run again, it changes nothing."""
    if sql and (plan or as_json):
        raise WrongUsage("--sql prints the whole script; leave out --plan and --json")
    if sql:
        typer.echo(schema.script(), nl=False)
        return
    if plan:
        with connect(dsn) as connection:
            todo = schema.plan(connection)
    else:
        todo = schema.migrate(given(dsn))
    if as_json:
        say_json(asdict(todo))
        return
    for name in todo.migrations:
        say(f"{'to apply' if plan else 'applied'}: migration {name}")
    if todo.functions:
        say(f"{'to install' if plan else 'installed'}: the functions")
    if not todo:
        say("nothing to do")
