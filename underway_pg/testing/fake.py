"""A context without a task: for tests that call a handler as the function that it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from .. import statements
from ..errors import ConfigurationError
from ..models import ClaimedTask
from ..statements import Statement
from ..wire import interval_bytes, json_bytes, time_bytes
from ..worker import Context
from ..worker.attempt import Attempt, Environment, StopReason
from ..worker.transaction import Transaction
from .within import Within

__all__ = ["FakeContext", "context"]

_HOUR = interval_bytes(3600)


class FakeContext(Context):
    """A context for unit tests, which records what the handler does with it. `context()` makes one.

    reported   what the handler has given to `progress`, in order, after its way through JSON
    completed  whether a `transaction()` of the handler has ended, which completes the task
    """

    __slots__ = ("reported",)

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self.reported: list[Any] = []

    @property
    def completed(self) -> bool:
        """Whether a `transaction()` of the handler has ended without an error, which completes the task."""
        return self._attempt.completed

    def cancel(self) -> None:
        """From now on `cancelled` is true, and `wait_cancelled` returns at once, as if the task was cancelled."""
        self._attempt.request_stop(StopReason.LEASE_LOST)

    def progress(self, value: Any) -> None:
        """Record a progress. Raises what a real one raises for values that JSON cannot carry."""
        super().progress(value)
        self.reported.append(json.loads(self._attempt.take_progress() or "null"))

    def transaction(self) -> Transaction:
        """A transaction on the connection that was given to `context()`; a savepoint if one is open there."""
        if self._attempt.environment.connections is None:
            raise ConfigurationError("the handler opens a transaction: make the context with context(connection=...)")
        return _FakeTransaction(self._attempt)


class _FakeTransaction(Transaction):
    """A transaction that completes no task, since there is none in the database."""

    def _completion(self) -> Statement[None]:
        statements.dump_json(self._attempt.context.output)
        return Statement("select 1", {}, lambda rows: None)


def context(
    *,
    id: int = 1,
    queue: str = "default",
    job: str | None = None,
    attempt: int = 1,
    max_attempts: int = 5,
    priority: int = 0,
    input: Any = None,
    headers: dict[str, Any] | None = None,
    dead_letter: dict[str, Any] | None = None,
    enqueued_at: datetime | None = None,
    state: Any = None,
    cancelled: bool = False,
    connection: Any = None,
) -> FakeContext:
    """A context for a unit test: `job(context(attempt=3), ...)` calls the handler of a job as a plain function.

    `connection` is the psycopg connection of `transaction()`. With `cancelled` the handler should stop from its start.
    """
    task = ClaimedTask(
        id=id,
        queue=queue,
        job=job,
        input=json_bytes(statements.dump_json({} if input is None else input)),
        attempt=attempt,
        lease=bytes(16),
        timeout=_HOUR,
        heartbeat=_HOUR,
        headers=None if headers is None else json_bytes(statements.dump_json(headers)),
        priority=priority,
        enqueued_at=time_bytes(enqueued_at or datetime.now(UTC)),
        dead_letter=None if dead_letter is None else json_bytes(statements.dump_json(dead_letter)),
        max_attempts=max_attempts,
    )
    connections = None if connection is None else Within(connection)
    fake = FakeContext(Attempt(task, Environment(state=state, connections=connections)))
    fake._attempt._context = fake
    if cancelled:
        fake.cancel()
    return fake
