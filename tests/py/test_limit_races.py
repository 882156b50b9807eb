"""Limits while transactions overlap, step by step: a task that may run is never left parked, and no limit is exceeded.

Some of these tests fail without the lock in _release_slots, the lock in _park, its second look, the lock in
_take_turns, or the claim lock of limited queues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.py.support import FORGOTTEN, SECONDS, Session, at_once, refused, stopped_in

OpenSession = Callable[..., Session]

CLAIM = "select id from underway.dequeue('q', 10)"
PARKED = "select id from underway.task where parked order by id"


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Session(database, **options))


@pytest.fixture
def session(open_session: OpenSession) -> Iterator[Session]:
    session = open_session()
    session.create_queue("q")
    yield session
    assert session.rows(FORGOTTEN) == []


def keyed(session: Session, key: str = "a", count: int = 1, options: str = "") -> list[int]:
    return session.enqueue("q", count, f"concurrency_key => '{key}'" + (f", {options}" if options else ""))


def running_and_ready(session: Session) -> tuple[str, int]:
    """A running task of a full key, and one that is ready: the arguments that settle the first, and the second."""
    keyed(session)
    ((id, lease),) = session.claim("q")
    (second,) = keyed(session)
    return f"({id}, '{lease}')", second


# A slot becomes free while a claim parks the next task of its key


@pytest.mark.parametrize("committed", ["before the claim goes on", "after the claim"])
def test_a_slot_that_becomes_free_after_a_claim_has_read_its_page_is_used(
    session: Session, open_session: OpenSession, committed: str
) -> None:
    held, second = running_and_ready(session)
    holder, claimer = open_session(), open_session()
    with stopped_in(session, claimer, "_claim_within_limits", CLAIM, before="if v_blocked <> '{}' and") as claim:
        holder.run("begin")
        holder.run(f"select underway.complete{held}")
        if committed.startswith("before"):
            holder.run("commit")
    assert claim.result() == []
    holder.run("commit")
    assert session.column(PARKED) == []
    assert session.claim_ids("q", 10) == [second]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("settle", ["complete{held}", "cancel({id})", "release{held}"])
def test_a_settlement_waits_for_a_claim_that_parks_the_next_task_of_its_key(
    session: Session, open_session: OpenSession, settle: str, end: str
) -> None:
    held, second = running_and_ready(session)
    id = int(held[1 : held.index(",")])
    holder, claimer = open_session(), open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 10) == []
    assert claimer.column(PARKED) == [second]
    settling = holder.start(f"select underway.{settle.format(held=held, id=id)}")
    session.see_waiting(holder, behind=claimer)
    claimer.run(end)
    settling.result(SECONDS)
    assert session.claim_ids("q", 10) == [id if settle.startswith("release") else second]


def test_a_settlement_waits_for_a_claim_that_has_locked_the_key_and_not_looked_again(
    session: Session, open_session: OpenSession
) -> None:
    held, second = running_and_ready(session)
    holder, claimer = open_session(), open_session()
    with stopped_in(session, claimer, "_park", CLAIM) as claim:
        settling = holder.start(f"select underway.complete{held}")
        session.see_waiting(holder, behind=claimer)
    assert claim.result() == []
    settling.result(SECONDS)
    assert session.claim_ids("q", 10) == [second]


def test_a_settlement_of_another_key_does_not_wait_for_a_claim_that_parks(
    session: Session, open_session: OpenSession
) -> None:
    held, second = running_and_ready(session)
    keyed(session, "b")
    ((other, lease),) = session.claim("q", 1)
    claimer, impatient = open_session(), open_session(impatient=True)
    claimer.run("begin")
    keyed(claimer, "b")
    assert claimer.claim_ids("q", 10) == []
    assert claimer.column(PARKED) == [second, other + 1]
    claimer.run("rollback")
    claimer.run("begin")
    assert claimer.claim_ids("q", 10) == []
    impatient.run("select underway.complete(%s, %s)", other, lease)
    claimer.run("commit")
    session.run(f"select underway.complete{held}")
    assert session.claim_ids("q", 10) == [second]


def test_a_settlement_that_is_rolled_back_leaves_the_next_task_parked(
    session: Session, open_session: OpenSession
) -> None:
    first, second = keyed(session, "a", 2)
    ((_, lease),) = session.claim("q")
    holder = open_session()
    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", first, lease)
    assert holder.column(PARKED) == []
    holder.run("rollback")
    assert session.column(PARKED) == [second]
    assert session.claim_ids("q", 10) == []
    session.run("select underway.complete(%s, %s)", first, lease)
    assert session.claim_ids("q", 10) == [second]


# Enqueues


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_tasks_of_an_enqueue_that_stays_open_while_its_key_drains_run_in_their_order(
    session: Session, open_session: OpenSession, end: str, level: str
) -> None:
    first = keyed(session, "a", 2)
    producer = open_session()
    producer.run(f"begin isolation level {level}")
    later = keyed(producer, "a", 3)
    done = []
    for _ in range(2):
        ((id, lease),) = session.claim("q", 10)
        session.run("select underway.complete(%s, %s)", id, lease)
        done.append(id)
    assert session.claim("q", 10) == []
    producer.run(end)
    while claimed := session.claim("q", 10):
        ((id, lease),) = claimed
        session.run("select underway.complete(%s, %s)", id, lease)
        done.append(id)
    assert done == first + (later if end == "commit" else [])


# Pauses


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_resume_key_waits_for_a_claim_that_parks_a_task_of_the_key(
    session: Session, open_session: OpenSession, end: str
) -> None:
    ids = keyed(session)
    session.run("select underway.pause_key('q', 'a')")
    claimer, operator = open_session(), open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 10) == []
    assert claimer.column(PARKED) == ids
    resuming = operator.start("select underway.resume_key('q', 'a')")
    session.see_waiting(operator, behind=claimer)
    claimer.run(end)
    assert resuming.result(SECONDS) == [True]
    assert session.claim_ids("q", 10) == ids


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_claim_parks_no_task_of_a_key_that_is_being_resumed(
    session: Session, open_session: OpenSession, end: str
) -> None:
    ids = keyed(session)
    session.run("select underway.pause_key('q', 'a')")
    operator = open_session()
    operator.run("begin")
    operator.run("select underway.resume_key('q', 'a')")
    assert session.claim_ids("q", 10) == []
    assert session.column(PARKED) == []
    operator.run(end)
    if end == "rollback":
        assert session.claim_ids("q", 10) == []
        session.run("select underway.resume_key('q', 'a')")
    assert session.claim_ids("q", 10) == ids


def test_resume_key_lets_as_many_tasks_run_as_the_key_may(session: Session) -> None:
    session.create_queue("q", "max_running_per_key => 3")
    ids = keyed(session, "a", 5)
    session.run("select underway.pause_key('q', 'a')")
    assert session.claim_ids("q", 10) == []
    session.run("select underway.resume_key('q', 'a')")
    assert session.claim_ids("q", 10) == ids[:3]


@pytest.mark.parametrize("settings", ["", "max_running => 5"])
def test_a_claim_that_began_before_the_queue_was_paused_claims_nothing(
    session: Session, open_session: OpenSession, settings: str
) -> None:
    session.create_queue("q", settings)
    session.create_queue("other")
    ids = session.enqueue("q", 3)
    claimer = open_session()
    with stopped_in(session, claimer, "dequeue(text[],integer,bigint)", CLAIM, before="exit when not pg_try") as claim:
        assert session.value("select underway.pause_queue('q')")
    assert claim.result() == []
    session.run("select underway.resume_queue('q')")
    assert session.claim_ids("q", 10) == ids


@pytest.mark.parametrize("settings", ["", "max_running => 5"])
def test_pause_queue_waits_for_a_claim_under_way_and_keeps_others_out(
    session: Session, open_session: OpenSession, settings: str
) -> None:
    session.create_queue("q", settings)
    first, *rest = session.enqueue("q", 3)
    claimer, operator = open_session(), open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 1) == [first]
    pausing = operator.start("select underway.pause_queue('q')")
    session.see_waiting(operator, behind=claimer)
    assert session.claim_ids("q", 1) == []
    claimer.run("commit")
    assert pausing.result(SECONDS) == [True]
    assert session.claim_ids("q", 1) == []
    session.run("select underway.resume_queue('q')")
    assert session.claim_ids("q", 10) == rest


# max_running


def test_max_running_is_refused_after_two_seconds_while_a_running_task_is_locked(
    session: Session, open_session: OpenSession
) -> None:
    """Heartbeats of the other tasks are not held up meanwhile, and nothing has changed then."""
    ids = session.enqueue("q", 4)
    claimed = session.claim("q", 3)
    leases = [lease for _, lease in claimed]
    holder, operator, worker = open_session(), open_session(), open_session(impatient=True)
    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", ids[1], leases[1])
    started = session.value("select clock_timestamp()")
    setting = operator.start("select underway.create_queue('q', max_running => 3)")
    session.see_waiting(operator, behind=holder)
    assert sorted(worker.column("select underway.heartbeat(%s, %s)", ids[:3], leases)) == ids[:3]
    with refused("UW015"):
        setting.result(SECONDS)
    assert session.value("select clock_timestamp() - %s between '2 s' and '10 s'", started)
    assert session.value("select max_running from underway.queue") is None
    assert session.column("select id from underway.task where holds_slot") == []
    holder.run("commit")
    session.create_queue("q", "max_running => 2")
    assert session.column("select id from underway.task where holds_slot order by id") == [ids[0], ids[2]]
    assert session.claim_ids("q", 10) == []
    session.run("select underway.complete(%s, %s)", ids[0], leases[0])
    assert session.claim_ids("q", 10) == ids[3:]


# Two queues


def test_a_claim_that_read_the_queue_before_max_running_was_set_takes_a_slot(
    session: Session, open_session: OpenSession
) -> None:
    for queue in ("q", "other"):
        session.create_queue(queue, "fair => true")
    session.enqueue("q", 1, "priority => 1")
    first, second = session.enqueue("other", 2)
    worker = open_session()
    with stopped_in(
        session, worker, "_claim_within_limits", "select id from underway.dequeue(array['q', 'other'], 2)"
    ) as claim:
        session.create_queue("other", "max_running => 1")
    assert first in claim.result()
    assert session.column("select id from underway.task where holds_slot") == [first]
    assert session.claim_ids("other", 1) == []
    assert session.state(second) == "pending"


def test_two_claims_of_two_limited_queues_never_wait_for_each_other(
    session: Session, open_session: OpenSession
) -> None:
    for queue in ("q", "other"):
        session.create_queue(queue, "max_running => 5")
        session.enqueue(queue, 2)
    one, two = open_session(impatient=True), open_session(impatient=True)
    one.run("begin")
    two.run("begin")
    assert len(one.claim_ids("q", 1)) == 1
    assert len(two.claim_ids("other", 1)) == 1
    assert one.claim_ids("other", 1) == []
    assert two.claim_ids("q", 1) == []
    one.run("commit")
    assert len(two.claim_ids("q", 1)) == 1
    two.run("commit")


def test_sessions_that_settle_and_claim_from_two_queues_at_once_do_not_deadlock(
    database: str, session: Session
) -> None:
    for queue, settings in (("q", "max_running => 4"), ("other", "fair => true, max_running_per_key => 2")):
        session.create_queue(queue, settings)
        for number in range(150):
            session.enqueue(queue, 1 + number % 3, f"concurrency_key => 'k{number % 9}'")

    def work(number: int) -> int:
        settled = 0
        with Session(database) as mine:
            claimed: list[tuple[int, object]] = []
            while claimed or mine.value("select exists (select from underway.task)"):
                rows = mine.rows(
                    "select id, lease from underway.complete_and_dequeue(%s::bigint[], %s::uuid[], null, %s, 5)",
                    [id for id, _ in claimed],
                    [lease for _, lease in claimed],
                    ["q", "other"] if number % 2 else ["other", "q"],
                )
                settled += len(claimed)
                claimed = rows
        return settled

    assert sum(at_once(work, 4)) == 600
    assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


# What only maintain repairs


def test_maintain_makes_a_task_ready_that_a_repeatable_read_settlement_could_not_see(
    session: Session, open_session: OpenSession
) -> None:
    held, second = running_and_ready(session)
    holder = open_session()
    holder.run("begin isolation level repeatable read")
    assert holder.value("select count(*) from underway.task") == 2
    assert session.claim_ids("q", 10) == []
    assert session.column(PARKED) == [second]
    holder.run(f"select underway.complete{held}")
    holder.run("commit")
    assert session.rows(FORGOTTEN) == [("q", "a")]
    session.run("select underway._run_chores()")
    assert session.claim_ids("q", 10) == [second]


def test_maintain_makes_a_task_ready_that_was_locked_when_its_slot_became_free(
    session: Session, open_session: OpenSession
) -> None:
    first, second = keyed(session, "a", 2)
    ((_, lease),) = session.claim("q")
    canceller = open_session()
    canceller.run("begin")
    canceller.run("select underway.cancel(%s)", second)
    session.run("select underway.complete(%s, %s)", first, lease)
    canceller.run("rollback")
    assert session.rows(FORGOTTEN) == [("q", "a")]
    session.run("select underway._run_chores()")
    assert session.claim_ids("q", 10) == [second]


def test_the_locked_task_of_a_key_does_not_hold_up_the_one_after_it(
    session: Session, open_session: OpenSession
) -> None:
    first, second, third = keyed(session, "a", 3)
    ((_, lease),) = session.claim("q")
    canceller = open_session()
    canceller.run("begin")
    canceller.run("select underway.cancel(%s)", second)
    session.run("select underway.complete(%s, %s)", first, lease)
    assert session.claim_ids("q", 10) == [third]
    canceller.run("commit")


# Fair queues


def test_a_fair_claim_lines_up_the_next_task_of_a_key_that_is_being_settled(
    session: Session, open_session: OpenSession
) -> None:
    """The settlement has seen a ready task of the key, which the claim takes; so the claim makes the next one ready."""
    session.create_queue("q", "fair => true, max_running_per_key => 2")
    first, second, third = keyed(session, "a", 3)
    ((id, lease),) = session.claim("q", 1)
    assert id == first
    holder = open_session()
    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", first, lease)
    assert session.claim_ids("q", 10) == [second]
    holder.run("commit")
    assert session.claim_ids("q", 10) == [third]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_fair_claim_parks_no_task_of_a_key_whose_ready_task_is_being_cancelled(
    session: Session, open_session: OpenSession, end: str
) -> None:
    session.create_queue("q", "fair => true")
    (first,), (second,) = keyed(session), keyed(session)
    canceller = open_session()
    canceller.run("begin")
    canceller.run("select underway.cancel(%s)", first)
    assert session.claim_ids("q", 10) == []
    canceller.run(end)
    assert session.rows(FORGOTTEN) == []
    assert session.claim_ids("q", 10) == [second if end == "commit" else first]
