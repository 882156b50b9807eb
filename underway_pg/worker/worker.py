"""The worker: claim, run, settle; and beside that listen, watch, maintain.

One coroutine claims, another settles, each over a connection of its own: the next tasks are fetched and the last ones
settled while those in between run. `concurrency` runners take the claimed tasks, one at a time each; plain handlers
they pass on to threads and processes. Nothing here decides what happens to a task: that is the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import socket
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from .. import connections, schema, statements
from ..client import execute_async
from ..context import Context
from ..errors import ConfigurationError, DatabaseRefusal, Fatal, LeaseLost, QueueNotFound, Snooze
from ..job import Job
from ..models import ClaimedTask, Health
from ..statements import Statement
from ..wire import seconds
from . import log
from .attempt import Held
from .execution import InThread, OnLoop, Report, Running, call, frames, output_error, run
from .executors.child import address
from .executors.process import InProcess, Processes
from .executors.thread import Threads
from .settler import Failure, Settling

__all__ = ["Worker", "WorkerSettings"]

T = TypeVar("T")

logger = logging.getLogger("underway_pg")

# Read-only is what was the primary, until its name leads to the new one.
_READ_ONLY = psycopg.errors.ReadOnlySqlTransaction
_REFUSED_AGAIN = ("UW", "22", "54")  # classes of SQLSTATEs: our own, data that does not fit, limits of the server
_DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, _READ_ONLY)

# Seconds. A database that gives no connection for so long is away; a worker that found enough to do for so long is not
# idle; after a claim that was refused it waits so long; a part that did not hear that it is over is told again after so
# long; handlers that never wait hold the loop so long; what was claimed and not begun is given back after so long;
# nothing is claimed ahead for so long after a retry; the chores are done so often; and when what is
# due cannot be claimed, it is looked for again after so long.
_AWAY_AFTER = 2.0
_BUSY_AFTER = 0.5
_REFUSED_FOR = 2.0
_AGAIN_AFTER = 0.2
_TURN = 0.002
_STALE_AFTER = 1.0
_CAUTIOUS_FOR = 1.0
_CHORES_EVERY = 1.0
_LOOK_AGAIN_AFTER = 0.02

# A task whose job a worker does not know is put back for half of its age, within these bounds.
_SKIP_AT_LEAST = timedelta(seconds=1)
_SKIP_AT_MOST = timedelta(seconds=30)

# Seconds. A worker that has not reached the database for so long is not ready; and one that is idle asks for tasks
# after so long though nothing is due, for only who asks learns that a queue is gone.
_UNREADY_AFTER = 5.0
_ASK_AFTER = 30.0

# Seconds. A handler that was told to stop and goes on is told again, harder, after so long; and when the worker stops.
_PATIENCE = 5.0
_PATIENCE_AT_STOP = 1.0

# Tasks. As many are claimed in one call, and held beyond those that run; and so many may wait to be settled.
_MOST_CLAIMED = 1000
_MOST_UNSETTLED = 4000


class WorkerSettings(TypedDict, total=False):
    """The settings of a worker, as `App.worker` and `App.run` take them; `Worker` says what they mean."""

    queues: Sequence[str]
    concurrency: int
    shutdown_timeout: float
    unknown_jobs: Literal["skip", "fail"]
    prefetch_seconds: float
    drain: bool
    max_tasks_per_process: int
    max_memory_per_process: int | None
    log_tasks: bool
    log_inputs: bool
    name: str | None
    listen_dsn: str | None


class Worker:
    """Claims tasks of some queues, runs their jobs, and settles them.

    concurrency   how many tasks run at once; async handlers on the loop, plain ones in threads and processes
    shutdown_timeout  seconds that running tasks get to end in when the worker stops; then they are given back
    unknown_jobs  what to do with a task whose job this worker does not know: "skip" puts it back for another worker,
                  without using an attempt, as a rolling deployment needs it; "fail" fails it for good
    prefetch_seconds  seconds of work to claim beyond what runs, by their mean length, so that short ones need not
                  wait for the database; what a worker that is killed had claimed has used up an attempt; 0 for none
    drain         stop as soon as no task is ready and none is running
    max_tasks_per_process   how many tasks a process runs before another takes its place
    max_memory_per_process  bytes that a process may have in memory after a task, else another takes its place
    log_tasks     a line at INFO for the start and the end of each task; failures are logged in any case
    log_inputs    the line of the start has the input, as JSON, at most 1000 characters of it
    name          how people find this worker; host and process id by default
    listen_dsn    the same database where `dsn` leads to a pooler, through which no notification comes; for these only
    state         what handlers find as `context.state`
    """

    def __init__(
        self,
        dsn: connections.Dsn,
        jobs: Mapping[str, Job[..., Any]],
        *,
        queues: Sequence[str],
        concurrency: int = 10,
        shutdown_timeout: float = 30.0,
        unknown_jobs: Literal["skip", "fail"] = "skip",
        prefetch_seconds: float = 0.25,
        drain: bool = False,
        max_tasks_per_process: int = 1000,
        max_memory_per_process: int | None = None,
        log_tasks: bool = True,
        log_inputs: bool = False,
        name: str | None = None,
        listen_dsn: str | None = None,
        state: Any = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency}; it must be at least 1")
        if shutdown_timeout < 0:
            raise ConfigurationError(f"shutdown_timeout is {shutdown_timeout} s; it must be at least 0")
        if not 0 <= prefetch_seconds <= 1:
            raise ConfigurationError(f"prefetch_seconds is {prefetch_seconds} s; it must lie between 0 and 1")
        if unknown_jobs not in ("skip", "fail"):
            raise ConfigurationError(f'unknown_jobs is {unknown_jobs!r}; it is "skip" or "fail"')
        if max_tasks_per_process < 1:
            raise ConfigurationError(f"max_tasks_per_process is {max_tasks_per_process}; it must be at least 1")
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.queues = list(queues)
        self.concurrency = concurrency
        self._dsn = dsn
        self._listen_dsn = listen_dsn or dsn
        self._jobs = dict(jobs)
        self._shutdown_timeout = shutdown_timeout
        self._unknown_jobs = unknown_jobs
        self._skipped: set[str | None] = set()
        self._prefetch_seconds = prefetch_seconds
        self._drain = drain
        self._state = state
        self._max_tasks_per_process = max_tasks_per_process
        self._max_memory_per_process = max_memory_per_process
        self._log_tasks = log_tasks
        self._log_inputs = log_inputs
        self._logs = False
        self._is_registered = False
        self._held: set[Held] = set()
        self._abandoned: set[Held] = set()
        self._parts: set[asyncio.Task[None]] = set()
        self._ready: deque[Held] = deque()
        self._running = 0
        self._max_output_size = 0  # known once it is registered
        self._mean = 0.0
        self._cautious_until = 0.0
        self._settling = Settling(self.name, self._do, self._forget, self._refuse)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._passing_on = False
        self._stops = 0
        self._last_chores: Literal["not asked for", "asked for", "done"] = "not asked for"
        self._reached_at: float | None = None
        self._claimed_at: datetime | None = None
        self._in_haste = False
        self._give_up_at = float("inf")
        self._idle = False
        self._notified = False
        self._more = True
        self._claiming = False
        self._short_at = 0.0
        self._asked_at = 0.0
        self._serving = self.queues
        self._look_for_queues = False
        self._next_is_unknown = False
        self._over = False
        self._watch_at = float("inf")

    async def run(self) -> None:
        """Work until `stop` is called. Raises what keeps it from working at all, such as SchemaMissing."""
        for job in self._jobs.values():
            _ = job.arguments  # a job that cannot be run is found now, not at its first task
            if job.executor == "process":
                address(job)
        self._loop = asyncio.get_running_loop()
        self._look = asyncio.Event()  # there is perhaps something to claim
        self._ended = asyncio.Event()  # there is something to settle
        self._look_ahead = asyncio.Event()  # something may be due before the next regular look
        self._due = asyncio.Event()  # there are leases to renew
        self._sooner = asyncio.Event()  # something is due before `_watch_at`
        self._threads: Threads[Held] = Threads(self._loop, self._collect)
        self._processes = Processes(
            connections.read_dsn(self._dsn), self._max_tasks_per_process, self._max_memory_per_process
        )
        self._connections = connections.HandlerConnections(self._dsn)
        async with connections.AsyncPool(
            self._dsn, max_size=2, application_name=f"underway worker {self.name}"
        ) as self._pool:
            try:
                await self._register()
                logger.info("worker %s serves %s", self.name, ", ".join(self.queues))
                await self._work()
                await self._do(statements.unregister_worker(self._id))
            except _DATABASE_AWAY:
                # RemoteError only when the shutdown timeout is over.
                logger.warning("worker %s stops without the database; what it holds lapses", self.name)
            finally:
                self._threads.close()
                await asyncio.to_thread(self._processes.close)
                self._connections.drain()
        if self._abandoned:
            logger.warning("worker %s leaves %s handlers behind that do not stop", self.name, self.abandoned)
        logger.info("worker %s has stopped", self.name)

    async def _register(self) -> None:
        self._id = await self._do(statements.register_worker(self.name, self.queues, self.concurrency))
        self._max_output_size = await self._do(statements.max_output_size())
        self._is_registered = True

    def health(self) -> Health:
        """How this worker is. To be called on its loop."""
        reached = self._reached_at is not None and self._loop.time() - self._reached_at < _UNREADY_AFTER
        return Health(
            ready=reached and not self._stops and bool(self._serving),
            stopping=self._stops > 0,
            worker=self.name,
            queues=self.queues,
            running=self._running,
            schema_version=schema.migrations()[-1].version,
            last_claim_at=self._claimed_at,
        )

    @property
    def abandoned(self) -> int:
        """How many handlers still run though they were given up: they were told to stop, and did not."""
        return len(self._abandoned)

    def stop(self) -> None:
        """Stop claiming, let running tasks end within the shutdown timeout, give the rest back.

        Called again, it gives everything back at once.

        To be called on the loop of the worker, as the signal handlers of `run_worker` do.
        """
        self._stops += 1
        if self._stops == 1 and self._is_registered:
            logger.info("worker %s stops; %s tasks are running", self.name, self._running)
            self._loop.call_later(self._shutdown_timeout, self._interrupt_all)
        else:
            self._interrupt_all()
        self._look.set()
        self._ended.set()

    async def _work(self) -> None:
        """Run all parts until settling is over, or one of them fails; what it raised is raised."""
        self._first_ended: asyncio.Future[asyncio.Task[None]] = self._loop.create_future()
        beside = (self._claim, self._listen, self._watch, self._renew_leases, self._watch_transactions, self._maintain)
        for part in (self._settle, *beside, *[self._run_tasks] * self.concurrency):
            self._begin(part())
        try:
            ended = await self._first_ended
        finally:
            self._over = True
            await self._end_parts()
        ended.result()

    def _begin(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        self._parts.add(task)
        task.add_done_callback(self._part_has_ended)

    def _part_has_ended(self, part: asyncio.Task[None]) -> None:
        self._parts.discard(part)
        if not self._first_ended.done():
            self._first_ended.set_result(part)

    async def _end_parts(self) -> None:
        """Cancel all parts and wait for them; not for handlers that were given up, nor longer than for others."""
        until = self._loop.time() + _PATIENCE
        given_up = {held.running.runner for held in self._abandoned if isinstance(held.running, OnLoop)}
        # More than once: until Python 3.12, asyncio.wait_for may lose a cancellation, and psycopg waits by it.
        while self._parts and self._loop.time() < until:
            for part in self._parts:
                part.cancel()
            if not self._parts - given_up:
                break
            await asyncio.wait(self._parts - given_up, timeout=_AGAIN_AFTER)

    async def _do(self, statement: Statement[T], *, patient: bool = True) -> T:
        """Run a statement. While the database is away, or with `patient` after any OperationalError, send it again."""
        pause, patience = 0.1, connections.SILENT_AFTER
        silent: list[connections.Session] = []
        while True:
            session = None
            try:
                async with self._pool.connection(timeout=_AWAY_AFTER) as connection:
                    session = connections.session(connection)
                    with connections.answer_within(patience, connection):
                        if silent:
                            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                                await execute_async(connection, statements.end_sessions(silent))
                            silent = []
                        try:
                            answer = await execute_async(connection, statement)
                        except _READ_ONLY:
                            await connection.close()
                            raise
                self._reached_at = self._loop.time()
                return answer
            except _DATABASE_AWAY as error:
                if self._loop.time() > self._give_up_at or not (patient or connections.is_passing(error)):
                    raise
                if isinstance(error, connections.ServerUnresponsive):
                    silent += [session] if session is not None else []
                    patience *= 2  # perhaps it is only slow
                    self._connections.drain()
                what = "the database is away" if connections.is_passing(error) else "a statement failed, trying again"
                logger.warning("worker %s: %s: %s", self.name, what, str(error).strip())
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
        if self._stops or len(self._settling.done) > _MOST_UNSETTLED:
            return 0
        ahead = 0
        if self._mean and self._loop.time() > self._cautious_until:
            ahead = min(2 * _MOST_CLAIMED, int(self._prefetch_seconds * self.concurrency / self._mean))
        if len(self._ready) > ahead // 2:
            return 0
        return min(_MOST_CLAIMED, self.concurrency + ahead - self._running - len(self._ready))

    async def _claim_up_to(self, room: int) -> None:
        asked_at = self._asked_at = self._loop.time()
        self._more = False
        self._claiming = True
        try:
            claimed = await self._do(statements.dequeue(self._serving, room, self._id))
            self._claimed_at = datetime.now(UTC)
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
            self._logs = self._log_tasks and log.is_seen()  # looked up here, once for many tasks
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
        if claimed:
            self._last_chores = "not asked for"
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
            return
        if claimed == 0 and self._next_is_unknown:
            # What was due is gone, or another session holds its row locked, perhaps for minutes.
            self._loop.call_later(_LOOK_AGAIN_AFTER, self._look_ahead.set)
        elif self._next_is_unknown or (claimed == 0 and self._notified):
            self._look_ahead.set()  # perhaps the next one is due in a moment
        self._notified = self._next_is_unknown = False
        if self._drain and claimed == 0 and not self._held and not self._look.is_set():
            self._drained()

    def _drained(self) -> None:
        """Nothing is left; but once more after the chores, which may bring what comes of a batch."""
        if self._last_chores == "done":
            self.stop()
        else:
            self._last_chores = "asked for"
            self._look_ahead.set()

    # Settle

    async def _settle(self) -> None:
        # A claim that is under way when the worker stops may still bring tasks, to be given back.
        while not self._stops or self._held or self._claiming or self._settling.lost:
            await self._ended.wait()
            self._ended.clear()
            if self._stops:
                self._return_unstarted()
            if await self._settling.settle():
                self._look_ahead.set()

    def _forget(self, helds: list[Held], settled: set[int]) -> None:
        for held in helds:
            self._held.discard(held)
            if held.task.id not in settled:
                self._warn_lost(held.task.id)
        # Perhaps no room was left because of them, or this was the last that a draining worker waited for.
        if self._more or self._drain:
            self._look.set()

    def _warn_lost(self, id: int) -> None:
        logger.warning(
            "task %s is not held any more; the result is dropped, unless an earlier report of it had arrived",
            id, extra={"task": id},
        )  # fmt: skip

    # Run

    async def _run_tasks(self) -> None:
        """One runner: a task at a time, for ever."""
        runner = asyncio.current_task()
        assert runner is not None
        running = OnLoop(runner)
        turn_at = self._loop.time()
        while not self._over:
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
            await self._run_task(held, running)
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
        """The next async task for the runner that asks. Plain handlers go to threads, which may wait for processes."""
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
            if self._logs:
                log.starts(held.task, job.name, with_input=self._log_inputs)
            if job.executor == "async":
                return held
            if job.executor == "thread":
                self._threads.call(held, functools.partial(run, job, held.context))
            else:
                held.running = process = InProcess(self._processes, job, held.context)
                self._threads.call(held, process.run)
        return None

    async def _run_task(self, held: Held, running: OnLoop) -> None:
        """Run an async handler to its end, whatever end that is."""
        job = held.job
        assert job is not None
        try:
            held.running = running
            try:
                output = await call(job, held.context)
            finally:
                if running.runner.cancelling():  # by the worker, or by the handler itself
                    while running.runner.cancelling():
                        running.runner.uncancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0)  # until Python 3.13, one that nobody has waited for is still to come
            if output is not None and not held.context._completed:
                output = job.output_text(output)
            self._succeed(held, output)
        except BaseException as error:  # whatever it is, it is the handler's and not the worker's
            if self._over and isinstance(error, asyncio.CancelledError):
                raise
            self._end_with(held, error)

    def _collect(self, ended: list[tuple[Held, Any, BaseException | None]]) -> None:
        """Plain handlers have ended."""
        now = self._loop.time()
        for held, output, error in ended:
            if isinstance(error, StopIteration):  # as of a coroutine
                cause, error = error, RuntimeError(f"the handler raised {error!r}")
                error.__cause__ = cause
            if error is None:
                self._succeed(held, output)
            else:
                self._end_with(held, error)
            self._has_ended(held, now)
        self._start()

    def _has_ended(self, held: Held, now: float) -> None:
        if held.context._lost:
            self._note_lost(held)
        if held.over:
            self._abandoned.discard(held)
            return
        assert held.started_at is not None
        held.over = True
        self._running -= 1
        took = now - held.started_at
        self._mean = self._mean + 0.05 * (took - self._mean) if self._mean else took
        self._ended.set()
        if self._more:
            self._look.set()

    def _note_lost(self, held: Held) -> None:
        """Sessions of its transactions are left, to be ended before it is settled."""
        self._settling.lost += held.context.take_lost()
        self._ended.set()

    def _succeed(self, held: Held, output: str | None) -> None:
        """The handler has returned, with this as its output in JSON: what that means for the attempt."""
        if held.over:
            return  # it was given up
        if held.context._completed:
            self._discard(held)
        elif held.context.cancelled:
            self._end_told(held, None)
            return
        elif (error := output_error(output, self._max_output_size)) is not None:
            self._fail(held, error)
            return
        else:
            self._settling.done.append((held, output))
        if self._logs:
            self._log_end(held, "succeeded")

    def _end_with(self, held: Held, error: BaseException) -> None:
        """The handler raised something: what that means for the attempt."""
        if held.over:
            return  # it was given up
        if held.context._completed:
            logger.warning("task %s is complete, but its handler raised %r afterwards", held.task.id, error)
            self._succeed(held, None)
        elif held.context.cancelled:
            self._end_told(held, error)
        elif isinstance(error, LeaseLost):
            self._drop(held)
        elif isinstance(error, Snooze):
            self._settling.snoozed.append((held, error.delay))
            if self._logs:
                self._log_end(held, "snoozed", detail=f"for {error.delay}")
        else:
            self._fail(held, error)

    def _end_told(self, held: Held, error: BaseException | None) -> None:
        """A handler has ended that was told to stop, or is given up."""
        if not held.expired:
            self._drop(held)
            return
        timed_out = TimeoutError(f"the attempt timed out after {seconds(held.task.timeout):g} s")
        if stack := held.stack or held.stack_now():
            timed_out.add_note(f"It was here:\n{stack.rstrip()}")
        if not isinstance(error, asyncio.CancelledError):
            timed_out.__cause__ = error
        self._fail(held, timed_out)

    # Interrupt

    def _interrupt(self, held: Held, reason: str) -> None:
        """A task is not to go on here. The first reason counts."""
        if held.over or held.context.cancelled:
            return
        held.context.interrupt(reason)
        if held.started_at is None:
            held.over = True
            self._drop(held)
        else:
            self._tell(held)

    def _handler(self, held: Held) -> Running:
        """The handler of a task that has begun. Few in threads are told to stop: nothing is kept for the others."""
        if held.running is None:
            held.running = InThread(functools.partial(self._threads.thread_of, held))
        return held.running

    def _expire(self, held: Held) -> None:
        """A running task has used up its time: its handler is told, and where it is now is kept."""
        held.expired = True
        held.stack = self._handler(held).stack()
        held.context.interrupt("timed out")
        self._tell(held)

    def _tell(self, held: Held) -> None:
        """Tell a handler to stop. One that was told before and goes on is told harder, and in the end given up.

        After a timeout the lease is not renewed, and two thirds of a heartbeat are left of it at least: all of this
        takes less, so that the attempt is reported while the task is held.
        """
        if not self._handler(held).stop(held.told):
            self._abandon(held)
            return
        held.told += 1
        patience = _PATIENCE_AT_STOP if self._in_haste else _PATIENCE
        held.deadline = self._loop.time() + min(patience, seconds(held.task.heartbeat) / 4)
        self._watch_by(held.deadline)

    def _abandon(self, held: Held) -> None:
        """Give up a handler that does not stop: what it gives does not count, and another may run in its place."""
        self._abandoned.add(held)
        logger.warning(
            "task %s (%s, attempt %s): its handler does not stop (%s) and is left behind; %s are, this one at\n%s",
            held.task.id, held.task.job, held.task.attempt, held.context._interrupted, self.abandoned,
            held.stack_now().rstrip(), extra={"task": held.task.id},
        )  # fmt: skip
        self._end_told(held, None)
        held.context.abandon()
        self._note_lost(held)
        held.over = True
        self._running -= 1
        if isinstance(held.running, OnLoop):
            self._begin(self._run_tasks())  # for the runner that is lost; when it comes back there is one more
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
        known = ", ".join(sorted(self._jobs)) or "none"
        if self._unknown_jobs == "fail":
            self._fail(held, Fatal(f"job {task.job!r} of queue {task.queue!r} is not known here; known are: {known}"))
            return
        # The job may be misspelt, so its first task is logged as a warning. It returns until another worker runs it.
        level = logging.DEBUG if task.job in self._skipped else logging.WARNING
        self._skipped.add(task.job)
        logger.log(
            level, "task %s: worker %s does not know job %r of queue %s and skips its tasks; known jobs: %s",
            task.id, self.name, task.job, task.queue, known, extra={"task": task.id},
        )  # fmt: skip
        # For longer each time, or a backlog of such tasks would be claimed over and over.
        age = datetime.now(UTC) - held.context.enqueued_at
        self._settling.snoozed.append((held, min(max(age / 2, _SKIP_AT_LEAST), _SKIP_AT_MOST)))

    def _fail(self, held: Held, error: BaseException, *, retryable: bool | None = None) -> None:
        report = Report.of(error)
        self._log_end(
            held, "failed", detail=f"{report.type}: {report.message:.500}",
            raised=None if report.meant else (type(error), error, frames(error)),
        )  # fmt: skip
        self._settling.failed.append(
            Failure(held, report.text(), report.retryable if retryable is None else retryable, report.after)
        )

    def _refuse(self, held: Held, error: DatabaseRefusal | psycopg.Error) -> None:
        """Fail the attempt whose result the database refuses. It is retried when another result may be accepted."""
        retryable = (error.sqlstate or "")[:2] not in _REFUSED_AGAIN
        if not isinstance(error, DatabaseRefusal):
            error = DatabaseRefusal(f"{error.diag.message_primary or error} (SQLSTATE {error.sqlstate})")
        self._fail(held, error, retryable=retryable)
        self._ended.set()

    def _drop(self, held: Held) -> None:
        """The handler was interrupted: give the task back when the worker stops; else it is not ours any more."""
        self._log_end(held, "interrupted", detail=held.context._interrupted or "the lease was lost")
        if held.context._interrupted == "the worker stops":
            self._settling.returned.append(held)
        else:
            self._discard(held)

    def _discard(self, held: Held) -> None:
        """A task is not held any more, and not for this worker to settle."""
        self._held.discard(held)
        self._ended.set()  # which may be all that a stop waits for
        if self._drain:
            self._look.set()

    def _log_end(
        self, held: Held, outcome: log.Outcome, *, detail: str = "", raised: log.ExcInfo | None = None
    ) -> None:
        job = held.job.name if held.job is not None else held.task.job
        duration = None if held.started_at is None else self._loop.time() - held.started_at
        log.ended(held.task, job, outcome, duration, detail=detail, raised=raised)

    # Stop

    def _interrupt_all(self) -> None:
        self._in_haste = True
        # A connection that has just broken is no reason to leave all to lapse.
        self._give_up_at = min(self._give_up_at, self._loop.time() + _AWAY_AFTER)
        for held in list(self._held):
            if held.told:
                held.deadline = min(held.deadline, self._loop.time() + _PATIENCE_AT_STOP)
                self._watch_by(held.deadline)
            elif held.started_at is not None:
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
                self._settling.returned.append(held)
        self._ended.set()
        return True

    # Beside that

    async def _listen(self) -> None:
        """Hear of ready tasks and of cancellations. Deaf, the worker finds everything a second later."""
        pause = 0.1
        while True:
            try:
                async with await connections.connect_async(self._listen_dsn) as connection:
                    if connections.is_pooled(connection):
                        # Whoever gets the session next would hear it, and this worker would not.
                        logger.info("worker %s is behind a pooler, and hears nothing", self.name)
                        await asyncio.Event().wait()
                    with connections.answer_within(connections.SILENT_AFTER, connection):
                        await connection.execute("listen underway_ready")
                        await connection.execute("listen underway_cancelled")
                    pause = 0.1
                    self._look.set()
                    while True:
                        async for notification in connection.notifies(timeout=connections.SILENT_AFTER):
                            self._hear(notification)
                        with connections.answer_within(connections.SILENT_AFTER, connection):
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
                if held.over:
                    held.deadline = float("inf")
                elif held.started_at is None:
                    held.deadline = now + seconds(held.task.timeout)  # were it to begin now
                elif held.told:
                    self._tell(held)
                else:
                    self._expire(held)
            if any(held.renew_at <= now + 0.01 for held in self._held):
                self._due.set()
            times = [held.deadline for held in self._held]
            times += [held.renew_at for held in self._held if held.renew_at > now + 0.01]
            self._watch_by(min(times, default=float("inf")))

    async def _renew_leases(self) -> None:
        """Renew what `_watch` finds due; beside it, for no timeout waits for the database."""
        while True:
            await self._due.wait()
            self._due.clear()
            now = self._loop.time()
            if due := [held for held in self._held if held.renew_at <= now + 0.01]:
                await self._renew(due, now)
                self._watch_by(min(held.renew_at for held in due))

    async def _watch_transactions(self) -> None:
        """End the transactions of handlers whose beginning or end is not answered."""
        while True:
            await asyncio.sleep(connections.SILENT_AFTER / 10)
            for held in self._held:
                held.context.abandon_if_silent()

    def _watch_by(self, at: float) -> None:
        """Have `_watch` look at this time at the latest."""
        if at < self._watch_at:
            self._watch_at = at
            self._sooner.set()

    async def _renew(self, due: list[Held], now: float) -> None:
        kept = await self._do(statements.heartbeat([held.task.id for held in due], [held.task.lease for held in due]))
        for held in due:
            held.renew_at = now + seconds(held.task.heartbeat) / 3
            if held.task.id in kept or held.over or held not in self._held:
                continue
            if held.started_at is not None and not held.told and self._loop.time() >= held.over_at:
                self._expire(held)  # the database counts from the claim
            else:
                self._interrupt(held, "it was cancelled, or its lease was lost")

    async def _maintain(self) -> None:
        """Do the chores once a second, and in between look what is due, as often as something may be."""
        chores_at = self._loop.time()
        while True:
            await self._send_progress()
            # Claimed ahead in the belief that tasks are short, which they are not: others may do it meanwhile.
            if self._return_unstarted(self._loop.time() - _STALE_AFTER):
                self._mean = max(self._mean, _STALE_AFTER)
            self._look_ahead.clear()
            asked = self._last_chores
            now = self._loop.time()
            if now >= chores_at or asked == "asked for":
                chores_at = now + _CHORES_EVERY
                statement = statements.maintain(self._id, self.queues, at_once=asked == "asked for")
            else:
                statement = statements.look(self._id, self.queues)
            pause, state = await self._do(statement)
            await self._obey(state)
            if asked == "asked for" and self._last_chores == asked:
                self._last_chores = "done"
                self._look.set()
            if pause == 0 or self._room() <= 0:
                # Something is due, or could not begin anyway: the claim that finds too little asks for another look.
                self._next_is_unknown = True
                self._look.set()
                pause = _CHORES_EVERY
            elif self._loop.time() - self._asked_at > _ASK_AFTER:
                self._look.set()
            rest = min(pause, chores_at - self._loop.time())
            try:
                async with asyncio.timeout(rest):
                    await self._look_ahead.wait()
            except TimeoutError:
                if rest == pause < _CHORES_EVERY:
                    self._look.set()

    async def _obey(self, state: str) -> None:
        """Do what the database says of this worker."""
        if state == "stopping" and not self._stops:
            logger.info("worker %s was asked to stop", self.name)
            self.stop()
        elif state == "unknown":
            # It was away for so long that it was forgotten; nobody would wake it any more.
            self._idle = False
            try:
                await self._register()
            except QueueNotFound as error:
                logger.warning("worker %s cannot be registered again: %s", self.name, error)
                return
            self._look.set()
            logger.warning("worker %s was taken off the list of workers, and is registered again", self.name)

    async def _send_progress(self) -> None:
        for held in list(self._held):
            progress, held.context._progress = held.context._progress, None
            if progress is not None:
                with contextlib.suppress(
                    DatabaseRefusal, psycopg.DataError
                ):  # or the encoding of the database lacks a character
                    await self._do(statements.report_progress(held.task.id, held.task.lease, progress))
