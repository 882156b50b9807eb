"""Commands for workers: list them, stop them, and show the numbers of the whole installation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import statements
from ..client import execute
from ..models import WorkerStats
from .database import change, connect, database_time, query_with_time
from .errors import WrongUsage
from .options import Dsn, Json
from .output import echo, echo_json, echo_table, relative
from .rates import CAPPED, DONE, Period, Since, rate

__all__ = ["commands", "worker_state"]

commands = typer.Typer()


@commands.command()
def workers(dsn: Dsn = None, as_json: Json = False) -> None:
    """List the running workers."""
    found, now = query_with_time(dsn, statements.workers())
    if as_json:
        echo_json([asdict(worker) for worker in found])
        return
    echo_table(
        ["id", "name", "queues", "state", "running", "concurrency", "oldest task", "started", "seen", "version",
         "skipped jobs"],
        [
            [
                worker.id, worker.name, ", ".join(worker.queues),
                worker_state(worker), worker.in_progress, worker.concurrency,
                relative(worker.oldest_started_at, now), relative(worker.started_at, now),
                relative(worker.seen_at, now), worker.version, ", ".join(worker.skipped_jobs),
            ]
            for worker in found
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
def stats(since: Since = None, dsn: Dsn = None, as_json: Json = False) -> None:
    """Show the numbers of the whole installation: tasks by state now, and what happened in the last hour."""
    with connect(dsn) as connection:
        period = Period.last(since, database_time(connection))
        numbers = execute(connection, statements.stats())
        by_queue = execute(connection, statements.stats_by_queue(period.since, period.until))
    done = {name: sum(getattr(queue, name) for queue in by_queue) for name in DONE}
    if as_json:
        echo_json({**numbers, "period": {"seconds": period.seconds, **done}})
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
