"""The command `jobs`: list the jobs, their settings, and what happened to their tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import psycopg
import typer

from .. import statements
from ..client import execute
from ..models import JobStats, TaskStats
from ..settings import RetryPolicy
from .database import database_time
from .databases import Databases, on_databases
from .names import queue_names
from .options import Json
from .output import relative
from .rates import Period, Since, percentiles, rate

__all__ = ["commands"]

commands = typer.Typer()

_POLICY = [field.name for field in fields(JobStats)]


@commands.command()
@on_databases
def jobs(
    databases: Databases,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only the jobs of this queue.", autocompletion=queue_names, show_default=False
        ),
    ] = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """List the jobs with the settings that they have themselves, and what happened to their tasks in the last hour.

    The other settings are those of their queues. Run and wait are the 50th, 95th and 99th percentiles of the durations
    of attempts, and of the time from being due to the start.
    """

    def read(connection: psycopg.Connection[Any]) -> list[_Listed]:
        period = Period.last(since, database_time(connection))
        found = execute(connection, statements.jobs())
        done = execute(connection, statements.stats_by_job(period.since, period.until, queue))
        policies = {job.job: job for job in found if queue in (None, job.queue)}
        stats = {(each.job or None, each.queue): each for each in done}
        # A job without tasks, and tasks without a registered job, are listed too.
        unused = {(job.job, job.queue) for job in policies.values() if job.job not in {name for name, _ in stats}}
        listed = sorted({*stats, *unused}, key=lambda key: (key[0] or "", key[1] or ""))
        return [
            _Listed(name, in_queue, policies.get(name or ""), stats.get((name, in_queue)), period)
            for name, in_queue in listed
        ]

    listed = [(shard, each) for shard, found in databases.read(read).items() for each in found]
    if as_json:
        databases.show_json("jobs", [(shard, each.as_dict()) for shard, each in listed])
        return
    databases.show(
        ["job", "queue", "settings", "started", "succeeded", "failed", "retried", "run p50 / p95 / p99",
         "wait p50 / p95 / p99", "application", "updated"],
        [(shard, each.row()) for shard, each in listed],
        "no jobs; a worker registers those of its application when it starts, and underway sync MODULE:APP does",
    )  # fmt: skip


@dataclass(frozen=True)
class _Listed:
    """A line of the list: a job and a queue, the settings of the job, and what happened to its tasks there."""

    name: str | None
    queue: str | None
    job: JobStats | None
    stats: TaskStats | None
    period: Period

    def as_dict(self) -> dict[str, Any]:
        return {
            **dict.fromkeys(_POLICY), **_as_dict(self.job), "job": self.name, "queue": self.queue,
            "stats": {"seconds": self.period.seconds, **_as_dict(self.stats)},
        }  # fmt: skip

    def row(self) -> list[object]:
        return [
            self.name, self.queue, _settings(self.job) if self.job else None, *_numbers(self.stats, self.period),
            self.job.owner if self.job else None,
            relative(self.job.updated_at, self.period.until) if self.job else None,
        ]  # fmt: skip


def _as_dict(value: JobStats | TaskStats | None) -> dict[str, Any]:
    return {} if value is None else asdict(value)


def _numbers(stats: TaskStats | None, period: Period) -> list[str | None]:
    if stats is None:
        return ["0", "0", "0", "0", None, None]
    counts = (stats.started, stats.succeeded, stats.failed, stats.retried)
    return [
        *(rate(count, period.seconds) for count in counts),
        percentiles(stats.run_p50, stats.run_p95, stats.run_p99),
        percentiles(stats.wait_p50, stats.wait_p95, stats.wait_p99),
    ]


def _settings(job: JobStats) -> str:
    """The settings that a job has itself, in words."""
    names = [field.name for field in fields(job) if field.name not in ("job", "queue", "owner")]
    given = {name: getattr(job, name) for name in names if not name.endswith("_at")}
    words = [f"{name} {value}" for name, value in given.items() if value is not None and name != "retry"]
    return ", ".join([*_attempts(job.retry), *words])


def _attempts(retry: RetryPolicy | None) -> list[str]:
    return [] if retry is None else [f"{retry.max_attempts} attempts"]
