"""A statement: the text, the parameters, and how to read the answer; and values as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import InputError
from ..settings import NewTask, Schedule

__all__ = [
    "NewTasks",
    "Row",
    "Statement",
    "convert_each",
    "dump_json",
    "first_column",
    "load_json",
    "nothing",
    "scalar",
    "short",
]

T = TypeVar("T")
U = TypeVar("U")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Statement(Generic[T]):
    """One call: `sql` with `parameters` gives rows, and `read` makes of them what the caller gets.

    `as_bytes` leaves jsonb, uuid, interval and timestamptz as they come (`binary`). `enqueues` returns the new tasks,
    or the schedule, whose queue has to exist. `new_tasks` describes the tasks that it enqueues.
    """

    sql: str
    parameters: Mapping[str, Any]
    read: Callable[[list[Row]], T]
    as_bytes: bool = False
    enqueues: Callable[[], Iterable[NewTask | Schedule]] | None = None
    new_tasks: NewTasks[T] | None = None


@dataclass(frozen=True)
class NewTasks(Generic[T]):
    """The tasks of a statement: how many, and their queue and job where one is given for all of them.

    `with_headers` makes the statement again, with more headers for each task. Headers that a task has already stay.
    `single` is the task of an `enqueue` that may share a statement with others: not one that may have to wait for other
    transactions, because of its unique key or its dependencies.
    """

    count: int
    queue: str | None
    job: str | None
    with_headers: Callable[[Mapping[str, Any]], Statement[T]]
    single: NewTask | None = None


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

# PostgreSQL keeps no NUL character in a text. An even number of backslashes before it is text about a NUL, not a NUL.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def dump_json(value: Any) -> str:
    """A value as JSON text that PostgreSQL takes as jsonb.

    Raises InputError for what JSON cannot carry: other types, NaN and infinities, NUL characters, lone surrogates.
    """
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{short(value)} cannot be kept as JSON: {error}") from error
    if "u0000" in text and _NUL.search(text):
        raise InputError(f"{short(value)} cannot be kept as JSON: it holds a NUL character")
    return text


def load_json(text: str | None) -> Any:
    """The value of JSON text from the database; the text itself where Python cannot read it.

    That is a number of more than 4300 digits, or nesting that is deeper than the recursion limit.
    """
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def short(value: Any) -> str:
    """A value in a message, of at most 200 characters."""
    try:
        text = repr(value)
    except Exception:  # somebody else's code, and only for a message
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 200 else text[:197] + "..."


def convert_each(what: str, items: Iterable[T], convert: Callable[[T], U]) -> list[U]:
    """Convert each of several items. An InputError says which one it concerns, counted from 1 as the database does."""
    if not isinstance(items, Iterable):
        raise InputError(f"{short(items)} is not a list; give one, with a {what} in it for each task")
    converted = []
    for number, item in enumerate(items, start=1):
        try:
            converted.append(convert(item))
        except InputError as error:
            raise InputError(f"{what} {number}: {error}") from error
    return converted


def scalar(rows: list[Row]) -> Any:
    """The one value of an answer."""
    return rows[0][0]


def first_column(rows: list[Row]) -> list[Any]:
    """The values of an answer of one column."""
    return [row[0] for row in rows]


def nothing(rows: list[Row]) -> None:
    """For an answer that says nothing."""
    return
