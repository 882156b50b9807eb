"""Run tasks in the test: without a worker, in its thread or on its event loop, and in its transaction if it has one.

What a worker decides is decided by the worker's own code: which job runs a task, how its arguments are read, what wraps
the handler, what its end means and what is reported. Only this is different: tasks run one after the other, nothing
watches over them, and the order is always the same.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeAlias

import psycopg

from .. import statements
from ..app import App
from ..connections import HandlerConnections as PooledConnections
from ..errors import ConfigurationError, DatabaseRefusal, Snooze
from ..job import BoundJob
from ..models import ClaimedTask
from ..statements import Statement
from ..wire import json_value
from ..worker import Outcome, OutcomeKind, log, reports
from ..worker.attempt import Attempt, AttemptState, Environment
from ..worker.execution import decide, run_async, run_plain
from ..worker.transaction import HandlerConnections
from .binding import AnyJob, Place, use
from .within import Within, is_django

__all__ = ["RanTask", "run_pending", "run_pending_async"]

Target: TypeAlias = AnyJob | App | None

# What the run asks of its driver: to execute a statement, or to run a handler.
_Step: TypeAlias = Statement[Any] | Attempt
# How a handler ended: its output as JSON text, or what it raised.
_Ended: TypeAlias = tuple[str | None, BaseException | None]

_MAINTAIN = Statement("select underway.maintain(at_once => true)::text", {}, lambda rows: None)
# In the transaction of a test: the rest of maintenance may empty partitions, which locks others out until it ends.
_RUN_SCHEDULES = Statement("select underway.run_schedules()::text", {}, lambda rows: None)
_TICK = Statement("select underway_test._tick()::text", {}, lambda rows: None)


@dataclass(frozen=True, kw_only=True)
class RanTask:
    """A task that was run: one attempt at it, and how that ended.

    `output` is what the handler returned, after its way through JSON. `will_retry`: the attempt failed, and the task
    will be tried again. `progress` is the last progress that the handler reported.
    """

    id: int
    queue: str
    job: str
    input: Any
    attempt: int
    outcome: OutcomeKind
    output: Any = None
    error: BaseException | None = None
    will_retry: bool = False
    progress: Any = None


def run_pending(
    target: Target = None,
    *,
    queue: str | None = None,
    within: Any = None,
    record_errors: bool = False,
    limit: int = 1000,
) -> list[RanTask]:
    """Run the tasks that are ready, and those that they enqueue, until none is ready. Returns them in that order.

    target         a job, the name of a queue, or an application; else all queues of the application that is bound
    queue          only the tasks of this queue
    within         run in the open transaction of this connection or session: tasks are claimed and completed on it,
                   handlers enqueue on it, `context.transaction()` is a savepoint of it, and nothing is committed
    record_errors  go on after a handler has failed, as a worker does; otherwise its exception is raised, after the
                   failure was recorded
    limit          raise an error after so many tasks, because a job may enqueue itself

    Schedules that are due enqueue their tasks first. The order is priority, then time, then id. Plain handlers run in
    this thread, async ones on an event loop that runs for them alone; use `run_pending_async` where a loop runs.
    """
    __tracebackhide__ = True
    run = _Run(target, queue, within, record_errors, limit)
    place = run.place
    with use(place.app, within=place.within), _connections(place) as connections, _Handlers(place) as handlers:
        return run.drive(connections, handlers.state, place.run, handlers.run)


async def run_pending_async(
    target: Target = None,
    *,
    queue: str | None = None,
    within: Any = None,
    record_errors: bool = False,
    limit: int = 1000,
) -> list[RanTask]:
    """Run the tasks that are ready, as `run_pending`: async handlers on this loop, plain ones in threads.

    `within` is an async connection or session.
    """
    __tracebackhide__ = True
    run = _Run(target, queue, within, record_errors, limit)
    place, app = run.place, run.place.app
    lifespan = nullcontext(app.state) if app.lifespan is None else app.lifespan(app)
    with use(app, within=place.within), _connections(place) as connections:
        async with lifespan as state:
            return await run.drive_async(connections, state, place.run_async, partial(_run_on_this_loop, place.within))


class _Run:
    """One run: its steps are those of a generator, so that plain and async code share them."""

    def __init__(self, target: Target, queue: str | None, within: Any, record_errors: bool, limit: int) -> None:
        self.place = Place.of(target, within)
        if isinstance(target, str):
            if queue is not None:
                raise ConfigurationError(f"two queues are given, {target!r} and {queue!r}; give one")
            queue = target
        self._queues = [queue] if queue is not None else None
        self._job = target.job if isinstance(target, BoundJob) else None
        self._lookup = reports.JobLookup(self.place.app.jobs)
        self._record_errors = record_errors
        self._limit = limit
        self._environment = Environment()
        self._others: list[Attempt] = []  # of other jobs; they are given back at the end
        self._ran: list[RanTask] = []
        self._raised: BaseException | None = None

    def drive(
        self,
        connections: HandlerConnections,
        state: Any,
        execute: Callable[[Statement[Any]], Any],
        handle: Callable[[Attempt], _Ended],
    ) -> list[RanTask]:
        """Take the steps in plain code."""
        __tracebackhide__ = True
        steps = self._steps(connections, state)
        with suppress(StopIteration):
            step = next(steps)
            while True:
                try:
                    answer = execute(step) if isinstance(step, Statement) else handle(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        return self._result()

    async def drive_async(
        self,
        connections: HandlerConnections,
        state: Any,
        execute: Callable[[Statement[Any]], Awaitable[Any]],
        handle: Callable[[Attempt], Awaitable[_Ended]],
    ) -> list[RanTask]:
        """Take the steps in async code."""
        __tracebackhide__ = True
        steps = self._steps(connections, state)
        with suppress(StopIteration):
            step = next(steps)
            while True:
                try:
                    answer = await (execute(step) if isinstance(step, Statement) else handle(step))
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        return self._result()

    def _result(self) -> list[RanTask]:
        __tracebackhide__ = True
        if self._raised is not None:
            raise self._raised
        return self._ran

    def _steps(self, connections: HandlerConnections, state: Any) -> Generator[_Step, Any, None]:
        app = self.place.app
        self._environment = Environment(
            connections=connections,
            state=state,
            middleware=app.middleware,
            max_output_size=(yield statements.max_output_size()),
            skip_unknown=False,
        )
        if self._queues is not None and self._queues[0] not in app.queues:
            yield _claim(self._queues[0], 0)  # raises QueueNotFound
        maintain = _MAINTAIN if self.place.within is None else _RUN_SCHEDULES
        yield maintain
        is_maintained = True
        while self._raised is None:
            attempt = yield from self._next()
            if attempt is not None:
                if len(self._ran) == self._limit:
                    yield reports.released([attempt, *self._others])
                    raise ConfigurationError(
                        f"{self._limit} tasks have run and more are ready: does a job enqueue itself? Otherwise give a"
                        " higher limit: run_pending(limit=...)"
                    )
                yield from self._run(attempt)
                is_maintained = False
            elif is_maintained:
                break
            else:  # maintenance enqueues callbacks of batches, for one
                yield maintain
                is_maintained = True
        if self._others:
            yield reports.released(self._others)

    def _next(self) -> Generator[_Step, Any, Attempt | None]:
        """Claim the next task that is to run."""
        queues = self._queues if self._queues is not None or self._job is not None else self.place.app.queues
        job = None if self._job is None else self._job.name
        while True:
            for queue in (yield _ready_queues(queues, job)):
                while tasks := (yield _claim(queue, 1)):
                    attempt = Attempt(tasks[0], self._environment)
                    attempt.job = self._lookup.find(attempt.task)
                    if self._job is None or attempt.job is self._job:
                        return attempt
                    self._others.append(attempt)
            if not (yield _soon_ready(queues, job)):
                return None
            yield _TICK

    def _run(self, attempt: Attempt) -> Generator[_Step, Any, None]:
        """Run the handler of a task, and report how that ended as a worker does."""
        task = attempt.task
        if attempt.job is None:
            yield reports.released([attempt, *self._others])
            raise ConfigurationError(self._lookup.unknown(task))
        attempt.state = AttemptState.RUNNING
        log.started(attempt, with_input=False)
        try:
            output, error = yield attempt
        except ConfigurationError:  # it cannot run here
            yield reports.released([attempt, *self._others])
            raise
        attempt.state = AttemptState.ENDED
        outcome = decide(attempt, error)
        progress = attempt.take_progress()
        if progress is not None and not attempt.completed:
            yield statements.report_progress_many([task.id], [task.lease], [progress])
        failed = None
        if outcome.kind is OutcomeKind.FAILED:
            assert outcome.error is not None
            failed = reports.Failed.of(attempt, outcome.error)
        elif isinstance(outcome.error, Snooze):
            yield reports.snoozed([(attempt, outcome.error.delay)])
        elif outcome.kind is OutcomeKind.SUCCEEDED and not attempt.completed:
            try:
                yield reports.completed([(attempt, output)])
            except (DatabaseRefusal, psycopg.Error) as refused:
                failed = reports.Failed.refused(attempt, refused)
                outcome = Outcome(OutcomeKind.FAILED, refused)
        will_retry = False
        if failed is None:
            log.ended(attempt, outcome)
        else:
            will_retry = yield from self._fail(failed, outcome.error)
        if attempt.completed and attempt.context.output is not None:
            output = statements.dump_json(attempt.context.output)
        self._ran.append(
            RanTask(
                id=task.id,
                queue=task.queue,
                job=attempt.job.name,
                input=json_value(task.input),
                attempt=task.attempt,
                outcome=outcome.kind,
                output=statements.load_json(output),
                error=outcome.error,
                will_retry=will_retry,
                progress=statements.load_json(progress),
            )
        )
        # What is not an Exception is for the test itself: pytest.fail() in a handler, an interruption.
        error = outcome.error if failed is not None else None
        if error is not None and not (self._record_errors and isinstance(error, Exception)):
            self._raised = error

    def _fail(self, failed: reports.Failed, error: BaseException | None) -> Generator[_Step, Any, bool]:
        """Report a failure. Returns whether the task will be retried."""
        try:
            answers = yield reports.failed([failed])
        except Exception as unrecorded:
            assert error is not None
            error.add_note(f"This failure could not be recorded: {unrecorded}")
            self._raised = error
            return False
        if not answers:
            return False  # the task was cancelled meanwhile
        retry_at = answers[0].ready_at if answers[0].state == "pending" else None
        log.failed(failed.attempt, failed.failure, failed.exc_info, retry_at)
        return retry_at is not None


_PENDING = """
    from underway.task_list l
    where l.state = 'pending'
      and (%(queues)s::text[] is null or l.queue = any(%(queues)s::text[]))
      and (%(job)s::text is null or l.job = %(job)s::text or l.job is null)"""


def _ready_queues(queues: list[str] | None, job: str | None) -> Statement[list[str]]:
    """The queues that have a ready task, in the order of their first ones: a claim from several takes any of them."""
    return Statement(
        f"select l.queue {_PENDING} and l.ready_at <= underway._clock() order by l.priority desc, l.ready_at, l.id",
        {"queues": queues, "job": job},
        lambda rows: list(dict.fromkeys(queue for (queue,) in rows)),
    )


def _soon_ready(queues: list[str] | None, job: str | None) -> Statement[bool]:
    """Whether a task is ready in a millisecond, in a database whose clock may stand still: fair queues have such."""
    return Statement(
        f"""select to_regprocedure('underway_test._tick()') is not null
            and exists (
                select {_PENDING}
                  and l.ready_at > underway._clock() and l.ready_at <= underway._clock() + interval '1 millisecond'
            )""",
        {"queues": queues, "job": job},
        lambda rows: bool(rows[0][0]),
    )


def _claim(queue: str, max_tasks: int) -> Statement[list[ClaimedTask]]:
    """Claim tasks of one queue. The values have PostgreSQL's binary format whatever driver the connection has."""
    columns = {name: name for name in ClaimedTask._fields}
    columns |= {name: f"jsonb_send({name})" for name in ("input", "headers", "dead_letter")}
    columns |= {name: f"interval_send({name})" for name in ("timeout", "heartbeat")}
    columns |= {"lease": "uuid_send(lease)", "enqueued_at": "timestamptz_send(enqueued_at)"}
    return Statement(
        f"select {', '.join(columns.values())} from underway.dequeue(%(queue)s::text, %(max_tasks)s::integer)",
        {"queue": queue, "max_tasks": max_tasks},
        lambda rows: [
            ClaimedTask._make(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in rows
        ],
    )


# Where handlers run


def _plain(attempt: Attempt) -> str | None:
    """Run a plain handler in a context of its own."""
    return contextvars.copy_context().run(run_plain, attempt)


async def _run_on_this_loop(within: Any, attempt: Attempt) -> _Ended:
    assert attempt.job is not None
    try:
        if attempt.job.executor == "async":
            return await asyncio.create_task(run_async(attempt)), None
        if is_django(within):  # in the thread that has the connection
            from asgiref.sync import sync_to_async

            return await sync_to_async(_plain, thread_sensitive=True)(attempt), None
        return await asyncio.to_thread(_plain, attempt), None
    except BaseException as error:  # whatever it is, it belongs to the attempt
        return None, error


class _Handlers:
    """Runs handlers in this thread. The loop for async ones is made when it is needed, and ends with the block.

    `state` is what the handlers find as `context.state`.
    """

    def __init__(self, place: Place) -> None:
        self._app = place.app
        self._is_django = is_django(place.within)
        self._runner = asyncio.Runner()
        self._lifespan: asyncio.Task[None] | None = None
        self.state = place.app.state

    def __enter__(self) -> Self:
        if self._app.lifespan is not None:
            self._check_no_loop_runs("the application has a lifespan")
            self._runner.run(self._open(self._app.lifespan(self._app)))
        return self

    def __exit__(self, *error: object) -> None:
        if self._lifespan is not None:
            self._runner.run(self._close(self._lifespan))
        self._runner.close()

    async def _open(self, lifespan: AbstractAsyncContextManager[Any]) -> None:
        """Open the lifespan in a task of its own, which also closes it: it may depend on that."""
        is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            async with lifespan as self.state:
                is_open.set_result(None)
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

        self._lifespan = asyncio.create_task(live())
        await asyncio.wait({self._lifespan, is_open}, return_when=asyncio.FIRST_COMPLETED)
        if self._lifespan.done():
            await self._lifespan

    async def _close(self, lifespan: asyncio.Task[None]) -> None:
        lifespan.cancel()
        await lifespan

    def _check_no_loop_runs(self, why: str) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise ConfigurationError(f"an event loop runs here, and {why}: use `await run_pending_async(...)`")

    def run(self, attempt: Attempt) -> _Ended:
        """Run the handler of an attempt."""
        assert attempt.job is not None
        is_async = attempt.job.executor == "async"
        if is_async:
            self._check_no_loop_runs(f"job {attempt.job.name} is async")
        try:
            if not is_async:
                return _plain(attempt), None
            if self._is_django:  # its ORM then finds the connection of this thread
                from asgiref.sync import async_to_sync

                return contextvars.copy_context().run(async_to_sync(run_async), attempt), None
            return self._runner.run(run_async(attempt)), None
        except BaseException as error:  # whatever it is, it belongs to the attempt
            return None, error


@contextmanager
def _connections(place: Place) -> Iterator[HandlerConnections]:
    """Where `context.transaction()` gets its connection."""
    if place.within is not None:
        yield Within(place.within)
        return
    pools = PooledConnections(place.app.dsn)
    try:
        yield pools
    finally:
        pools.drain()
