"""The names that the shell completes: queues, jobs, schedules, from the database if it answers in time."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import typer

from .. import connections
from ..connections import Dsn

__all__ = ["job_names", "queue_names", "schedule_names"]

# Seconds. A person who presses the tab key waits for it.
_PATIENCE = 0.5


def queue_names(context: typer.Context, incomplete: str) -> list[str]:
    """The queues whose names begin so."""
    return _names(context, "select queue from underway.queue_list order by queue", incomplete)


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """The jobs whose names begin so."""
    return _names(context, "select job from underway.job_list order by job", incomplete)


def schedule_names(context: typer.Context, incomplete: str) -> list[str]:
    """The schedules whose names begin so."""
    return _names(context, "select schedule from underway.schedule_stats order by schedule", incomplete)


def _names(context: typer.Context, sql: str, incomplete: str) -> list[str]:
    """The names that a query returns; none if the database does not answer in time, or refuses."""
    given = context.params.get("dsn") or connections.dsn_of_environment()
    if given is None:
        return []
    dsn: Dsn = given[0] if isinstance(given, list) else given  # of several databases the first has to do
    found: list[str] = []

    def read() -> None:
        # Whatever is wrong, the shell completes nothing, and the command itself will say it.
        with suppress(Exception), connections.connect(connections.read_dsn(dsn)) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql.encode()).fetchall()
            found.extend(str(name) for (name,) in rows)

    reader = threading.Thread(target=read, name="underway-completion", daemon=True)  # does not delay the exit
    reader.start()
    reader.join(_PATIENCE)
    return [name for name in list(found) if name.startswith(incomplete)]
