"""The calls that read, find and change tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ... import statements
from ...models import BlockedReason, FoundTasks, RelatedTask, State, TaskCount, TaskInfo, TaskSummary
from .calls import Calls

__all__ = ["TaskCalls"]


class TaskCalls(Calls):
    """The calls that read, find and change tasks."""

    async def task(self, task: int, *, connection: Any = None) -> TaskInfo | None:
        """All that is known of a task, live or finished; None when there is no such task."""
        return await self.run(statements.task_info(task), connection)

    async def tasks(
        self,
        *,
        queue: str | None = None,
        state: State | None = None,
        limit: int = 50,
        connection: Any = None,
    ) -> list[TaskSummary]:
        """The newest tasks, live or finished."""
        return await self.run(statements.tasks(queue, state, limit), connection)

    async def find_tasks(
        self,
        filter: Mapping[str, Any] | None = None,
        *,
        before: int | None = None,
        limit: int = 50,
        connection: Any = None,
    ) -> FoundTasks:
        """The newest tasks, live or finished, that match a filter such as `{"state": ["failed"], "queue": ["mail"]}`.

        Keys: `state`, `queue`, `job`, `ids` (lists), `key` (a unique or concurrency key), `enqueued_after`,
        `enqueued_before`, `finished_after`, `finished_before` (datetimes), `error` (a part of an error, in any case),
        `input` (an SQL/JSON path that finds something, or true), `worker`, `dead_letter`. To go on, pass `next_before`
        of the result as `before`. Raises InvalidArgument.
        """
        found, next_before = await self.run(statements.find_tasks(filter or {}, before, limit), connection)
        tasks = await self.run(statements.task_summaries(found), connection)
        return FoundTasks(tasks=tasks, next_before=next_before)

    async def count_tasks(
        self, filter: Mapping[str, Any] | None = None, *, max_count: int = 10_000, connection: Any = None
    ) -> TaskCount:
        """How many tasks match a filter of `find_tasks`, counted up to `max_count`."""
        return await self.run(statements.count_tasks(filter or {}, max_count), connection)

    async def task_dependencies(self, task: int, *, connection: Any = None) -> list[RelatedTask]:
        """The tasks that a task waits for or that wait for it, callbacks of its batches, and its dead letter."""
        return await self.run(statements.task_dependencies(task), connection)

    async def why(self, task: int, *, connection: Any = None) -> list[BlockedReason]:
        """Why a task is not running, each reason with a code, a sentence and its numbers. Raises TaskNotFound."""
        return await self.run(statements.why(task), connection)

    async def cancel(self, task: int, *, connection: Any = None) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return await self.run(statements.cancel(task), connection)

    async def retry(self, task: int, *, connection: Any = None) -> None:
        """Make a failed or cancelled task pending again, with fresh attempts."""
        await self.run(statements.retry(task), connection)

    async def redrive(self, queue: str, *, max_tasks: int = 1000, connection: Any = None) -> int:
        """Move the waiting dead letters of a queue back to where they came from. Returns how many went."""
        return await self.run(statements.redrive(queue, max_tasks), connection)

    async def reschedule(self, task: int, run_at: datetime, *, connection: Any = None) -> datetime:
        """Make a pending task ready at another time. Returns when it will be ready."""
        return await self.run(statements.reschedule(task, run_at), connection)

    async def reprioritize(self, task: int, priority: int, *, connection: Any = None) -> None:
        """Give a pending task another priority; higher runs first."""
        await self.run(statements.reprioritize(task, priority), connection)

    async def delete_task(self, task: int, *, connection: Any = None) -> None:
        """Remove a finished task from the history."""
        await self.run(statements.delete_task(task), connection)

    async def run_again(self, task: int, input: Any = ..., *, connection: Any = None) -> int:
        """Enqueue a copy of a task, with another input if one is given. Returns the id of the copy."""
        return await self.run(
            statements.run_again(task, None if input is ... else statements.dump_json(input)), connection
        )

    async def cancel_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Cancel at most 1000 tasks. Final tasks are skipped. Returns the ids of the cancelled tasks."""
        return await self.run(statements.cancel_many(tasks), connection)

    async def retry_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Make the failed and cancelled ones of at most 1000 tasks pending again. Returns their ids."""
        return await self.run(statements.retry_many(tasks), connection)

    async def delete_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Remove the finished ones of at most 1000 tasks from the history. Returns their ids."""
        return await self.run(statements.delete_many(tasks), connection)

    async def redrive_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Move the dead letters among at most 1000 tasks back to where they came from. Returns the letters' ids."""
        return await self.run(statements.redrive_many(tasks), connection)
