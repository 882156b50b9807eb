"""The command `cron`, and what cron expressions say in plain English."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import cron_descriptor
import typer

from ..app import App
from ..cron import MACROS
from .options import Dsn, Json, time_option
from .output import say, say_json

__all__ = ["Cron", "Zone", "commands", "in_words"]

commands = typer.Typer()

Cron = Annotated[
    str,
    typer.Argument(
        metavar="CRON",
        help="5 fields, minute first; 6, second first; 7, year last; @daily and the like; or '@every 90 minutes'.",
    ),
]
Zone = Annotated[
    str | None, typer.Option("--time-zone", help="Whose clocks count, such as Europe/Berlin; UTC by default.")
]


@commands.command()
def cron(
    expression: Cron,
    zone: Zone = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many times.")] = 5,
    after: Annotated[datetime | None, time_option("From when on, instead of now.")] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Say what a cron expression means, and preview its next times.

    The database computes them. Without one, an embedded PostgreSQL does.
    """
    with App(dsn, embedded=not dsn) as app:
        found = app.client.cron_preview(expression, zone, after=after, count=count)
    if as_json:
        say_json({"cron": expression, "in_words": in_words(expression), "next": found})
        return
    if words := in_words(expression):
        say(words)
    for at in found:
        say(f"{at.astimezone(_clocks(expression, zone)):%a %Y-%m-%d %H:%M:%S %z}")
    if not found:
        say("it never comes")


def _clocks(cron: str, zone: str | None) -> tzinfo:
    """The zone whose clocks a cron expression goes by; UTC where Python does not know it."""
    in_brackets = re.search(r"\[(.*)\]", cron)
    try:
        return zoneinfo.ZoneInfo(in_brackets[1] if in_brackets else zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def in_words(cron: str) -> str | None:
    """What a cron expression says, in plain English; None where the library has no words for it, or wrong ones."""
    expression = cron.partition("[")[0].strip()
    if expression.lower().startswith("@every"):
        return f"Every{expression.lower().removeprefix('@every')}"
    fields = MACROS.get(expression.lower(), expression).upper().split()
    options = cron_descriptor.Options()
    options.use_24hour_time_format = True
    try:
        words = str(cron_descriptor.get_description(" ".join(fields), options))
    except Exception:  # somebody else's code, and only for a description
        return None
    if len(fields) == 5:
        fields.insert(0, "0")
    days = fields[3:6:2]
    # It misreads days by rule and a * in a list, and two day fields where one is a range: either matches, not both.
    by_rule_in_list = any("," in field and re.search(r"#|\dW|L", field) for field in days)
    star_in_list = any("," in field and "*" in field.split(",") for field in fields)
    both = " or " not in words and all(field not in ("*", "?") for field in days)
    return None if by_rule_in_list or star_in_list or both else words
