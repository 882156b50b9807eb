"""Checks of values where they are given: each raises ConfigurationError with the value, and what to give instead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

from .errors import ConfigurationError

__all__ = ["check_class", "check_duration", "check_each", "check_kind", "check_number"]

T = TypeVar("T")


def check_kind(name: str, value: Any, kind: Any, wanted: str) -> None:
    """Check that a value is an instance of a class, or of one of several; True and False are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigurationError(f"{name} is {value!r}; give {wanted}")


def check_number(name: str, value: Any, kind: type[int | float], least: float) -> None:
    """Check that a value is a whole number (kind int), or any (kind float), and at least so large."""
    wanted = f"{'an integer' if kind is int else 'a number'} of at least {least}"
    check_kind(name, value, int if kind is int else (int, float), wanted)
    if not value >= least:
        raise ConfigurationError(f"{name} is {value!r}; give {wanted}")


def check_duration(name: str, value: Any) -> None:
    """Check that a value is a length of time that is not negative and that a timedelta can hold, or None."""
    if value is not None:
        wanted = "seconds, as in 90 or 0.5, or a timedelta, and none that is negative"
        check_kind(name, value, (int, float, timedelta), wanted)
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if not 0 <= seconds <= timedelta.max.total_seconds():
            raise ConfigurationError(f"{name} is {value!r}; give {wanted}")


def check_each(name: str, values: Iterable[T], kind: Any, wanted: str) -> tuple[T, ...]:
    """The values of a collection. Checks that it is one, and the class of each value."""
    check_kind(name, values, Iterable, f"a list of {wanted}")
    values = tuple(values)
    for value in values:
        check_kind(f"one of {name}", value, kind, wanted)
    return values


def check_class(name: str, value: Any, kind: str) -> None:
    """Check that a value is None or of a class that is known by its name, from a package that may not be installed."""
    module, _, title = kind.rpartition(".")
    if value is not None and not any(
        each.__name__ == title and each.__module__.split(".")[0] == module for each in type(value).__mro__
    ):
        raise ConfigurationError(f"{name} is {value!r}; give a {kind}")
