"""The output of commands: lines, tables and JSON, and times in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import typer

__all__ = ["absolute_time", "amount", "echo", "echo_json", "echo_table", "print_error", "printable", "relative"]

_STATE_STYLES = {
    "in_progress": "cyan", "busy": "cyan", "succeeded": "green", "failed": "red", "lost": "red", "paused": "yellow",
    "cancelled": "dim", "failing": "red", "ended": "dim",
}  # fmt: skip

# Control characters but tab and newline, and what changes the direction of the text around it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text with control characters escaped: the text of a task must not control the terminal or hide what follows."""
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text on stdout, or on stderr."""
    typer.echo(printable(text), err=err, nl=nl)


def amount(count: int, noun: str) -> str:
    """A number of things, with the noun in its form."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def print_error(text: str) -> None:
    """Print an error on stderr, in one line."""
    typer.echo(printable(f"underway: {' '.join(text.split())}"), err=True)


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=_json_value))


def _json_value(value: object) -> object:
    """Points in time as ISO 8601, durations as seconds."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{value!r} cannot be written as JSON")


def echo_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "", *, err: bool = False) -> None:
    """Print a table, or `empty` without rows. On a terminal long cells wrap; elsewhere each row is one line."""
    from rich.console import Console  # imported late, because it takes long
    from rich.table import Table
    from rich.text import Text

    if not rows:
        echo(empty, err=err)
        return
    on_terminal = (sys.stderr if err else sys.stdout).isatty()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=not on_terminal or column == "id", overflow="fold")
    for row in rows:
        cells = ["" if cell is None else printable(str(cell)) for cell in row]
        table.add_row(
            *(
                Text(cell, style=_STATE_STYLES.get(cell, "") if column == "state" else "")
                for column, cell in zip(columns, cells, strict=True)
            )
        )
    Console(width=None if on_terminal else 100_000, stderr=err).print(table)


def relative(at: datetime | None, now: datetime) -> str | None:
    """A point in time relative to now, in words."""
    if at is None:
        return None
    seconds = (at - now).total_seconds()
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    # Half a second less is enough: a task that was just delayed by an hour is due in 1 h, not in 60 min.
    unit, length = next((unit for unit in units if abs(seconds) >= unit[1] - 0.5), units[-1])
    words = f"{abs(seconds) / length:.0f} {unit}"
    return f"in {words}" if seconds > 0 else f"{words} ago"


def absolute_time(at: datetime | None, now: datetime) -> str | None:
    """A point in time to the millisecond, and relative to now."""
    return None if at is None else f"{at.isoformat(' ', 'milliseconds')} ({relative(at, now)})"
