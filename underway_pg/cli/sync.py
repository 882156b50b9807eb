"""The command `sync`: write what an application declares into the database."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .application import Application, import_application
from .options import Dsn, Json
from .output import echo, echo_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def sync(
    application: Application,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove jobs and schedules that the App no longer declares.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be done, and do nothing.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Write the queues, jobs and schedules that an application declares to the database, all or none.

    A worker does the same when it starts, unless it has --no-sync or its role lacks the right.
    """
    with import_application(application, dsn) as app:
        synced = asdict(app.sync(prune=prune, plan=plan))
    if as_json:
        echo_json(synced)
        return
    lines = [
        f"{what}: {kind.removesuffix('s')} {name}"
        for kind, changes in synced.items()
        for what, names in changes.items()
        if what != "unchanged"
        for name in names
    ]
    for line in lines or ["the database is as the application declares it"]:
        echo(line)
