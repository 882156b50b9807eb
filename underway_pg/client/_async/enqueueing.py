"""The calls that enqueue tasks, one by one, many, and as batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ... import statements
from ...models import BatchStats, Enqueued
from ...settings import Duration, NewTask, Options
from .calls import Calls

__all__ = ["EnqueueCalls"]

_DEFAULT = Options()


class EnqueueCalls(Calls):
    """The calls that enqueue tasks, one by one, many, and as batches."""

    async def enqueue(
        self,
        queue: str | None,
        input: Any,
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: Any = None,
    ) -> int:
        """Enqueue a task; without a queue (None) into that of its job. Returns its id."""
        return await self.run(statements.enqueue(queue, input, job, options), connection)

    async def enqueue_many(
        self,
        queue: str | None,
        inputs: Iterable[Any],
        *,
        unique_keys: Iterable[str | None] | None = None,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: Any = None,
    ) -> list[int]:
        """Enqueue a task for each input, all with the same options. Returns their ids in the order of the inputs.

        `unique_keys` has a key for each input, or None; a key that is taken gives the id of the task that has it.
        """
        return await self.run(statements.enqueue_many(queue, inputs, job, options, unique_keys), connection)

    async def enqueue_unique(
        self,
        queue: str | None,
        inputs: Iterable[Any],
        unique_keys: Iterable[str | None],
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: Any = None,
    ) -> list[Enqueued]:
        """Enqueue a task for each input whose unique key is free, all with the same options.

        Returns for each input which task has its key, and whether it was created or replaced.
        """
        return await self.run(statements.enqueue_unique(queue, inputs, unique_keys, job, options), connection)

    async def enqueue_tasks(self, tasks: Iterable[NewTask], *, connection: Any = None) -> list[int]:
        """Enqueue tasks of any jobs and queues, made by `Job.task`, all or none. Returns their ids in order."""
        return await self.run(statements.enqueue_tasks(tasks), connection)

    async def enqueue_batch(
        self,
        tasks: Iterable[NewTask],
        *,
        on_success: NewTask | None = None,
        on_final: NewTask | None = None,
        on_failure: NewTask | None = None,
        name: str | None = None,
        retention: Duration | None = None,
        connection: Any = None,
    ) -> int:
        """Enqueue tasks as a batch, made by `Job.task`. Returns the id of the batch.

        `on_success` runs when all of them have succeeded, `on_final` when all are final, `on_failure` when the first
        has failed or was cancelled; each finds the id in `context.headers["batch"]`. The batch is known for `retention`
        (seconds or a timedelta, 14 days by default) after its end.
        """
        return await self.run(
            statements.enqueue_batch(tasks, on_success, on_final, on_failure, name, retention), connection
        )

    async def extend_batch(self, batch: int, tasks: Iterable[NewTask], *, connection: Any = None) -> list[int]:
        """Enqueue more tasks of a batch that is not final. Returns their ids. Raises BatchFinal or BatchNotFound."""
        return await self.run(statements.extend_batch(batch, tasks), connection)

    async def cancel_batch(self, batch: int, *, connection: Any = None) -> int:
        """Cancel the live tasks of a batch. Returns how many there were."""
        return await self.run(statements.cancel_batch(batch), connection)

    async def batch(self, batch: int, *, connection: Any = None) -> BatchStats | None:
        """How far a batch is; None when there is no such batch."""
        return await self.run(statements.batch(batch), connection)

    async def batches(self, *, limit: int = 50, connection: Any = None) -> list[BatchStats]:
        """The newest batches, with how far they are."""
        return await self.run(statements.batches(limit), connection)
