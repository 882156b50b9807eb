"""Calls of the SQL contract that only commands make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..statements import Statement

__all__ = [
    "MoveBatch",
    "MoveSide",
    "MoveStatus",
    "begin_move_batch",
    "confirm_move_batch",
    "enqueue_objects",
    "export_tasks",
    "move_side",
    "move_status",
    "pause_to_move",
    "receive_move_batch",
]


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


# Moving tasks between two databases (docs/decisions/0033).


@dataclass(frozen=True)
class MoveSide:
    """What has to fit of two databases between which tasks move."""

    shard: int
    version: int
    encoding: str
    user: str
    permitted: bool


@dataclass(frozen=True)
class MoveStatus:
    """The live tasks that a move finds: how many can be moved, and how many cannot, with the first ids of these."""

    on_the_way: int
    movable: int
    running: int
    dependent: int
    running_tasks: list[int] | None
    dependent_tasks: list[int] | None
    last_task: int | None


@dataclass(frozen=True)
class MoveBatch:
    """Tasks that were taken out of the source, as JSON text. Without an id there are none up to `last_task`."""

    id: str | None
    previous: str | None
    tasks: str | None = field(repr=False)
    count: int | None
    last_task: int | None


def move_side() -> Statement[MoveSide]:
    """What a database says of itself before a move."""
    return Statement(
        """select underway.shard(), (underway.schema_version()).version, current_setting('server_encoding'),
            current_user, has_function_privilege('underway.confirm_move_batch(integer, uuid, bigint[])', 'execute')""",
        {},
        lambda rows: MoveSide(*rows[0]),
    )


def move_status(queue: str, key: str | None, shard: int) -> Statement[MoveStatus]:
    """The live tasks of a queue or key, and those that are on the way to a shard."""
    return Statement(
        """select on_the_way, movable, running, dependent, running_tasks, dependent_tasks, last_task
        from underway.move_status(%(queue)s, %(key)s, %(shard)s::integer)""",
        {"queue": queue, "key": key, "shard": shard},
        lambda rows: MoveStatus(*rows[0]),
    )


def pause_to_move(queue: str, key: str | None) -> Statement[bool]:
    """Stop claims of the tasks that are to be moved; gives whether they were not paused before."""
    return Statement(
        "select underway.pause_to_move(%(queue)s, %(key)s)", {"queue": queue, "key": key}, lambda rows: rows[0][0]
    )


def begin_move_batch(
    shard: int, queue: str, key: str | None, after: int, up_to: int, max_tasks: int
) -> Statement[MoveBatch]:
    """Take the next tasks out of the source."""
    return Statement(
        """select id::text, previous::text, tasks::text, jsonb_array_length(tasks), last_task
        from underway.begin_move_batch(
            %(shard)s::integer, %(queue)s, %(key)s, %(after)s::bigint, %(up_to)s::bigint, %(max_tasks)s::integer
        )""",
        {"shard": shard, "queue": queue, "key": key, "after": after, "up_to": up_to, "max_tasks": max_tasks},
        lambda rows: MoveBatch(*rows[0]),
    )


def receive_move_batch(shard: int, batch: MoveBatch) -> Statement[list[int]]:
    """Insert a batch from a shard; gives the ids of the tasks that were refused."""
    return Statement(
        "select underway.receive_move_batch(%(shard)s::integer, %(previous)s::uuid, %(id)s::uuid, %(tasks)s::jsonb)",
        {"shard": shard, "previous": batch.previous, "id": batch.id, "tasks": batch.tasks},
        lambda rows: rows[0][0],
    )


def confirm_move_batch(shard: int, batch: MoveBatch, refused: Sequence[int]) -> Statement[bool]:
    """Forget a batch that a shard has received; gives whether it was still on its way."""
    return Statement(
        "select underway.confirm_move_batch(%(shard)s::integer, %(id)s::uuid, %(refused)s::bigint[])",
        {"shard": shard, "id": batch.id, "refused": list(refused)},
        lambda rows: rows[0][0],
    )
