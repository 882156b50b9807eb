"""System checks: `manage.py check` and most other commands report them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import connections

from .application import app

__all__ = ["check_settings"]


def check_settings(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """What is wrong with UNDERWAY, and with the database that it names."""
    return list(_wrong_settings())


def _wrong_settings() -> Iterator[CheckMessage]:
    for problem in app.problems:
        yield Error(problem.message, hint=problem.hint, id=f"underway.{problem.id}")
    vendor = connections[app.database].vendor
    if vendor != "postgresql":
        yield Error(
            f"Underway needs PostgreSQL, and the database {app.database!r} is {vendor}",
            hint='Name another one of DATABASES: UNDERWAY = {"DATABASE": "..."}.',
            id="underway.E005",
        )
