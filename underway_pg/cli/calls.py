"""Calls of the SQL contract that only commands make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..statements import Statement

__all__ = ["enqueue_objects", "export_tasks"]


def export_tasks(tasks: Sequence[int]) -> Statement[list[str]]:
    """Tasks as JSON objects, in the order of their ids."""
    return Statement(
        "select task::text from underway.export_tasks(%(tasks)s::bigint[]) as exported (task)",
        {"tasks": list(tasks)},
        lambda rows: [row[0] for row in rows],
    )


def enqueue_objects(tasks: Sequence[Mapping[str, Any]]) -> Statement[list[int]]:
    """New tasks from objects with the options of underway.enqueue; returns their ids in order."""
    return Statement(
        "select underway.enqueue_many(%(tasks)s::jsonb)", {"tasks": json.dumps(tasks)}, lambda rows: rows[0][0],
        enqueues=True,
    )  # fmt: skip
