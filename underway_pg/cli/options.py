"""Arguments and options that several commands have, and the parsers of their values."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from .errors import WrongUsage
from .names import job_names, queue_names

__all__ = [
    "Dsn",
    "Headers",
    "Input",
    "JobName",
    "Json",
    "Priority",
    "QueueName",
    "TaskId",
    "Timeout",
    "duration_option",
    "expiry_option",
    "is_input",
    "parse_headers",
    "parse_input",
    "past_option",
    "seconds_option",
    "size",
    "time_option",
    "when_argument",
]


def duration_option(help: str) -> Any:
    """An option that takes a duration."""
    return typer.Option(parser=_duration, metavar="DURATION", help=help, show_default=False)


def seconds_option(help: str) -> Any:
    """An option that takes a duration and has its number of seconds as its value."""
    return typer.Option(parser=lambda text: _duration(str(text)).total_seconds(), metavar="DURATION", help=help)


def _duration(text: str) -> timedelta:
    """A duration: a number of seconds, or a number with a unit."""
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip(), re.ASCII)
    try:
        if match:
            return timedelta(seconds=float(match[1]) * units[match[2]])
    except OverflowError:
        pass
    raise typer.BadParameter(f"{text!r} is not a duration; write it as 90, 1.5, 10s, 5m, 2h or 1d")


def time_option(help: str) -> Any:
    """An option that takes a point in time."""
    return typer.Option(parser=_time, metavar="TIME", help=help, show_default=False)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a point in time; write it as 2030-01-31T09:00:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; append Z or an offset such as +02:00")
    return at


def expiry_option(help: str) -> Any:
    """An option that takes a duration or a point in time."""
    return typer.Option(parser=_expiry, metavar="DURATION|TIME", help=help, show_default=False)


def _expiry(text: str) -> timedelta | datetime:
    for parse in (_duration, _time):
        with suppress(typer.BadParameter):
            return parse(text)
    raise typer.BadParameter(
        f"{text!r} is neither a duration nor a time with a zone; write it as 90, 10s, 2h or 2030-01-31T09:00:00Z"
    )


def past_option(help: str) -> Any:
    """An option that takes a point in time, or a duration before now."""
    return typer.Option(parser=_expiry, metavar="TIME|AGO", help=help, show_default=False, allow_from_autoenv=False)


def when_argument(help: str) -> Any:
    """An argument that takes a point in time, or a duration from now."""
    return typer.Argument(parser=_expiry, metavar="TIME|DURATION", help=help)


Dsn = Annotated[
    str | None,
    typer.Option("--dsn", envvar="DATABASE_URL", help="The database: a PostgreSQL URI.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of a queue.", autocompletion=queue_names)]
TaskId = Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The id of a task.")]

# The options of a task, for `enqueue` and for schedules.
Input = Annotated[str, typer.Argument(metavar="INPUT", help="The input, as JSON; - reads it from stdin.")]
JobName = Annotated[str | None, typer.Option(help="The name of the job.", autocompletion=job_names)]
Priority = Annotated[
    int | None,
    typer.Option(
        min=-100, max=100, help="From -100 to 100; higher runs first. Default: that of the job, else 0.",
        show_default=False,
    ),
]  # fmt: skip
Timeout = Annotated[timedelta | None, duration_option("The maximum duration of one attempt.")]
Headers = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header; may be repeated.")]


def parse_input(text: str) -> Any:
    """The input of a task from JSON text; `-` reads the text from stdin."""
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUsage(f"the input is not JSON: {error}") from None


def is_input(text: str) -> bool:
    """Whether an argument can be the input of a task."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text == "-"
    return True


def parse_headers(pairs: Iterable[str]) -> dict[str, str]:
    """The headers of a task from pairs of the form name=value."""
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise WrongUsage(f"{pair!r} is not a header; write it as name=value")
        headers[name] = value
    return headers


def size(text: str) -> int:
    """An amount of memory in bytes: a number, optionally with a unit, each a power of 1024."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)B?", text.strip(), re.ASCII | re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a size; write it as 512MB or 2GB")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")
