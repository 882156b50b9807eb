"""Commands about the workers of a database and the whole installation: list them, count, ask them to stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import statements
from ..models import WorkerStats
from .database import ask, ask_with_time
from .errors import WrongUsage
from .options import Dsn, Json
from .output import relative, say, say_json, say_table

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def workers(dsn: Dsn = None, as_json: Json = False) -> None:
    """List the workers, and what they hold."""
    found, now = ask_with_time(dsn, statements.workers())
    if as_json:
        say_json([asdict(worker) for worker in found])
        return
    say_table(
        ["id", "name", "queues", "state", "running", "concurrency", "oldest task", "started", "seen"],
        [
            [
                worker.id, worker.name, ", ".join(worker.queues),
                _worker_state(worker), worker.in_progress, worker.concurrency,
                relative(worker.oldest_started_at, now), relative(worker.started_at, now),
                relative(worker.seen_at, now),
            ]
            for worker in found
        ],
        "no workers; start one: underway worker MODULE:APP",
    )  # fmt: skip


def _worker_state(worker: WorkerStats) -> str:
    if worker.lost:
        return "lost"
    if worker.stop_asked_at:
        return "stopping"
    return "idle" if worker.idle else "busy"


@commands.command()
def stats(dsn: Dsn = None, as_json: Json = False) -> None:
    """Show the whole installation in a few numbers."""
    numbers = ask(dsn, statements.stats())
    if as_json:
        say_json(numbers)
    else:
        say_table(["what", "value"], [[name.replace("_", " "), f"{value:.10g}"] for name, value in numbers.items()])


@commands.command()
def stop(
    worker: Annotated[int | None, typer.Option(metavar="ID", help="The worker of this id.", show_default=False)] = None,
    queue: Annotated[str | None, typer.Option(help="The workers that serve this queue.", show_default=False)] = None,
    all_workers: Annotated[bool, typer.Option("--all", help="All workers.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Ask workers to stop, wherever they run: they let running tasks end, and give back the rest."""
    if [worker is not None, queue is not None, all_workers].count(True) != 1:
        raise WrongUsage("say which workers are to stop: --worker ID, --queue NAME or --all")
    count = ask(dsn, statements.stop_workers(worker, queue, all_workers))
    if as_json:
        say_json({"asked": count})
    else:
        say(f"{count} {'worker is' if count == 1 else 'workers are'} asked to stop")
