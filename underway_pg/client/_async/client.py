"""The client: the calls of the SQL contract, over a pool or in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from ...models import Event, TaskInfo
from ..events import read_events_async
from ..waiter import TaskWaiter, output_of
from .enqueueing import EnqueueCalls
from .queues import QueueCalls
from .schedules import ScheduleCalls
from .statistics import StatisticsCalls
from .tasks import TaskCalls

__all__ = ["AsyncClient"]


class AsyncClient(EnqueueCalls, TaskCalls, QueueCalls, ScheduleCalls, StatisticsCalls):
    """The calls of the SQL contract for asyncio. Each runs in a transaction of its own, or in that of `connection=`.

    A `connection` is whatever `Job.using` takes. No other one is opened then.

    dsn        a URI, a conninfo string, or a function that returns one and is called for each new connection
    pool       your own psycopg_pool.AsyncConnectionPool, opened and closed by you; the dsn, by default that of the
               pool, is then used only for LISTEN
    pool_size  at most so many connections at once; one more while tasks are waited for
    timeout    seconds that a call may take, the wait for a free connection included; to connect, each host of the dsn
               is given 2 seconds in any case. Without it a call waits at most 30 seconds for a connection, and for its
               statement as long as the server answers new connections
    poll_interval  how often, in seconds, the states of tasks that are waited for are read beside the notifications of
               their ends: some may be lost, and poolers deliver none

    `before_enqueue` is called before each call that enqueues or schedules: an application creates its queues there.
    `enqueue_middleware` runs around each call that enqueues; see `App`.
    A client makes its connections when it needs them. In a forked process it makes new ones. It belongs to the event
    loop on which it is used first. The database's refusals are raised as subclasses of DatabaseRefusal, outages as
    DatabaseUnavailable; other database errors pass as psycopg raises them.
    """

    async def wait_for(self, task: int, *, timeout: float | None = None) -> Any:
        """Wait until a task is final. Returns its output.

        `timeout` is in seconds. Raises TaskFailed, TaskCancelled, WaitTimeout or TaskNotFound.
        """
        final = await self.wait_for_many([task], timeout=timeout)
        return output_of(final[task])

    async def wait_for_many(
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
        await self._waits.wait(waiter)
        return waiter.final

    def events(
        self, kinds: Iterable[str] | None = None, *, after: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[Event]:
        """What happens from now on, such as tasks that fail permanently, as an iterator that does not end.

        `kinds` are those to return, all by default: task_failed, attempt_failed, queue_blocked, queue_unblocked,
        schedule_missed, schedule_failed and worker_lost. `after` is the id of an event: begin with what happened after
        it. With `timeout` (seconds) the iterator ends after that time.

        Each event is returned once. Two that happen at the same time may come in any order. The iterator has one
        connection of its own, and connects again after an outage. Needs the role underway_observer. Raises
        DatabaseUnavailable if the first connection fails.
        """
        return read_events_async(self._source, kinds, after, timeout)
