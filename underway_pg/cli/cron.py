"""The command `cron`, and cron expressions in plain English."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer

from ..app import App
from ..cron import in_words
from .database import require_dsn
from .options import Dsn, Json, time_option
from .output import echo, echo_json

__all__ = ["Cron", "Zone", "commands"]

commands = typer.Typer()

Cron = Annotated[
    str,
    typer.Argument(
        metavar="CRON",
        help="5 fields, minute first; 6 fields, second first; 7 fields, year last; @daily; @every 90 minutes.",
    ),
]
Zone = Annotated[str | None, typer.Option("--time-zone", help="The time zone, such as Europe/Berlin. Default: UTC.")]


@commands.command()
def cron(
    expression: Cron,
    zone: Zone = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many times to preview.")] = 5,
    after: Annotated[datetime | None, time_option("Preview from this time instead of now.")] = None,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded", envvar="UNDERWAY_EMBEDDED", help="Use an embedded PostgreSQL, which is deleted afterwards."
        ),
    ] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Describe a cron expression and preview its next times, as the database computes them."""
    with App(embedded=True) if embedded else App(require_dsn(dsn)) as app:
        found = app.client.cron_preview(expression, zone, after=after, count=count)
    if as_json:
        echo_json({"cron": expression, "in_words": in_words(expression), "next": found})
        return
    if words := in_words(expression):
        echo(words)
    for at in found:
        echo(f"{at.astimezone(_clocks(expression, zone)):%a %Y-%m-%d %H:%M:%S %z}")
    if not found:
        echo("no more times")


def _clocks(cron: str, zone: str | None) -> tzinfo:
    """The time zone of a cron expression; UTC if Python does not know it."""
    in_brackets = re.search(r"\[(.*)\]", cron)
    try:
        return zoneinfo.ZoneInfo(in_brackets[1] if in_brackets else zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
