"""The columns of a model, and the rows of an answer as models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import timedelta
from typing import Any

from ..settings import RetryPolicy
from ._base import Row, T, load_json

__all__ = ["RETRY_POLICY", "column_of", "columns_of", "read_as", "read_settings"]

# Fields of the models that are jsonb.
_JSON = frozenset({"input", "output", "headers", "progress", "errors", "dead_letter", "details", "last_error"})

# Not every driver has a form of its own for them: enums and JSON.
_AS_TEXT = _JSON | {"state"}

# Fields that are intervals. They are read in seconds: as text their form depends on IntervalStyle, which not every
# driver understands.
_INTERVALS = frozenset({"timeout", "heartbeat", "retention", "rate_period", "jitter", "expires"})


def column_of(name: str) -> str:
    """A field of a model as a column that every driver reads alike."""
    if name in _INTERVALS:
        return f"extract(epoch from {name})::float8"
    return f"{name}::text" if name in _AS_TEXT else name


def columns_of(kind: type) -> str:
    """The columns of a model, in the order of its fields."""
    return ", ".join(column_of(field.name) for field in fields(kind))


def _value_of(name: str, value: Any) -> Any:
    if name in _INTERVALS:
        return None if value is None else timedelta(seconds=value)
    return load_json(value) if name in _JSON else value


def read_as(kind: type[T]) -> Callable[[list[Row]], list[T]]:
    """A reader of rows of `columns_of(kind)`."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]

    def read(row: Row) -> T:
        return kind(**{name: _value_of(name, value) for name, value in zip(names, row, strict=True)})

    return lambda rows: list(map(read, rows))


# A retry policy in numbers, which `_retry_policy` reads.
RETRY_POLICY = """array[({0}).max_attempts, extract(epoch from ({0}).initial_interval),
    extract(epoch from ({0}).max_interval), ({0}).factor, ({0}).jitter]::float8[]"""


def _retry_policy(numbers: list[Any]) -> RetryPolicy | None:
    max_attempts, initial_interval, max_interval, factor, jitter = numbers
    return None if max_attempts is None else RetryPolicy(
        max_attempts=int(max_attempts), initial_interval=initial_interval, max_interval=max_interval, factor=factor,
        jitter=jitter,
    )  # fmt: skip


def read_settings(names: Iterable[str], row: Row) -> dict[str, Any]:
    """The settings of a queue or a job, by name; its `retry` is read from RETRY_POLICY."""
    found = {name: _value_of(name, value) for name, value in zip(names, row, strict=True)}
    return {**found, "retry": _retry_policy(found["retry"])}
