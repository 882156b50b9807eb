"""The command `sync`: write what an application declares into the database."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from ..models import SyncResult
from ..shards import call_each
from .application import Application, import_application
from .options import Dsn, Json
from .output import echo, echo_json, print_error

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

    With several databases this is done in each; the exit code is 1 if one cannot be reached. A worker does the same
    when it starts, unless it has --no-sync or its role lacks the right.
    """
    with import_application(application, dsn) as app:
        if not app.shards:
            synced = app.sync(prune=prune, plan=plan)
            if as_json:
                echo_json(asdict(synced))
            else:
                _print(synced)
            return
        answers = call_each({name: partial(app.shard(name).sync, prune=prune, plan=plan) for name in app.shards})
    unreachable = {name: str(error) for name, error in answers.unreachable.items()}
    if as_json:
        echo_json({**{name: asdict(synced) for name, synced in answers.results.items()}, "unreachable": unreachable})
    for name, synced in answers.results.items() if not as_json else ():
        _print(synced, f"{name}: ")
    for name, error in unreachable.items():
        print_error(f"{name} cannot be reached: {error}")
    if unreachable:
        raise typer.Exit(1)


def _print(synced: SyncResult, prefix: str = "") -> None:
    lines = [
        f"{what}: {kind.removesuffix('s')} {name}"
        for kind, changes in asdict(synced).items()
        for what, names in changes.items()
        if what != "unchanged"
        for name in names
    ]
    for line in lines or ["the database is as the application declares it"]:
        echo(prefix + line)
