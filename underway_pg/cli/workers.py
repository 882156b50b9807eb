"""Commands for workers: list them, stop them, and show the numbers of the whole installation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..models import TaskStats, WorkerStats
from .database import change, database_time, with_time
from .databases import Databases, on_databases
from .errors import WrongUsage
from .options import Dsn, Json
from .output import echo, echo_json, echo_table, relative
from .rates import CAPPED, DONE, Period, Since, added, rate

__all__ = ["commands", "worker_state"]

commands = typer.Typer()


@commands.command()
@on_databases
def workers(databases: Databases, as_json: Json = False) -> None:
    """List the running workers."""
    answers = databases.read(lambda connection: with_time(connection, statements.workers()))
    found = [(shard, worker, now) for shard, (workers, now) in answers.items() for worker in workers]
    if as_json:
        databases.show_json("workers", [(shard, asdict(worker)) for shard, worker, _ in found])
        return
    databases.show(
        ["id", "name", "queues", "state", "running", "concurrency", "oldest task", "started", "seen", "version",
         "skipped jobs"],
        [
            (shard, [
                worker.id, worker.name, ", ".join(worker.queues),
                worker_state(worker), worker.in_progress, worker.concurrency,
                relative(worker.oldest_started_at, now), relative(worker.started_at, now),
                relative(worker.seen_at, now), worker.version, ", ".join(worker.skipped_jobs),
            ])
            for shard, worker, now in found
        ],
        "no workers; start one: underway worker MODULE:APP",
    )  # fmt: skip


def worker_state(worker: WorkerStats) -> str:
    """The state of a worker in one word."""
    if worker.lost:
        return "lost"
    if worker.stop_asked_at:
        return "stopping"
    return "idle" if worker.idle else "busy"


@commands.command()
@on_databases
def stats(databases: Databases, since: Since = None, as_json: Json = False) -> None:
    """Show the numbers of the whole installation: tasks by state now, and what happened in the last hour."""

    def read(connection: psycopg.Connection[Any]) -> tuple[dict[str, float], list[TaskStats], Period]:
        period = Period.last(since, database_time(connection))
        numbers = execute(connection, statements.stats())
        return numbers, execute(connection, statements.stats_by_queue(period.since, period.until)), period

    answers = list(databases.read(read).values())
    numbers = added([numbers for numbers, _, _ in answers])
    done = {name: sum(getattr(queue, name) for _, by_queue, _ in answers for queue in by_queue) for name in DONE}
    period = answers[0][2]
    if as_json:
        echo_json(databases.with_unreachable({**numbers, "period": {"seconds": period.seconds, **done}}))
        return
    more = "+" if numbers.pop("capped", False) else ""  # of tasks; see the command queues
    rows = [
        [name.replace("_", " "), f"{value:.10g}{more if name in CAPPED and value else ''}"]
        for name, value in numbers.items()
    ]
    echo_table(
        ["number", "value"], rows + [[f"{name}, rate", rate(count, period.seconds)] for name, count in done.items()]
    )


@commands.command()
def stop(
    worker: Annotated[
        int | None, typer.Option(metavar="ID", help="The worker with this id.", show_default=False)
    ] = None,
    queue: Annotated[str | None, typer.Option(help="The workers that serve this queue.", show_default=False)] = None,
    all_workers: Annotated[bool, typer.Option("--all", help="All workers.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Ask workers to stop, on any host. Running tasks may finish within the shutdown timeout of their worker."""
    if [worker is not None, queue is not None, all_workers].count(True) != 1:
        raise WrongUsage("give exactly one of --worker ID, --queue NAME and --all")
    asked = {"worker": worker, "queue": queue, "all": all_workers}
    count = change(dsn, statements.stop_workers(worker, queue, all_workers), "stop_workers", **asked)
    if as_json:
        echo_json({"asked": count})
    else:
        echo(f"{count} {'worker' if count == 1 else 'workers'} asked to stop")
