"""The clients: the calls of the SQL contract, over a pool or in the caller's transaction."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from .. import connections, statements
from ..errors import TaskCancelled, TaskFailed
from ..models import (
    BatchStats,
    BlockedReason,
    Enqueued,
    QueueStats,
    ScheduleStats,
    State,
    TaskInfo,
    TaskSummary,
    WorkerStats,
)
from ..settings import Duration, NewTask, Options, Queue, Schedule
from ..statements import Statement
from .execute import execute, execute_async
from .waiter import TaskWaiter

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

_DEFAULT = Options()


def wait(connection: psycopg.Connection[Any], waiting: TaskWaiter) -> Iterator[None]:
    """Wait until tasks are final, on a connection with autocommit; yields after each look at them."""
    connection.execute("listen underway_finished")
    while waiting.open:
        if ended := execute(connection, statements.watch(waiting.open)):
            waiting.note(execute(connection, statements.task_infos(ended)))
        yield
        if waiting.open:
            for notification in connection.notifies(timeout=waiting.listen()):
                if waiting.hear(notification.payload):
                    break


async def wait_async(connection: psycopg.AsyncConnection[Any], waiting: TaskWaiter) -> None:
    """Wait until tasks are final, on an async connection with autocommit."""
    await connection.execute("listen underway_finished")
    while waiting.open:
        if ended := await execute_async(connection, statements.watch(waiting.open)):
            waiting.note(await execute_async(connection, statements.task_infos(ended)))
        if waiting.open:
            async for notification in connection.notifies(timeout=waiting.listen()):
                if waiting.hear(notification.payload):
                    break


def _result(task: TaskInfo) -> Any:
    """The output of a finished task; raises how it ended otherwise."""
    if task.state == "failed":
        raise TaskFailed(task.id, (task.errors or [{}])[-1])
    if task.state == "cancelled":
        raise TaskCancelled(f"task {task.id} was cancelled")
    return task.output


_CLIENTS: weakref.WeakSet[Client] = weakref.WeakSet()

# Pools of a parent process. To close one, or to drop it, would end sessions that the parent uses.
_POOLS_OF_THE_PARENT: list[ConnectionPool] = []


def _after_fork() -> None:
    """In a forked process the connections are the parent's, and the threads of the pools do not exist."""
    for client in list(_CLIENTS):
        client._finalizer.detach()
        _POOLS_OF_THE_PARENT.append(client._pool)
        client._make_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Client:
    """The calls of the SQL contract. Each runs in a transaction of its own, or in that of `connection=`.

    Refusals of the database are raised as subclasses of `DatabaseRefusal`; other database errors pass as psycopg raises
    them.
    """

    def __init__(self, dsn: str, *, max_connections: int = 4) -> None:
        self._dsn = dsn
        self._max_connections = max_connections
        self._make_pool()
        _CLIENTS.add(self)

    def _make_pool(self) -> None:
        self._pool = connections.pool(self._dsn, most=self._max_connections, name="underway")
        # At exit at the latest, while threads can still be joined: a pool that is merely dropped waits for seconds.
        self._finalizer = weakref.finalize(self, self._pool.close)

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _run(self, statement: Statement[T], connection: psycopg.Connection[Any] | None = None) -> T:
        if connection is not None:
            return execute(connection, statement)
        if self._pool.closed:
            # A pool keeps trying, and does not say why it fails: what is wrong with the dsn is to be seen at once.
            connections.connect(self._dsn).close()
            self._pool.open()
        with self._pool.connection() as pooled:
            return execute(pooled, statement)

    def enqueue(
        self,
        queue: str,
        input: Any,
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.Connection[Any] | None = None,
    ) -> int:
        """Enqueue a task. Returns its id."""
        return self._run(statements.enqueue(queue, input, job, options), connection)

    def enqueue_many(
        self,
        queue: str,
        inputs: Iterable[Any],
        *,
        unique_keys: Iterable[str | None] | None = None,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[int]:
        """Enqueue a task for each input, all with the same options. Returns their ids in the order of the inputs.

        `unique_keys` has a key for each input, or None; a key that is taken gives the id of the task that has it.
        """
        return self._run(statements.enqueue_many(queue, inputs, job, options, unique_keys), connection)

    def enqueue_unique(
        self,
        queue: str,
        inputs: Iterable[Any],
        unique_keys: Iterable[str | None],
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[Enqueued]:
        """Enqueue a task for each input whose unique key is free, all with the same options.

        Returns for each input which task has its key, and whether it was created or replaced.
        """
        return self._run(statements.enqueue_unique(queue, inputs, unique_keys, job, options), connection)

    def enqueue_batch(
        self,
        tasks: Iterable[NewTask],
        *,
        on_success: NewTask | None = None,
        on_final: NewTask | None = None,
        on_failure: NewTask | None = None,
        name: str | None = None,
        retention: Duration | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> int:
        """Enqueue tasks as a batch, made by `Job.task`. Returns the id of the batch.

        `on_success` runs when all of them have succeeded, `on_final` when all are final, `on_failure` when the first
        has failed or was cancelled; each finds the id in `context.headers["batch"]`. The batch is known for `retention`
        (seconds or a timedelta, 14 days by default) after its end.
        """
        return self._run(statements.enqueue_batch(tasks, on_success, on_final, on_failure, name, retention), connection)

    def extend_batch(
        self, batch: int, tasks: Iterable[NewTask], *, connection: psycopg.Connection[Any] | None = None
    ) -> list[int]:
        """Enqueue more tasks of a batch that is not final. Returns their ids. Raises BatchFinal or BatchNotFound."""
        return self._run(statements.extend_batch(batch, tasks), connection)

    def cancel_batch(self, batch: int, *, connection: psycopg.Connection[Any] | None = None) -> int:
        """Cancel the live tasks of a batch. Returns how many there were."""
        return self._run(statements.cancel_batch(batch), connection)

    def batch(self, batch: int, *, connection: psycopg.Connection[Any] | None = None) -> BatchStats | None:
        """How far a batch is; None when there is no such batch."""
        return self._run(statements.batch(batch), connection)

    def batches(self, *, limit: int = 50, connection: psycopg.Connection[Any] | None = None) -> list[BatchStats]:
        """The newest batches, with how far they are."""
        return self._run(statements.batches(limit), connection)

    def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final. Returns its output.

        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout or TaskNotFound.
        """
        return _result(self.wait_for_many([task], timeout=timeout)[task])

    def wait_for_many(self, tasks: Iterable[int], *, timeout: float | None = None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, however they end. Returns all that is known of each, by its id.

        `timeout` is in seconds, for all of them. Raises WaitTimeout, or TaskNotFound when one of them does not exist.
        """
        waiting = TaskWaiter(tasks, timeout)
        with connections.connect(self._dsn) as connection:
            for _ in wait(connection, waiting):
                pass
        return waiting.final

    def task(self, task: int, *, connection: psycopg.Connection[Any] | None = None) -> TaskInfo | None:
        """All that is known of a task, live or finished; None when there is no such task."""
        return self._run(statements.task_info(task), connection)

    def why(self, task: int, *, connection: psycopg.Connection[Any] | None = None) -> list[BlockedReason]:
        """Why a task is not running, each reason with a code, a sentence and its numbers. Raises TaskNotFound."""
        return self._run(statements.why(task), connection)

    def cancel(self, task: int, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return self._run(statements.cancel(task), connection)

    def retry(self, task: int, *, connection: psycopg.Connection[Any] | None = None) -> None:
        """Make a failed or cancelled task pending again, with fresh attempts."""
        self._run(statements.retry(task), connection)

    def redrive(self, queue: str, *, max_tasks: int = 1000, connection: psycopg.Connection[Any] | None = None) -> int:
        """Move the waiting dead letters of a queue back to where they came from. Returns how many went."""
        return self._run(statements.redrive(queue, max_tasks), connection)

    def reschedule(self, task: int, run_at: datetime, *, connection: psycopg.Connection[Any] | None = None) -> datetime:
        """Make a pending task ready at another time. Returns when it will be ready."""
        return self._run(statements.reschedule(task, run_at), connection)

    def reprioritize(self, task: int, priority: int, *, connection: psycopg.Connection[Any] | None = None) -> None:
        """Give a pending task another priority; higher runs first."""
        self._run(statements.reprioritize(task, priority), connection)

    def delete_task(self, task: int, *, connection: psycopg.Connection[Any] | None = None) -> None:
        """Remove a finished task from the history."""
        self._run(statements.delete_task(task), connection)

    def configure(
        self,
        *,
        max_input_size: int | str | None = None,
        max_output_size: int | str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> None:
        """Change settings of the whole schema: the largest input and output of a task, in bytes or as "4 MB"."""
        self._run(statements.configure(max_input_size, max_output_size), connection)

    def create_queue(self, queue: Queue, *, connection: psycopg.Connection[Any] | None = None) -> None:
        """Create a queue, or change the settings that are given."""
        self._run(statements.create_queue(queue), connection)

    def pause_queue(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Stop claims from a queue, for all workers at once. Returns whether it was running."""
        return self._run(statements.pause_queue(name), connection)

    def resume_queue(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Let claims from a queue go on. Returns whether it was paused."""
        return self._run(statements.resume_queue(name), connection)

    def pause_key(self, queue: str, key: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Stop claims of one concurrency key of a queue, for all workers at once. Returns whether it was running."""
        return self._run(statements.pause_key(queue, key), connection)

    def resume_key(self, queue: str, key: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Let claims of a paused concurrency key go on. Returns whether it was paused."""
        return self._run(statements.resume_key(queue, key), connection)

    def drop_queue(self, name: str, *, force: bool = False, connection: psycopg.Connection[Any] | None = None) -> None:
        """Remove a queue; with `force` its live tasks are cancelled."""
        self._run(statements.drop_queue(name, force), connection)

    def schedule(self, schedule: Schedule, *, connection: psycopg.Connection[Any] | None = None) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return self._run(statements.schedule(schedule), connection)

    def unschedule(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return self._run(statements.unschedule(name), connection)

    def pause_schedule(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Let a schedule enqueue nothing until it is resumed. Returns whether it was running."""
        return self._run(statements.pause_schedule(name), connection)

    def resume_schedule(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> bool:
        """Let a paused schedule go on with its next time. Returns whether it was paused."""
        return self._run(statements.resume_schedule(name), connection)

    def run_schedule_now(self, name: str, *, connection: psycopg.Connection[Any] | None = None) -> int:
        """Enqueue the task of a schedule now, beside its times. Returns the id of the task."""
        return self._run(statements.run_schedule_now(name), connection)

    def schedules(self, *, connection: psycopg.Connection[Any] | None = None) -> list[ScheduleStats]:
        """Every schedule, with its last and its next time."""
        return self._run(statements.schedules(), connection)

    def cron_preview(
        self,
        cron: str,
        time_zone: str | None = None,
        *,
        after: datetime | None = None,
        count: int = 5,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[datetime]:
        """The next times that a cron expression names on the clocks of a zone (UTC by default), after now or a time."""
        return self._run(statements.cron_preview(cron, time_zone, after, count), connection)

    def tasks(
        self,
        *,
        queue: str | None = None,
        state: State | None = None,
        limit: int = 50,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[TaskSummary]:
        """The newest tasks, live or finished."""
        return self._run(statements.tasks(queue, state, limit), connection)

    def queues(self, *, connection: psycopg.Connection[Any] | None = None) -> list[QueueStats]:
        """Every queue, with what lies in it."""
        return self._run(statements.queues(), connection)

    def workers(self, *, connection: psycopg.Connection[Any] | None = None) -> list[WorkerStats]:
        """Every worker that is known."""
        return self._run(statements.workers(), connection)

    def stop_workers(
        self,
        *,
        worker: int | None = None,
        queue: str | None = None,
        all_workers: bool = False,
        connection: psycopg.Connection[Any] | None = None,
    ) -> int:
        """Ask a worker to stop by its id, those that serve a queue, or everyone, as a signal does. Returns how many."""
        return self._run(statements.stop_workers(worker, queue, all_workers), connection)

    def stats(self, *, connection: psycopg.Connection[Any] | None = None) -> dict[str, float]:
        """The whole installation in a few numbers."""
        return self._run(statements.stats(), connection)


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited."""

    def __init__(self, dsn: str, *, max_connections: int = 4) -> None:
        self._dsn = dsn
        self._pool = connections.async_pool(dsn, most=max_connections, name="underway")

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def _run(self, statement: Statement[T], connection: psycopg.AsyncConnection[Any] | None = None) -> T:
        if connection is not None:
            return await execute_async(connection, statement)
        if self._pool.closed:
            await (await connections.connect_async(self._dsn)).close()
            await self._pool.open()
        async with self._pool.connection() as pooled:
            return await execute_async(pooled, statement)

    async def enqueue(
        self,
        queue: str,
        input: Any,
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> int:
        """Enqueue a task. Returns its id."""
        return await self._run(statements.enqueue(queue, input, job, options), connection)

    async def enqueue_many(
        self,
        queue: str,
        inputs: Iterable[Any],
        *,
        unique_keys: Iterable[str | None] | None = None,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[int]:
        """Enqueue a task for each input, all with the same options. Returns their ids in the order of the inputs.

        `unique_keys` has a key for each input, or None; a key that is taken gives the id of the task that has it.
        """
        return await self._run(statements.enqueue_many(queue, inputs, job, options, unique_keys), connection)

    async def enqueue_unique(
        self,
        queue: str,
        inputs: Iterable[Any],
        unique_keys: Iterable[str | None],
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[Enqueued]:
        """Enqueue a task for each input whose unique key is free, all with the same options.

        Returns for each input which task has its key, and whether it was created or replaced.
        """
        return await self._run(statements.enqueue_unique(queue, inputs, unique_keys, job, options), connection)

    async def enqueue_batch(
        self,
        tasks: Iterable[NewTask],
        *,
        on_success: NewTask | None = None,
        on_final: NewTask | None = None,
        on_failure: NewTask | None = None,
        name: str | None = None,
        retention: Duration | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> int:
        """Enqueue tasks as a batch, made by `Job.task`. Returns the id of the batch.

        `on_success` runs when all of them have succeeded, `on_final` when all are final, `on_failure` when the first
        has failed or was cancelled; each finds the id in `context.headers["batch"]`. The batch is known for `retention`
        (seconds or a timedelta, 14 days by default) after its end.
        """
        return await self._run(
            statements.enqueue_batch(tasks, on_success, on_final, on_failure, name, retention), connection
        )

    async def extend_batch(
        self, batch: int, tasks: Iterable[NewTask], *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> list[int]:
        """Enqueue more tasks of a batch that is not final. Returns their ids. Raises BatchFinal or BatchNotFound."""
        return await self._run(statements.extend_batch(batch, tasks), connection)

    async def cancel_batch(self, batch: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> int:
        """Cancel the live tasks of a batch. Returns how many there were."""
        return await self._run(statements.cancel_batch(batch), connection)

    async def batch(self, batch: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> BatchStats | None:
        """How far a batch is; None when there is no such batch."""
        return await self._run(statements.batch(batch), connection)

    async def batches(
        self, *, limit: int = 50, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> list[BatchStats]:
        """The newest batches, with how far they are."""
        return await self._run(statements.batches(limit), connection)

    async def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final. Returns its output.

        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout or TaskNotFound.
        """
        return _result((await self.wait_for_many([task], timeout=timeout))[task])

    async def wait_for_many(self, tasks: Iterable[int], *, timeout: float | None = None) -> dict[int, TaskInfo]:
        """Wait until tasks are final, however they end. Returns all that is known of each, by its id.

        `timeout` is in seconds, for all of them. Raises WaitTimeout, or TaskNotFound when one of them does not exist.
        """
        waiting = TaskWaiter(tasks, timeout)
        async with await connections.connect_async(self._dsn) as connection:
            await wait_async(connection, waiting)
        return waiting.final

    async def task(self, task: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> TaskInfo | None:
        """All that is known of a task, live or finished; None when there is no such task."""
        return await self._run(statements.task_info(task), connection)

    async def why(self, task: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> list[BlockedReason]:
        """Why a task is not running, each reason with a code, a sentence and its numbers. Raises TaskNotFound."""
        return await self._run(statements.why(task), connection)

    async def cancel(self, task: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return await self._run(statements.cancel(task), connection)

    async def retry(self, task: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> None:
        """Make a failed or cancelled task pending again, with fresh attempts."""
        await self._run(statements.retry(task), connection)

    async def redrive(
        self, queue: str, *, max_tasks: int = 1000, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> int:
        """Move the waiting dead letters of a queue back to where they came from. Returns how many went."""
        return await self._run(statements.redrive(queue, max_tasks), connection)

    async def reschedule(
        self, task: int, run_at: datetime, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> datetime:
        """Make a pending task ready at another time. Returns when it will be ready."""
        return await self._run(statements.reschedule(task, run_at), connection)

    async def reprioritize(
        self, task: int, priority: int, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> None:
        """Give a pending task another priority; higher runs first."""
        await self._run(statements.reprioritize(task, priority), connection)

    async def delete_task(self, task: int, *, connection: psycopg.AsyncConnection[Any] | None = None) -> None:
        """Remove a finished task from the history."""
        await self._run(statements.delete_task(task), connection)

    async def configure(
        self,
        *,
        max_input_size: int | str | None = None,
        max_output_size: int | str | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> None:
        """Change settings of the whole schema: the largest input and output of a task, in bytes or as "4 MB"."""
        await self._run(statements.configure(max_input_size, max_output_size), connection)

    async def create_queue(self, queue: Queue, *, connection: psycopg.AsyncConnection[Any] | None = None) -> None:
        """Create a queue, or change the settings that are given."""
        await self._run(statements.create_queue(queue), connection)

    async def pause_queue(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Stop claims from a queue, for all workers at once. Returns whether it was running."""
        return await self._run(statements.pause_queue(name), connection)

    async def resume_queue(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Let claims from a queue go on. Returns whether it was paused."""
        return await self._run(statements.resume_queue(name), connection)

    async def pause_key(self, queue: str, key: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Stop claims of one concurrency key of a queue, for all workers at once. Returns whether it was running."""
        return await self._run(statements.pause_key(queue, key), connection)

    async def resume_key(self, queue: str, key: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Let claims of a paused concurrency key go on. Returns whether it was paused."""
        return await self._run(statements.resume_key(queue, key), connection)

    async def drop_queue(
        self, name: str, *, force: bool = False, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> None:
        """Remove a queue; with `force` its live tasks are cancelled."""
        await self._run(statements.drop_queue(name, force), connection)

    async def schedule(
        self, schedule: Schedule, *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return await self._run(statements.schedule(schedule), connection)

    async def unschedule(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return await self._run(statements.unschedule(name), connection)

    async def pause_schedule(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Let a schedule enqueue nothing until it is resumed. Returns whether it was running."""
        return await self._run(statements.pause_schedule(name), connection)

    async def resume_schedule(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Let a paused schedule go on with its next time. Returns whether it was paused."""
        return await self._run(statements.resume_schedule(name), connection)

    async def run_schedule_now(self, name: str, *, connection: psycopg.AsyncConnection[Any] | None = None) -> int:
        """Enqueue the task of a schedule now, beside its times. Returns the id of the task."""
        return await self._run(statements.run_schedule_now(name), connection)

    async def schedules(self, *, connection: psycopg.AsyncConnection[Any] | None = None) -> list[ScheduleStats]:
        """Every schedule, with its last and its next time."""
        return await self._run(statements.schedules(), connection)

    async def cron_preview(
        self,
        cron: str,
        time_zone: str | None = None,
        *,
        after: datetime | None = None,
        count: int = 5,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[datetime]:
        """The next times that a cron expression names on the clocks of a zone (UTC by default), after now or a time."""
        return await self._run(statements.cron_preview(cron, time_zone, after, count), connection)

    async def tasks(
        self,
        *,
        queue: str | None = None,
        state: State | None = None,
        limit: int = 50,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[TaskSummary]:
        """The newest tasks, live or finished."""
        return await self._run(statements.tasks(queue, state, limit), connection)

    async def queues(self, *, connection: psycopg.AsyncConnection[Any] | None = None) -> list[QueueStats]:
        """Every queue, with what lies in it."""
        return await self._run(statements.queues(), connection)

    async def workers(self, *, connection: psycopg.AsyncConnection[Any] | None = None) -> list[WorkerStats]:
        """Every worker that is known."""
        return await self._run(statements.workers(), connection)

    async def stop_workers(
        self,
        *,
        worker: int | None = None,
        queue: str | None = None,
        all_workers: bool = False,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> int:
        """Ask a worker to stop by its id, those that serve a queue, or everyone, as a signal does. Returns how many."""
        return await self._run(statements.stop_workers(worker, queue, all_workers), connection)

    async def stats(self, *, connection: psycopg.AsyncConnection[Any] | None = None) -> dict[str, float]:
        """The whole installation in a few numbers."""
        return await self._run(statements.stats(), connection)
