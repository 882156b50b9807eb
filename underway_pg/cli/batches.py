"""Commands for batches: list and cancel them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

import typer

from .. import statements
from .database import change, with_time
from .databases import Databases, on_databases
from .options import Dsn, Json
from .output import echo, echo_json, relative

__all__ = ["batch_commands", "commands"]

commands = typer.Typer()
batch_commands = typer.Typer(help="Cancel batches.")


@commands.command()
@on_databases
def batches(
    databases: Databases,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="The maximum number of batches.")] = 50,
    as_json: Json = False,
) -> None:
    """List the newest batches and their progress."""
    answers = databases.read(lambda connection: with_time(connection, statements.batches(limit)))
    found = [(shard, batch, now) for shard, (batches, now) in answers.items() for batch in batches]
    if databases.several:  # each database gives its own in this order
        found = sorted(found, key=lambda row: row[1].created_at, reverse=True)[:limit]
    if as_json:
        databases.show_json("batches", [(shard, asdict(batch)) for shard, batch, _ in found])
        return
    databases.show(
        ["id", "name", "state", "progress", "tasks", "live", "succeeded", "failed", "cancelled", "on success",
         "on final", "on failure", "created", "final"],
        [
            (shard, [
                batch.batch, batch.name, batch.state, f"{math.floor(100 * batch.progress)} %", batch.tasks, batch.live,
                batch.succeeded, batch.failed, batch.cancelled, batch.on_success, batch.on_final, batch.on_failure,
                relative(batch.created_at, now), relative(batch.final_at, now),
            ])
            for shard, batch, now in found
        ],
        "no batches",
    )  # fmt: skip


@batch_commands.command("cancel")
def cancel_batch(
    batch: Annotated[int, typer.Argument(metavar="ID", help="The id of a batch.")],
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Cancel the live tasks of a batch. Its callbacks then run."""
    count = change(dsn, statements.cancel_batch(batch), "cancel_batch", batch=batch)
    if as_json:
        echo_json({"cancelled": count})
    else:
        echo(f"batch {batch}: {count} {'task' if count == 1 else 'tasks'} cancelled")
