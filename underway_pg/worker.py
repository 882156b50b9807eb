"""The worker: claim, run, settle; and beside that listen, watch, maintain.

One coroutine claims, another settles, each over a connection of its own: the next tasks are fetched and the last ones
settled while those in between run. `concurrency` runners take the claimed tasks, one at a time each; plain handlers
they pass on to threads. Nothing here decides what happens to a task: that is the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import signal
import socket
import traceback
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypedDict, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from . import connections, statements
from .binary import json_text, seconds
from .client import execute_async
from .context import Context
from .errors import ConfigurationError, Fatal, InputError, LeaseLost, Outcome, QueueNotFound, Refusal, Retry, Snooze
from .jobs import Job
from .rows import ClaimedTask
from .statements import Statement
from .threads import Threads

__all__ = ["Worker", "WorkerSettings", "run_worker"]

T = TypeVar("T")

logger = logging.getLogger("underway_pg")

_MISTAKES = (InputError, Fatal)
_DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)

_PACKAGE = str(Path(__file__).parent) + os.sep

# Seconds. A database that gives no connection for so long is away, and so is one that gives no answer; a worker that
# found enough to do for so long is not idle; a task of a job that it does not know is put back for so long; after a
# claim that was refused it waits so long; a part that did not hear that it is over is told again after so long;
# handlers that never wait hold the loop so long; what was claimed and not begun is given back after so long; and
# nothing is claimed ahead for so long after a retry.
_AWAY_AFTER = 2.0
_SILENT_AFTER = 10.0
_BUSY_AFTER = 0.5
_LEAVE_FOR = 5.0
_REFUSED_FOR = 2.0
_AGAIN_AFTER = 0.2
_TURN = 0.002
_STALE_AFTER = 1.0
_CAUTIOUS_FOR = 1.0

# Tasks. As many are claimed in one call, and held beyond those that run; and so many may wait to be settled.
_MOST_CLAIMED = 1000
_MOST_UNSETTLED = 4000


class Held:
    """A task that this worker holds: claimed, not settled. Times are those of the loop.

    `runner` runs it now, if it is async. `over` says that its end is decided, whatever its handler still does.
    """

    __slots__ = (
        "claimed_at",
        "context",
        "deadline",
        "expired",
        "job",
        "over",
        "renew_at",
        "runner",
        "started_at",
        "task",
    )

    def __init__(self, task: ClaimedTask, context: Context, claimed_at: float) -> None:
        self.task = task
        self.context = context
        self.job: Job[..., Any] | None = None
        self.renew_at = claimed_at + seconds(task.heartbeat) / 3
        # It begins later, and so ends later; nobody needs to look before.
        self.deadline = claimed_at + seconds(task.timeout)
        self.claimed_at = claimed_at
        self.started_at: float | None = None
        self.runner: asyncio.Task[None] | None = None
        self.expired = False
        self.over = False


@dataclass(frozen=True)
class Failure:
    """A failed attempt that is to be reported. `error` is JSON text."""

    held: Held
    error: str
    retryable: bool
    after: timedelta | None


class WorkerSettings(TypedDict, total=False):
    """The settings of a worker, as `App.worker` and `App.run` take them; `Worker` says what they mean."""

    queues: Sequence[str]
    concurrency: int
    grace: float
    unknown_jobs: Literal["fail", "leave"]
    ahead: float
    drain: bool
    name: str | None


class Worker:
    """Claims tasks of some queues, runs their jobs, and settles them.

    concurrency   how many tasks run at once; async handlers on the loop, plain ones in threads
    grace         seconds that running tasks get to end in when the worker stops; then they are given back
    unknown_jobs  with a task whose job is not known here: "fail" it for good, or "leave" it to another worker
    ahead         seconds of work to claim beyond what runs, by the mean length of tasks, so that short ones need not
                  wait for the database; what a worker that is killed had claimed has used up an attempt; 0 for none
    drain         stop as soon as no task is ready and none is running
    name          how people find this worker; host and process id by default
    state         what handlers find as `context.state`
    """

    def __init__(
        self,
        dsn: str,
        jobs: Mapping[str, Job[..., Any]],
        *,
        queues: Sequence[str],
        concurrency: int = 10,
        grace: float = 30.0,
        unknown_jobs: Literal["fail", "leave"] = "fail",
        ahead: float = 0.25,
        drain: bool = False,
        name: str | None = None,
        state: Any = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency}; it must be at least 1")
        if grace < 0:
            raise ConfigurationError(f"grace is {grace} s; it must be at least 0")
        if not 0 <= ahead <= 1:
            raise ConfigurationError(f"ahead is {ahead} s; it must lie between 0 and 1")
        if unknown_jobs not in ("fail", "leave"):
            raise ConfigurationError(f'unknown_jobs is {unknown_jobs!r}; it is "fail" or "leave"')
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.queues = list(queues)
        self.concurrency = concurrency
        self._dsn = dsn
        self._jobs = dict(jobs)
        self._grace = grace
        self._unknown_jobs = unknown_jobs
        self._ahead = ahead
        self._drain = drain
        self._state = state
        self._held: set[Held] = set()
        self._ready: deque[Held] = deque()
        self._running = 0
        self._mean = 0.0
        self._cautious_until = 0.0
        self._done: list[tuple[Held, str | None]] = []
        self._failed: list[Failure] = []
        self._snoozed: list[tuple[Held, timedelta]] = []
        self._returned: list[Held] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._passing_on = False
        self._stops = 0
        self._abandoned = False
        self._idle = False
        self._notified = False
        self._more = True
        self._claiming = False
        self._short_at = 0.0
        self._serving = self.queues
        self._look_for_queues = False
        self._next_is_unknown = False
        self._over = False
        self._watch_at = float("inf")

    async def run(self) -> None:
        """Work until `stop` is called. Raises what keeps it from working at all, such as SchemaMissing."""
        for job in self._jobs.values():
            _ = job.signature  # a job that can not be run is found now, not at its first task
        self._loop = asyncio.get_running_loop()
        self._look = asyncio.Event()  # there is perhaps something to claim
        self._ended = asyncio.Event()  # there is something to settle
        self._look_ahead = asyncio.Event()  # something may be due before the next regular look
        self._sooner = asyncio.Event()  # something is due before `_watch_at`
        self._threads: Threads[Held] = Threads(self._loop, self._collect)
        self._connections = _Connections(self._dsn, self.concurrency)
        async with connections.async_pool(
            self._dsn, least=1, most=2, name="underway-worker", give_up_after=_AWAY_AFTER
        ) as self._pool:
            self._id = await self._do(statements.register_worker(self.name, self.queues, self.concurrency))
            logger.info("worker %s serves %s", self.name, ", ".join(self.queues))
            try:
                await self._work()
                await self._do(statements.unregister_worker(self._id))
            except _DATABASE_AWAY:
                # Raised only when the grace time is over.
                logger.warning("worker %s stops without the database; what it holds lapses", self.name)
            finally:
                self._threads.close()
                await self._connections.close()
        logger.info("worker %s has stopped", self.name)

    def stop(self) -> None:
        """Stop claiming, let running tasks end within the grace time, give the rest back; called again: give all back.

        To be called on the loop of the worker, as the signal handlers of `run_worker` do.
        """
        self._stops += 1
        if self._stops == 1:
            logger.info("worker %s stops; %s tasks are running", self.name, self._running)
            self._loop.call_later(self._grace, self._interrupt_all)
        else:
            self._interrupt_all()
        self._look.set()
        self._ended.set()

    async def _work(self) -> None:
        """Run all parts until settling is over, or one of them fails; what it raised is raised."""
        beside = (self._claim, self._listen, self._watch, self._maintain, *[self._run_tasks] * self.concurrency)
        parts = [asyncio.create_task(part()) for part in (self._settle, *beside)]
        ended: set[asyncio.Task[None]] = set()
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over = True
            # More than once: until Python 3.12, asyncio.wait_for may lose a cancellation, and psycopg waits by it.
            pending = {part for part in parts if not part.done()}
            while pending:
                for part in pending:
                    part.cancel()
                _, pending = await asyncio.wait(pending, timeout=_AGAIN_AFTER)
        for part in ended:
            part.result()

    async def _do(self, statement: Statement[T]) -> T:
        """Run a statement; while the database is away, again and again."""
        pause, patience = 0.1, _SILENT_AFTER
        while True:
            try:
                async with self._pool.connection(timeout=_AWAY_AFTER) as connection:
                    with connections.answer_within(patience, connection):
                        return await execute_async(connection, statement)
            except _DATABASE_AWAY as error:
                if self._abandoned:
                    raise
                if isinstance(error, connections.Silent):
                    patience *= 2  # perhaps it is only slow
                    await self._connections.renew()
                logger.warning("worker %s: the database is away: %s", self.name, str(error).strip())
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _AWAY_AFTER)

    # Claim

    async def _claim(self) -> None:
        self._look.set()
        while True:
            await self._look.wait()
            self._look.clear()
            if self._look_for_queues:
                await self._find_queues()
            room = self._room()
            if room > 0:
                await self._claim_up_to(room)
            else:
                self._more = True  # as far as is known; to be looked at when there is room

    def _room(self) -> int:
        """How many tasks to claim now: as many as can run, and of short ones what will run in a moment."""
        if self._stops or len(self._done) > _MOST_UNSETTLED:
            return 0
        ahead = 0
        if self._mean and self._loop.time() > self._cautious_until:
            ahead = min(2 * _MOST_CLAIMED, int(self._ahead * self.concurrency / self._mean))
        if len(self._ready) > ahead // 2:
            return 0
        return min(_MOST_CLAIMED, self.concurrency + ahead - self._running - len(self._ready))

    async def _claim_up_to(self, room: int) -> None:
        asked_at = self._loop.time()
        self._more = False
        self._claiming = True
        try:
            claimed = await self._do(statements.dequeue(self._serving, room, self._id))
        except QueueNotFound:
            self._look_for_queues = True
            self._look.set()
            return
        finally:
            self._claiming = False
            self._ended.set()
        if claimed:
            again = {task.id for task in claimed} if self._held else set()
            for held in [held for held in self._held if held.task.id in again]:
                self._interrupt(held, "it was given out again")
            if any(task.attempt > 1 for task in claimed):
                # One of them may be what kills its worker: the fewer are there with it, the better.
                self._cautious_until = self._loop.time() + _CAUTIOUS_FOR
            new = [Held(task, Context(task, self._state, self._connections), asked_at) for task in claimed]
            self._held.update(new)
            self._ready.extend(new)
            self._watch_by(min(min(held.renew_at, held.deadline) for held in new))
            self._start()
        await self._after_claim(len(claimed), room)

    async def _find_queues(self) -> None:
        """A queue was dropped: go on with the others, and look for it again in a while."""
        self._look_for_queues = False
        there = []
        for queue in self.queues:
            try:
                await self._do(statements.dequeue([queue], 0))
                there.append(queue)
            except QueueNotFound as error:
                if queue in self._serving:
                    logger.error("worker %s goes on without a queue: %s", self.name, error)
        self._serving = there
        if len(there) < len(self.queues):
            self._loop.call_later(_REFUSED_FOR, self._search)

    def _search(self) -> None:
        self._look_for_queues = True
        self._look.set()

    async def _after_claim(self, claimed: int, room: int) -> None:
        """Say whether this worker is idle, so that it is notified exactly while that is of use."""
        now = self._loop.time()
        if claimed == room:
            self._more = True
            if self._room() > 0:
                self._look.set()
            if self._idle and now - self._short_at > _BUSY_AFTER:
                await self._do(statements.set_idle(self._id, False))
                self._idle = False
            return
        self._short_at = now
        if not self._idle:
            await self._do(statements.set_idle(self._id, True))
            self._idle = True
            self._look.set()  # once more: what came before the word was out was not announced
        elif self._next_is_unknown or (claimed == 0 and self._notified):
            self._look_ahead.set()  # perhaps the next one is due in a moment
        self._notified = self._next_is_unknown = False
        if self._drain and claimed == 0 and not self._held and not self._look.is_set():
            self.stop()

    # Settle

    async def _settle(self) -> None:
        # A claim that is under way when the worker stops may still bring tasks, to be given back.
        while not self._stops or self._held or self._claiming:
            await self._ended.wait()
            self._ended.clear()
            if self._stops:
                self._return_unstarted()
            await self._settle_failed()
            await self._settle_snoozed()
            await self._settle_returned()
            await self._settle_done()

    async def _settle_done(self) -> None:
        done, self._done = self._done, []
        if not done:
            return
        settled = await self._do(
            statements.complete_many(
                [held.task.id for held, _ in done],
                [held.task.lease for held, _ in done],
                [output for _, output in done],
            )
        )
        self._forget([held for held, _ in done], set(settled))

    async def _settle_failed(self) -> None:
        failed, self._failed = self._failed, []
        if not failed:
            return
        settled = await self._do(
            statements.fail_many(
                [failure.held.task.id for failure in failed],
                [failure.held.task.lease for failure in failed],
                [failure.error for failure in failed],
                [failure.retryable for failure in failed],
                [failure.after for failure in failed],
            )
        )
        self._forget([failure.held for failure in failed], {row.id for row in settled})
        self._look_ahead.set()

    async def _settle_snoozed(self) -> None:
        snoozed, self._snoozed = self._snoozed, []
        for held, delay in snoozed:
            try:
                await self._do(statements.snooze(held.task.id, held.task.lease, delay))
                self._forget([held], {held.task.id})
            except LeaseLost:
                self._forget([held], set())
            except Refusal as error:
                self._fail(held, error, retryable=False)
            self._look_ahead.set()

    async def _settle_returned(self) -> None:
        returned, self._returned = self._returned, []
        if returned:
            settled = await self._do(
                statements.release_many([held.task.id for held in returned], [held.task.lease for held in returned])
            )
            self._forget(returned, set(settled))

    def _forget(self, helds: list[Held], settled: set[int]) -> None:
        for held in helds:
            self._held.discard(held)
            if held.task.id not in settled:
                self._warn_lost(held.task.id)
        # Perhaps no room was left because of them, or this was the last that a draining worker waited for.
        if self._more or self._drain:
            self._look.set()

    def _warn_lost(self, id: int) -> None:
        logger.warning("task %s: the lease was lost; the result is dropped", id, extra={"task": id})

    # Run

    async def _run_tasks(self) -> None:
        """One runner: a task at a time, for ever."""
        runner = asyncio.current_task()
        assert runner is not None
        turn_at = self._loop.time()
        while True:
            held = self._next()
            if held is None:
                waiting = self._loop.create_future()
                self._waiting.append(waiting)
                await waiting
                turn_at = self._loop.time()
                continue
            if self._ready and not self._passing_on:
                # Another runner begins when the handler of this one waits; one that never waits needs no other.
                self._passing_on = True
                self._loop.call_soon(self._start)
            await self._run_task(held, runner)
            now = self._loop.time()
            self._has_ended(held, now)
            if now - turn_at > _TURN:
                await asyncio.sleep(0)
                turn_at = self._loop.time()

    def _start(self) -> None:
        """Have a runner look for a task."""
        self._passing_on = False
        while self._ready and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                break

    def _next(self) -> Held | None:
        """The next task for the runner that asks. What a plain handler is to do goes to the threads."""
        while self._ready and self._running < self.concurrency and not self._stops:
            held = self._ready.popleft()
            if held.over:
                continue
            job = self._job(held.task)
            if job is None:
                self._unknown(held)
                continue
            held.job = job
            held.started_at = self._loop.time()
            held.deadline = held.started_at + seconds(held.task.timeout)
            self._running += 1
            if job.is_async:
                return held
            self._threads.call(held, functools.partial(_call, job, held))
        return None

    async def _run_task(self, held: Held, runner: asyncio.Task[None]) -> None:
        """Run an async handler to its end, whatever end that is."""
        job = held.job
        assert job is not None
        try:
            held.runner = runner
            try:
                output = await _call(job, held)
            finally:
                held.runner = None
                while runner.cancelling():  # by the worker, or by the handler itself
                    runner.uncancel()
            self._succeed(held, job, output)
        except BaseException as error:  # whatever it is, it is the handler's and not the worker's
            if self._over and isinstance(error, asyncio.CancelledError):
                raise
            self._end_with(held, error)

    def _collect(self, ended: list[tuple[Held, Any, BaseException | None]]) -> None:
        """Plain handlers have ended."""
        now = self._loop.time()
        for held, output, error in ended:
            if held.over:
                continue
            assert held.job is not None
            if isinstance(error, StopIteration):  # as of a coroutine
                cause, error = error, RuntimeError(f"the handler raised {error!r}")
                error.__cause__ = cause
            if error is None:
                try:
                    self._succeed(held, held.job, output)
                except InputError as refused:
                    self._end_with(held, refused)
            else:
                self._end_with(held, error)
            self._has_ended(held, now)
        self._start()

    def _has_ended(self, held: Held, now: float) -> None:
        assert held.started_at is not None
        held.over = True
        self._running -= 1
        took = now - held.started_at
        self._mean = self._mean + 0.05 * (took - self._mean) if self._mean else took
        self._ended.set()
        if self._more:
            self._look.set()

    def _succeed(self, held: Held, job: Job[..., Any], output: Any) -> None:
        context = held.context
        if context._completed:
            self._discard(held)
        elif context.cancelled:
            self._drop(held)
        else:
            self._done.append((held, None if output is None else job.output_text(output)))

    def _end_with(self, held: Held, error: BaseException) -> None:
        """The handler raised something: what that means for the attempt."""
        task, context = held.task, held.context
        if context._completed:
            logger.warning("task %s is complete, but its handler raised %r afterwards", task.id, error)
            self._discard(held)
        elif context.cancelled or isinstance(error, LeaseLost):
            self._drop(held)
        elif held.expired:
            self._time_out(held, error)
        elif isinstance(error, Snooze):
            self._snoozed.append((held, error.delay))
        elif isinstance(error, Retry):
            self._fail(held, error, after=error.after)
        else:
            self._fail(held, error, retryable=not isinstance(error, _MISTAKES))

    def _time_out(self, held: Held, error: BaseException | None) -> None:
        assert held.started_at is not None
        held.context.interrupt("timed out")
        timed_out = TimeoutError(f"the attempt timed out after {self._loop.time() - held.started_at:.1f} s")
        timed_out.__cause__ = error
        self._fail(held, timed_out)

    # Interrupt

    def _expire(self, held: Held) -> None:
        """A running task has used up its time. An async handler is cancelled; a plain one is told, and left alone."""
        held.expired = True
        if held.runner is not None:
            held.runner.cancel()
        else:
            self._time_out(held, None)
            self._abandon(held)

    def _interrupt(self, held: Held, reason: str) -> None:
        """A task is not to go on here. The first reason counts."""
        if held.over or held.context.cancelled:
            return
        held.context.interrupt(reason)
        if held.runner is not None:
            if not held.expired:
                held.runner.cancel()
            return
        self._drop(held)
        if held.started_at is None:
            held.over = True
        else:
            self._abandon(held)

    def _abandon(self, held: Held) -> None:
        """Wait no longer for a thread: what it gives does not count, and another task may run in its place."""
        held.context.abandon()
        held.over = True
        self._running -= 1
        self._ended.set()
        self._look.set()
        self._start()

    def _job(self, task: ClaimedTask) -> Job[..., Any] | None:
        """The job of a task. One that was enqueued without a job's name is for the queue's only job."""
        if task.job is not None:
            return self._jobs.get(task.job)
        of_queue = [job for job in self._jobs.values() if job.queue == task.queue]
        return of_queue[0] if len(of_queue) == 1 else None

    def _unknown(self, held: Held) -> None:
        task = held.task
        held.over = True
        self._ended.set()
        if self._unknown_jobs == "leave":
            logger.info("task %s: job %r is not known here; leaving it", task.id, task.job, extra={"task": task.id})
            self._snoozed.append((held, timedelta(seconds=_LEAVE_FOR)))
            return
        known = ", ".join(sorted(self._jobs)) or "none"
        self._fail(held, Fatal(f"job {task.job!r} of queue {task.queue!r} is not known here; known are: {known}"))

    def _fail(
        self, held: Held, error: BaseException, *, retryable: bool | None = None, after: timedelta | None = None
    ) -> None:
        if retryable is None:
            retryable = not isinstance(error, _MISTAKES)
        # What the handler said on purpose needs no traceback.
        meant = isinstance(error, (Outcome, InputError))
        logger.warning(
            "task %s (%s, attempt %s) failed: %s: %.500s",
            held.task.id, held.task.job, held.task.attempt, type(error).__qualname__, _words(error),
            extra={"task": held.task.id}, exc_info=None if meant else (type(error), error, _frames(error)),
        )  # fmt: skip
        self._failed.append(Failure(held, _error_text(error), retryable, after))

    def _drop(self, held: Held) -> None:
        """The handler was interrupted: give the task back when the worker stops; else it is not ours any more."""
        if held.context._interrupted == "the worker stops":
            self._returned.append(held)
        else:
            logger.info("task %s was interrupted: %s", held.task.id, held.context._interrupted or "the lease was lost")
            self._discard(held)

    def _discard(self, held: Held) -> None:
        """A task is not held any more, and not for this worker to settle."""
        self._held.discard(held)
        self._ended.set()  # which may be all that a stop waits for
        if self._drain:
            self._look.set()

    # Stop

    def _interrupt_all(self) -> None:
        self._abandoned = True
        for held in list(self._held):
            if held.started_at is not None:
                self._interrupt(held, "the worker stops")
        self._ended.set()

    def _return_unstarted(self, claimed_before: float = float("inf")) -> bool:
        """Give back what was claimed and not begun. Returns whether there was anything."""
        stale = [held for held in self._ready if held.claimed_at < claimed_before]
        if not stale:
            return False
        self._ready = deque(held for held in self._ready if held.claimed_at >= claimed_before)
        for held in stale:
            if not held.over:
                held.over = True
                self._returned.append(held)
        self._ended.set()
        return True

    # Beside that

    async def _listen(self) -> None:
        """Hear of ready tasks and of cancellations. Deaf, the worker finds everything a second later."""
        pause = 0.1
        while True:
            try:
                async with await connections.connect_async(self._dsn) as connection:
                    if connections.is_pooled(connection):
                        # Whoever gets the session next would hear it, and this worker would not.
                        logger.info("worker %s is behind a pooler, and hears nothing", self.name)
                        await asyncio.Event().wait()
                    await connection.execute("listen underway_ready")
                    await connection.execute("listen underway_cancelled")
                    pause = 0.1
                    self._look.set()
                    while True:
                        async for notification in connection.notifies(timeout=_SILENT_AFTER):
                            self._hear(notification)
                        with connections.answer_within(_SILENT_AFTER, connection):
                            await connection.execute("")  # is anybody there?
            except psycopg.Error as error:
                logger.warning("worker %s does not hear the database: %s", self.name, str(error).strip())
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 5.0)

    def _hear(self, notification: psycopg.Notify) -> None:
        if notification.channel == "underway_cancelled":
            # A hint like every notification, and perhaps about an earlier claim: the next heartbeat is now.
            for held in self._held:
                if str(held.task.id) == notification.payload:
                    held.renew_at = self._loop.time()
                    self._watch_by(held.renew_at)
        elif notification.payload in self.queues:
            self._notified = True
            self._look.set()

    async def _watch(self) -> None:
        """End tasks whose time is over; renew the leases of those that run long, all in one statement."""
        while True:
            self._sooner.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._watch_at):
                    await self._sooner.wait()
                    continue
            self._watch_at = float("inf")
            now = self._loop.time()
            for held in [held for held in self._held if held.deadline <= now]:
                if held.over or held.expired:
                    held.deadline = float("inf")
                elif held.started_at is None:
                    held.deadline = now + seconds(held.task.timeout)  # were it to begin now
                else:
                    self._expire(held)
            due = [held for held in self._held if held.renew_at <= now + 0.01]
            if due:
                await self._renew(due, now)
            self._watch_by(min((min(held.renew_at, held.deadline) for held in self._held), default=float("inf")))

    def _watch_by(self, at: float) -> None:
        """Have `_watch` look at this time at the latest."""
        if at < self._watch_at:
            self._watch_at = at
            self._sooner.set()

    async def _renew(self, due: list[Held], now: float) -> None:
        kept = await self._do(statements.heartbeat([held.task.id for held in due], [held.task.lease for held in due]))
        for held in due:
            held.renew_at = now + seconds(held.task.heartbeat) / 3
            if held.task.id not in kept and held in self._held:
                self._interrupt(held, "it was cancelled, or its lease was lost")

    async def _maintain(self) -> None:
        """Do the chores every second, and look whether something is due."""
        while True:
            await self._send_progress()
            # Claimed ahead in the belief that tasks are short, which they are not: others may do it meanwhile.
            if self._return_unstarted(self._loop.time() - _STALE_AFTER):
                self._mean = max(self._mean, _STALE_AFTER)
            self._look_ahead.clear()
            pause = await self._do(statements.maintain(self._id, self.queues))
            if pause == 0:
                self._next_is_unknown = True
                self._look.set()
                pause = 1.0
            try:
                async with asyncio.timeout(pause):
                    await self._look_ahead.wait()
            except TimeoutError:
                if pause < 1.0:
                    self._look.set()

    async def _send_progress(self) -> None:
        for held in list(self._held):
            progress, held.context._progress = held.context._progress, None
            if progress is not None:
                with contextlib.suppress(Refusal):
                    await self._do(statements.report_progress(held.task.id, held.task.lease, progress))


def _call(job: Job[..., Any], held: Held) -> Any:
    """Call the handler: its result, or what an async one gives to be awaited."""
    arguments = job.signature.to_arguments(json_text(held.task.input))
    if job.signature.takes_context:
        return job.function(held.context, **arguments)
    return job.function(**arguments)


class _Connections:
    """The connections of handlers for their own transactions; none until the first asks."""

    def __init__(self, dsn: str, most: int) -> None:
        self._sync = connections.pool(dsn, most=most, name="underway-handlers")
        self._async = connections.async_pool(dsn, most=most, name="underway-async-handlers")

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        self._sync.open()
        with self._sync.connection() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def async_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        await self._async.open()
        async with self._async.connection() as connection:
            yield connection

    async def renew(self) -> None:
        """Use none of the connections any more that lie idle: they may be as dead as another one was."""
        if not self._async.closed:
            await self._async.drain()
        if not self._sync.closed:
            await asyncio.to_thread(self._sync.drain)

    async def close(self) -> None:
        await self._async.close()
        await asyncio.to_thread(self._sync.close)


def _error_text(error: BaseException) -> str:
    """An error as JSON text that PostgreSQL takes: type, message and traceback, of a length that it keeps."""

    def plain(text: str, most: int) -> str:
        text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"

    trace = "".join(traceback.format_exception(type(error), error, _frames(error)))
    return statements.dump_json(
        {"type": type(error).__qualname__, "message": plain(_words(error), 4000), "traceback": plain(trace, 20000)}
    )


def _words(error: BaseException) -> str:
    """What an error says; its own code may fail at that."""
    try:
        return str(error)
    except Exception as failure:
        return f"(it can not be said: {type(failure).__qualname__})"


def _frames(error: BaseException) -> TracebackType | None:
    """The traceback of an error, from the handler's own first line on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next
    return frames


def run_worker(worker: Worker) -> None:
    """Run a worker until SIGTERM or SIGINT; a second signal gives its running tasks back at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()

    asyncio.run(main())
