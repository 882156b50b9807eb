"""Leases: renewed, lost, and what the worker does about them."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from datetime import datetime
from typing import Any

import pytest
import uvloop

from tests.py.support import FOREVER, SECONDS, Session, beside, final, wait_until
from tests.py.worker_support import Seen, idle, info, seconds_to_start, see_chores
from underway_pg import (
    App,
    Context,
    Queue,
    statements,
)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_lease_of_a_long_task_is_renewed(app: App, session: Session, kind: str) -> None:
    seen = Seen()
    renewed = threading.Event()

    @app.job(queue="q", heartbeat=3)
    def plain(context: Context) -> str:
        seen(context.attempt)
        renewed.wait(SECONDS)
        return "done"

    @app.job(queue="q", heartbeat=3)
    async def asynchronous(context: Context) -> str:
        seen(context.attempt)
        while not renewed.is_set():
            await asyncio.sleep(0.01)
        return "done"

    ids = [(plain if kind == "plain" else asynchronous).enqueue() for _ in range(3)]
    expiries: dict[int, set[datetime]] = {id: set() for id in ids}
    with beside(app.worker()) as worker:

        def all_renewed_twice() -> bool:
            assert session.value("select underway._run_chores() -> 'reclaimed'") == 0
            for id, expires_at in session.rows(
                "select id, lease_expires_at from underway.task where lease is not null"
            ):
                expiries[id].add(expires_at)
            return all(len(seen) > 2 for seen in expiries.values())

        worker.until(all_renewed_twice, "all leases are renewed twice")
        renewed.set()
        for id in ids:
            final(app, id, worker)
    assert [(info(app, id).output, info(app, id).attempt) for id in ids] == [("done", 1)] * 3
    assert seen.values == [1, 1, 1]


def test_a_worker_whose_loop_was_blocked_until_its_leases_lapsed_goes_on(app: App, session: Session) -> None:
    seen = Seen()
    blocked = threading.Event()

    @app.job(queue="q", heartbeat=3)
    async def waits(context: Context) -> str:
        seen(context.attempt)
        if context.attempt == 1:
            # What nobody should write: the loop stands still, and all leases of the worker lapse.
            while not blocked.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(FOREVER)  # until a heartbeat finds that the lease is lost
        return f"attempt {context.attempt}"

    @app.job(queue="q", heartbeat=3)
    async def blocks(context: Context) -> str:
        if context.attempt == 1:
            for held in (first, context.id):
                session.lapse(held)
            session.run("select underway._run_chores()")
            blocked.set()
        return f"attempt {context.attempt}"

    first = waits.enqueue()
    with beside(app.worker(concurrency=4)) as worker:
        worker.until(lambda: seen.values, "the first runs")
        second = blocks.enqueue()
        for id in (first, second):
            task = final(app, id, worker)
            assert (task.output, [error["type"] for error in task.errors or []]) == ("attempt 2", ["LeaseLapsed"])
        assert final(app, blocks.enqueue(), worker).state == "succeeded"


def test_a_result_that_comes_after_the_lease_was_lost_is_dropped_with_a_warning(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def work() -> str:
        started.set()
        release.wait(SECONDS)
        return "done"

    id = work.enqueue()
    with beside(app.worker()) as worker:
        worker.until(started.is_set, "it runs")
        session.run("update underway.task set lease = gen_random_uuid()")  # as if another had it now
        release.set()
        dropped = f"task {id}: lease lost, result discarded (unless it was already recorded)"
        worker.until(lambda: dropped in caplog.messages, "it says so")
    assert info(app, id).output is None


def test_a_result_that_waits_for_long_to_be_settled_harms_no_other_task(app: App, session: Session) -> None:
    """Its time is over and its lease not renewed any more; its runner has long had another task, or none."""
    session.run(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception using errcode = 'disk_full', message = 'no room'; end $$"
    )
    session.run("create trigger full_disk before insert on underway.task_history execute function public.refuse()")

    @app.job(queue="q")
    async def ends() -> None: ...

    first = ends.options(timeout=0.5, heartbeat=0.9).enqueue()
    with beside(app.worker(concurrency=1)) as worker:
        worker.until(lambda: session.errors(first), "its lease was taken back")
        session.run("drop trigger full_disk on underway.task_history")
        assert final(app, ends.enqueue(), worker).state == "succeeded"
        assert final(app, first, worker).state == "succeeded"


def calls_of_chores(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The times at which workers do their chores, and those at which they only look what is due; lists that grow."""
    chores: list[float] = []
    looks: list[float] = []
    for name, times in (("maintain", chores), ("look", looks)):
        real = getattr(statements, name)

        def called(*arguments: Any, real: Any = real, times: list[float] = times, **options: bool) -> Any:
            times.append(time.monotonic())
            return real(*arguments, **options)

        monkeypatch.setattr(statements, name, called)
    return chores, looks


def test_a_worker_does_not_look_all_the_time_for_a_task_that_another_session_has_locked(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, looks = calls_of_chores(monkeypatch)

    @app.job(queue="q")
    def work() -> None: ...

    with Session(app.dsn) as holder:
        id = work.enqueue()
        holder.run("begin")
        holder.run("select from underway.task where id = %s for update", id)
        with beside(app.worker()) as worker:
            worker.until(lambda: len(looks) >= 20, "it looks again and again")
            assert looks[19] - looks[0] > 0.3
            holder.run("commit")
            assert final(app, id, worker).state == "succeeded"


def test_an_idle_worker_on_uvloop_sends_one_statement_for_each_look(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    chores, looks = calls_of_chores(monkeypatch)
    app.job(queue="q", name="work")(lambda: None)
    worker = app.worker(poll_interval=0.01)
    real = statements.maintain

    def maintain(*arguments: Any, **options: bool) -> Any:
        if len(chores) == 100:
            worker.stop()
        return real(*arguments, **options)

    monkeypatch.setattr(statements, "maintain", maintain)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(worker.run())
    assert len(looks) < 10, len(looks)


def test_a_busy_worker_does_its_chores_once_a_second_whatever_backlog_a_limited_queue_has(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.client.create_queue(Queue(name="limited", max_running=100, fair=True))
    chores, looks = calls_of_chores(monkeypatch)
    started, release = threading.Event(), threading.Event()

    @app.job(queue="limited")
    def work() -> None:
        started.set()
        release.wait(SECONDS)

    work.enqueue_many([{}] * 50)
    with beside(app.worker(concurrency=1)) as worker:
        worker.until(started.is_set, "it is busy")
        before = len(chores)
        worker.until(lambda: len(chores) >= before + 3, "it has done its chores three times more")
        release.set()
    assert len(looks) < 10, len(looks)
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(chores))


def test_an_idle_worker_that_looks_often_does_its_chores_once_a_second(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores, looks = calls_of_chores(monkeypatch)
    app.job(name="work", queue="q")(lambda: None).enqueue()
    session.run("select underway.schedule('s', 'q', '0 0 1 1 *')")
    session.run("update underway.schedule set check_at = now()")
    with Session(app.dsn) as holder, beside(app.worker()) as worker:
        holder.run("begin")
        holder.run("select from underway.schedule for update")  # due, and cannot run: the worker looks every 50 ms
        worker.until(lambda: len(chores) >= 4, "it has done its chores")
        holder.run("rollback")
    assert len(looks) > 10
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(chores))


def test_a_task_that_becomes_due_soon_after_a_worker_was_busy_starts_when_it_is_due(app: App, session: Session) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    def long() -> None:
        started.set()
        release.wait(SECONDS)

    @app.job(queue="q")
    def soon() -> None: ...

    with beside(app.worker(concurrency=1)) as worker:
        long.enqueue()
        worker.until(started.is_set, "it is busy")
        see_chores(session, worker)  # so that the next look by itself is a second away
        due = soon.options(delay=0.3).enqueue()
        release.set()
        final(app, due, worker)
    assert seconds_to_start(session, due, "enqueued_at + interval '0.3 s'") < 0.3


def test_a_worker_that_is_idle_has_three_connections(app: App, session: Session) -> None:
    @app.job(queue="q")
    async def work() -> None: ...

    others = """select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
    worker = app.worker()
    wait_until(lambda: session.value(others) == 0, "the connection that created the queues is closed")
    with beside(worker) as running:
        session.run("select underway.enqueue('q', '{}', job => 'work')")
        running.until(lambda: session.value("select count(*) from underway.task_history") == 1, "it has worked")
        idle(session, running)
        assert session.value(others) <= 3


def test_a_handler_that_blocks_the_loop_is_named_and_the_leases_of_others_are_kept(
    app: App, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    gate = threading.Event()

    @app.job(queue="q", heartbeat=3)
    async def waits() -> str:
        seen("waits")
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return "done"

    @app.job(queue="q", heartbeat=3)
    async def crunch() -> str:
        seen("crunch")
        gate.wait(SECONDS)  # what nobody should write: the loop stands still
        return "done"

    waiting = waits.enqueue()
    with beside(app.worker(block_warning=0.3)) as worker:
        worker.until(lambda: seen.values == ["waits"], "one waits")
        expires_at = session.value("select lease_expires_at from underway.task where id = %s", waiting)
        blocking = crunch.enqueue()
        worker.until(lambda: "the event loop has been blocked" in caplog.text, "it is named")
        worker.until(lambda: session.value("select clock_timestamp() > %s", expires_at), "a lease is over")
        gate.set()
        for id in (waiting, blocking):
            task = final(app, id, worker)
            assert (task.output, task.attempt, task.errors) == ("done", 1, None)
        logged = re.compile(rf"the event loop was blocked for \d+\.\d s by task {blocking} ")
        worker.until(lambda: logged.search(caplog.text), "its time is logged")
    assert seen.values == ["waits", "crunch"]
    assert f"by task {blocking} (crunch, attempt 1)" in caplog.text
    assert "gate.wait(SECONDS)" in caplog.text


def test_a_lease_is_renewed_while_both_connections_of_the_worker_wait_for_an_answer(app: App, session: Session) -> None:
    started, release = threading.Event(), threading.Event()

    @app.job(queue="q", heartbeat=3)
    def long() -> str:
        started.set()
        release.wait(SECONDS)
        return "done"

    @app.job(queue="q")
    def short() -> None: ...

    lease = "select lease_expires_at from underway.task where id = %s"
    with Session(app.dsn) as holder, beside(app.worker(queues="q")) as worker:
        id = long.enqueue()
        worker.until(started.is_set, "it runs")
        holder.run("begin")
        holder.run("lock table underway.worker, underway.task_history in share mode")  # settling and maintaining wait
        ended = short.enqueue()
        worker.until(
            lambda: (
                session.value(
                    "select count(*) from pg_stat_activity where %s = any (pg_blocking_pids(pid))", holder.pid
                )
                >= 2
            ),
            "both wait",
        )
        before = session.value(lease, id)
        for _ in range(2):
            worker.until(lambda before=before: session.value(lease, id) > before, "the lease is renewed")
            before = session.value(lease, id)
        holder.run("rollback")
        release.set()
        assert final(app, id, worker).attempt == 1
        assert final(app, ended, worker).attempt == 1
