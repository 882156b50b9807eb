"""Operations on many tasks. They run in the server, 500 tasks in a transaction, while a page shows the progress."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ..errors import UnderwayError
from .database import Database

__all__ = ["OPERATIONS", "Bulk", "Kind", "Operation"]

logger = logging.getLogger(__name__)

# Tasks of one transaction, rows that one search reads, and finished operations that are remembered.
_CHUNK = 500
_READ = 20_000
_REMEMBERED = 50

# How often a search that reached nothing, or a database that is away, may be tried again, and the pause in seconds.
_ATTEMPTS = 5
_PAUSE = 2.0


@dataclass(frozen=True)
class Kind:
    """An operation: its verb, its SQL function, and the states of the tasks that it changes."""

    verb: str
    done: str
    function: str
    states: tuple[str, ...]
    text: str
    danger: bool = False
    dead_letter: bool = False


OPERATIONS = {
    "cancel": Kind(
        "Cancel", "cancelled", "cancel_many", ("pending", "in_progress", "waiting"),
        "Running ones are interrupted at their worker's next heartbeat.", danger=True,
    ),
    "retry": Kind(
        "Retry", "made pending again", "retry_many", ("failed", "cancelled"), "They become ready, with fresh attempts.",
    ),
    "redrive": Kind(
        "Redrive", "moved back", "redrive_many", ("pending",),
        "Dead letters return to the queues they came from, with fresh attempts.", dead_letter=True,
    ),
    "delete": Kind(
        "Delete", "deleted", "delete_many", ("succeeded", "failed", "cancelled"),
        "They are removed from the history with their inputs, outputs and errors.", danger=True,
    ),
}  # fmt: skip


@dataclass
class Operation:
    """An operation that runs or has ended. `state` is running, done, stopped or failed."""

    database: Database
    kind: str
    filter: str
    before: int | None
    actor: str
    total: int
    capped: bool
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: str = "running"
    changed: int = 0
    found: int = 0
    error: str | None = None
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running, or has run."""
        return (self.ended_at or time.monotonic()) - self.started_at


class Bulk:
    """The operations of one process."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._operations: dict[str, Operation] = {}
        self._running: set[asyncio.Task[None]] = set()

    def get(self, id: str) -> Operation | None:
        """An operation of this process."""
        return self._operations.get(id)

    def start(self, operation: Operation) -> None:
        """Run an operation in the background."""
        self._operations[operation.id] = operation
        for old in [each for each in self._operations.values() if each.state != "running"][:-_REMEMBERED]:
            del self._operations[old.id]
        task = asyncio.create_task(self._run(operation))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def stop(self, operation: Operation) -> None:
        """Stop an operation after the transaction that is under way."""
        if operation.state == "running":
            operation.state = "stopped"

    async def _run(self, operation: Operation) -> None:
        attempts = 0
        try:
            while operation.state == "running":
                try:
                    if not await self._step(operation):
                        operation.state = "done"
                    attempts = 0
                except psycopg.OperationalError as error:
                    attempts += 1
                    if attempts >= _ATTEMPTS:
                        raise
                    logger.warning("dashboard: operation %s waits for the database: %s", operation.kind, error)
                    await asyncio.sleep(_PAUSE)
                self._wake()
        except (UnderwayError, psycopg.Error) as error:
            operation.state, operation.error = "failed", str(error).splitlines()[0]
            logger.warning(
                "dashboard: operation %s stopped after %s tasks: %s", operation.kind, operation.changed, error
            )
        except asyncio.CancelledError:
            operation.state, operation.error = "stopped", "the dashboard was stopped"
            raise
        except Exception:
            operation.state, operation.error = "failed", "the log of the dashboard has the details"
            logger.exception("dashboard: operation %s failed", operation.kind)
        finally:
            operation.ended_at = time.monotonic()
            self._wake()

    async def _step(self, operation: Operation) -> bool:
        """Change the next tasks in one transaction. Gives whether there may be more."""
        kind = OPERATIONS[operation.kind]
        async with operation.database.writing() as db:
            found = await db.row(
                "select tasks, next_before from underway.find_tasks(%(filter)s, %(before)s, %(chunk)s, %(read)s)",
                {"filter": operation.filter, "before": operation.before, "chunk": _CHUNK, "read": _READ},
            )
            changed: list[int] = []
            if found.tasks:
                rows = await db.rows(
                    f"select underway.{kind.function}(%(tasks)s::bigint[]) as id", {"tasks": found.tasks}
                )
                changed = [row.id for row in rows]
            if changed:
                details: dict[str, Any] = {"filter": json.loads(operation.filter), "tasks": changed}
                await db.record(operation.actor, kind.function, details)
        operation.found += len(found.tasks or [])
        operation.changed += len(changed)
        operation.before = found.next_before
        return found.next_before is not None
