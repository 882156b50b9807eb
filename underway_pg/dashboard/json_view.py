"""JSON values as a tree of <details>, bounded in size and depth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

__all__ = ["Tree", "parse", "pretty", "tree"]

# A page shows at most so many values of one tree, so many levels, and so many characters of a text.
MAX_NODES = 1_000
MAX_DEPTH = 24
MAX_TEXT = 2_000

# What is nested more deeply is not parsed, because code that walks through it needs stack for each level.
_MAX_NESTING = 150

# Values on so many levels from the top are unfolded, unless they have more than _FOLD children.
_OPEN_LEVELS = 2
_FOLD = 40


@dataclass(frozen=True)
class Tree:
    """A value as HTML. `cut` says that a part of it is not shown."""

    html: Markup
    cut: bool


def parse(text: str | None) -> tuple[Any, bool]:
    """The value of JSON text and True; or the text and False, if it is nested too deeply or has enormous numbers."""
    if text is None:
        return None, True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, False
    return (value, True) if _depth_is_below(value, _MAX_NESTING) else (text, False)


def _depth_is_below(value: Any, limit: int) -> bool:
    """Whether a value is nested less deeply than this, found without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def pretty(value: Any) -> str:
    """A value as indented JSON text."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def tree(value: Any) -> Tree:
    """A JSON value as HTML. Everything in it is text."""
    builder = _Builder()
    builder.add(value, None, 0)
    return Tree(Markup("").join(builder.parts), builder.cut)


class _Builder:
    def __init__(self) -> None:
        self.parts: list[Markup] = []
        self.cut = False
        self._nodes = 0

    def add(self, value: Any, key: str | int | None, depth: int) -> None:
        """Append one value, with its key, and what is in it."""
        self._nodes += 1
        name = self._key(key)
        if isinstance(value, dict | list) and value:
            self._add_container(value, name, depth)
        else:
            self.parts.append(Markup('<div class="json-leaf">{}{}</div>').format(name, self._scalar(value)))

    def _add_container(self, value: dict[str, Any] | list[Any], name: Markup, depth: int) -> None:
        number = len(value)
        kind = "{ }" if isinstance(value, dict) else "[ ]"
        size = f"{number:,} {'key' if isinstance(value, dict) else 'item'}{'' if number == 1 else 's'}"
        is_open = " open" if depth < _OPEN_LEVELS and number <= _FOLD else ""
        self.parts.append(
            Markup('<details class="json"{}><summary>{}<span class="json-kind">{} {}</span></summary>').format(
                Markup(is_open), name, kind, size
            )
        )
        shown = 0
        if depth < MAX_DEPTH:
            for key, each in value.items() if isinstance(value, dict) else enumerate(value):
                if self._nodes >= MAX_NODES:
                    break
                self.add(each, key, depth + 1)
                shown += 1
        if shown < number:
            self.cut = True
            self.parts.append(Markup('<div class="json-cut">{:,} more not shown</div>').format(number - shown))
        self.parts.append(Markup("</details>"))

    def _key(self, key: str | int | None) -> Markup:
        if key is None:
            return Markup("")
        kind = "json-index" if isinstance(key, int) else "json-key"
        return Markup('<span class="{}">{}</span> ').format(kind, self._short(str(key)))

    def _short(self, text: str) -> str:
        if len(text) <= MAX_TEXT:
            return text
        self.cut = True
        return f"{text[:MAX_TEXT]}… ({len(text):,} characters)"

    def _scalar(self, value: Any) -> Markup:
        if isinstance(value, str):
            return Markup('<span class="json-text">{}</span>').format(
                json.dumps(self._short(value), ensure_ascii=False) if len(value) <= MAX_TEXT else self._short(value)
            )
        kind = "json-word" if value is None or isinstance(value, bool) else "json-number"
        return Markup('<span class="{}">{}</span>').format(kind, escape(self._short(json.dumps(value))))
