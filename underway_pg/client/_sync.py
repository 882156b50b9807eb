# Generated from _async.py by tools/async_to_sync.py: change that one, then run `make sync-client`.

"""The clients: the calls of the SQL contract, over a pool or in the caller's transaction."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg

from .. import connections, statements
from ..checks import check_number
from ..connections import Dsn, Pool, after_fork, answer_within_sync, connect, dsn_of_pool, is_outage, unavailable
from ..connections.primitives import keep_for_ever, wait_for_event
from ..connections.sessions import may_have_committed
from ..errors import ConfigurationError, DatabaseRefusal, DatabaseUnavailable
from ..models import (
    BatchStats,
    BlockedReason,
    Enqueued,
    Event,
    FailureGroup,
    FoundTasks,
    JobStats,
    QueueDepth,
    QueueStats,
    RelatedTask,
    ScheduleStats,
    State,
    TaskCount,
    TaskInfo,
    TaskStats,
    TaskSummary,
    TaskTotals,
    WorkerStats,
)
from ..settings import Duration, JobPolicy, NewTask, Options, Queue, Schedule
from ..statements import Statement
from .enqueueing import EnqueueMiddleware, around_enqueue
from .events import read_events
from .execute import execute
from .waiter import TaskWaiter, output_of

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

__all__ = ["Client"]

T = TypeVar("T")

_DEFAULT = Options()

# Seconds. Without a timeout a call waits this long for a free connection.
_FREE_CONNECTION = 30.0


class Waits:
    """All the waiting of one client for the end of tasks, over one LISTEN connection.

    The problem: a connection for each call would exhaust the server when a thousand calls wait at once, and a thread
    in the background would have to be ended by somebody. So one of the callers that wait, the leader, listens
    for all of them: it reads how the tasks ended, and wakes the callers that wait for them. When its own tasks have
    ended, another caller becomes the leader and takes the connection over. The last caller closes it.

    No end is missed: a caller that joins reads the states of its tasks first, and a new connection listens before it
    reads the states of all tasks.
    """

    def __init__(self, dsn: Dsn, run: Callable[[Statement[Any]], Any], poll_interval: float) -> None:
        self._dsn = dsn
        self._run = run
        self._poll_interval = poll_interval
        self._start()
        after_fork(self)

    def _start(self) -> None:
        self._leading = threading.Lock()  # held by the leader
        self._joining = threading.RLock()  # for the dictionaries and what they hold, for a moment
        self._events: dict[TaskWaiter, threading.Event] = {}
        self._waiters: dict[int, set[TaskWaiter]] = {}  # by task
        self._connection: psycopg.Connection[Any] | None = None
        self._poll_at = 0.0

    def _after_fork(self) -> None:
        if self._connection is not None:
            keep_for_ever([self._connection])
        self._start()

    def wait(self, waiter: TaskWaiter) -> None:
        """Wait until the tasks of a waiter are final. Raises WaitTimeout and DatabaseUnavailable."""
        event = self._join(waiter)
        try:
            if not waiter.done:
                self._read(self._run, [waiter])
            while not waiter.done:
                if self._leading.acquire(blocking=False):
                    try:
                        self._lead(waiter)
                    finally:
                        self._leading.release()
                else:
                    wait_for_event(event, waiter.seconds_left())
                    event.clear()
        finally:
            self._leave(waiter)
            self._hand_over()

    def _join(self, waiter: TaskWaiter) -> threading.Event:
        event = threading.Event()
        with self._joining:
            self._events[waiter] = event
            for task in waiter.tasks:
                self._waiters.setdefault(task, set()).add(waiter)
        return event

    def _leave(self, waiter: TaskWaiter) -> None:
        with self._joining:
            del self._events[waiter]
            for task in waiter.tasks:
                self._waiters[task].discard(waiter)
                if not self._waiters[task]:
                    del self._waiters[task]

    def _hand_over(self) -> None:
        """Wake one caller, which leads if nobody does. Without any, close the connection."""
        if not self._events and self._leading.acquire(blocking=False):
            if not self._events:
                self._close()
            self._leading.release()
        with self._joining:
            event = next(iter(self._events.values()), None)
        if event is not None:
            event.set()

    def _lead(self, own: TaskWaiter) -> None:
        """Listen for all callers until one's own tasks have ended."""
        while not own.done:
            left = own.seconds_left()
            try:
                connection = self._listen()
            except DatabaseUnavailable as error:
                self._fail_all(error)
                return
            try:
                pause = self._poll_at - time.monotonic()
                if pause <= 0:
                    self._poll_at = time.monotonic() + self._poll_interval
                    with answer_within_sync(connections.SILENT_AFTER, connection):
                        self._read(partial(execute, connection), list(self._events))
                    continue
                ended = self._notified(connection, pause if left is None else min(pause, left))
                if ended:
                    with answer_within_sync(connections.SILENT_AFTER, connection):
                        self._record(execute(connection, statements.task_infos(ended)))
            except psycopg.OperationalError as error:
                self._close()
                if not is_outage(error):
                    raise
            except BaseException:
                self._close()
                raise

    def _listen(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            connection = connect(self._dsn)
            self._connection, self._poll_at = connection, 0.0
            try:
                connection.execute("listen underway_finished")
            except BaseException:
                self._close()
                raise
        return self._connection

    def _notified(self, connection: psycopg.Connection[Any], seconds: float) -> list[int]:
        """Listen, at most for some seconds. Returns the tasks that have ended and that somebody waits for."""
        heard: set[int] = set()
        for notification in connection.notifies(timeout=seconds, stop_after=1):
            if notification.payload.isdecimal():
                heard.add(int(notification.payload))
        return [task for task in heard if task in self._waiters]

    def _read(self, run: Callable[[Statement[Any]], Any], waiters: list[TaskWaiter]) -> None:
        """Have the end of the open tasks notified, and read those that have ended already."""
        with self._joining:
            tasks = list({task for waiter in waiters for task in waiter.open})
        try:
            ended = run(statements.watch(tasks))
        except DatabaseRefusal as error:  # one of the tasks does not exist: find out whose
            if len(waiters) == 1:
                self._fail(waiters[0], error)
                return
            for waiter in waiters:
                self._read(run, [waiter])
            return
        if ended:
            self._record(run(statements.task_infos(ended)))

    def _record(self, found: list[TaskInfo]) -> None:
        with self._joining:
            for task in found:
                for waiter in tuple(self._waiters.get(task.id, ())):
                    waiter.record(task)
                    if waiter.done:
                        self._events[waiter].set()

    def _fail(self, waiter: TaskWaiter, error: Exception) -> None:
        waiter.fail(error)
        with self._joining:
            if waiter in self._events:
                self._events[waiter].set()

    def _fail_all(self, error: DatabaseUnavailable) -> None:
        for waiter in list(self._events):
            own = DatabaseUnavailable(*error.args)
            own.__cause__ = error.__cause__
            self._fail(waiter, own)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()


class Client:
    """The calls of the SQL contract for plain code. Each runs in a transaction of its own, or in that of `connection=`.

    A `connection` is whatever `Job.using` takes. No other one is opened then.

    dsn        a URI, a conninfo string, or a function that returns one and is called for each new connection
    pool       your own psycopg_pool.ConnectionPool, opened and closed by you; the dsn, by default that of the
               pool, is then used only for LISTEN
    pool_size  at most so many connections at once; one more while tasks are waited for
    timeout    seconds that a call may take, the wait for a free connection included. Without it a call waits at most 30
               seconds for a connection, and as long as it takes for its statement
    poll_interval  how often, in seconds, the states of tasks that are waited for are read beside the notifications of
               their ends: some may be lost, and poolers deliver none

    `before_enqueue` is called before each call that enqueues or schedules: an application creates its queues there.
    `enqueue_middleware` runs around each call that enqueues; see `App`.
    A client makes its connections when it needs them. In a forked process it makes new ones. It is safe in several
    threads. The database's refusals are raised as subclasses of DatabaseRefusal, outages as
    DatabaseUnavailable; other database errors pass as psycopg raises them.
    """

    def __init__(
        self,
        dsn: Dsn | None = None,
        *,
        pool: ConnectionPool[Any] | None = None,
        pool_size: int = 4,
        timeout: float | None = None,
        poll_interval: float = 1.0,
        before_enqueue: Callable[[], Any] | None = None,
        enqueue_middleware: Sequence[EnqueueMiddleware] = (),
    ) -> None:
        if dsn is None and pool is None:
            raise ConfigurationError("a client needs a dsn or a pool")
        source = dsn if dsn is not None else dsn_of_pool(pool)
        check_number("pool_size", pool_size, int, 1)
        check_number("poll_interval", poll_interval, float, 0)
        self._source = source
        self._own_pool = Pool(source, max_size=pool_size)
        self._pool = self._own_pool if pool is None else pool
        self._timeout = timeout
        self._before_enqueue = before_enqueue
        self._enqueue_middleware = enqueue_middleware
        self._waits = Waits(source, self.run, poll_interval)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can be used again, with new ones."""
        self.drain()

    def drain(self) -> None:
        """Close the idle connections, from any thread."""
        self._own_pool.drain()

    def within(self, timeout: float | None) -> Self:
        """The same client with another timeout for its calls, in seconds."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    def run(self, statement: Statement[T], connection: Any = None) -> T:
        """Run one statement of the SQL contract; all other calls do it by this one."""
        with around_enqueue(self._enqueue_middleware, statement) as around:
            return around.done(self._run(around.statement, connection))

    def _run(self, statement: Statement[T], connection: Any) -> T:
        if connection is not None:
            return execute(connection, statement)
        if statement.enqueues and self._before_enqueue is not None:
            self._before_enqueue()
        return self._run_own(statement)

    def _run_own(self, statement: Statement[T]) -> T:
        with suppress(psycopg.errors.AdminShutdown, psycopg.errors.IdleSessionTimeout):
            return self._run_pooled(statement)
        # The server ended the session, most likely while it was idle, and did not commit: once more, in a new session.
        try:
            return self._run_pooled(statement)
        except psycopg.OperationalError as error:
            if not is_outage(error) or isinstance(error, DatabaseUnavailable):
                raise
            raise unavailable(error) from error

    def _run_pooled(self, statement: Statement[T]) -> T:
        timeout, started_at = self._timeout, time.monotonic()
        try:
            with self._pool.connection(_FREE_CONNECTION if timeout is None else timeout) as pooled:
                if timeout is None:
                    return execute(pooled, statement)
                with answer_within_sync(max(0.0, timeout - (time.monotonic() - started_at)), pooled):
                    return execute(pooled, statement)
        except (psycopg.errors.AdminShutdown, psycopg.errors.IdleSessionTimeout) as error:
            self.drain()  # the other idle sessions have ended too, or will
            if self._pool is not self._own_pool or may_have_committed(pooled):
                raise unavailable(error) from error
            raise
        except psycopg.errors.ReadOnlySqlTransaction:
            self.drain()  # a former primary: the next connection may lead to the new one
            raise
        except psycopg.Error as error:
            if not is_outage(error) or isinstance(error, DatabaseUnavailable):
                raise
            raise unavailable(error) from error

    def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final. Returns its output.

        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout or TaskNotFound.
        """
        final = self.wait_for_many([task], timeout=timeout)
        return output_of(final[task])

    def wait_for_many(
        self,
        tasks: Iterable[int],
        *,
        timeout: float | None = None,
        on_final: Callable[[TaskInfo], None] | None = None,
    ) -> dict[int, TaskInfo]:
        """Wait until tasks are final, however they end. Returns all that is known of each, by its id.

        `timeout` is in seconds, for all of them. `on_final` is called with each task that is final. Raises WaitTimeout,
        or TaskNotFound when one of the tasks does not exist.
        """
        waiter = TaskWaiter(tasks, timeout, on_final)
        self._waits.wait(waiter)
        return waiter.final

    def events(
        self, kinds: Iterable[str] | None = None, *, after: int | None = None, timeout: float | None = None
    ) -> Iterator[Event]:
        """What happens from now on, such as tasks that fail permanently, as an iterator that does not end.

        `kinds` are those to return, all by default: task_failed, attempt_failed, queue_blocked, queue_unblocked,
        schedule_missed, schedule_failed and worker_lost. `after` is the id of an event: begin with what happened after
        it. With `timeout` (seconds) the iterator ends after that time.

        Each event is returned once. Two that happen at the same time may come in any order. The iterator has one
        connection of its own, and connects again after an outage. Needs the role underway_observer. Raises
        DatabaseUnavailable if the first connection fails.
        """
        return read_events(self._source, kinds, after, timeout)

    def enqueue(
        self,
        queue: str | None,
        input: Any,
        *,
        job: str | None = None,
        options: Options = _DEFAULT,
        connection: Any = None,
    ) -> int:
        """Enqueue a task; without a queue (None) into that of its job. Returns its id."""
        return self.run(statements.enqueue(queue, input, job, options), connection)

    def enqueue_many(
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
        return self.run(statements.enqueue_many(queue, inputs, job, options, unique_keys), connection)

    def enqueue_unique(
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
        return self.run(statements.enqueue_unique(queue, inputs, unique_keys, job, options), connection)

    def enqueue_tasks(self, tasks: Iterable[NewTask], *, connection: Any = None) -> list[int]:
        """Enqueue tasks of any jobs and queues, made by `Job.task`, all or none. Returns their ids in order."""
        return self.run(statements.enqueue_tasks(tasks), connection)

    def enqueue_batch(
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
        return self.run(statements.enqueue_batch(tasks, on_success, on_final, on_failure, name, retention), connection)

    def extend_batch(self, batch: int, tasks: Iterable[NewTask], *, connection: Any = None) -> list[int]:
        """Enqueue more tasks of a batch that is not final. Returns their ids. Raises BatchFinal or BatchNotFound."""
        return self.run(statements.extend_batch(batch, tasks), connection)

    def cancel_batch(self, batch: int, *, connection: Any = None) -> int:
        """Cancel the live tasks of a batch. Returns how many there were."""
        return self.run(statements.cancel_batch(batch), connection)

    def batch(self, batch: int, *, connection: Any = None) -> BatchStats | None:
        """How far a batch is; None when there is no such batch."""
        return self.run(statements.batch(batch), connection)

    def batches(self, *, limit: int = 50, connection: Any = None) -> list[BatchStats]:
        """The newest batches, with how far they are."""
        return self.run(statements.batches(limit), connection)

    def task(self, task: int, *, connection: Any = None) -> TaskInfo | None:
        """All that is known of a task, live or finished; None when there is no such task."""
        return self.run(statements.task_info(task), connection)

    def why(self, task: int, *, connection: Any = None) -> list[BlockedReason]:
        """Why a task is not running, each reason with a code, a sentence and its numbers. Raises TaskNotFound."""
        return self.run(statements.why(task), connection)

    def cancel(self, task: int, *, connection: Any = None) -> bool:
        """Cancel a live task, running or not. Returns whether something changed."""
        return self.run(statements.cancel(task), connection)

    def retry(self, task: int, *, connection: Any = None) -> None:
        """Make a failed or cancelled task pending again, with fresh attempts."""
        self.run(statements.retry(task), connection)

    def redrive(self, queue: str, *, max_tasks: int = 1000, connection: Any = None) -> int:
        """Move the waiting dead letters of a queue back to where they came from. Returns how many went."""
        return self.run(statements.redrive(queue, max_tasks), connection)

    def reschedule(self, task: int, run_at: datetime, *, connection: Any = None) -> datetime:
        """Make a pending task ready at another time. Returns when it will be ready."""
        return self.run(statements.reschedule(task, run_at), connection)

    def reprioritize(self, task: int, priority: int, *, connection: Any = None) -> None:
        """Give a pending task another priority; higher runs first."""
        self.run(statements.reprioritize(task, priority), connection)

    def delete_task(self, task: int, *, connection: Any = None) -> None:
        """Remove a finished task from the history."""
        self.run(statements.delete_task(task), connection)

    def configure(
        self,
        *,
        max_input_size: int | str | None = None,
        max_output_size: int | str | None = None,
        connection: Any = None,
    ) -> None:
        """Change settings of the whole schema: the largest input and output of a task, in bytes or as "4 MB"."""
        self.run(statements.configure(max_input_size, max_output_size), connection)

    def create_queue(self, queue: Queue, *, connection: Any = None) -> None:
        """Create a queue, or change the settings that are given."""
        self.run(statements.create_queue(queue), connection)

    def register_job(self, job: JobPolicy, *, connection: Any = None) -> None:
        """Store what is declared of a job, in place of what was stored."""
        self.run(statements.register_jobs([job]), connection)

    def unregister_job(self, name: str, *, connection: Any = None) -> bool:
        """Forget the settings of a job; its tasks stay. Returns whether it was registered."""
        return self.run(statements.unregister_job(name), connection)

    def pause_queue(self, name: str, *, connection: Any = None) -> bool:
        """Stop claims from a queue, for all workers at once. Returns whether it was running."""
        return self.run(statements.pause_queue(name), connection)

    def resume_queue(self, name: str, *, connection: Any = None) -> bool:
        """Let claims from a queue go on. Returns whether it was paused."""
        return self.run(statements.resume_queue(name), connection)

    def pause_key(self, queue: str, key: str, *, connection: Any = None) -> bool:
        """Stop claims of one concurrency key of a queue, for all workers at once. Returns whether it was running."""
        return self.run(statements.pause_key(queue, key), connection)

    def resume_key(self, queue: str, key: str, *, connection: Any = None) -> bool:
        """Let claims of a paused concurrency key go on. Returns whether it was paused."""
        return self.run(statements.resume_key(queue, key), connection)

    def drop_queue(self, name: str, *, force: bool = False, connection: Any = None) -> None:
        """Remove a queue; with `force` its live tasks are cancelled."""
        self.run(statements.drop_queue(name, force), connection)

    def schedule(self, schedule: Schedule, *, connection: Any = None) -> datetime | None:
        """Create a schedule, or replace the one of its name. Returns its next time."""
        return self.run(statements.schedule(schedule), connection)

    def unschedule(self, name: str, *, connection: Any = None) -> bool:
        """Remove a schedule; the tasks that it has enqueued stay. Returns whether there was one."""
        return self.run(statements.unschedule(name), connection)

    def pause_schedule(self, name: str, *, connection: Any = None) -> bool:
        """Let a schedule enqueue nothing until it is resumed. Returns whether it was running."""
        return self.run(statements.pause_schedule(name), connection)

    def resume_schedule(self, name: str, *, connection: Any = None) -> bool:
        """Let a paused schedule go on with its next time. Returns whether it was paused."""
        return self.run(statements.resume_schedule(name), connection)

    def run_schedule_now(self, name: str, *, connection: Any = None) -> int:
        """Enqueue the task of a schedule now, beside its times. Returns the id of the task."""
        return self.run(statements.run_schedule_now(name), connection)

    def schedules(self, *, connection: Any = None) -> list[ScheduleStats]:
        """Every schedule, with its last and its next time."""
        return self.run(statements.schedules(), connection)

    def cron_preview(
        self,
        cron: str,
        time_zone: str | None = None,
        *,
        after: datetime | None = None,
        count: int = 5,
        connection: Any = None,
    ) -> list[datetime]:
        """The next times that a cron expression names on the clocks of a zone (UTC by default), after now or a time."""
        return self.run(statements.cron_preview(cron, time_zone, after, count), connection)

    def tasks(
        self,
        *,
        queue: str | None = None,
        state: State | None = None,
        limit: int = 50,
        connection: Any = None,
    ) -> list[TaskSummary]:
        """The newest tasks, live or finished."""
        return self.run(statements.tasks(queue, state, limit), connection)

    def queues(self, *, connection: Any = None) -> list[QueueStats]:
        """Every queue, with what lies in it."""
        return self.run(statements.queues(), connection)

    def jobs(self, *, connection: Any = None) -> list[JobStats]:
        """Every registered job, with its settings."""
        return self.run(statements.jobs(), connection)

    def workers(self, *, connection: Any = None) -> list[WorkerStats]:
        """Every worker that is known."""
        return self.run(statements.workers(), connection)

    def stop_workers(
        self,
        *,
        worker: int | None = None,
        queue: str | None = None,
        all_workers: bool = False,
        connection: Any = None,
    ) -> int:
        """Ask a worker to stop by its id, those that serve a queue, or everyone, as a signal does. Returns how many."""
        return self.run(statements.stop_workers(worker, queue, all_workers), connection)

    def stats(self, *, connection: Any = None) -> dict[str, float]:
        """The whole installation in a few numbers."""
        return self.run(statements.stats(), connection)

    def find_tasks(
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
        found, next_before = self.run(statements.find_tasks(filter or {}, before, limit), connection)
        tasks = self.run(statements.task_summaries(found), connection)
        return FoundTasks(tasks=tasks, next_before=next_before)

    def count_tasks(
        self, filter: Mapping[str, Any] | None = None, *, max_count: int = 10_000, connection: Any = None
    ) -> TaskCount:
        """How many tasks match a filter of `find_tasks`, counted up to `max_count`."""
        return self.run(statements.count_tasks(filter or {}, max_count), connection)

    def task_dependencies(self, task: int, *, connection: Any = None) -> list[RelatedTask]:
        """The tasks that a task waits for or that wait for it, callbacks of its batches, and its dead letter."""
        return self.run(statements.task_dependencies(task), connection)

    def cancel_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Cancel at most 1000 tasks. Final tasks are skipped. Returns the ids of the cancelled tasks."""
        return self.run(statements.cancel_many(tasks), connection)

    def retry_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Make the failed and cancelled ones of at most 1000 tasks pending again. Returns their ids."""
        return self.run(statements.retry_many(tasks), connection)

    def delete_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Remove the finished ones of at most 1000 tasks from the history. Returns their ids."""
        return self.run(statements.delete_many(tasks), connection)

    def redrive_many(self, tasks: Sequence[int], *, connection: Any = None) -> list[int]:
        """Move the dead letters among at most 1000 tasks back to where they came from. Returns the letters' ids."""
        return self.run(statements.redrive_many(tasks), connection)

    def run_again(self, task: int, input: Any = ..., *, connection: Any = None) -> int:
        """Enqueue a copy of a task, with another input if one is given. Returns the id of the copy."""
        return self.run(statements.run_again(task, None if input is ... else statements.dump_json(input)), connection)

    def stats_over_time(
        self,
        since: datetime,
        until: datetime,
        *,
        step: Duration | None = None,
        queue: str | None = None,
        job: str | None = None,
        connection: Any = None,
    ) -> list[TaskStats]:
        """What happened to tasks, step by step, the oldest first. Without a step there are about a hundred of them."""
        return self.run(statements.stats_over_time(since, until, step, queue, job), connection)

    def stats_by_queue(
        self, since: datetime, until: datetime, *, job: str | None = None, connection: Any = None
    ) -> list[TaskStats]:
        """What happened to the tasks of each queue."""
        return self.run(statements.stats_by_queue(since, until, job), connection)

    def stats_by_job(
        self, since: datetime, until: datetime, *, queue: str | None = None, connection: Any = None
    ) -> list[TaskStats]:
        """What happened to the tasks of each job and queue."""
        return self.run(statements.stats_by_job(since, until, queue), connection)

    def stats_total(self, *, connection: Any = None) -> list[TaskTotals]:
        """What has happened to the tasks of each queue and job since the installation: counters for metrics."""
        return self.run(statements.stats_total(), connection)

    def queue_depth_over_time(
        self,
        since: datetime,
        until: datetime,
        *,
        step: Duration | None = None,
        queue: str | None = None,
        connection: Any = None,
    ) -> list[QueueDepth]:
        """How many live tasks there were, step by step, the oldest first."""
        return self.run(statements.queue_depth_over_time(since, until, step, queue), connection)

    def failure_groups(
        self, since: datetime, *, queue: str | None = None, connection: Any = None
    ) -> list[FailureGroup]:
        """The failed attempts since a time, grouped by queue, job and error, the most frequent first."""
        return self.run(statements.failure_groups(since, queue), connection)

    def database_health(self, *, connection: Any = None) -> dict[str, Any]:
        """The state of the database as far as it concerns the queue."""
        return self.run(statements.database_health(), connection)
