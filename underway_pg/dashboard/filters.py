"""The filter of the page Tasks: read from the address, and written as JSON for `find_tasks` and as an address again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams

from ..errors import InputError

__all__ = ["STATES", "TIMES", "TaskFilter"]

STATES = ("pending", "in_progress", "waiting", "succeeded", "failed", "cancelled")
TIMES = ("enqueued_after", "enqueued_before", "finished_after", "finished_before")
_LISTS = ("state", "queue", "job")
_TEXTS = ("key", "error", "input")

# The most ids in one filter; a page of selected tasks has at most a hundred.
_MAX_IDS = 1_000


@dataclass(frozen=True)
class TaskFilter:
    """The values of the form as they were written: lists for state, queue and job, texts for the others."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, query: QueryParams) -> TaskFilter:
        """The filter in an address. Other parameters are ignored."""
        values: dict[str, Any] = {name: found for name in _LISTS if (found := [v for v in query.getlist(name) if v])}
        for name in (*_TEXTS, *TIMES, "worker", "dead_letter"):
            if text := query.get(name, "").strip():
                values[name] = text
        if ids := " ".join(query.getlist("ids")).strip():
            values["ids"] = ids
        return cls(values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def get(self, name: str) -> str:
        """A value as text, for a field of the form."""
        value = self.values.get(name, "")
        return value if isinstance(value, str) else ", ".join(value)

    def without(self, *names: str) -> dict[str, Any]:
        """The parameters of the address without some of them."""
        return {name: value for name, value in self.values.items() if name not in names}

    def with_(self, **values: Any) -> dict[str, Any]:
        """The parameters of the address with other values."""
        return {**self.values, **values}

    def conditions(self) -> list[tuple[str, str]]:
        """The names and values of all conditions except the state, for people."""
        return [(name, self.get(name)) for name in self.values if name != "state"]

    def as_json(self, **more: Any) -> str:
        """The filter as `find_tasks` takes it. Raises InputError for a value that cannot be read."""
        found: dict[str, Any] = {name: self.values[name] for name in (*_LISTS, *_TEXTS) if name in self.values}
        if unknown := [state for state in found.get("state", []) if state not in STATES]:
            raise InputError(f"{unknown[0]!r} is not a state of a task; use {', '.join(STATES)}")
        for name in TIMES:
            if name in self.values:
                found[name] = _time(name, self.values[name]).isoformat()
        if "worker" in self.values:
            found["worker"] = _number("worker", self.values["worker"])
        if "dead_letter" in self.values:
            found["dead_letter"] = self.values["dead_letter"] not in ("no", "false")
        if "ids" in self.values:
            found["ids"] = [_number("ids", text) for text in re.split(r"[\s,;]+", self.values["ids"]) if text]
            if len(found["ids"]) > _MAX_IDS:
                raise InputError(f"ids has {len(found['ids'])} ids; give at most {_MAX_IDS}")
        text = json.dumps({**found, **more})
        if "\\u0000" in text:
            raise InputError("the filter has a NUL character; remove it")
        return text


def selected(ids: Sequence[str]) -> TaskFilter:
    """The filter of selected tasks."""
    return TaskFilter({"ids": " ".join(ids)})


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise InputError(f"{name} has {text[:50]!r}; give the number of a {'worker' if name == 'worker' else 'task'}")
    return int(text)


def _time(name: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.replace(" ", "T", 1) if len(text) > 10 else text)
    except ValueError:
        raise InputError(
            f"{name.replace('_', ' ')} is {text[:50]!r}; write a time as 2030-01-31 09:00, in UTC or with an offset"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
