"""How values are written on pages: numbers, durations, sizes and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

__all__ = ["NOTHING", "bytes_", "count", "duration", "percent", "short_number", "when"]


NOTHING = "\N{EN DASH}"  # what stands for a value that does not exist


def count(number: float | None, capped: bool = False) -> str:
    """A whole number with separators: 12,345. A capped one is written 10,000+."""
    return NOTHING if number is None else f"{number:,.0f}" + ("+" if capped else "")


def short_number(number: float | None) -> str:
    """A number in at most five characters: 999, 1.2k, 35k, 4.1M. Small fractions keep two digits."""
    if number is None:
        return NOTHING
    size = abs(number)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit * 0.9995:
            return (
                f"{number / unit:.1f}".removesuffix(".0") + name if size < unit * 10 else f"{number / unit:.0f}{name}"
            )
    return f"{number:.0f}" if number == int(number) or size >= 100 else f"{number:.2g}"


def duration(value: float | timedelta | None) -> str:
    """A duration in seconds or as a timedelta, in two units at most: 350 ms, 4.2 s, 3 min 5 s, 2 h 10 min, 4 d."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds == 0:
        return "0 s"
    if seconds < 0.001:
        return f"{sign}{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{sign}{seconds * 1000:.{1 if seconds < 0.00995 else 0}f}".removesuffix(".0") + " ms"
    if seconds < 9.95:
        return f"{sign}{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for length, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            rest = whole % length // smaller
            return f"{sign}{whole // length} {unit}" + (f" {rest} {small}" if rest and whole < length * 10 else "")
    return f"{sign}{whole} s"


def bytes_(size: float | None) -> str:
    """A size in bytes: 512 B, 4.2 kB, 31 MB, with units of 1024 as PostgreSQL's pg_size_pretty has them."""
    if size is None:
        return NOTHING
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1024 or unit == "TB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 100 else f"{value:.1f} {unit}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage: 0.034 is 3.4 %."""
    if fraction is None:
        return NOTHING
    return f"{fraction * 100:.0f} %" if fraction in (0, 1) or fraction >= 0.1 else f"{fraction * 100:.2g} %"


def when(at: datetime | None, now: datetime, empty: str = NOTHING) -> Markup:
    """A time relative to now, in a <time> whose title is the exact time in UTC."""
    if at is None:
        return Markup(escape(empty))
    at = at.astimezone(UTC)
    seconds = (at - now).total_seconds()
    size = abs(seconds)
    if size < 1:
        words = "now"
    else:
        unit, length = next((u for u in (("d", 86400), ("h", 3600), ("min", 60)) if size >= u[1]), ("s", 1))
        words = f"{size / length:.0f} {unit}"
        words = f"in {words}" if seconds > 0 else f"{words} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC", words
    )
