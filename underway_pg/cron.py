"""Early checks of cron expressions and time zones, so that a mistake is reported at the line that makes it.

The grammar is that of `sql/functions/10_cron`, where the database checks every expression again. Its fields are
checked with croniter, which accepts more than the database does; what it accepts in addition is refused here first.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass

from .errors import ConfigurationError

__all__ = ["MACROS", "check_cron", "in_words"]

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One field of a cron expression.

    `allowed` describes the allowed values, with the same text as the database's error. `names` are the names of the
    values from `low` on. `unit` is the unit of an `@every` interval that could replace a step in this field.
    """

    allowed: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    unit: str | None = None  # None for months and years: their length is not fixed

    def number(self, value: str) -> int:
        return int(value) if value.isdecimal() else self.names.index(value) + self.low


_FIELDS = {
    "second": _Field(allowed="a second is 0-59", low=0, high=59, unit="seconds"),
    "minute": _Field(allowed="a minute is 0-59", low=0, high=59, unit="minutes"),
    "hour": _Field(allowed="an hour is 0-23", low=0, high=23, unit="hours"),
    "day of month": _Field(
        allowed="a day of month is 1-31, L (the last), LW (the last weekday), nW (the weekday nearest to the n-th)"
        " or ?",
        low=1,
        high=31,
        unit="days",
    ),
    "month": _Field(
        allowed="a month is 1-12 or jan-dec",
        low=1,
        high=12,
        names=("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    "day of week": _Field(
        allowed="a day of week is 0-7 (0 and 7 are Sunday), sun-sat, n#k (the k-th of the month, k is 1-5), nL or Ln"
        " (the last of the month) or ?",
        low=0,
        high=6,
        names=("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
        unit="days",
    ),
    "year": _Field(allowed="a year is 1970-2099", low=1970, high=2099),
}
# The syntax of intervals, as in _cron_every. The database checks their bounds.
_EVERY = re.compile(
    r"@every\s+(?=.)([0-9]{1,9}(\.[0-9]{1,6})?\s*"
    r"(w|weeks?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?),?\s*)*"
    r"([0-9]{1,9}:[0-5][0-9](:[0-5][0-9])?)?",
    re.ASCII,
)
_WITH_ZONE = re.compile(r"\s*([^\[\]]*?)\s*\[([^\[\]]*)\]\s*")

# The items of a field that the database accepts. croniter accepts others, such as random times.
_PLAIN = re.compile(r"(\*|\?|[a-z]{3}|\d{1,4})(-([a-z]{3}|\d{1,4}))?(/\d{1,9})?", re.ASCII)
_BY_RULE = {
    "day of month": re.compile(r"l|lw|([1-9]|[12]\d|3[01])w"),
    "day of week": re.compile(r"(sun|mon|tue|wed|thu|fri|sat|[0-7])(#[1-5]|l)|l(sun|mon|tue|wed|thu|fri|sat|[0-7])"),
}


def check_cron(cron: str, time_zone: str | None) -> None:
    """Check a cron expression and a time zone, without the database. Raises ConfigurationError with the reason."""
    found = _WITH_ZONE.fullmatch(cron)
    expression, zone = (found[1], found[2]) if found else (cron, time_zone)
    if found and time_zone is not None and time_zone != zone:
        raise ConfigurationError(f"cron expression {cron!r} with time zone {time_zone!r}: give one time zone")
    if zone is not None:
        _check_time_zone(zone)
    text = expression.strip().lower()
    if text.startswith("@every"):
        _check_every(cron, text)
    elif text not in MACROS:
        _check_expression(cron, expression)


def _check_time_zone(zone: str) -> None:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # The database ignores case. If Python has no time zone data at all, leave the check to the database.
        known = {name.lower() for name in zoneinfo.available_timezones()}
        if known and zone.lower() not in known:
            raise ConfigurationError(
                f"there is no time zone {zone!r}; give a place such as Europe/Berlin, or UTC"
            ) from None


def _check_every(cron: str, text: str) -> None:
    if not _EVERY.fullmatch(text):
        interval = text.removeprefix("@every").strip()
        raise ConfigurationError(
            f"cron expression {cron!r}: the interval is {interval!r}; give weeks, days, hours, minutes and seconds,"
            " such as 90 minutes, 1h30m or 01:30:00; months and years have no fixed length"
        )


def _check_expression(cron: str, expression: str) -> None:
    import croniter  # imported late: programs without schedules do not need it

    fields = expression.lower().split()
    if not 5 <= len(fields) <= 7:
        raise ConfigurationError(
            f"cron expression {cron!r} has {len(fields)} field{'s' * (len(fields) != 1)}; give 5 (minute, hour, day of"
            " month, month, day of week), 6 (second first) or 7 (second first, year last)"
        )
    names = list(_FIELDS)[1:6] if len(fields) == 5 else list(_FIELDS)[: len(fields)]
    for place, (name, field) in enumerate(zip(names, fields, strict=True)):
        alone = ["*"] * len(fields)
        items = ["1" if _is_by_rule(name, item) else item for item in field.split(",")]
        alone[place] = ",".join(items)
        if not all(map(_PLAIN.fullmatch, items)) or not croniter.croniter.is_valid(
            " ".join(alone), second_at_beginning=True
        ):
            raise ConfigurationError(f"cron expression {cron!r}: the {name} is {field!r}; {_FIELDS[name].allowed}")
        for item in items:
            if wrong := _step_error(name, item):
                raise ConfigurationError(f"cron expression {cron!r}: the {name} is {field!r}, {wrong}")


def _step_error(name: str, item: str) -> str | None:
    """Return why a step is refused, or None. A step that is larger than its range would match the first value only."""
    ends, _, step = item.partition("/")
    if not step:
        return None
    field = _FIELDS[name]
    first, dash, last = ends.partition("-")
    start = field.low if ends == "*" else field.number(first)
    end = field.number(last) if dash else field.high
    if name == "day of week":
        # 7 is Sunday, so 0-7 is the whole week.
        start, end = start % 7, 6 if (start, end) == (0, 7) else end % 7
    span = (end - start) % (field.high - field.low + 1)
    if int(step) <= max(span, 1):
        return None
    interval = f", or '@every {step} {field.unit}' for a fixed interval" if field.unit else ""
    return (
        f"whose step {step} is larger than the range; only {start} would match: write {start} for that one value"
        f"{interval}"
    )


def _is_by_rule(field: str, item: str) -> bool:
    """Return whether an item is a day rule such as LW or fri#2. croniter does not accept all of them."""
    rule = _BY_RULE.get(field)
    return rule is not None and rule.fullmatch(item) is not None


def in_words(cron: str) -> str | None:
    """A cron expression in plain English; None if the library is missing, fails, or would describe it wrongly."""
    try:
        import cron_descriptor  # imported late: most programs describe no cron expression
    except ImportError:
        return None

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
