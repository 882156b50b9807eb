"""The command `cron`, and cron expressions in plain English."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer

from ..app import App
from ..cron import MACROS
from .database import require_dsn
from .options import Dsn, Json, time_option
from .output import echo, echo_json

__all__ = ["Cron", "Zone", "commands", "in_words"]

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


def in_words(cron: str) -> str | None:
    """A cron expression in plain English; None if the library does not understand it or describes it wrongly."""
    import cron_descriptor  # imported late: most commands describe no cron expression

    expression = cron.partition("[")[0].strip()
    if expression.lower().startswith("@every"):
        return f"Every{expression.lower().removeprefix('@every')}"
    fields = MACROS.get(expression.lower(), expression).upper().split()
    options = cron_descriptor.Options()
    options.use_24hour_time_format = True
    try:
        words = str(cron_descriptor.get_description(" ".join(fields), options))
    except Exception:  # of the library; a description is not worth a failure
        return None
    if len(fields) == 5:
        fields.insert(0, "0")
    days = fields[3:6:2]
    # The library misreads L, W and # in a list, and a * in a list. With two day fields it says that both have to match.
    by_rule_in_list = any("," in field and re.search(r"#|\dW|L", field) for field in days)
    star_in_list = any("," in field and "*" in field.split(",") for field in fields)
    both = " or " not in words and all(field not in ("*", "?") for field in days)
    return None if by_rule_in_list or star_in_list or both else words
