"""Values that are not shown: `redact` names their keys or their paths."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from ..errors import ConfigurationError
from . import json_view
from .database import Queries

__all__ = ["MARK", "Redaction", "hide_in_text", "hide_in_value", "redact_texts"]

MARK = "redacted"

# Shorter values occur in texts by chance, such as the number 4 or the word "no".
_SHORTEST_IN_TEXT = 4

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\*)\]")

Path = tuple[str, ...]


class Redaction:
    """The rules of a dashboard.

    A rule is a key, such as `password` or `*_token`, which applies at every depth and in any case of its letters; or a
    path that begins with `$`, such as `$.card.number` or `$.users[*].email`, in which `*` stands for any key. Raises
    ConfigurationError for a path that cannot be read.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._keys = [rule.lower() for rule in rules if not rule.startswith("$")]
        self._paths = [_path(rule) for rule in rules if rule.startswith("$")]

    def __bool__(self) -> bool:
        return bool(self._keys or self._paths)

    def apply(self, value: Any) -> Any:
        """A JSON value in which the values that the rules name are replaced by MARK."""
        return self._walk(value, (), lambda _: MARK) if self else value

    def restore(self, edited: Any, original: Any) -> Any:
        """An edited value with the original ones in the places that still hold MARK."""
        return self._restore(edited, original, ()) if self else edited

    def secrets(self, *values: Any) -> set[str]:
        """The texts that the rules hide in these JSON values."""
        found: list[Any] = []

        def remember(value: Any) -> str:
            found.append(value)
            return MARK

        for value in values:
            self._walk(value, (), remember)
        scalars = (str(scalar) for value in found for scalar in _scalars(value) if not isinstance(scalar, bool))
        return {text for text in scalars if len(text) >= _SHORTEST_IN_TEXT}

    def _hides(self, path: Path) -> bool:
        key = path[-1].lower()
        return any(fnmatch.fnmatchcase(key, rule) for rule in self._keys) or any(
            len(rule) == len(path) and all(fnmatch.fnmatchcase(*pair) for pair in zip(path, rule, strict=True))
            for rule in self._paths
        )

    def _walk(self, value: Any, path: Path, hide: Any) -> Any:
        if path and self._hides(path):
            return hide(value)
        if isinstance(value, dict):
            return {key: self._walk(each, (*path, key), hide) for key, each in value.items()}
        if isinstance(value, list):
            return [self._walk(each, (*path, str(index)), hide) for index, each in enumerate(value)]
        return value

    def _restore(self, edited: Any, original: Any, path: Path) -> Any:
        if path and edited == MARK and self._hides(path):
            return original
        if isinstance(edited, dict) and isinstance(original, dict):
            return {
                key: self._restore(each, original[key], (*path, key)) if key in original else each
                for key, each in edited.items()
            }
        if isinstance(edited, list) and isinstance(original, list):
            return [
                self._restore(each, original[index], (*path, str(index))) if index < len(original) else each
                for index, each in enumerate(edited)
            ]
        return edited


def hide_in_text(text: str, secrets: Iterable[str]) -> str:
    """A text, such as a traceback, without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MARK)
    return text


def hide_in_value(value: Any, secrets: Collection[str]) -> Any:
    """A JSON value in whose texts these secrets are hidden."""
    if isinstance(value, str):
        return hide_in_text(value, secrets)
    if isinstance(value, dict):
        return {key: hide_in_value(each, secrets) for key, each in value.items()}
    return [hide_in_value(each, secrets) for each in value] if isinstance(value, list) else value


async def redact_texts(redaction: Redaction, db: Queries, rows: Iterable[Any], *fields: str, task: str = "id") -> None:
    """Hide in these texts of rows, such as errors, what is hidden in the inputs and headers of their tasks.

    `task` is the attribute that has the id of the task. The texts of a task whose input is nested too deeply to be
    redacted are hidden as a whole.
    """
    affected = [row for row in rows if any(getattr(row, field) for field in fields)] if redaction else []
    if not affected:
        return
    found = await db.rows(
        """select i.id, i.input::text as input, i.headers::text as headers
        from unnest(%(ids)s::bigint[]) as asked (id), underway.task_info(asked.id) i""",
        {"ids": list({getattr(row, task) for row in affected})},
    )
    values = {row.id: (json_view.parse(row.input), json_view.parse(row.headers)) for row in found}
    for row in affected:
        given = values.get(getattr(row, task), ())
        secrets = redaction.secrets(*(value for value, _ in given))
        for field in fields:
            text = getattr(row, field)
            if text:
                setattr(row, field, hide_in_text(text, secrets) if all(whole for _, whole in given) else MARK)


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    elif value is not None:
        yield value


def _path(rule: str) -> Path:
    steps, end = [], 1
    for found in _STEP.finditer(rule):
        if found.start() != end:
            break
        steps.append(found[1] or found[2])
        end = found.end()
    if end != len(rule) or not steps:
        raise ConfigurationError(f"redact={rule!r} is not a path; write it as $.card.number or $.users[*].email")
    return tuple(steps)
