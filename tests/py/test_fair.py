"""Fair queues: concurrency keys are served in turn, whoever claims and enqueues at once, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.py.support import FORGOTTEN, Session, at_once, beside
from underway_pg import App, Queue

OpenSession = Callable[..., Session]


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Session(database, **options))


@pytest.fixture
def session(open_session: OpenSession) -> Iterator[Session]:
    session = open_session()
    session.create_queue("q", "fair => true, retry_policy => underway.retry_policy(initial_interval => '0')")
    yield session
    assert session.rows(FORGOTTEN) == []


def keyed(session: Session, key: str | None, count: int = 1) -> list[int]:
    return session.enqueue("q", count, f"concurrency_key => '{key}'" if key else "")


def complete(session: Session, claimed: list[tuple[int, object]]) -> None:
    ids, leases = [id for id, _ in claimed], [lease for _, lease in claimed]
    session.run("select from underway.complete_many(%s, %s::uuid[])", ids, leases)


# Shares


@pytest.mark.parametrize("max_tasks", [1, 3, 10, 64])
def test_while_all_have_something_each_key_has_its_share(session: Session, max_tasks: int) -> None:
    session.create_queue("q", "max_running_per_key => 1000")
    keys = ["b", "f", "c", "a", "e", "d"]
    key_of = {id: key for key in keys for id in keyed(session, key, 2000 if key == "b" else 200)}
    served: Counter[str | None] = Counter()
    while sum(served.values()) + max_tasks <= 600:
        claimed = session.claim("q", max_tasks)
        assert len(claimed) == max_tasks
        served.update(key_of[id] for id, _ in claimed)
        assert max(served.values()) - min(served[key] for key in keys) <= 1
        complete(session, claimed)


def test_a_great_backlog_of_one_key_does_not_hold_up_ten_tasks_of_another(session: Session) -> None:
    keyed(session, "a", 5000)
    b = keyed(session, "b", 10)
    seen: list[int] = []
    for _ in range(20):
        claimed = session.claim("q", 1)
        seen += [id for id, _ in claimed]
        complete(session, claimed)
    assert [id for id in seen if id in b] == b
    assert len(seen) == 20


@pytest.mark.parametrize("keys", [3, 1500])
def test_all_keys_are_served_once_before_one_is_served_again(session: Session, keys: int) -> None:
    key_of = {}
    for number in range(keys):
        key_of |= dict.fromkeys(keyed(session, f"k{number}", 2), number)
    order: list[int] = []
    while claimed := session.claim("q", 75):
        order += sorted(key_of[id] for id, _ in claimed)
        complete(session, claimed)
    assert len(order) == 2 * keys
    assert sorted(order[:keys]) == list(range(keys))


# Enqueues and claims that overlap


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("order", ["the claim ends first", "the enqueue ends first"])
@pytest.mark.parametrize("begin", ["the claim begins first", "the enqueue begins first"])
def test_an_enqueue_is_served_whose_key_loses_its_last_task_meanwhile(
    session: Session, open_session: OpenSession, begin: str, order: str, end: str
) -> None:
    session.create_queue("q", "max_running_per_key => 2")
    (first,) = keyed(session, "a")
    claimer, producer = open_session(impatient=True), open_session(impatient=True)

    def claim() -> None:
        claimer.run("begin")
        assert claimer.claim_ids("q", 10) == [first]

    def enqueue() -> list[int]:
        producer.run("begin")
        return keyed(producer, "a")

    if begin.startswith("the claim"):
        claim()
        later = enqueue()
    else:
        later = enqueue()
        claim()
    for each in (claimer, producer) if order.startswith("the claim") else (producer, claimer):
        each.run("commit" if each is claimer else end)
    assert session.claim_ids("q", 10) == (later if end == "commit" else [])


@pytest.mark.parametrize("order", ["the claim ends first", "the enqueue ends first"])
def test_a_claim_that_is_rolled_back_leaves_its_key_and_later_tasks_their_turns(
    session: Session, open_session: OpenSession, order: str
) -> None:
    session.create_queue("q", "max_running_per_key => 2")
    first = keyed(session, "a", 2)
    claimer, producer = open_session(impatient=True), open_session(impatient=True)
    claimer.run("begin")
    assert claimer.claim_ids("q", 1) == first[:1]
    producer.run("begin")
    later = keyed(producer, "a")
    for each in (claimer, producer) if order.startswith("the claim") else (producer, claimer):
        each.run("rollback" if each is claimer else "commit")
    claimed = session.claim("q", 1) + session.claim("q", 1)
    assert [id for id, _ in claimed] == first
    complete(session, claimed)
    assert session.claim_ids("q", 10) == later


def test_a_long_transaction_that_enqueues_does_not_hold_up_its_key(session: Session, open_session: OpenSession) -> None:
    a = keyed(session, "a", 3)
    producer = open_session()
    producer.run("begin")
    (last,) = keyed(producer, "a")
    for expected in a:
        claimed = session.claim("q", 10)
        assert [id for id, _ in claimed] == [expected]
        complete(session, claimed)
    producer.run("commit")
    assert session.claim_ids("q", 10) == [last]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_enqueue_with_an_old_snapshot_goes_through(session: Session, open_session: OpenSession, level: str) -> None:
    a = keyed(session, "a", 2)
    producer = open_session()
    for claims in (1, 2):
        producer.run(f"begin isolation level {level}")
        producer.value("select count(*) from underway.ready_key")
        for _ in range(claims):
            complete(session, session.claim("q", 10))
        a += keyed(producer, "a")
        producer.run("commit")
    assert session.claim_ids("q", 10) == a[-1:]


def test_a_task_that_is_being_cancelled_holds_up_no_other_key(session: Session, open_session: OpenSession) -> None:
    first, second = keyed(session, "a", 2)
    (b,) = keyed(session, "b")
    canceller = open_session()
    canceller.run("begin")
    canceller.run("select underway.cancel(%s)", first)
    assert session.claim_ids("q") == [b]
    assert session.claim_ids("q") == []
    canceller.run("commit")
    assert session.claim_ids("q") == [second]


# Many at once


def test_a_crowd_loses_and_forgets_nothing(database: str, session: Session) -> None:
    """Keys of which the last task is claimed again and again, while others enqueue for them, one by one."""
    session.create_queue("q", "max_running_per_key => 2")
    keys = [None, "a", "b", "c", "d"]
    ended = threading.Event()

    def record() -> None:
        with Session(database) as mine:
            while not ended.is_set():
                assert mine.rows(FORGOTTEN) == []

    def produce(number: int) -> list[int]:
        ids = []
        with Session(database) as mine:
            for turn in range(60):
                mine.run("begin")
                ids += (new := keyed(mine, keys[(number + turn) % len(keys)], 1 + turn % 2))
                mine.run("rollback" if turn % 7 == 3 else "commit")
                if turn % 7 == 3:
                    del ids[-len(new) :]
        return ids

    def consume(number: int) -> list[int]:
        done = []
        with Session(database) as mine:
            while not produced.is_set() or mine.value("select exists (select from underway.task)"):
                for id, lease in mine.claim("q", 1 + number % 3):
                    if (id + number) % 9 == 0:
                        mine.run("select underway.release(%s, %s)", id, lease)
                    else:
                        done += mine.column("select * from underway.complete_many(%s, %s)", [id], [lease])
        return done

    produced = threading.Event()
    left = iter(range(3, -1, -1))

    def work(number: int) -> tuple[list[int], list[int]]:
        if number >= 4:
            return [], consume(number)
        try:
            return produce(number), []
        finally:
            if next(left) == 0:
                produced.set()

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        enqueued, done = zip(*at_once(work, 8), strict=True)
    finally:
        produced.set()
        ended.set()
        recorder.join()
    assert sorted(itertools.chain(*done)) == sorted(itertools.chain(*enqueued))
    assert session.claim("q", 10) == []
    assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


def test_a_queue_that_becomes_fair_and_unfair_while_a_crowd_claims_forgets_nothing(
    database: str, session: Session
) -> None:
    ids = [id for turn in range(60) for id in keyed(session, [None, "a", "b"][turn % 3], 5)]

    def work(number: int) -> list[int]:
        done: list[int] = []
        with Session(database) as mine:
            turn = 0
            while mine.value("select exists (select from underway.task)"):
                turn += 1
                if number == 0:
                    mine.create_queue("q", f"fair => {turn % 2 == 0}")
                for id, lease in mine.claim("q", 4):
                    done += mine.column("select * from underway.complete_many(%s, %s)", [id], [lease])
        return done

    assert sorted(itertools.chain(*at_once(work, 5))) == ids


def test_workers_serve_keys_in_turn(database: str) -> None:
    order: list[str] = []
    app = App(database, queues=[Queue(name="q", fair=True, max_running_per_key=100)])

    @app.job(queue="q")
    async def work(tenant: str) -> None:
        order.append(tenant)
        await asyncio.sleep(0)

    with app:
        for tenant, count in (("great", 300), ("small", 10)):
            work.options(concurrency_key=tenant).enqueue_many([{"tenant": tenant}] * count)
        with beside(app.worker(concurrency=4, prefetch_seconds=0)) as worker:
            worker.until(lambda: order.count("small") == 10, "the small one is served")
            assert order.index("small") < 10
            worker.until(lambda: len(order) == 310, "all are served")
    last = max(place for place, tenant in enumerate(order) if tenant == "small")
    assert last < 60
