"""The form with the settings of a queue: its fields, how their values are written, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from ..settings import Queue, RetryPolicy

__all__ = ["Field", "QueueForm"]

_UNITS = {
    "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600,
    "hour": 3600, "d": 86400, "day": 86400, "w": 604800, "week": 604800,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)\s*,?\s*", re.ASCII | re.IGNORECASE)

# What PostgreSQL stores in an integer.
_LARGEST = 2**31 - 1


class Field(NamedTuple):
    """A setting of the form: its kind is queue, flag, duration, limit (which may be empty), count or number."""

    name: str
    label: str
    kind: str
    help: str
    group: str


FIELDS = (
    Field("max_running", "Running at once", "limit", "Over all workers. Empty: no limit.", "Limits"),
    Field("max_running_per_key", "Running at once for each key", "count", "At least 1.", "Limits"),
    Field("rate_limit", "Starts in a rate period", "limit", "Over all workers. Empty: no limit.", "Limits"),
    Field("rate_limit_per_key", "Starts in a rate period for each key", "limit", "Empty: no limit.", "Limits"),
    Field("rate_period", "Rate period", "duration", "Such as 1 s, 1 min or 2 h.", "Limits"),
    Field("max_length", "Pending tasks", "limit", "Enqueueing is refused beyond it. Empty: no limit.", "Limits"),
    Field("fair", "Concurrency keys take turns", "flag", "", "Limits"),
    Field("max_attempts", "Attempts", "count", "", "Retries"),
    Field("initial_interval", "Delay before the second attempt", "duration", "", "Retries"),
    Field("factor", "Each delay is longer by the factor", "number", "At least 1.", "Retries"),
    Field("max_interval", "Longest delay", "duration", "", "Retries"),
    Field("jitter", "Random share of a delay", "number", "From 0 to 1.", "Retries"),
    Field(
        "dead_letter_queue", "Dead-letter queue", "queue", "Tasks that fail permanently are copied there.", "Retries"
    ),
    Field("timeout", "Longest attempt", "duration", "", "Attempts and history"),
    Field("heartbeat", "Lease without a heartbeat", "duration", "", "Attempts and history"),
    Field("retention", "Finished tasks are kept for", "duration", "Counted from their finish.", "Attempts and history"),
    Field("keep_history", "Keep the inputs of succeeded tasks", "flag", "", "Attempts and history"),
)
_BY_NAME = {each.name: each for each in FIELDS}
_RETRY = ("max_attempts", "initial_interval", "max_interval", "factor", "jitter")


@dataclass
class QueueForm:
    """The values of the form as text, the values that it was shown with, and an error for each field that is wrong.

    An error under the name "" belongs to no field.
    """

    values: dict[str, str]
    before: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, queue: Any) -> QueueForm:
        """The settings of a row of queue_stats, whose retry policy has been taken apart."""
        values = {each.name: _write(each, getattr(queue, each.name)) for each in FIELDS}
        return cls(values, dict(values))

    @classmethod
    def read(cls, form: Mapping[str, Any]) -> QueueForm:
        """What was sent: the value of each field, and that with which it was shown. A box that is off is not sent."""
        sent = [each for each in FIELDS if f"was_{each.name}" in form]
        before = {each.name: str(form[f"was_{each.name}"]) for each in sent}
        values = {
            each.name: ("yes" if form.get(each.name) else "no")
            if each.kind == "flag"
            else str(form.get(each.name, before[each.name])).strip()
            for each in sent
        }
        found = cls(values, before)
        for each in sent:
            try:
                _read(each, values[each.name])
            except ValueError as error:
                found.errors[each.name] = str(error)
        return found

    @property
    def groups(self) -> dict[str, list[Field]]:
        """The fields under their headings."""
        found: dict[str, list[Field]] = {}
        for each in FIELDS:
            if each.name in self.values:
                found.setdefault(each.group, []).append(each)
        return found

    def changes(self) -> dict[str, str]:
        """The settings that differ from those that the form was shown with."""
        return {name: value for name, value in self.values.items() if value != self.before[name]}

    def queue(self, name: str, stored: QueueForm) -> Queue:
        """The changed settings. Of a retry policy all parts are, those that were not sent as they are stored."""
        changed = self.changes()
        given = {each: _read(_BY_NAME[each], value) for each, value in changed.items() if each not in _RETRY}
        if changed.keys() & set(_RETRY):
            parts = stored.values | self.values
            given["retry"] = RetryPolicy(**{each: _read(_BY_NAME[each], parts[each]) for each in _RETRY})
        return Queue(name=name, **given)

    def blame(self, message: str) -> None:
        """Show what the database refused at the field whose name the message contains."""
        name = next((name for name in self.changes() if re.search(rf"\b{name}\b", message)), "")
        self.errors[name] = message


def _write(field: Field, value: Any) -> str:
    if field.kind == "flag":
        return "yes" if value else "no"
    if value is None:
        return ""
    return (
        write_duration(value)
        if isinstance(value, timedelta)
        else f"{value:.12g}"
        if isinstance(value, float)
        else str(value)
    )


def _read(field: Field, text: str) -> Any:
    if field.kind == "flag":
        return text == "yes"
    if field.kind == "queue":
        return text
    if field.kind == "duration":
        return read_duration(text)
    if field.kind == "limit" and text == "":
        return 0
    if field.kind == "number":
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number. Write it as 2 or 0.5.") from None
    if (
        not re.fullmatch(r"\d{1,10}", text, re.ASCII)
        or not (field.kind == "limit" or int(text))
        or int(text) > _LARGEST
    ):
        least = "0 or more" if field.kind == "limit" else "1 or more"
        raise ValueError(f"{text!r} is not a whole number of {least}." if text else f"Give a whole number of {least}.")
    return int(text)


def write_duration(value: timedelta) -> str:
    """A duration as `read_duration` reads it: 15 min, 1 h 30 min, 14 d."""
    seconds, parts = value.total_seconds(), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        whole, seconds = divmod(seconds, length)
        if whole:
            parts.append(f"{whole:.0f} {unit}")
    if seconds or not parts:
        parts.append(f"{round(seconds, 6):g} s")
    return " ".join(parts)


def read_duration(text: str) -> timedelta:
    """A duration from numbers with units; a number alone is in seconds. Raises ValueError."""
    seconds, position = 0.0, 0
    while match := _PART.match(text, position):
        unit = match[2].lower()
        length = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s")) if unit else 1
        if length is None:
            break
        seconds, position = seconds + float(match[1]) * length, match.end()
    if not text or position < len(text):
        raise ValueError(f"{text!r} is not a duration. Write it as 30 s, 15 min, 2 h or 14 d.")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is too long.") from None
