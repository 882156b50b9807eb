"""Composite values and arrays as text that PostgreSQL reads.

Element by element, as psycopg dumps a list, an array costs a worker more than all else about a short task.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from ..wire import uuid_text

__all__ = ["composite", "id_array", "lease_array", "names_array", "output_array", "text_array"]


def composite(fields: Mapping[str, Any]) -> str:
    """The fields of a composite type as its text."""
    return f"({','.join(map(str, fields.values()))})"


def id_array(ids: Iterable[int]) -> str:
    """An array of integers."""
    return "{" + ",".join(map(str, ids)) + "}"


def lease_array(leases: Iterable[bytes]) -> str:
    """An array of uuids."""
    return "{" + ",".join(map(uuid_text, leases)) + "}"


def output_array(outputs: list[str | None]) -> str | None:
    """An array of JSON texts; None when all of them are None."""
    return None if all(output is None for output in outputs) else text_array(outputs)


def text_array(texts: Iterable[str | None]) -> str:
    """An array of texts."""
    return "{" + ",".join("null" if text is None else _quoted(text) for text in texts) + "}"


@functools.lru_cache(maxsize=64)
def names_array(names: tuple[str, ...]) -> str:
    """An array of the queues of a worker, which may be thousands, and are the same in each of its calls."""
    return text_array(names)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
