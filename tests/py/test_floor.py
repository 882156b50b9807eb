"""The floor under which no claim looks never hides a task, and rises whatever snapshots are held."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.py.support import Session, at_once, wait_until

OpenSession = Callable[..., Session]

LONG = bool(os.environ.get("UNDERWAY_LONG"))

FLOOR = """
    select nullif(ready_at, '-infinity')
    from underway.watermark
    where queue = 'q' and priority = 0
    order by noted_by desc
    limit 1"""

# What must never be: a task that claims do not look for, or a lease that reclaim does not look for.
HIDDEN = """
    select t.id
    from underway.task t
    join lateral (
        select f.ready_at
        from underway.watermark f
        where case t.state when 'pending' then (f.queue, f.priority) = (t.queue, t.priority) else f.queue = '' end
        order by f.noted_by desc
        limit 1
    ) floor on true
    where not t.parked
      and case t.state when 'pending' then t.ready_at else t.lease_expires_at end < floor.ready_at"""


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Session(database, **options))


@pytest.fixture
def session(open_session: OpenSession) -> Session:
    session = open_session()
    session.create_queue("q")
    return session


def raise_floors(session: Session, times: int = 3) -> None:
    """More often than it takes until what is noted counts."""
    for _ in range(times):
        session.run("select underway._advance_queue_watermark('q', 0)")


def work(session: Session, count: int = 20) -> None:
    """Tasks come, are claimed and completed; the floors follow."""
    session.enqueue("q", count)
    claimed = session.claim("q", count)
    assert len(claimed) == count
    raise_floors(session)
    session.run(
        "select from underway.complete_many(%s, %s)", [id for id, _ in claimed], [lease for _, lease in claimed]
    )
    raise_floors(session)


def test_the_floor_follows_the_claims(session: Session) -> None:
    before = session.value("select clock_timestamp()")
    work(session)
    assert before < session.value(FLOOR) <= session.value("select clock_timestamp()")


def test_a_look_that_finds_nothing_writes_nothing(session: Session) -> None:
    work(session)
    session.run("begin")
    assert session.claim("q", 10) == []
    session.run("select underway.next_wakeup('{q}')")
    session.run("select underway._run_chores()")
    assert session.value("select pg_current_xact_id_if_assigned()") is None
    session.run("commit")


def test_the_floor_stops_at_the_oldest_task_that_is_pending(session: Session) -> None:
    session.enqueue("q", 10)
    oldest = session.value("select min(ready_at) from underway.task")
    raise_floors(session)
    assert session.value(FLOOR) == oldest
    assert len(session.claim("q", 10)) == 10


def test_few_floors_are_kept(session: Session) -> None:
    for _ in range(20):
        work(session, 1)
    assert session.value("select count(*) from underway.watermark where queue = 'q'") == 1


def test_a_task_that_was_enqueued_earlier_and_is_committed_later_is_found(
    session: Session, open_session: OpenSession
) -> None:
    late = open_session()
    late.run("begin")
    (id,) = late.enqueue("q")
    work(session)
    work(session)
    late.run("commit")
    assert session.claim_ids("q", 10) == [id]


def test_tasks_of_a_claim_that_is_rolled_back_are_found(session: Session, open_session: OpenSession) -> None:
    ids = session.enqueue("q", 5)
    claiming = open_session()
    claiming.run("begin")
    assert claiming.claim_ids("q", 5) == ids
    work(session)
    raise_floors(claiming)  # of its own transaction: they go with it
    work(session)
    claiming.run("rollback")
    assert session.claim_ids("q", 10) == ids


def test_tasks_of_a_claim_that_is_rolled_back_to_a_savepoint_are_found(session: Session) -> None:
    ids = session.enqueue("q", 5)
    session.run("begin; savepoint s")
    assert session.claim_ids("q", 5) == ids
    raise_floors(session)
    session.run("rollback to s")
    raise_floors(session)
    assert session.claim_ids("q", 10) == ids
    session.run("commit")


@pytest.mark.parametrize("verb", ["complete(%s, %s)", "snooze(%s, %s, '1 day')", "heartbeat(array[%s], array[%s])"])
def test_a_lease_that_lapses_while_its_settlement_is_under_way_is_reclaimed_when_that_is_rolled_back(
    session: Session, open_session: OpenSession, verb: str
) -> None:
    session.enqueue("q")
    ((id, lease),) = session.claim("q")
    session.lapse(id)
    settling = open_session()
    settling.run("begin")
    settling.run(f"select underway.{verb}", id, lease)
    work(session)
    work(session)
    settling.run("rollback")
    assert session.value("select underway._reclaim()") == 1


def test_a_transaction_that_writes_for_long_finds_what_it_enqueues_at_its_end(
    session: Session, open_session: OpenSession
) -> None:
    writer = open_session()
    writer.run("create table report (n integer)")
    writer.run("begin")
    writer.run("insert into report values (1)")  # it has its id from here on
    began = session.value("select clock_timestamp()")
    for _ in range(5):
        work(session)
    assert session.value(f"select coalesce(({FLOOR}) < %s, true)", began)  # perhaps it has enqueued long ago
    assert session.value("select count(*) from underway.watermark where queue = 'q'") <= 2
    (id,) = writer.enqueue("q")
    work(session, 3)
    writer.run("commit")
    assert session.claim_ids("q", 10) == [id]
    work(session)
    assert session.value(FLOOR) > began


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_snapshot_that_is_held_keeps_no_floor_down(
    session: Session, open_session: OpenSession, isolation: str
) -> None:
    holder = open_session()
    holder.run(f"begin isolation level {isolation}")
    assert holder.value("select count(*) from underway.task") == 0
    began = session.value("select clock_timestamp()")
    work(session)
    work(session)
    assert session.value(FLOOR) > began
    # What it enqueues under its old snapshot is found all the same.
    (id,) = holder.enqueue("q")
    work(session)
    holder.run("commit")
    assert session.claim_ids("q", 10) == [id]


def test_a_claim_passes_over_what_is_dead_and_can_not_be_removed(session: Session, open_session: OpenSession) -> None:
    holder = open_session()
    holder.run("begin isolation level repeatable read")
    assert holder.value("select count(*) from underway.task") == 0
    for _ in range(10):
        work(session, 500)
    session.enqueue("q", 10)
    read = "select pg_stat_get_xact_tuples_returned('underway.task_to_dequeue'::regclass)"
    session.run("begin")
    before = session.value(read)
    assert len(session.claim("q", 10)) == 10
    assert session.value(read) - before < 100  # of five thousand entries that are dead
    before = session.value(read)
    session.run("select underway.next_wakeup('{q}')")
    assert session.value(read) - before < 100
    session.run("commit")


@pytest.mark.parametrize("back", ["1 hour", "50 milliseconds"])
def test_a_clock_that_is_put_back_hides_nothing(session: Session, back: str) -> None:
    work(session)
    tell = "create or replace function underway._clock() returns timestamptz language sql volatile as"
    session.run(f"{tell} $$ select clock_timestamp() - interval '{back}' $$")
    ids = session.enqueue("q", 3)
    assert session.column(HIDDEN) == []
    assert session.value("select underway.next_wakeup('{q}')").total_seconds() == 0
    claimed = session.claim("q", 2)
    assert [id for id, _ in claimed] == ids[:2]  # and it is ready at once, in its order
    assert session.column(
        "select * from underway.release_many(%s, %s)", [id for id, _ in claimed], [lease for _, lease in claimed]
    )
    assert sorted(session.claim_ids("q", 9)) == ids
    raise_floors(session)
    session.run(f"{tell} 'select pg_catalog.clock_timestamp()'")
    work(session)
    assert session.column(HIDDEN) == []


# Whatever is done in whatever order, by sessions whose transactions overlap.

VERBS = [
    "select underway.enqueue('q', priority => {priority})",
    "select underway.enqueue('q', delay => '5 ms', priority => {priority})",
    "select underway.enqueue_many('q', array['1', '2', '3']::jsonb[])",
    "select count(*) from underway.dequeue('q', {number})",
    "select underway.complete(id, lease) from held",
    "select underway.fail(id, lease, '1', retry_after => '1 ms') from held",
    "select underway.fail(id, lease, '1', retryable => false) from held",
    "select underway.snooze(id, lease, '2 ms') from held",
    "select underway.release(id, lease) from held",
    "select underway.heartbeat(array[id], array[lease]) from held",
    "select underway.cancel(id) from live",
    "select underway.retry(id) from final",
    "select underway.redrive('dead', 2)",
    "select underway.reschedule(id, clock_timestamp() - interval '1 day') from live",
    "select underway.reprioritize(id, {priority}) from live",
    "select underway._reclaim()",
    "select underway._advance_queue_watermark('q', {priority})",
]

DRAWN = """
    with live as materialized (select id from underway.task order by random() limit 1),
    held as materialized (select id, lease from underway.task where lease is not null order by random() limit 1),
    final as materialized (select id from underway.task_history where state <> 'succeeded' order by random() limit 1)
    """


class Walk:
    """One session that does what comes, in transactions that are committed or rolled back."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.chance = random.Random(seed)

    def transaction(self) -> None:
        level = self.chance.choice(["read committed", "read committed", "repeatable read"])
        self.session.run(f"begin isolation level {level}")
        for _ in range(self.chance.randint(1, 4)):
            self.session.run("savepoint s")
            verb = self.chance.choice(VERBS).format(
                priority=self.chance.randint(0, 1), number=self.chance.randint(1, 5)
            )
            try:
                self.session.run(DRAWN + verb)
                end = "rollback to s" if self.chance.random() < 0.15 else "release s"
            except psycopg.Error:  # refused, or in a circle with another walk, or behind its snapshot
                end = "rollback to s"
            self.session.run(end)
        self.session.run("rollback" if self.chance.random() < 0.25 else "commit")


def test_nothing_is_hidden_whatever_is_done_in_whatever_order(session: Session, open_session: OpenSession) -> None:
    session.create_queue("dead")
    session.create_queue(
        "q",
        "dead_letter_queue => 'dead', heartbeat => '100 ms',"
        " retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 20)",
    )
    walks = [Walk(open_session(impatient=True), seed) for seed in range(6)]
    over = threading.Event()

    def walk(number: int) -> int:
        if number == len(walks):
            # The one who looks: all the time, and not only at the end.
            for looks in itertools.count():
                assert session.column(HIDDEN) == []
                if over.is_set():
                    return looks
        try:
            for _ in range(1000 if LONG else 150):
                walks[number].transaction()
        finally:
            over.set()
        return 0

    assert max(at_once(walk, len(walks) + 1)) > 10
    assert session.value(FLOOR) > session.value("select min(created_at) from underway.queue")  # it did rise

    # And all that is pending comes, when it is due.
    pending = set(session.column("select id from underway.task where queue = 'q' and state = 'pending'"))
    found = set()

    def all_found() -> bool:
        found.update(session.claim_ids("q", 50))
        raise_floors(session)
        return len(found) >= len(pending)

    wait_until(all_found, "all that was pending is claimed")
    assert found == pending
