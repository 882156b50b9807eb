"""Acting on many tasks: find them page by page, change each chunk in a transaction of its own, stop when asked to."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import psycopg

from .. import statements
from ..client import execute
from ..statements import Statement
from .database import record
from .output import print_error

__all__ = ["CHUNK", "Interruption", "Outcome", "change_all", "matching", "progress_bar"]

# How many tasks are changed in one transaction. A refusal of the database undoes at most so many.
CHUNK = 500

Connection = psycopg.Connection[Any]


class Interruption:
    """Ctrl-C during the block ends the work after the current chunk; a second Ctrl-C interrupts that chunk."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print_error("stopping after these tasks; Ctrl-C again stops at once")


def matching(
    connection: Connection, conditions: Mapping[str, Any], *, limit: int | None, before: int | None = None
) -> Iterator[list[int]]:
    """The ids of the tasks that a filter selects, the newest first, in lists of at most CHUNK.

    A list may be empty: the database reads a bounded number of tasks for each. `before` leaves out the tasks from this
    id on.
    """
    remaining = limit
    while remaining is None or remaining > 0:
        wanted = CHUNK if remaining is None else min(CHUNK, remaining)
        tasks, before = execute(connection, statements.find_tasks(conditions, before, wanted))
        yield tasks
        if remaining is not None:
            remaining -= len(tasks)
        if before is None:
            return


@dataclass
class Outcome:
    """How many tasks were changed, how many could not be, and whether somebody stopped it before the end."""

    changed: int = 0
    unchanged: int = 0
    interrupted: bool = False


def change_all(
    connection: Connection,
    action: str,
    change: Callable[[list[int]], Statement[list[int]]],
    chunks: Iterator[list[int]],
    details: Mapping[str, Any],
    outcome: Outcome,
    advance: Callable[[int], object],
) -> None:
    """Change the tasks of each chunk, and record it, in one transaction.

    `outcome` says what was done, also when an error ends it. `advance` learns how many tasks are dealt with.
    """
    with Interruption() as interruption:
        try:
            for ids in chunks:
                if ids:
                    with connection.transaction():
                        changed = execute(connection, change(ids))
                        if changed:
                            record(connection, action, {**details, "tasks": changed})
                    outcome.changed += len(changed)
                    outcome.unchanged += len(ids) - len(changed)
                    advance(len(ids))
                if interruption.asked:
                    outcome.interrupted = True
                    break
        except KeyboardInterrupt:
            outcome.interrupted = True


@contextlib.contextmanager
def progress_bar(words: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """Show how far it is on stderr, if that is a terminal; yields what is to be called with each number of items done.

    Without a total it shows only how many are done.
    """
    from rich.console import Console  # imported late, because it takes long
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn()) if total is not None else (TextColumn("{task.completed:,}"),)
    progress = Progress(
        TextColumn("{task.description}"), *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress:
        bar = progress.add_task(words, total=total)
        yield lambda count: progress.advance(bar, count)
