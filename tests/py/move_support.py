"""What the tests of moves share: two databases with shard numbers of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.py.support import Session
from tests.py.test_cli import Answer, Underway, bare

__all__ = ["SOURCE", "TARGET", "Pair", "bare", "move", "pair"]

SOURCE, TARGET = 3, 5


class Pair:
    """A source and a target, and the arguments that a move between them takes."""

    def __init__(self, source: str, target: str) -> None:
        self.source_dsn, self.target_dsn = source, target
        self.source, self.target = Session(source), Session(target)

    def arguments(self, *more: object, queue: str = "q") -> list[str]:
        return ["--queue", queue, "--from", self.source_dsn, "--to", self.target_dsn, *map(str, more)]

    def runnable(self) -> tuple[set[int], set[int]]:
        """The ids of the live tasks at the source and at the target."""
        live = "select id from underway.task"
        return set(self.source.column(live)), set(self.target.column(live))

    def on_the_way(self) -> set[int]:
        """The ids of the tasks that the source has stored and the target has not received."""
        stored = self.source.rows(
            "select batch, (t ->> 'id')::bigint from underway.outgoing_move, jsonb_array_elements(tasks) t"
        )
        received = self.target.column("select batch from underway.incoming_move")
        return {task for batch, task in stored if batch not in received}

    def close(self) -> None:
        self.source.connection.close()
        self.target.connection.close()


@pytest.fixture
def pair(databases: Callable[[int], str]) -> Iterator[Pair]:
    """Two databases of a server."""
    with contextlib.closing(Pair(databases(SOURCE), databases(TARGET))) as pair:
        yield pair


@pytest.fixture
def move(bare: Underway, pair: Pair) -> Underway:
    """The command `move` from the source to the target, of the queue q."""

    def run(*arguments: object) -> Answer:
        return bare("move", *pair.arguments("--yes", *arguments))

    return run
