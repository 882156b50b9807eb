"""The command `jobs`: list the jobs that the database knows."""

from __future__ import annotations

from dataclasses import asdict, fields

import typer

from .. import statements
from ..models import JobStats
from ..settings import RetryPolicy
from .database import query_with_time
from .options import Dsn, Json
from .output import echo_json, echo_table, relative

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def jobs(dsn: Dsn = None, as_json: Json = False) -> None:
    """List the registered jobs with the settings that they have themselves; the others are those of their queues."""
    found, now = query_with_time(dsn, statements.jobs())
    if as_json:
        echo_json([asdict(job) for job in found])
        return
    echo_table(
        ["job", "queue", "settings", "application", "updated"],
        [[job.job, job.queue, _settings(job), job.owner, relative(job.updated_at, now)] for job in found],
        "no jobs; a worker registers those of its application when it starts, and underway sync MODULE:APP does",
    )


def _settings(job: JobStats) -> str:
    """The settings that a job has itself, in words."""
    names = [field.name for field in fields(job) if field.name not in ("job", "queue", "owner")]
    given = {name: getattr(job, name) for name in names if not name.endswith("_at")}
    words = [f"{name} {value}" for name, value in given.items() if value is not None and name != "retry"]
    return ", ".join([*_attempts(job.retry), *words])


def _attempts(retry: RetryPolicy | None) -> list[str]:
    return [] if retry is None else [f"{retry.max_attempts} attempts"]
