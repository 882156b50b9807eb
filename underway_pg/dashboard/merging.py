"""Pages of several databases in one: lists are merged, figures added, and each row has the name of its database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .page import Contexts

__all__ = ["merging", "with_shards"]


def merging(
    *lists: str,
    order: Callable[[Any], Any] | None = None,
    reverse: bool = False,
    most: int | None = None,
    sums: Sequence[str] = (),
    unions: Sequence[str] = (),
    **fixed: Any,
) -> Callable[[Contexts], dict[str, Any]]:
    """A function that merges what a template gets for each database.

    The rows of `lists` get the attribute `shard`, and the order of `order`, at most `most` of them. `sums` are numbers,
    `unions` lists of names or dicts by id. `fixed` is the same for all, such as links to the next rows, which only the
    list of one database has. Everything else is that of the first database.
    """

    def merge(contexts: Contexts) -> dict[str, Any]:
        merged = {**next(iter(contexts.values())), **fixed}
        for name in lists:
            rows = with_shards({shard: context[name] for shard, context in contexts.items()})
            merged[name] = (sorted(rows, key=order, reverse=reverse) if order else rows)[:most]
        for name in sums:
            merged[name] = sum(context[name] for context in contexts.values())
        for name in unions:
            values = [context[name] for context in contexts.values()]
            if isinstance(values[0], dict):
                merged[name] = {key: each for value in values for key, each in value.items()}
            else:
                merged[name] = sorted({each for value in values for each in value})
        return merged

    return merge


def with_shards(lists: dict[str, Sequence[Any]]) -> list[Any]:
    """The rows of all databases, each with the name of its own."""
    for shard, rows in lists.items():
        for row in rows:
            row.shard = shard
    return [row for rows in lists.values() for row in rows]
