"""The functions, views and rights that this package installs, read from its SQL files."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from ..schema import function_text, migrations

__all__ = ["bodies", "granted", "granted_besides", "indexes", "views"]


@cache
def bodies() -> dict[str, list[str | None]]:
    """The bodies of the functions by their names; a name has several if it has several forms.

    None is the body of a function in standard SQL, which the database does not keep as text.
    """
    found: dict[str, list[str | None]] = defaultdict(list)
    for part in function_text().split("create or replace function underway.")[1:]:
        body = re.search(r"\nas (?:\$\$(.*?)\$\$|'([^']*)');", part, re.DOTALL)
        found[part.split("(", 1)[0]].append((body[1] or body[2]) if body else None)
    return dict(found)


@cache
def views() -> list[str]:
    """The names of the views."""
    return re.findall(r"create or replace view underway\.(\w+)", function_text())


@cache
def indexes() -> list[str]:
    """The names of the indexes, without those of constraints."""
    text = "".join(migration.sql for migration in migrations())
    return re.findall(r"^create (?:unique )?index (\w+)", text, re.MULTILINE)


@cache
def granted() -> dict[str, list[str]]:
    """The names of the functions that each role may call."""
    rights = re.findall(r"\('(underway_\w+)', array\[(.*?)\]\)", function_text(), re.DOTALL)
    return {role: re.findall(r"'(\w+)'", names) for role, names in rights}


@cache
def granted_besides() -> set[str]:
    """The names of the functions that several roles may call, whatever their lists say."""
    statements = re.findall(r"grant execute on function (.*?) to %I", function_text(), re.DOTALL)
    return set(re.findall(r"underway\.(\w+)\(", " ".join(statements)))
