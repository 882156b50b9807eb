"""The command `console`: the SQL of a console for operators, over all shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import connections
from ..console import router_sql
from ..errors import DatabaseUnavailable
from ..shardfile import read_shards
from .errors import WrongUsage
from .options import Json
from .output import echo_json, print_error

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def console(
    shards: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="A TOML file with a table for each shard: [name], with number and dsn.",
            show_default=False,
        ),
    ],
    sql: Annotated[bool, typer.Option("--sql", help="Print it as SQL.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Print the SQL that makes a database with PL/Proxy the console of operators for all shards.

    There the functions of operators and observers run on the shard of an id, or on all shards, and the views list all.
    It reads the functions from the catalogue of the first shard that can be reached. If the dsns have a password, the
    SQL has it too.
    """
    if not sql:
        raise WrongUsage("console prints SQL for a database with PL/Proxy: add --sql, and give its output to psql")
    listed = read_shards(shards)
    for shard in listed:
        try:
            with connections.connect(shard.dsn) as connection:
                text = router_sql(connection, listed)
                if as_json:
                    echo_json({"sql": text})
                else:
                    typer.echo(text, nl=False)
                return
        except DatabaseUnavailable as error:
            print_error(f"{shard.name}: {error}")
    raise DatabaseUnavailable("no shard can be reached, and the functions are read from the catalogue of one")
