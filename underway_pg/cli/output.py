"""What commands print: lines, tables and JSON, and times as words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["complain", "exactly", "relative", "say", "say_json", "say_table"]

_STATE_STYLES = {
    "in_progress": "cyan", "busy": "cyan", "succeeded": "green", "failed": "red", "lost": "red", "paused": "yellow",
    "cancelled": "dim", "failing": "red", "over": "dim",
}  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _printable(text: str) -> str:
    """Text without control characters: what tasks bring along must not steer the terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(text: str) -> None:
    """Print a line, or several, on stdout."""
    typer.echo(_printable(text))


def complain(text: str) -> None:
    """Print what went wrong on stderr, in one line."""
    typer.echo(_printable(f"underway: {' '.join(text.split())}"), err=True)


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=_json_value))


def _json_value(value: object) -> object:
    """Times as ISO text, lengths of time as seconds."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{value!r} has no form in JSON")


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "") -> None:
    """A table. On a terminal cells fold rather than lose anything; elsewhere a row is a line, however long."""
    if not rows:
        say(empty)
        return
    on_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=not on_terminal or column == "id", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else _printable(str(cell)) for cell in row]
        table.add_row(
            *(
                Text(cell, style=_STATE_STYLES.get(cell, "") if column == "state" else "")
                for column, cell in zip(columns, cells, strict=True)
            )
        )
    Console(width=None if on_terminal else 100_000).print(table)


def relative(at: datetime | None, now: datetime) -> str | None:
    """How far away a time is, in words."""
    if at is None:
        return None
    seconds = (at - now).total_seconds()
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    # Half a second less does it: what was just put off for an hour is due in an hour.
    unit, length = next((unit for unit in units if abs(seconds) >= unit[1] - 0.5), units[-1])
    words = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {words}" if seconds > 0 else f"{words} ago"


def exactly(at: datetime | None, now: datetime) -> str | None:
    """A time to the millisecond, and how far away it is in words."""
    return None if at is None else f"{at.isoformat(' ', 'milliseconds')} ({relative(at, now)})"
