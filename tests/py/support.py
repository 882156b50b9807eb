"""What the tests of races and workers share: sessions that may wait, and workers beside the test."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import psycopg
import pytest

from underway_pg import App, TaskInfo, Worker

T = TypeVar("T")

# Longer than anything may take on a busy machine; no test waits so long unless it fails.
SECONDS = 15.0

# How long a handler waits that only an interruption ends: longer than any test waits for that.
FOREVER = 4 * SECONDS

# What must never be: a key with parked tasks that are due, and with a free slot that no ready task of the key will take
# and no transaction under way is about to give to one. A transaction that makes a parked task ready has locked its row,
# so that the row's xmax is still running in the snapshot of this query. A key that is out of tokens has a time at which
# a claim looks at it again. Where keys take turns or need tokens, one ready task stands for the others.
FORGOTTEN = """
    select distinct p.queue, p.concurrency_key
    from underway.task p
    join underway.queue q on q.name = p.queue
    where p.parked
      and p.ready_at <= underway._clock()
      and pg_visible_in_snapshot(p.xmax::text::xid8, pg_current_snapshot())
      and q.max_running_per_key > (
          select
              count(*) filter (where t.state = 'in_progress')
              + count(*) filter (where t.state = 'pending')
              * case when q.fair or q.rate_limit_per_key is not null then q.max_running_per_key else 1 end
          from underway.task t
          where (t.queue, t.concurrency_key) = (p.queue, p.concurrency_key)
            and not t.parked
            and (t.state = 'in_progress' or t.ready_at <= underway._clock() + interval '1 second')
      )
      and not exists (
          select from underway.ready_key r where (r.queue, r.concurrency_key) = (p.queue, p.concurrency_key)
      )
      and not exists (
          select from underway.paused_key k where (k.queue, k.concurrency_key) = (p.queue, p.concurrency_key)
      )"""


def wait_until(condition: Callable[[], T], what: str, *, seconds: float = SECONDS) -> T:
    """Wait until a condition holds; gives its value."""
    begun = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begun
        if waited > seconds:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(min(0.005 + waited / 10, 0.05))  # what takes longer is looked at less often
    return value


@contextlib.contextmanager
def refused(sqlstate: str, match: str | None = None) -> Iterator[None]:
    """What runs here is refused by the database with this SQLSTATE."""
    with pytest.raises(psycopg.Error, match=match) as caught:
        yield
    assert caught.value.sqlstate == sqlstate, caught.value


@contextlib.contextmanager
def listed(offenders: list[str], case: object) -> Iterator[None]:
    """Add a case that fails here to the offenders, with its error, for a test that names all of them at its end."""
    try:
        yield
    except (AssertionError, psycopg.Error) as error:
        offenders.append(f"{case}: {error}")


# Nobody listens there.
AWAY = "postgresql://postgres@127.0.0.1:1/postgres?connect_timeout=2"


class Session:
    """A connection whose transactions a test moves step by step. What may wait is started in a thread.

    With `impatient` a wait for a lock is an error soon: for what must never wait.
    """

    def __init__(self, dsn: str, *, impatient: bool = False) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.pid = self.connection.info.backend_pid
        self._thread = ThreadPoolExecutor(1)
        self._started: list[Future[Any]] = []
        # In no case for ever: the one who would have to let go is the test itself.
        self.run(f"set lock_timeout = '{0.3 if impatient else SECONDS}s'")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if any(not future.done() for future in self._started):
            self.connection.cancel_safe()
        self._thread.shutdown()
        self.connection.close()

    def run(self, sql: str, *parameters: Any) -> None:
        """Run a statement whose answer does not matter."""
        self.connection.execute(sql.encode(), parameters or None)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode(), parameters or None).fetchall()

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        return [row[0] for row in self.rows(sql, *parameters)]

    def value(self, sql: str, *parameters: Any) -> Any:
        (row,) = self.rows(sql, *parameters)
        return row[0]

    def start(self, sql: str, *parameters: Any) -> Future[list[Any]]:
        """Run a statement in the thread; the future has the first column of its rows."""
        future = self._thread.submit(self.column, sql, *parameters)
        self._started.append(future)
        return future

    # The words of the contract

    def create_queue(self, name: str, settings: str = "") -> None:
        self.run(f"select underway.create_queue('{name}' {', ' + settings if settings else ''})")

    def enqueue(self, queue: str, count: int = 1, options: str = "") -> list[int]:
        """So many tasks with the inputs {"n": 1}, {"n": 2}, ..., in one statement."""
        ids: list[int] = self.value(
            "select underway.enqueue_many(%s, array(select jsonb_build_object('n', n) from generate_series(1, %s) n)"
            f"{', ' + options if options else ''})",
            queue,
            count,
        )
        return ids

    def claim(self, queue: str, max_tasks: int = 1) -> list[tuple[int, UUID]]:
        """Claim; gives ids with their leases."""
        return self.rows("select id, lease from underway.dequeue(%s, %s)", queue, max_tasks)

    def claim_ids(self, queue: str, max_tasks: int = 1) -> list[int]:
        return [id for id, _ in self.claim(queue, max_tasks)]

    def state(self, task: int) -> str | None:
        states = self.column("select state::text from underway.task_info(%s)", task)
        return states[0] if states else None

    def attempt(self, task: int) -> int:
        number: int = self.value("select attempt from underway.task_info(%s)", task)
        return number

    def errors(self, task: int) -> list[dict[str, Any]]:
        return self.value("select errors from underway.task_info(%s)", task) or []

    def lapse(self, *tasks: int) -> None:
        """Let the leases of these tasks lapse now."""
        self.run(
            "update underway.task set lease_expires_at = clock_timestamp() where id = any (%s)",
            list(tasks),
        )

    def waits_for(self, waiting: Session) -> set[int]:
        """For which sessions another one waits now, by process ids."""
        return set(self.value("select pg_blocking_pids(%s)", waiting.pid))

    def see_not_waiting(self, other: Session, sql: str) -> list[Any]:
        """Run a statement in another session and see that it never waits; gives the first column of its rows."""
        future = other.start(sql)
        wait_until(lambda: future.done() or self.waits_for(other), "it is done, or waits")
        assert future.done(), f"{sql} waits for {self.waits_for(other)}"
        return future.result()

    def see_waiting(self, waiting: Session, *, behind: Session) -> None:
        """Wait until one session is seen to wait for another."""
        wait_until(lambda: behind.pid in self.waits_for(waiting), f"{waiting.pid} waits for {behind.pid}")


# Where a session with this setting has the name of the function, it waits for the lock 4711.
STOP = """perform pg_advisory_lock_shared(4711), pg_advisory_unlock_shared(4711)
    where current_setting('test.stop_in', true) = '{function}';
    """


@contextlib.contextmanager
def stopped_in(
    session: Session, other: Session, function: str, sql: str, *, before: str | None = None
) -> Iterator[Future[list[Any]]]:
    """Start a statement in another session, and stop it in a function of the schema while the block runs.

    It stops at the first statement of the function, or before the one that starts with `before`.
    """
    kind = "regprocedure" if "(" in function else "regproc"
    definition: str = session.value(f"select pg_get_functiondef(%s::{kind})", f"underway.{function}")
    stop = STOP.format(function=function)
    place = before or re.search(r"^begin\n\s*(?=\S)", definition, re.MULTILINE).group()  # type: ignore[union-attr]
    assert definition.count(place) == 1, (function, place)
    session.run(definition.replace(place, stop + place if before else place + stop))
    other.run(f"set test.stop_in = '{function}'")
    session.run("select pg_advisory_lock(4711)")
    future = other.start(sql)
    try:
        session.see_waiting(other, behind=session)
        yield future
    finally:
        session.run("select pg_advisory_unlock(4711)")
    future.result(SECONDS)
    other.run("set test.stop_in = ''")
    session.run(definition)


class Beside:
    """A worker that runs in a thread beside the test."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._result: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="worker-beside", daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(SECONDS)

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self.worker.run()

        try:
            asyncio.run(main())
        except BaseException as error:
            self._result.set_exception(error)
        else:
            self._result.set_result(None)

    @property
    def ended(self) -> bool:
        return self._result.done()

    def until(self, condition: Callable[[], T], what: str, *, seconds: float = SECONDS) -> T:
        """Wait until a condition holds while the worker works; gives its value."""

        def look() -> T | None:
            if self.ended:
                raise AssertionError(f"the worker has ended, and still not: {what}")
            return condition()

        found = wait_until(look, what, seconds=seconds)
        assert found is not None
        return found

    def stop(self) -> None:
        """Ask the worker to stop; returns at once."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped by itself
            self._loop.call_soon_threadsafe(self.worker.stop)

    def on_loop(self, function: Callable[[], T]) -> T:
        """Call a function on the loop of the worker."""

        async def call() -> T:
            return function()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(SECONDS)

    def join(self, seconds: float = SECONDS) -> None:
        """Wait until the worker has ended; raises what it raised."""
        self._thread.join(seconds)
        if not self._result.done():
            self.stop()
            self.stop()
            self._thread.join(5.0)
            raise AssertionError(f"the worker has not ended after {seconds:g} s")
        self._result.result()


@contextlib.contextmanager
def beside(*workers: Worker) -> Iterator[Beside]:
    """Run workers in threads while the block runs, and stop them; yields the first. What one raised is raised."""
    running = [Beside(worker) for worker in workers]
    for each in running:
        each.start()
    try:
        yield running[0]
    except BaseException:
        for each in running:
            each.stop()
            each.stop()
        with contextlib.suppress(BaseException):  # what the test found comes first
            for each in running:
                each.join(5.0)
        for each in running:
            if each.ended and (error := each._result.exception()) is not None:
                raise AssertionError(f"the worker died: {error!r}") from error
        raise
    for each in running:
        each.stop()
    for each in running:
        each.join()


def at_once(function: Callable[[int], T], count: int, *, seconds: float = 3 * SECONDS) -> list[T]:
    """Call a function from several threads that all begin at the same moment; gives what each returned."""
    barrier = threading.Barrier(count, timeout=SECONDS)

    def one(number: int) -> T:
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(one, number) for number in range(count)]
        return [future.result(seconds) for future in futures]


def final(app: App, task: int, worker: Beside) -> TaskInfo:
    """Wait until a task is final; gives what is known of it."""

    def look() -> TaskInfo | None:
        info = app.task(task)
        return info if info is not None and info.finished_at is not None else None

    found = worker.until(look, f"task {task} is final")
    assert found is not None
    return found
