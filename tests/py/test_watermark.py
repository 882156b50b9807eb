"""The watermark at which claims start hides no task, and rises whatever snapshots are held.

Some of these tests fail without each of its rules: the clock before the locks, the transactions that held a lock before
and those prepared before a restart, _lock_front, the clock inside the statement that locks, and the rules for a clock
that was put back.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.py.support import SECONDS, Session, at_once, listed, stopped_in, wait_until
from tests.servers import SETTINGS, Server
from underway_pg import schema
from underway_pg.embedded import EmbeddedPostgres

OpenSession = Callable[..., Session]
SetClock = Callable[[int], None]

LONG = bool(os.environ.get("UNDERWAY_LONG"))

WATERMARK = "select nullif(max(ready_at), '-infinity') from underway._watermark('q', 0)"

# What must never be: a pending task that claims do not read.
HIDDEN = """
    select t.id
    from underway.task t
    cross join lateral underway._watermark(t.queue, t.priority) w
    where t.state = 'pending'
      and not t.parked
      and t.ready_at < w.ready_at
      and w.observed_at <= underway._clock() + interval '1 second'"""

ADVANCE = "select underway._advance_watermark('q', 0)"
# One of a hundred claims advances the watermark by chance. In such a session the next fifty do not.
NO_CHANCE = """
    do $$
    begin
        for seed in 0 .. 1000 loop
            perform setseed(seed / 1000.0);
            if (select min(random()) from generate_series(1, 50)) > 0.03 then
                perform setseed(seed / 1000.0);
                return;
            end if;
        end loop;
        raise 'no such seed';
    end;
    $$"""


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:

        def open(**options: Any) -> Session:
            session = stack.enter_context(Session(database, **options))
            session.run(NO_CHANCE)
            return session

        yield open


@pytest.fixture
def session(open_session: OpenSession) -> Iterator[Session]:
    session = open_session()
    session.create_queue("q", "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 100)")
    yield session
    assert session.column(HIDDEN) == []


@pytest.fixture
def set_clock(session: Session) -> SetClock:
    """Stops the clock; sets it in ms. It is kept in a sequence, which all snapshots see."""
    session.run("create sequence public.clock minvalue -1000000000000")
    session.run("select setval('public.clock', 0)")
    session.run(
        "create or replace function underway._clock() returns timestamptz language sql volatile"
        " as $$ select timestamptz '2030-01-01 12:00Z' + interval '1 ms' * last_value from public.clock $$"
    )
    return lambda ms: session.run("select setval('public.clock', %s)", ms)


@pytest.fixture
def watermark(session: Session, set_clock: SetClock) -> Callable[[], int | None]:
    """The watermark in ms of the stopped clock."""
    ms = f"select (extract(epoch from ({WATERMARK}) - timestamptz '2030-01-01 12:00Z') * 1000)::bigint"
    return lambda: session.value(ms)


def advance(session: Session, times: int = 3) -> None:
    """As often as it takes until a recorded time counts, and more."""
    for _ in range(times):
        session.run(ADVANCE)


def work(session: Session, count: int = 20) -> None:
    """Enqueue, claim and complete tasks; the watermark follows."""
    session.enqueue("q", count)
    claimed = session.claim("q", count)
    assert len(claimed) == count
    advance(session)
    session.run(
        "select from underway.complete_many(%s, %s)", [id for id, _ in claimed], [lease for _, lease in claimed]
    )
    advance(session)


def claim_one(session: Session) -> tuple[int, str]:
    """Enqueue and claim a task; gives its id, and the start of a call of its holder."""
    session.enqueue("q")
    ((id, lease),) = session.claim("q")
    return id, f"({id}, '{lease}'"


def test_the_watermark_follows_the_claims(session: Session) -> None:
    before = session.value("select clock_timestamp()")
    work(session)
    assert before < session.value(WATERMARK) <= session.value("select clock_timestamp()")


def test_claims_move_the_watermark_by_themselves(session: Session) -> None:
    """About once per thousand claimed tasks."""
    before = session.value("select clock_timestamp()")

    def moved() -> bool:
        session.enqueue("q", 1000)
        session.claim("q", 1000)
        return bool(session.value(f"select coalesce(({WATERMARK}) > %s, false)", before))

    wait_until(moved, "the watermark has risen")


def test_a_look_that_finds_nothing_writes_nothing(session: Session) -> None:
    work(session)
    session.run("select underway._run_chores()")
    session.run("begin")
    assert session.claim("q", 10) == []
    session.run("select underway.next_wakeup('{q}')")
    session.run("select underway.maintain()")
    assert session.value("select pg_current_xact_id_if_assigned()") is None
    session.run("commit")


def test_the_watermark_stops_at_the_oldest_pending_task(session: Session) -> None:
    session.enqueue("q", 10)
    oldest = session.value("select min(ready_at) from underway.task")
    advance(session)
    assert session.value(WATERMARK) == oldest
    assert len(session.claim("q", 10)) == 10


def test_one_watermark_is_kept_for_a_queue_and_priority(session: Session) -> None:
    for _ in range(20):
        work(session, 1)
    assert session.value("select count(*) from underway.watermark") == 1


# A transaction that stops between the clock, the lock, the commit and the look


def test_a_task_is_found_whose_transaction_locked_before_the_look_and_committed_after_it(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    producer = open_session()
    producer.run("begin")
    (id,) = producer.enqueue("q")
    for now in (10, 20, 30):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() is None
    producer.run("commit")
    set_clock(40)
    session.run(ADVANCE)
    assert watermark() == 0
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


def test_a_task_is_found_whose_transaction_locked_after_the_look(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    set_clock(10)
    session.run(ADVANCE)
    producer = open_session()
    producer.run("begin")
    (id,) = producer.enqueue("q")
    for now in (20, 30, 40):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() == 10
    producer.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


def test_an_enqueue_that_has_read_the_clock_and_not_locked_reads_it_again(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    producer = open_session()
    enqueue = "select unnest(underway.enqueue_many('q', array['1'::jsonb]))"
    many = "enqueue_many(text,jsonb[],text,interval,timestamptz,integer,interval,timestamptz,underway.retry_policy,"
    many += "interval,interval,interval,jsonb,text[],text,interval,text,text,bigint[],text)"
    with stopped_in(session, producer, many, enqueue, before="insert into underway.task (") as enqueueing:
        for now in (10, 20):
            set_clock(now)
            session.run(ADVANCE)
        assert watermark() == 10
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == enqueueing.result()


@pytest.mark.parametrize("verb", ["fail{held}, '1', retry_after => '0')", "snooze{held}, '0')", "release{held})"])
def test_a_settlement_that_has_read_the_clock_and_not_locked_hides_nothing(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None], verb: str
) -> None:
    id, held = claim_one(session)
    before = "with requeued as" if verb.startswith("fail") else "perform underway._lock_front"
    holder = open_session()
    holder.run("begin")
    with stopped_in(session, holder, "_requeue", f"select underway.{verb.format(held=held)}", before=before):
        for now in (10, 20):
            set_clock(now)
            session.run(ADVANCE)
        assert watermark() == 10
    set_clock(30)
    session.run(ADVANCE)
    holder.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


@pytest.mark.parametrize("before", ["v_locks := array(", "if exists (", "v_oldest := (", "perform underway._write_"])
def test_an_advance_hides_nothing_wherever_another_transaction_commits(
    session: Session, open_session: OpenSession, set_clock: SetClock, before: str
) -> None:
    """One transaction had locked before and commits meanwhile; another locks meanwhile and commits later."""
    earlier, later, advancer = open_session(), open_session(), open_session()
    earlier.run("begin")
    ids = earlier.enqueue("q")
    set_clock(10)
    session.run(ADVANCE)
    set_clock(20)
    if before.startswith(("v_oldest", "perform")):  # an advance does not come here while the transaction is open
        earlier.run("commit")
    with stopped_in(session, advancer, "_advance_watermark", ADVANCE, before=before):
        earlier.run("commit")
        set_clock(30)
        later.run("begin")
        ids += later.enqueue("q")
        set_clock(40)
    assert session.column(HIDDEN) == []
    for now in (50, 60):
        set_clock(now)
        session.run(ADVANCE)
    later.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == ids


def test_the_watermark_rises_to_the_time_that_was_read_before_the_locks(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    set_clock(10)
    advancer, producer = open_session(), open_session()
    with stopped_in(session, advancer, "_advance_watermark", ADVANCE, before="perform underway._write_"):
        set_clock(20)
        producer.run("begin")
        (id,) = producer.enqueue("q")
        set_clock(30)
    session.run(ADVANCE)
    assert watermark() == 10
    producer.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


def test_a_prepared_transaction_holds_the_watermark(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    if session.value("select current_setting('max_prepared_transactions')::int") == 0:
        pytest.skip("max_prepared_transactions of this server is 0")
    producer = open_session()
    producer.run("begin")
    (id,) = producer.enqueue("q")
    set_clock(10)
    session.run(ADVANCE)
    producer.run("prepare transaction 'enqueued'")
    try:
        for now in (20, 30, 40):
            set_clock(now)
            session.run(ADVANCE)
        assert watermark() is None
    finally:
        session.run("commit prepared 'enqueued'")
    assert session.column(HIDDEN) == []
    for now in (50, 60):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() == 0
    assert session.claim_ids("q", 10) == [id]


def test_a_prepared_transaction_holds_the_watermark_after_a_restart() -> None:
    """It has another virtual id then than the one that was recorded."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        data = Path(place) / "data"
        with EmbeddedPostgres(data_directory=data, settings=SETTINGS) as server:
            schema.migrate(server.dsn)
            with Session(server.dsn) as session, Session(server.dsn) as producer:
                session.create_queue("q")
                producer.run("begin")
                (id,) = producer.enqueue("q")
                session.run(ADVANCE)
                producer.run("prepare transaction 'enqueued'")
        with EmbeddedPostgres(data_directory=data, settings=SETTINGS) as server, Session(server.dsn) as session:
            advance(session)
            assert session.value(WATERMARK) is None
            session.run("commit prepared 'enqueued'")
            advance(session)
            assert session.column(HIDDEN) == []
            assert session.claim_ids("q", 10) == [id]


# What holds the watermark, and what does not


def test_a_transaction_that_has_written_tasks_holds_the_watermark_until_it_ends(
    session: Session, open_session: OpenSession
) -> None:
    writer = open_session()
    writer.run("begin")
    writer.enqueue("q", 1, "delay => '1 day'")
    began = session.value("select clock_timestamp()")
    work(session)
    work(session)
    assert session.value(f"select coalesce(({WATERMARK}) < %s, true)", began)
    assert session.value("select count(*) from underway.watermark") == 1
    writer.run("rollback")
    advance(session)
    assert session.value(WATERMARK) > began


def test_a_transaction_that_writes_another_table_does_not_hold_the_watermark(
    session: Session, open_session: OpenSession
) -> None:
    """What it enqueues at its end is found."""
    writer = open_session()
    writer.run("create table report (n integer)")
    writer.run("begin")
    writer.run("insert into report values (1)")
    began = session.value("select clock_timestamp()")
    work(session)
    work(session)
    assert session.value(WATERMARK) > began
    (id,) = writer.enqueue("q")
    work(session, 3)
    writer.run("commit")
    assert session.claim_ids("q", 10) == [id]


def test_a_transaction_in_another_database_does_not_hold_the_watermark(session: Session, server: Server) -> None:
    """Not even one that writes the table of the same name, which has the same oid there."""
    with server.database() as other, Session(other) as writer:
        writer.create_queue("q")
        writer.run("begin")
        writer.enqueue("q")
        began = session.value("select clock_timestamp()")
        work(session)
        assert session.value(WATERMARK) > began
        writer.run("rollback")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_held_snapshot_does_not_hold_the_watermark(
    session: Session, open_session: OpenSession, isolation: str
) -> None:
    """What its transaction enqueues is found all the same."""
    holder = open_session()
    holder.run(f"begin isolation level {isolation}")
    assert holder.value("select count(*) from underway.task") == 0
    began = session.value("select clock_timestamp()")
    work(session)
    work(session)
    assert session.value(WATERMARK) > began
    (id,) = holder.enqueue("q")
    work(session)
    holder.run("commit")
    assert session.claim_ids("q", 10) == [id]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_repeatable_read_transaction_does_not_move_the_watermark(session: Session, isolation: str) -> None:
    session.run(f"begin isolation level {isolation}")
    advance(session)
    session.run("commit")
    assert session.rows("select from underway.watermark") == []


def test_tasks_of_a_claim_that_is_rolled_back_are_found(session: Session, open_session: OpenSession) -> None:
    ids = session.enqueue("q", 5)
    claiming = open_session()
    claiming.run("begin")
    assert claiming.claim_ids("q", 5) == ids
    work(session)
    advance(claiming)  # in its transaction: rolled back with it
    work(session)
    claiming.run("rollback")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == ids


def test_tasks_of_a_claim_that_is_rolled_back_to_a_savepoint_are_found(session: Session) -> None:
    ids = session.enqueue("q", 5)
    session.run("begin; savepoint s")
    assert session.claim_ids("q", 5) == ids
    advance(session)
    session.run("rollback to s")
    advance(session)
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == ids
    session.run("commit")


def test_a_task_is_found_that_is_enqueued_after_a_rollback_to_a_savepoint(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    """The rollback gives the lock up; the next enqueue takes it anew, and reads the clock then."""
    producer = open_session()
    producer.run("begin; savepoint s")
    producer.enqueue("q")
    producer.run("rollback to s")
    for now in (10, 20):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() == 10
    (id,) = producer.enqueue("q")
    set_clock(30)
    session.run(ADVANCE)
    producer.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


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
    assert session.value("select underway._reclaim()") == 0
    settling.run("rollback")
    assert session.value("select underway._reclaim()") == 1


def test_watermarks_that_were_restored_from_another_server_hide_nothing_and_rise(
    session: Session, open_session: OpenSession
) -> None:
    """Their transactions are unknown here, or have ids that others have now; the identity goes on behind them."""
    ids = session.enqueue("q", 2)
    producer = open_session()
    producer.run("begin")
    ids += producer.enqueue("q")
    session.run(
        "insert into underway.watermark (queue, priority, version, ready_at, observed_at, observed_locks)"
        " overriding system value"
        " select 'q', 0, 1000000, t.ready_at, t.ready_at, '{999/1}' || array("
        "     select l.virtualtransaction from pg_locks l where l.relation = 'underway.task'::regclass)"
        " from underway.task t order by t.id limit 1"
    )
    session.run("select setval(pg_get_serial_sequence('underway.watermark', 'version'), 1000000)")
    advance(session)
    producer.run("commit")
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == ids
    began = session.value("select clock_timestamp()")
    advance(session)
    assert session.value(WATERMARK) > began
    assert session.value("select count(*) from underway.watermark") == 1


# Tasks that go back to the front


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_watermark_does_not_move_while_a_release_is_open(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None], end: str
) -> None:
    id, held = claim_one(session)
    for now in (10, 20):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() == 10
    holder = open_session()
    holder.run("begin")
    holder.run(f"select underway.release{held})")
    for now in (30, 40):
        set_clock(now)
        session.run(ADVANCE)
    assert watermark() == 10
    holder.run(end)
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == ([id] if end == "commit" else [])


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_release_waits_for_a_session_that_moves_the_watermark(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None], end: str
) -> None:
    id, held = claim_one(session)
    set_clock(10)
    session.run(ADVANCE)
    set_clock(20)
    advancer, holder = open_session(), open_session()
    advancer.run("begin")
    advancer.run(ADVANCE)
    releasing = holder.start(f"select underway.release{held})")
    session.see_waiting(holder, behind=advancer)
    advancer.run(end)
    releasing.result(SECONDS)
    assert watermark() == (10 if end == "commit" else None)
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


def test_released_tasks_come_first_and_in_their_order(session: Session) -> None:
    ids = session.enqueue("q", 3)
    claimed = session.claim("q", 3)
    advance(session)
    later = session.enqueue("q", 2)
    for id, lease in reversed(claimed):
        session.run("select underway.release(%s, %s)", id, lease)
    assert session.claim_ids("q", 10) == ids + later


# A long-running snapshot


def test_a_claim_does_not_read_dead_entries_that_cannot_be_removed(session: Session, open_session: OpenSession) -> None:
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
    assert session.value(read) - before < 100  # of five thousand dead entries
    before = session.value(read)
    session.run("select underway.next_wakeup('{q}')")
    assert session.value(read) - before < 100
    session.run("commit")


# A clock that is set while transactions are open

VERBS_OF_HOLDERS = {
    "enqueue": "enqueue('q')",
    "fail": "fail{held}, '1', retry_after => '0')",
    "snooze": "snooze{held}, '0')",
    "release": "release{held})",
}
SECOND, DAY = 1000, 86_400_000


@pytest.mark.parametrize("verb", VERBS_OF_HOLDERS)
def test_a_clock_that_is_set_hides_no_task_of_a_transaction_that_stays_open(
    session: Session, open_session: OpenSession, set_clock: SetClock, verb: str
) -> None:
    """A clock that is set forwards is put right after seconds. Others advance the watermark meanwhile, or do nothing.

    A repeatable-read transaction may not see the watermark that its task must not be before: maintain repairs that.
    """
    holder = open_session()
    offenders: list[str] = []
    steps = (-500, -2 * SECOND, -DAY, DAY)
    for step, before, level, quiet in itertools.product(
        steps, (True, False), ("read committed", "repeatable read"), (True, False)
    ):
        with listed(offenders, f"{step} ms, {before=}, {level}, {quiet=}"):
            holder.connection.rollback()  # where the case before this one has failed
            session.run("delete from underway.task; delete from underway.task_history; delete from underway.watermark")
            see_nothing_hidden(session, holder, set_clock, verb, step, before=before, level=level, quiet=quiet)
    assert not offenders, "\n".join(offenders)


def see_nothing_hidden(
    session: Session, holder: Session, set_clock: SetClock, verb: str, step: int, *, before: bool, level: str,
    quiet: bool,
) -> None:  # fmt: skip
    """Set the clock beside a transaction of the holder, before or after it calls the verb."""
    now = 0

    def go(ms: int) -> None:
        nonlocal now
        now += ms
        set_clock(now)
        if not quiet:
            session.run(ADVANCE)
        if level == "repeatable read":
            session.run("select underway._repair_queues()")
        assert session.column(HIDDEN) == []

    set_clock(0)
    _, held = claim_one(session)
    for ms in (10, 20):
        set_clock(ms)
        session.run(ADVANCE)
    now = 20
    holder.run(f"begin isolation level {level}")
    holder.run("select count(*) from underway.task")
    for ms in (30, 40, 50):  # so that its snapshot is older than the watermark
        set_clock(ms)
        session.run(ADVANCE)
    now = 50
    call = f"select underway.{VERBS_OF_HOLDERS[verb].format(held=held)}"
    if before:
        holder.run(call)
        go(step)
    else:
        go(step)
        holder.run(call)
    go(10)
    if step > 0:
        go(SECOND)
        go(-step)
        go(10)
    holder.run("commit")
    for ms in (0, 10, 600, 600, SECOND, 3 * SECOND, DAY, DAY):
        go(ms)
    assert len(session.claim("q", 10)) == 1


def test_a_task_whose_time_is_repaired_is_not_hidden(
    session: Session, open_session: OpenSession, set_clock: SetClock, watermark: Callable[[], int | None]
) -> None:
    set_clock(DAY)
    (id,) = session.enqueue("q")
    set_clock(0)
    repairer = open_session()
    before = "update underway.task t\n    set\n        ready_at"
    with stopped_in(session, repairer, "_repair_clock", "select underway._repair_clock()", before=before):
        for now in (10, 20):
            set_clock(now)
            session.run(ADVANCE)
        assert watermark() == 10
    assert session.column(HIDDEN) == []
    assert session.claim_ids("q", 10) == [id]


def test_many_sessions_reset_a_watermark_at_once_and_none_waits(
    session: Session, open_session: OpenSession, set_clock: SetClock
) -> None:
    """Each of them has released a task, so that it keeps the watermark where it is."""
    session.enqueue("q", 2)
    claimed = session.claim("q", 2)
    set_clock(DAY)
    advance(session)
    set_clock(10)
    holders = [open_session(impatient=True) for _ in claimed]
    for level, holder, (id, lease) in zip(("read committed", "repeatable read"), holders, claimed, strict=True):
        holder.run(f"begin isolation level {level}")
        holder.run("select underway.release(%s, %s)", id, lease)
    ids = [id for id, _ in claimed] + [id for holder in holders for id in holder.enqueue("q")]
    for holder in holders:
        holder.run("commit")
    assert session.column(HIDDEN) == []
    set_clock(20)
    advance(session)
    assert session.value("select count(*) from underway.watermark") == 1
    assert sorted(session.claim_ids("q", 10)) == sorted(ids)


# Many calls in any order, by sessions whose transactions overlap.

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
    "select underway._advance_watermark('q', {priority})",
]

DRAWN = """
    with live as materialized (select id from underway.task order by random() limit 1),
    held as materialized (select id, lease from underway.task where lease is not null order by random() limit 1),
    final as materialized (select id from underway.task_history where state <> 'succeeded' order by random() limit 1)
    """


class Walk:
    """One session that makes calls by chance, in transactions that are committed or rolled back."""

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
            except psycopg.Error:  # refused, a deadlock with another walk, or a serialization failure
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
            # The last session looks all the time, and not only at the end.
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
    assert session.value(WATERMARK) > session.value("select min(created_at) from underway.queue")  # it did rise

    # All pending tasks are claimed when they are due.
    pending = set(session.column("select id from underway.task where queue = 'q' and state = 'pending'"))
    found = set()

    def all_found() -> bool:
        found.update(session.claim_ids("q", 50))
        advance(session)
        return len(found) >= len(pending)

    wait_until(all_found, "all that was pending is claimed")
    assert found == pending
