"""Many tasks: batches of claims and results, prefetching."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest

from tests.py.support import SECONDS, Session, beside, final, wait_until
from tests.py.worker_support import Seen, idle, info, see_chores
from underway_pg import (
    App,
    Context,
)


def test_a_draining_worker_does_all_that_is_ready_and_ends(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    def work(n: int) -> None:
        seen(n)
        if n % 10 == 0:
            next_one.enqueue(n)

    @app.job(queue="q")
    async def next_one(n: int) -> None:
        seen(-n)

    work.enqueue_many([{"n": n} for n in range(1, 201)])
    later = work.options(delay=3600).enqueue(0)
    with beside(app.worker(drain=True, concurrency=7)) as worker:
        worker.join()
    assert sorted(seen.values) == sorted([*range(1, 201), *range(-200, 0, 10)])
    assert info(app, later).state == "pending"


def test_a_draining_worker_of_an_empty_queue_ends(app: App) -> None:
    with beside(app.worker(drain=True)) as worker:
        worker.join()


def test_higher_priorities_run_first_and_then_those_that_came_first(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    def work(n: int) -> None:
        seen(n)

    for n, priority in enumerate([0, 5, -3, 5, 10, 0]):
        work.options(priority=priority).enqueue(n)
    with beside(app.worker(drain=True, concurrency=1)) as worker:
        worker.join()
    assert seen.values == [4, 1, 3, 0, 5, 2]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_as_many_tasks_run_at_once_as_the_concurrency_and_never_more(app: App, kind: str) -> None:
    seen = Seen()
    together = threading.Event()

    def enter() -> None:
        if seen.running == 4:
            together.set()

    @app.job(queue="q")
    def plain() -> None:
        with seen.inside():
            enter()
            together.wait(SECONDS)
            time.sleep(0.002)

    @app.job(queue="q")
    async def asynchronous() -> None:
        with seen.inside():
            enter()
            while not together.is_set():
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.002)

    (plain if kind == "plain" else asynchronous).enqueue_many([{}] * 60)
    with beside(app.worker(drain=True, concurrency=4)) as worker:
        worker.join()
    assert seen.most_running == 4


def test_a_worker_claims_no_more_than_it_can_run_at_once(app: App, session: Session) -> None:
    release = threading.Event()

    @app.job(queue="q")
    def work() -> None:
        release.wait(SECONDS)

    ids = [work.enqueue() for _ in range(5)]
    held = "select count(*) from underway.task where state = 'in_progress'"
    with beside(app.worker(concurrency=2)) as worker:
        worker.until(lambda: session.value(held) == 2, "two run")
        work.enqueue()
        see_chores(session, worker)
        see_chores(session, worker)
        assert session.value(held) == 2
        release.set()
        for id in ids:
            assert final(app, id, worker).state == "succeeded"


def sizes_of_claims(
    app: App, session: Session, *, prefetch_seconds: float, retried_from: int | None = None
) -> list[int]:
    """How many of 600 short tasks each claim of a worker of concurrency 2 took; some of them were tried before."""

    @app.job(queue="q")
    async def short(n: int) -> None:
        pass

    short.enqueue_many({"n": n} for n in range(600))
    if retried_from is not None:
        session.run("update underway.task set attempt = 1 where (input ->> 'n')::integer >= %s", retried_from)
    with beside(app.worker(concurrency=2, prefetch_seconds=prefetch_seconds, drain=True)) as worker:
        worker.join()
    # The tasks of a claim begin at one moment, as the database sees it.
    return session.column("select count(*)::integer from underway.task_history group by started_at order by started_at")


def test_a_worker_claims_ahead_where_tasks_are_short(app: App, session: Session) -> None:
    first, *others = sizes_of_claims(app, session, prefetch_seconds=0.25)
    assert first == 2  # nothing is known of their length yet
    assert 2 < max(others) <= 1000


def test_a_worker_claims_nothing_ahead_where_it_is_told_so(app: App, session: Session) -> None:
    assert max(sizes_of_claims(app, session, prefetch_seconds=0)) <= 2


def test_a_worker_claims_nothing_ahead_of_tasks_that_are_tried_again(app: App, session: Session) -> None:
    assert max(sizes_of_claims(app, session, prefetch_seconds=0.25, retried_from=0)) <= 2


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_was_claimed_ahead_and_not_begun_is_given_back_when_tasks_turn_out_long(
    app: App, session: Session, kind: str
) -> None:
    release = threading.Event()
    seen = Seen()

    @app.job(queue="q")
    def plain(long: bool) -> None:
        if long:
            seen("long")
            release.wait(SECONDS)

    @app.job(queue="q")
    async def asynchronous(long: bool) -> None:
        if long:
            seen("long")
            while not release.is_set():
                await asyncio.sleep(0.01)

    job = plain if kind == "plain" else asynchronous
    job.enqueue_many({"long": False} for _ in range(3000))
    ids = job.enqueue_many({"long": True} for _ in range(200))
    held = "select count(*) from underway.task where state = 'in_progress'"
    not_begun = "select count(*) from underway.task where state = 'pending' and attempt = 0"
    with beside(app.worker(concurrency=2)) as worker:
        worker.until(lambda: len(seen.values) == 2, "two of the long ones run")
        for _ in range(2):  # the first two may run before the others are claimed
            worker.until(lambda: session.value(held) == 2 and session.value(not_begun) == 198, "they were given back")
            see_chores(session, worker)
        assert session.value(held) <= 2 + 2  # it has learned how long they are
        release.set()
        assert final(app, ids[-1], worker).attempt == 1


def test_a_worker_of_short_tasks_claims_ahead_and_gives_the_rest_back_when_it_stops(app: App, session: Session) -> None:
    blocked, release = threading.Event(), threading.Event()

    @app.job(queue="q")
    async def short(n: int) -> None:
        ahead = "select count(*) from underway.task where state = 'in_progress' and (input ->> 'n')::integer > %s"
        if n >= 1000 and not blocked.is_set() and session.value(ahead, n) > 2:
            blocked.set()
            release.wait(SECONDS)  # the loop itself, so that what is held then stays held

    short.enqueue_many({"n": n} for n in range(4000))
    with beside(app.worker(concurrency=2)) as worker:
        assert blocked.wait(SECONDS)
        worker.stop()
        release.set()
    states = dict(session.rows("select state::text, count(*) from underway.task group by state"))
    assert set(states) == {"pending"}
    assert session.column("select distinct attempt from underway.task") == [0]
    done = session.value("select count(*) from underway.task_history where attempt = 1")
    assert done + states["pending"] == 4000


def test_a_task_of_higher_priority_waits_for_no_more_than_what_was_claimed_ahead(app: App, session: Session) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def work(n: int) -> None:
        seen(n)
        if n == 100:
            session.run("select underway.enqueue('q', '{\"n\": -1}', job => 'work', priority => 9)")

    work.enqueue_many({"n": n} for n in range(6000))
    with beside(app.worker(concurrency=2, drain=True)) as worker:
        worker.join()
    assert len(seen.values) == 6001
    assert seen.values.index(-1) < 100 + 2 * (1000 + 2)


def test_workers_that_share_a_queue_run_each_task_once(app: App) -> None:
    seen: dict[str, Seen] = {"plain": Seen(), "async": Seen()}

    @app.job(queue="q")
    def plain(context: Context, n: int) -> None:
        seen["plain"](n)

    @app.job(queue="q")
    async def asynchronous(context: Context, n: int) -> None:
        seen["async"](n)
        await asyncio.sleep(0)

    with contextlib.ExitStack() as stack:
        workers = [app.worker(concurrency=5, name=f"worker {number}") for number in range(3)]
        stack.enter_context(beside(*workers))
        for job in (plain, asynchronous):
            job.enqueue_many([{"n": n} for n in range(300)])
        wait_until(lambda: app.client.stats()["ready"] + app.client.stats()["in_progress"] == 0, "all are done")
    for kind in seen.values():
        assert sorted(kind.values) == list(range(300))


@pytest.mark.usefixtures("no_polls")
def test_queues_that_are_paused_are_served_again_when_a_notification_says_that_they_are_resumed(
    app: App, session: Session
) -> None:
    @app.job(queue="q")
    def job() -> None: ...

    with beside(app.worker()) as worker:
        idle(session, worker)
        app.client.pause_queue("q")
        id = job.enqueue()
        session.value("select underway._run_chores()")
        assert info(app, id).state == "pending"
        app.client.resume_queue("q")
        assert final(app, id, worker).state == "succeeded"
