"""What needs two sessions: who wins, who waits for whom, and who waits for nobody."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from tests.py.support import SECONDS, Session, at_once, beside, final, refused, wait_until
from underway_pg import App

LEASE_LOST, QUEUE_NOT_FOUND, WRONG_STATE = "UW002", "UW003", "UW005"

OpenSession = Callable[..., Session]

NO_DELAY = "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 1000)"


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:

        def open_one(*, impatient: bool = False) -> Session:
            return stack.enter_context(Session(database, impatient=impatient))

        yield open_one


# Claims


def test_many_claimers_at_once_get_each_task_once_and_never_more_than_they_asked_for(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q")
    ids = session.enqueue("q", 600) + session.enqueue("q", 400, "priority => 5")

    def claim_until_nothing_is_left(number: int) -> list[list[int]]:
        with Session(database, impatient=True) as claimer:
            batches = []
            while batch := claimer.claim_ids("q", 7):
                batches.append(batch)
            return batches

    batches = list(itertools.chain(*at_once(claim_until_nothing_is_left, 8)))
    assert max(len(batch) for batch in batches) <= 7
    assert sorted(itertools.chain(*batches)) == sorted(ids)


def test_a_claimer_passes_over_what_another_claims_in_an_open_transaction(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    ids = one.enqueue("q", 6)

    one.run("begin")
    assert one.claim_ids("q", 3) == ids[:3]
    assert other.claim_ids("q", 10) == ids[3:]
    assert other.claim_ids("q", 10) == []
    one.run("commit")
    assert other.claim_ids("q", 10) == []


def test_a_claim_that_is_rolled_back_leaves_the_tasks_to_others(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    ids = one.enqueue("q", 3)

    # Somebody who has claimed past them finds them again.
    one.run("begin")
    assert one.claim_ids("q", 3) == ids
    assert other.claim_ids("q", 3) == []
    later = one.enqueue("q", 1)
    one.run("rollback")
    assert other.claim_ids("q", 2) == ids[:2]
    assert other.rows("select id, attempt from underway.dequeue('q', 9)") == [(ids[2], 1)]
    assert other.state(later[0]) is None


def test_a_claim_over_several_priorities_never_gives_more_than_asked_while_others_claim(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    ids = {priority: one.enqueue("q", 4, f"priority => {priority}") for priority in (1, 2, 3)}

    one.run("begin")
    assert one.claim_ids("q", 6) == ids[3] + ids[2][:2]
    assert other.claim_ids("q", 3) == ids[2][2:] + ids[1][:1]
    one.run("rollback")
    assert other.claim_ids("q", 100) == ids[3] + ids[2][:2] + ids[1][1:]


def test_a_task_that_is_being_cancelled_or_moved_is_passed_over_by_claims(open_session: OpenSession) -> None:
    one, claimer = open_session(), open_session(impatient=True)
    one.create_queue("q")
    cancelled, moved, raised, ready = one.enqueue("q", 4)

    one.run("begin")
    one.run("select underway.cancel(%s)", cancelled)
    one.run("select underway.reschedule(%s, now() + interval '1 hour')", moved)
    one.run("select underway.reprioritize(%s, 9)", raised)
    assert claimer.claim_ids("q", 10) == [ready]
    one.run("commit")
    assert claimer.claim_ids("q", 10) == [raised]


def test_a_claim_under_repeatable_read_gets_nothing_twice_and_fails_with_40001_at_worst(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    ids = one.enqueue("q", 6)

    one.run("begin isolation level repeatable read")
    assert one.value("select count(*) from underway.task") == 6  # now it has its snapshot
    claimed = other.claim("q", 4)
    other.run("select underway.complete(%s, %s)", *claimed[0])
    try:
        mine = one.claim_ids("q", 6)
        one.run("commit")
    except psycopg.errors.SerializationFailure:
        one.run("rollback")
        one.run("begin isolation level repeatable read")
        mine = one.claim_ids("q", 6)
        one.run("commit")
    assert mine == ids[4:]


# Enqueueing


def test_a_task_is_there_when_its_transaction_commits_and_not_before(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")

    one.run("begin")
    (id,) = one.enqueue("q")
    assert other.claim("q", 10) == []
    assert other.state(id) is None
    one.run("commit")
    assert other.claim_ids("q", 10) == [id]


def test_a_task_whose_transaction_is_rolled_back_never_was(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")

    one.run("begin")
    (id,) = one.enqueue("q", 1, "priority => 3")
    one.run("rollback")
    assert other.state(id) is None
    assert other.claim("q", 10) == []

    # Nor did the priority, which the next one opens by itself.
    (id,) = other.enqueue("q", 1, "priority => 3")
    assert one.claim_ids("q", 10) == [id]


def test_a_task_that_is_committed_late_is_claimed_and_before_those_that_became_ready_after_it(
    open_session: OpenSession,
) -> None:
    late, prompt, claimer = open_session(), open_session(), open_session()
    late.create_queue("q")

    late.run("begin")
    first = late.enqueue("q", 2)
    second = prompt.enqueue("q", 4)
    assert claimer.claim_ids("q", 2) == second[:2]
    late.run("commit")
    assert claimer.claim_ids("q", 3) == [*first, second[2]]
    assert claimer.claim_ids("q", 3) == second[3:]


def test_two_transactions_that_both_use_a_new_priority_first_do_not_wait_for_each_other(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")

    one.run("begin")
    other.run("begin")
    (first,) = one.enqueue("q", 1, "priority => 7")
    (second,) = other.enqueue("q", 1, "priority => 7")
    other.run("commit")
    assert other.claim_ids("q", 10) == [second]
    one.run("commit")
    assert other.claim_ids("q", 10) == [first]


# Leases


def test_a_completion_that_came_first_is_passed_over_by_the_reclaimer(open_session: OpenSession) -> None:
    holder, reclaimer = open_session(), open_session(impatient=True)
    holder.create_queue("q")
    holder.enqueue("q")
    ((id, lease),) = holder.claim("q")
    holder.lapse(id)

    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", id, lease)
    assert reclaimer.value("select underway._reclaim()") == 0
    holder.run("commit")
    assert reclaimer.value("select underway._reclaim()") == 0
    assert holder.state(id) == "succeeded"
    assert holder.errors(id) == []


def test_a_completion_that_came_second_waits_for_the_reclaimer_and_is_refused(open_session: OpenSession) -> None:
    holder, reclaimer = open_session(), open_session()
    holder.create_queue("q")
    holder.enqueue("q")
    ((id, lease),) = holder.claim("q")
    holder.lapse(id)

    reclaimer.run("begin")
    assert reclaimer.value("select underway._reclaim()") == 1
    completion = holder.start("select underway.complete(%s, %s)", id, lease)
    reclaimer.see_waiting(holder, behind=reclaimer)
    reclaimer.run("commit")
    with refused(LEASE_LOST):
        completion.result(SECONDS)
    assert reclaimer.state(id) == "pending"
    assert [error["type"] for error in reclaimer.errors(id)] == ["LeaseLapsed"]


def test_a_completion_goes_through_when_the_reclaimer_is_rolled_back(open_session: OpenSession) -> None:
    holder, reclaimer = open_session(), open_session()
    holder.create_queue("q")
    holder.enqueue("q")
    ((id, lease),) = holder.claim("q")
    holder.lapse(id)

    reclaimer.run("begin")
    assert reclaimer.value("select underway._reclaim()") == 1
    completion = holder.start("select underway.complete(%s, %s)", id, lease)
    reclaimer.see_waiting(holder, behind=reclaimer)
    reclaimer.run("rollback")
    completion.result(SECONDS)
    assert holder.state(id) == "succeeded"
    assert holder.errors(id) == []


def test_two_reclaimers_at_once_share_the_work(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    ids = one.enqueue("q", 5)
    one.claim("q", 5)
    one.lapse(*ids)

    one.run("begin")
    assert one.value("select underway._reclaim(2)") == 2
    assert other.value("select underway._reclaim()") == 3
    assert other.value("select underway._reclaim()") == 0
    one.run("commit")
    assert other.value("select underway._reclaim()") == 0
    assert [len(one.errors(id)) for id in ids] == [1] * 5


HOLDERS_CALLS = {
    "complete": "select underway.complete(%s, %s, '1')",
    "fail": "select underway.fail(%s, %s, '\"oh\"')",
    "snooze": "select underway.snooze(%s, %s, '1 minute')",
    "release": "select underway.release(%s, %s)",
    "report_progress": "select underway.report_progress(%s, %s, '1')",
}

ROW = "select row_to_json(t)::text from underway.task t where id = %s"


@pytest.mark.parametrize("call", HOLDERS_CALLS)
@pytest.mark.parametrize("gone", ["reclaimed", "claimed by another", "cancelled", "failed for good"])
def test_a_late_holder_is_refused_and_changes_nothing(open_session: OpenSession, call: str, gone: str) -> None:
    holder, other = open_session(), open_session()
    holder.create_queue("q", NO_DELAY)
    holder.enqueue("q")
    ((id, lease),) = holder.claim("q")
    if gone == "cancelled":
        other.run("select underway.cancel(%s)", id)
    elif gone == "failed for good":
        other.run("select underway.fail(%s, %s, '1', retryable => false)", id, lease)
    else:
        other.lapse(id)
        other.run("select underway._run_chores()")
        if gone == "claimed by another":
            assert other.claim_ids("q") == [id]
    before = (other.column(ROW, id), other.state(id), other.errors(id))

    with refused(LEASE_LOST, match=f"task {id} is not held"):
        holder.run(HOLDERS_CALLS[call], id, lease)
    assert (other.column(ROW, id), other.state(id), other.errors(id)) == before


@pytest.mark.parametrize(
    "call",
    [
        "select * from underway.complete_many(%s::bigint[], %s::uuid[])",
        "select id from underway.fail_many(%s::bigint[], %s::uuid[], array['1', '2', '3']::jsonb[])",
        "select * from underway.release_many(%s::bigint[], %s::uuid[])",
        "select * from underway.heartbeat(%s::bigint[], %s::uuid[])",
    ],
    ids=["complete_many", "fail_many", "release_many", "heartbeat"],
)
def test_of_a_batch_only_the_tasks_that_are_still_held_come_back(open_session: OpenSession, call: str) -> None:
    holder, other = open_session(), open_session()
    holder.create_queue("q", NO_DELAY)
    first, second, third = holder.enqueue("q", 3)
    leases = [lease for _, lease in holder.claim("q", 3)]
    other.lapse(second)
    other.run("select underway._run_chores()")
    assert other.claim_ids("q") == [second]
    before = other.column(ROW, second)

    assert sorted(holder.column(call, [first, second, third], leases)) == [first, third]
    assert other.column(ROW, second) == before


def test_a_batch_that_is_settled_and_claims_the_next_names_the_tasks_that_were_lost(open_session: OpenSession) -> None:
    holder, other = open_session(), open_session()
    holder.create_queue("q")
    first, second, third = holder.enqueue("q", 3)
    claimed = dict(holder.claim("q", 2))
    other.run("select underway.cancel(%s)", second)

    assert holder.rows(
        "select id, lease is not null from underway.complete_and_dequeue("
        "%s::bigint[], %s::uuid[], array[null, null]::jsonb[], '{q}', 5)",
        list(claimed),
        list(claimed.values()),
    ) == [(second, False), (third, True)]
    assert [holder.state(id) for id in (first, second, third)] == ["succeeded", "cancelled", "in_progress"]


def test_a_heartbeat_passes_over_a_task_that_is_being_completed_and_reports_it_as_held(
    open_session: OpenSession,
) -> None:
    handler, worker = open_session(), open_session(impatient=True)
    handler.create_queue("q")
    ids = handler.enqueue("q", 3)
    leases = dict(handler.claim("q", 3))
    expiry = "select array_agg(lease_expires_at order by id) from underway.task"
    before = worker.value(expiry)
    heartbeat = "select * from underway.heartbeat(%s, %s)"

    handler.run("begin")
    handler.run("select underway.complete(%s, %s)", ids[1], leases[ids[1]])
    assert sorted(worker.column(heartbeat, ids, list(leases.values()))) == ids
    after = worker.value(expiry)
    assert [new > old for old, new in zip(before, after, strict=True)] == [True, False, True]
    handler.run("commit")
    assert sorted(worker.column(heartbeat, ids, list(leases.values()))) == [ids[0], ids[2]]


LOCKS_A_RUNNING_TASK = {
    "a task that is enqueued after it": "select underway.enqueue('q', after => array[%s]::bigint[])",
    "select for update": "select from underway.task where id = %s for update",
    "a settlement that is rolled back": "select underway.cancel(%s)",
}


@pytest.mark.parametrize("lock", LOCKS_A_RUNNING_TASK)
@pytest.mark.parametrize("worker", ["null", "underway.register_worker('w', '{q}')"])
def test_a_task_that_another_session_keeps_locked_is_not_reclaimed_while_its_holder_sends_heartbeats(
    open_session: OpenSession, lock: str, worker: str
) -> None:
    locker, holder, reclaimer = open_session(), open_session(impatient=True), open_session()
    holder.create_queue("q", "heartbeat => '300 ms'")
    (id,) = holder.enqueue("q")
    ((_, lease),) = holder.rows(f"select id, lease from underway.dequeue('q', 1, {worker})")
    beat = ("select * from underway.heartbeat(%s, %s)", [id], [lease])
    lapses = "select lease_expires_at < clock_timestamp() from underway.task where id = %s"

    locker.run("begin")
    locker.run(LOCKS_A_RUNNING_TASK[lock], id)
    wait_until(lambda: holder.column(*beat) == [id] and holder.value(lapses, id), "the lease of the row has lapsed")
    assert holder.column(*beat) == [id]
    locker.run("rollback")
    assert reclaimer.value("select underway._reclaim(everything => true)") == 0
    assert holder.value(lapses, id) is False

    holder.run("select underway.complete(%s, %s)", id, lease)
    assert (holder.state(id), holder.errors(id)) == ("succeeded", [])


def test_a_locked_task_whose_holder_sends_no_heartbeats_is_reclaimed_as_soon_as_the_lock_is_released(
    open_session: OpenSession,
) -> None:
    locker, holder, reclaimer = open_session(), open_session(impatient=True), open_session()
    holder.create_queue("q", "heartbeat => '100 ms'")
    (id,) = holder.enqueue("q")
    ((_, lease),) = holder.claim("q")

    locker.run("begin")
    locker.run("select from underway.task where id = %s for update", id)
    holder.run("select underway.heartbeat(%s, %s)", [id], [lease])
    recorded = "select max(lease_expires_at) from underway.deferred_renewal where task = %s"
    wait_until(lambda: holder.value(f"select ({recorded}) < clock_timestamp()", id), "the last renewal has lapsed")
    assert reclaimer.value("select underway._reclaim(everything => true)") == 0
    locker.run("rollback")
    reclaimer.run("select underway._reclaim(everything => true)")
    assert (holder.state(id), len(holder.errors(id))) == ("pending", 1)
    assert reclaimer.value("select count(*) from underway.deferred_renewal where task = %s", id) == 0


# Complete in the handler's own transaction


def test_what_a_handler_writes_and_its_completion_commit_together(open_session: OpenSession) -> None:
    handler, other = open_session(), open_session()
    handler.run("create table ledger (task bigint)")
    handler.create_queue("q")
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")

    handler.run("begin")
    handler.run("insert into ledger values (%s)", id)
    handler.run("select underway.complete(%s, %s, '7')", id, lease)
    assert (other.state(id), other.column("select task from ledger")) == ("in_progress", [])
    handler.run("commit")
    assert (other.state(id), other.column("select task from ledger")) == ("succeeded", [id])


def test_what_a_handler_wrote_is_undone_when_its_lease_was_lost(open_session: OpenSession) -> None:
    handler, other = open_session(), open_session()
    handler.run("create table ledger (task bigint)")
    handler.create_queue("q", NO_DELAY)
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")
    other.lapse(id)
    other.run("select underway._run_chores()")
    other.claim("q")

    handler.run("begin")
    handler.run("insert into ledger values (%s)", id)
    with refused(LEASE_LOST):
        handler.run("select underway.complete(%s, %s)", id, lease)
    handler.run("commit")  # of an aborted transaction: it rolls back
    assert (other.state(id), other.column("select task from ledger")) == ("in_progress", [])


def test_a_handler_that_rolls_back_after_completing_still_holds_its_task(open_session: OpenSession) -> None:
    handler, other = open_session(), open_session()
    handler.run("create table ledger (task bigint)")
    handler.create_queue("q")
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")

    handler.run("begin")
    handler.run("insert into ledger values (%s)", id)
    handler.run("select underway.complete(%s, %s)", id, lease)
    handler.run("rollback")
    assert (other.state(id), other.column("select task from ledger")) == ("in_progress", [])
    assert handler.column("select * from underway.heartbeat(%s, %s)", [id], [lease]) == [id]
    handler.run("select underway.complete(%s, %s)", id, lease)
    assert other.state(id) == "succeeded"


# Cancel


def test_a_cancel_waits_for_the_open_transaction_of_a_handler_that_has_completed(open_session: OpenSession) -> None:
    handler, canceller = open_session(), open_session()
    handler.run("create table ledger (task bigint)")
    handler.create_queue("q")
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")

    handler.run("begin")
    handler.run("insert into ledger values (%s)", id)
    handler.run("select underway.complete(%s, %s)", id, lease)
    cancel = canceller.start("select underway.cancel(%s)", id)
    handler.see_waiting(canceller, behind=handler)
    handler.run("commit")
    assert cancel.result(SECONDS) == [False]
    assert canceller.state(id) == "succeeded"
    assert canceller.column("select task from ledger") == [id]


def test_a_cancel_goes_through_when_the_completion_is_rolled_back(open_session: OpenSession) -> None:
    handler, canceller = open_session(), open_session()
    handler.create_queue("q")
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")

    handler.run("begin")
    handler.run("select underway.complete(%s, %s)", id, lease)
    cancel = canceller.start("select underway.cancel(%s)", id)
    handler.see_waiting(canceller, behind=handler)
    handler.run("rollback")
    assert cancel.result(SECONDS) == [True]
    assert canceller.state(id) == "cancelled"
    with refused(LEASE_LOST, match="it is cancelled"):
        handler.run("select underway.complete(%s, %s)", id, lease)


@pytest.mark.parametrize(("end", "state"), [("commit", "cancelled"), ("rollback", "succeeded")])
def test_a_completion_waits_for_a_cancel_that_came_first(open_session: OpenSession, end: str, state: str) -> None:
    handler, canceller = open_session(), open_session()
    handler.create_queue("q")
    handler.enqueue("q")
    ((id, lease),) = handler.claim("q")

    canceller.run("begin")
    assert canceller.value("select underway.cancel(%s)", id) is True
    completion = handler.start("select underway.complete(%s, %s)", id, lease)
    canceller.see_waiting(handler, behind=canceller)
    canceller.run(end)
    with refused(LEASE_LOST) if end == "commit" else contextlib.nullcontext():
        completion.result(SECONDS)
    assert canceller.state(id) == state


def test_two_cancels_at_once_change_something_once(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    (id,) = one.enqueue("q")

    one.run("begin")
    assert one.value("select underway.cancel(%s)", id) is True
    second = other.start("select underway.cancel(%s)", id)
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert second.result(SECONDS) == [False]
    assert one.value("select count(*) from underway.task_history where id = %s", id) == 1


# Batches in opposite orders

BATCH_CALLS = {
    "complete_many": "select * from underway.complete_many(%s::bigint[], %s::uuid[])",
    "fail_many": (
        "select id from underway.fail_many(%s::bigint[], %s::uuid[], "
        "array(select jsonb_build_object('message', n) from generate_series(1, 400) n)::jsonb[])"
    ),
    "release_many": "select * from underway.release_many(%s::bigint[], %s::uuid[])",
}
# fail_many takes as many errors as tasks; the tail of the longer array pairs with no task.


@pytest.mark.parametrize("rows_by_statistics", [None, 1, 1000])
@pytest.mark.parametrize("second", BATCH_CALLS)
@pytest.mark.parametrize("first", BATCH_CALLS)
def test_batches_in_opposite_orders_lock_their_tasks_in_one_order_under_every_plan(
    open_session: OpenSession, first: str, second: str, rows_by_statistics: int | None
) -> None:
    blocker, one, other = open_session(), open_session(), open_session()
    blocker.create_queue("q", NO_DELAY)
    if rows_by_statistics is not None:
        blocker.run("alter table underway.task set (autovacuum_enabled = false)")
        blocker.enqueue("q", rows_by_statistics)
        blocker.run("analyze underway.task")
        blocker.run("delete from underway.task")
    ids = blocker.enqueue("q", 10)
    lease = blocker.claim("q", 10)[0][1]

    blocker.run("begin")
    blocker.run("select from underway.task where id = %s for update", ids[5])
    downwards = one.start(BATCH_CALLS[first], ids[::-1], [lease] * 10)
    blocker.see_waiting(one, behind=blocker)
    upwards = other.start(BATCH_CALLS[second], ids, [lease] * 10)
    # Whoever takes the rows in their order stands at the first of them, not at the sixth.
    blocker.see_waiting(other, behind=one)
    assert blocker.pid not in blocker.waits_for(other)
    blocker.run("commit")
    assert sorted(downwards.result(SECONDS)) == ids
    assert upwards.result(SECONDS) == []


def test_sessions_that_settle_overlapping_batches_in_any_order_never_deadlock(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q", NO_DELAY)
    calls = [*BATCH_CALLS.values(), "select * from underway.heartbeat(%s::bigint[], %s::uuid[])"]
    settled: Counter[tuple[int, UUID]] = Counter()
    rounds, tasks = 75, 60
    claims: list[list[tuple[int, UUID]]] = []

    def claim() -> None:
        missing = tasks - session.value("select count(*) from underway.task")
        if missing:
            session.enqueue("q", missing)
        claims.append(session.claim("q", tasks))
        assert len(claims[-1]) == tasks

    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(Session(database)) for _ in calls]
        for each in sessions:
            each.run("set deadlock_timeout = '20ms'")
            each.run("set statement_timeout = '10s'")

        def settle(number: int) -> list[int]:
            chance = random.Random(1000 * len(claims) + number)
            batch = chance.sample(claims[-1], chance.randint(tasks // 2, tasks))
            order = (number + len(claims)) % 3
            if order < 2:
                batch.sort(reverse=bool(order))
            return sessions[number].column(
                calls[(number + len(claims)) % len(calls)], [id for id, _ in batch], [lease for _, lease in batch]
            )

        for _ in range(rounds):
            claim()
            leases = dict(claims[-1])
            results = at_once(settle, len(calls))
            is_heartbeat = [(number + len(claims)) % len(calls) == 3 for number in range(len(calls))]
            for heartbeat, ids in zip(is_heartbeat, results, strict=True):
                if not heartbeat:
                    settled.update((id, leases[id]) for id in ids)
            session.run("select count(*) from underway.release_many(%s, %s)", list(leases), list(leases.values()))

    assert set(settled.values()) == {1}


# Redrive and retry


def dead_letters(session: Session, count: int) -> list[int]:
    """So many tasks of queue q that have failed for good, each with a letter in queue dead."""
    session.create_queue("dead")
    session.create_queue("q", "dead_letter_queue => 'dead'")
    ids = session.enqueue("q", count)
    lease = session.claim("q", count)[0][1]
    session.run(
        "select from underway.fail_many(%s, %s, array_fill('1'::jsonb, array[%s]), array_fill(false, array[%s]))",
        ids,
        [lease] * count,
        count,
        count,
    )
    return ids


def test_two_sessions_that_redrive_share_the_letters(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    ids = dead_letters(one, 5)

    one.run("begin")
    assert one.value("select underway.redrive('dead', 3)") == 3
    assert other.value("select underway.redrive('dead')") == 2
    assert other.value("select underway.redrive('dead')") == 0
    one.run("commit")
    assert other.value("select underway.redrive('dead')") == 0
    assert sorted(one.claim_ids("q", 10)) == ids
    assert one.claim("dead", 10) == []
    assert one.value("select count(*) from underway.task_history") == 0


def test_a_redrive_reports_the_letters_whose_queue_was_dropped(open_session: OpenSession) -> None:
    session = open_session()
    dead_letters(session, 2)
    session.run("select underway.drop_queue('q', force => true)")
    notices: list[tuple[str | None, str | None]] = []
    session.connection.add_notice_handler(lambda notice: notices.append((notice.message_primary, notice.message_hint)))
    assert session.value("select underway.redrive('dead')") == 0
    assert notices == [
        (
            "2 dead letters stay in queue 'dead': their queue 'q' was dropped",
            "Create their queue again and redrive them, or cancel them.",
        )
    ]


def test_many_sessions_that_redrive_at_once_move_each_letter_once(database: str, open_session: OpenSession) -> None:
    session = open_session()
    ids = dead_letters(session, 200)

    def redrive(number: int) -> int:
        moved = 0
        with Session(database) as mover:
            while count := mover.value("select underway.redrive('dead', 7)"):
                moved += count
        return moved

    at_most = sum(at_once(redrive, 4)) + session.value("select underway.redrive('dead')")
    assert at_most == 200
    assert sorted(session.claim_ids("q", 1000)) == ids
    assert session.claim("dead", 10) == []
    assert [len(session.errors(id)) for id in ids] == [1] * 200


def test_of_two_sessions_that_retry_a_task_one_wins_and_the_other_is_told(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    (id,) = dead_letters(one, 1)

    one.run("begin")
    one.run("select underway.retry(%s)", id)
    second = other.start("select underway.retry(%s)", id)
    one.see_waiting(other, behind=one)
    one.run("commit")
    with refused(WRONG_STATE, match=f"task {id} is pending"):
        second.result(SECONDS)
    assert len(one.errors(id)) == 1
    assert one.claim_ids("q", 10) == [id]
    assert one.claim("dead", 10) == []


def test_a_retry_goes_through_when_another_is_rolled_back(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    (id,) = dead_letters(one, 1)

    one.run("begin")
    one.run("select underway.retry(%s)", id)
    second = other.start("select underway.retry(%s)", id)
    one.see_waiting(other, behind=one)
    one.run("rollback")
    second.result(SECONDS)
    assert (one.state(id), len(one.errors(id))) == ("pending", 1)
    assert one.claim("dead", 10) == []


@pytest.mark.parametrize("first", ["retry", "redrive"])
def test_a_retry_and_a_redrive_of_the_same_task_at_once_never_deadlock(open_session: OpenSession, first: str) -> None:
    blocker, one, other = open_session(), open_session(), open_session()
    (id,) = dead_letters(blocker, 1)
    retry = f"select underway.retry({id})"
    redrive = "select underway.redrive('dead')"

    # Both need the row in the history; the letter is taken by one before it, by the other after it.
    blocker.run("begin")
    blocker.run("select from underway.task_history where id = %s for update", id)
    started = one.start(retry if first == "retry" else redrive)
    blocker.see_waiting(one, behind=blocker)
    then = other.start(redrive if first == "retry" else retry)
    wait_until(lambda: then.done() or blocker.waits_for(other), "the second has met the first")
    blocker.run("commit")

    failures = [error for future in (started, then) if (error := future.exception(SECONDS))]
    assert [getattr(error, "sqlstate", error) for error in failures] in ([], [WRONG_STATE])
    assert blocker.state(id) == "pending"
    assert len(blocker.errors(id)) == 1
    blocker.run("select underway.redrive('dead')")
    assert blocker.claim_ids("q", 10) == [id]
    assert blocker.claim("dead", 10) == []


# Upkeep


def expire(session: Session, count: int = 3) -> list[int]:
    """Tasks in the history whose day is over, where `maintain` empties it."""
    session.create_queue("expired")
    ids = session.enqueue("expired", count)
    for task, lease in session.claim("expired", count):
        session.run("select underway.complete(%s, %s)", task, lease)
    session.run(
        "update underway.task_history set kept_until = now() - interval '2 days',"
        " kept_slot = mod(floor(extract(epoch from now()) / 86400)::bigint - 2, 32) where id = any (%s)",
        ids,
    )
    return ids


IN_HISTORY = "select count(*) from underway.task_history where id = any (%s)"


def test_upkeep_does_not_wait_for_a_reader_of_the_expired_day(open_session: OpenSession) -> None:
    reader, keeper = open_session(), open_session()
    ids = expire(reader)

    reader.run("begin")
    assert reader.value(IN_HISTORY, ids) == 3
    reader.see_not_waiting(keeper, "select underway._run_chores()")
    assert reader.value(IN_HISTORY, ids) == 3
    reader.run("commit")
    keeper.run("select underway._run_chores()")
    assert reader.value(IN_HISTORY, ids) == 0


def test_the_expired_day_is_emptied_while_a_transaction_that_completed_a_task_is_open(
    open_session: OpenSession,
) -> None:
    handler, keeper = open_session(), open_session()
    ids = expire(handler)
    handler.create_queue("q")
    handler.enqueue("q")
    claimed = handler.claim("q")[0]

    handler.run("begin")
    handler.run("select underway.complete(%s, %s)", *claimed)
    handler.see_not_waiting(keeper, "select underway._run_chores()")
    assert keeper.value(IN_HISTORY, ids) == 0
    handler.run("commit")
    assert keeper.state(claimed[0]) == "succeeded"


def test_upkeep_passes_over_expired_tasks_that_somebody_has_locked(open_session: OpenSession) -> None:
    locker, keeper = open_session(), open_session()
    locker.create_queue("q", "retention => '60 days'")
    ids = locker.enqueue("q", 3)
    for task, lease in locker.claim("q", 3):
        locker.run("select underway.complete(%s, %s)", task, lease)
    locker.run("update underway.task_history_later set kept_until = now() - interval '1 s'")

    locker.run("begin")
    locker.run("select from underway.task_history where id = %s for update", ids[1])
    assert locker.see_not_waiting(keeper, "select underway._run_chores() -> 'pruned'") == [2]
    locker.run("commit")
    assert keeper.value("select underway._run_chores() -> 'pruned'") == 1


def test_upkeep_does_not_wait_for_another_that_is_emptying_the_expired_day(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    ids = expire(one)

    one.run("begin")
    one.run("select underway._run_chores()")
    one.see_not_waiting(other, "select underway._run_chores()")
    one.run("commit")
    assert other.value(IN_HISTORY, ids) == 0


def test_upkeep_in_an_open_transaction_makes_the_others_do_it_once_a_second_too(open_session: OpenSession) -> None:
    holder, one, other = open_session(), open_session(), open_session()
    one.run("select underway.maintain()")
    one.run("update underway.upkeep set last_run_at = last_run_at - interval '1 hour'")
    holder.run("begin")
    assert holder.value("select underway.maintain()") != {}
    assert one.value("select underway.maintain()") != {}
    assert other.value("select underway.maintain()") == {}
    holder.run("commit")
    assert other.value("select underway.maintain()") == {}


def test_upkeep_from_ten_sessions_at_once_does_each_chore_once(database: str, open_session: OpenSession) -> None:
    session = open_session()
    expired = expire(session)
    session.create_queue("q")
    ids = session.enqueue("q", 300)
    session.claim("q", 300)
    session.lapse(*ids)
    for number in range(30):
        session.run("select underway.register_worker(%s, '{q}')", f"lost {number}")
    session.run("update underway.worker set seen_at = now() - interval '2 hours'")

    def maintain(number: int) -> Counter[str]:
        done: Counter[str] = Counter()
        with Session(database) as keeper:
            for _ in range(3):
                done.update(keeper.value("select underway._run_chores() - 'to_vacuum'"))
        return done

    total = sum(at_once(maintain, 10), Counter())
    assert total["reclaimed"] == 300
    assert total["forgotten_workers"] == 30
    assert [len(session.errors(id)) for id in ids] == [1] * 300
    session.run("select underway._run_chores()")
    assert session.value(IN_HISTORY, expired) == 0


# Pausing a queue


def test_pausing_a_queue_waits_for_an_open_claim_and_keeps_out_new_ones_meanwhile(open_session: OpenSession) -> None:
    holder, operator, claimer = open_session(), open_session(), open_session(impatient=True)
    holder.create_queue("q")
    ids = holder.enqueue("q", 3)

    holder.run("begin")
    assert holder.claim_ids("q", 1) == ids[:1]
    pause = operator.start("select underway.pause_queue('q')")
    holder.see_waiting(operator, behind=holder)
    assert claimer.claim("q", 3) == []
    holder.run("commit")
    assert pause.result(SECONDS) == [True]
    assert claimer.claim("q", 3) == []
    assert [holder.state(id) for id in ids] == ["in_progress", "pending", "pending"]


def test_a_claim_that_read_the_queue_before_a_pause_committed_takes_none_of_its_tasks_afterwards(
    open_session: OpenSession,
) -> None:
    claimer, operator, gate = open_session(), open_session(), open_session()
    for queue in ("first", "paused"):
        operator.create_queue(queue)
    (first,) = operator.enqueue("first", 1, "priority => 5")
    (paused,) = operator.enqueue("paused")

    # The claim stops in the middle: it has read both queues, and updates the task of the first one.
    operator.run("""create function stop_at_gate() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock_shared(815); return new; end'""")
    operator.run("""create trigger stop_at_gate before update on underway.task
        for each row when (new.queue = 'first') execute function stop_at_gate()""")
    gate.run("select pg_advisory_lock(815)")
    claim = claimer.start("select id from underway.dequeue(array['first', 'paused'], 2)")
    gate.see_waiting(claimer, behind=gate)
    pause = operator.start("select underway.pause_queue('paused')")
    wait_until(lambda: pause.done() or gate.waits_for(operator), "the queue is paused, or that waits for the claim")
    committed_first = pause.done()
    gate.run("select pg_advisory_unlock(815)")

    assert pause.result(SECONDS) == [True]
    assert claim.result(SECONDS) == ([first] if committed_first else [first, paused])


# Dropping a queue


def test_dropping_a_queue_waits_for_a_running_claim_and_takes_its_tasks_from_the_holder(
    open_session: OpenSession,
) -> None:
    holder, dropper = open_session(), open_session()
    holder.create_queue("q")
    ids = holder.enqueue("q", 3)

    holder.run("begin")
    claimed = dict(holder.claim("q", 2))
    drop = dropper.start("select underway.drop_queue('q', force => true)")
    holder.see_waiting(dropper, behind=holder)
    holder.run("commit")
    drop.result(SECONDS)
    assert [holder.state(id) for id in ids] == ["cancelled"] * 3
    assert holder.rows("select * from underway.heartbeat(%s, %s)", list(claimed), list(claimed.values())) == []
    with refused(LEASE_LOST, match="it is cancelled"):
        holder.run("select underway.complete(%s, %s)", ids[0], claimed[ids[0]])
    with refused(QUEUE_NOT_FOUND):
        holder.claim("q")


def test_a_claim_does_not_wait_for_the_dropping_of_its_queue(open_session: OpenSession) -> None:
    dropper, claimer = open_session(), open_session(impatient=True)
    dropper.create_queue("q")
    ids = dropper.enqueue("q", 3)

    dropper.run("begin")
    dropper.run("select underway.drop_queue('q', force => true)")
    assert claimer.claim("q", 3) == []
    dropper.run("rollback")
    assert claimer.claim_ids("q", 3) == ids


def test_a_task_that_is_enqueued_while_its_queue_is_dropped_is_cancelled_and_leaves_nothing_behind(
    open_session: OpenSession,
) -> None:
    producer, operator = open_session(), open_session(impatient=True)
    operator.create_queue("q")
    operator.enqueue("q", 1, "priority => 5")

    producer.run("begin")
    (id,) = producer.enqueue("q", 1, "priority => 5")
    operator.run("select underway.drop_queue('q', force => true)")
    operator.run("select underway._repair_queues()")
    producer.run("commit")
    assert operator.state(id) == "pending"
    operator.run("select underway._repair_queues()")
    assert operator.state(id) == "cancelled"
    for table in ("queue_priority", "watermark"):
        assert operator.value(f"select count(*) from underway.{table} where queue = 'q'") == 0


def test_a_task_whose_queue_is_dropped_and_made_anew_while_it_is_enqueued_is_not_forgotten(
    open_session: OpenSession,
) -> None:
    producer, operator = open_session(), open_session()
    operator.create_queue("q")
    operator.enqueue("q", 1, "priority => 5")

    producer.run("begin")
    (id,) = producer.enqueue("q", 1, "priority => 5")
    drop = operator.start("select underway.drop_queue('q', force => true)")
    wait_until(lambda: drop.done() or producer.waits_for(operator), "the queue is dropped, or that waits")
    with contextlib.suppress(psycopg.Error):
        producer.run("commit")
    drop.result(SECONDS)
    # It was cancelled with its queue, or is refused; or else it is served when the queue is there again.
    if operator.state(id) == "pending":
        operator.create_queue("q")
        operator.run("select underway._repair_queues()")
        assert operator.claim_ids("q", 10) == [id]


# Sessions that differ


STYLES = [
    ("Pacific/Chatham", "SQL, DMY", "sql_standard"),
    ("America/New_York", "German", "postgres_verbose"),
    ("Asia/Kathmandu", "Postgres, MDY", "iso_8601"),
]


@pytest.mark.parametrize(("zone", "dates", "intervals"), STYLES)
def test_sessions_with_other_settings_mean_the_same(
    open_session: OpenSession, zone: str, dates: str, intervals: str
) -> None:
    odd, plain = open_session(), open_session()
    odd.run(f"set timezone = '{zone}'; set datestyle = '{dates}'; set intervalstyle = '{intervals}'")
    plain.run("set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'")
    odd.create_queue("dead")
    odd.create_queue(
        "q",
        "dead_letter_queue => 'dead', timeout => '90 minutes', heartbeat => '45 seconds',"
        " retry_policy => underway.retry_policy(initial_interval => '1 minute', max_interval => '1 day', jitter => 0)",
    )
    assert plain.rows(
        "select extract(epoch from timeout)::int, extract(epoch from heartbeat)::int,"
        " extract(epoch from (retry_policy).max_interval)::int from underway.queue where name = 'q'"
    ) == [(5400, 45, 86400)]

    # Times that come as text, and times that are kept as text.
    (late,) = odd.value(
        """select underway.enqueue_many('[{"queue": "q", "run_at": "2031-05-06T07:08:09+00:00", "timeout": "1:30",
            "retry_policy": {"initial_interval": "PT2H"}}]')"""
    )
    assert plain.rows(
        "select extract(epoch from ready_at)::bigint, extract(epoch from timeout)::int,"
        " extract(epoch from (retry_policy).initial_interval)::int from underway.task where id = %s",
        late,
    ) == [(1935817689, 5400, 7200)]

    (id,) = odd.enqueue("q", 1, "delay => '-0 s'")
    enqueued_at = plain.value("select extract(epoch from enqueued_at) from underway.task where id = %s", id)
    ((_, lease),) = odd.claim("q")
    assert odd.column("select * from underway.heartbeat(%s, %s)", [id], [lease]) == [id]
    odd.run("select underway.fail(%s, %s, '\"oh\"')", id, lease)
    assert plain.value(
        "select extract(epoch from ready_at - (errors -> 0 ->> 'failed_at')::timestamptz)::float8"
        " from underway.task_info(%s)",
        id,
    ) == pytest.approx(60, abs=0.001)

    # Through the dead-letter queue and back, written here and read there.
    for writer, reader in ((odd, plain), (plain, odd)):
        writer.run("select underway.reschedule(%s, now())", id)
        ((_, lease),) = writer.claim("q")
        writer.run("select underway.fail(%s, %s, '\"oh\"', retryable => false)", id, lease)
        assert reader.value("select underway.redrive('dead')") == 1
        assert plain.value("select extract(epoch from enqueued_at) from underway.task where id = %s", id) == enqueued_at
    shown = (
        "select extract(epoch from (e ->> 'failed_at')::timestamptz) as at"
        " from underway.task_info(%s), jsonb_array_elements(errors) e order by at"
    )
    assert len(plain.column(shown, id)) == 3
    assert plain.column(shown, id) == odd.column(shown, id)
    odd.claim("q")
    odd.lapse(id)
    assert odd.value("select underway._run_chores() -> 'reclaimed'") == 1


@pytest.mark.parametrize(("zone", "dates", "intervals"), STYLES)
def test_the_package_works_in_a_database_with_other_settings(
    database: str, zone: str, dates: str, intervals: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        for setting, value in (("timezone", zone), ("datestyle", dates), ("intervalstyle", intervals)):
            connection.execute(f"alter database {name} set {setting} = '{value}'".encode())

    with App(database) as app:

        @app.job(queue="q", timeout=timedelta(hours=30), heartbeat=40)
        def add(a: int, b: int) -> int:
            return a + b

        id = add.enqueue(1, 2)
        later = add.options(delay=timedelta(days=1, hours=2)).enqueue(1, 2)
        with beside(app.worker()) as worker:
            assert final(app, id, worker).output == 3
        task = app.task(later)
        assert task is not None
        assert task.ready_at is not None
        assert task.ready_at - task.enqueued_at == timedelta(hours=26)
        assert [queue.heartbeat for queue in app.client.queues()] == [timedelta(seconds=30)]
