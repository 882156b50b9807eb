"""Unique keys between sessions: who has a key, who waits for whom, and that nobody waits in a circle."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.py.support import Session, at_once, refused

CONFLICT, QUEUE_FULL = "UW010", "UW011"

OpenSession = Callable[[], Session]

ENQUEUE = "select underway.enqueue('q', %s::jsonb, unique_key => 'k')"
REPLACE = "select underway.enqueue('q', %s::jsonb, unique_key => 'k', on_conflict => 'replace')"
HOLD = "select underway.enqueue('q', %s::jsonb, unique_key => 'k', unique_for => '1 hour')"
BULK = """
    select array_agg((e.id, e.created)::text order by e.ordinality)
    from underway.enqueue_unique(
        'q', array(select to_jsonb(key) from unnest(%s::text[]) as key), %s::text[], on_conflict => %s, unique_for => %s
    ) with ordinality e"""


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(Session(database))


@pytest.fixture
def one(open_session: OpenSession) -> Session:
    session = open_session()
    session.create_queue("q")
    return session


@pytest.fixture
def other(open_session: OpenSession) -> Session:
    return open_session()


def live(session: Session) -> list[tuple[int, str | None, object]]:
    return session.rows("select id, unique_key, input from underway.task order by id")


# Against an enqueue that is not committed


def test_who_meets_a_key_that_is_being_taken_waits_and_gets_the_id_of_its_task(one: Session, other: Session) -> None:
    one.run("begin")
    id = one.value(ENQUEUE, "1")
    second = other.start(ENQUEUE, "2")
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert second.result() == [id]
    assert live(one) == [(id, "k", 1)]


def test_when_the_first_is_rolled_back_the_task_of_the_second_is_there(one: Session, other: Session) -> None:
    one.run("begin")
    lost = one.value(ENQUEUE, "1")
    second = other.start(ENQUEUE, "2")
    one.see_waiting(other, behind=one)
    one.run("rollback")
    (id,) = second.result()
    assert id != lost
    assert live(one) == [(id, "k", 2)]


def test_of_three_the_next_has_the_key_when_the_first_is_rolled_back(
    one: Session, other: Session, open_session: OpenSession
) -> None:
    third = open_session()
    one.run("begin")
    one.value(ENQUEUE, "1")
    waiting = [other.start(ENQUEUE, "2"), third.start(ENQUEUE, "3")]
    for each in (other, third):
        one.see_waiting(each, behind=one)
    one.run("rollback")
    ids = {id for future in waiting for id in future.result()}
    assert [id for id, _, _ in live(one)] == list(ids)
    assert len(ids) == 1


def test_a_savepoint_that_is_rolled_back_frees_the_key(one: Session, other: Session) -> None:
    one.run("begin")
    one.run("savepoint s")
    one.value(ENQUEUE, "1")
    second = other.start(ENQUEUE, "2")
    one.see_waiting(other, behind=one)
    one.run("rollback to s")
    (id,) = second.result()
    one.run("commit")
    assert live(one) == [(id, "k", 2)]


def test_with_an_error_the_second_is_refused_when_the_first_commits(one: Session, other: Session) -> None:
    one.run("begin")
    id = one.value(ENQUEUE, "1")
    second = other.start(ENQUEUE.replace(")", ", on_conflict => 'error')"), "2")
    one.see_waiting(other, behind=one)
    one.run("commit")
    with refused(CONFLICT, f"the key 'k' of queue 'q' is taken by task {id}"):
        second.result()


def test_other_keys_other_queues_and_tasks_without_a_key_wait_for_nobody(one: Session, other: Session) -> None:
    one.create_queue("r")
    one.run("begin")
    one.value(ENQUEUE, "1")
    other.run("set lock_timeout = '300ms'")
    other.run("select underway.enqueue('q', unique_key => 'l')")
    other.run("select underway.enqueue('r', unique_key => 'k')")
    other.run("select underway.enqueue('q')")
    one.run("commit")


# Against the end of the task that has the key


@pytest.mark.parametrize("end", ["complete", "cancel", "fail"])
@pytest.mark.parametrize("committed", [True, False])
def test_who_meets_a_task_that_is_just_ending_gets_its_id_and_waits_for_nobody(
    one: Session, other: Session, end: str, committed: bool
) -> None:
    id = one.value(ENQUEUE, "1")
    ((_, lease),) = one.claim("q")
    one.run("begin")
    if end == "complete":
        one.run("select underway.complete(%s, %s)", id, lease)
    elif end == "cancel":
        one.run("select underway.cancel(%s)", id)
    else:
        one.run("select underway.fail(%s, %s, '1', retryable => false)", id, lease)
    other.run("set lock_timeout = '300ms'")
    assert other.value(ENQUEUE, "2") == id
    one.run("commit" if committed else "rollback")
    assert (other.value(ENQUEUE, "3") == id) is not committed


def test_a_key_is_free_in_the_transaction_that_ends_its_task(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    ((_, lease),) = one.claim("q")
    one.run("begin")
    one.run("select underway.complete(%s, %s)", id, lease)
    next = one.value(ENQUEUE, "2")
    assert next != id
    one.run("rollback")
    assert live(one) == [(id, "k", 1)]
    assert other.value(ENQUEUE, "3") == id


def test_many_sessions_that_enqueue_and_run_never_have_two_live_tasks_of_a_key(database: str, one: Session) -> None:
    def enqueue_and_run(number: int) -> list[int]:
        created = []
        with Session(database) as session:
            for _ in range(60):
                created += session.column(
                    "select id from underway.enqueue_unique('q', '{1}', '{k}', on_conflict => %s) where created",
                    "return" if number % 2 else "replace",
                )
                if number < 3:
                    for task, lease in session.claim("q", 2):
                        session.run(
                            "select underway.complete_many(array[%s]::bigint[], array[%s]::uuid[])", task, lease
                        )
                elif number == 3:
                    session.run("select underway.cancel(id) from underway.task limit 1")
        return created

    created = list(itertools.chain(*at_once(enqueue_and_run, 6)))
    assert len(created) == len(set(created)) > 1
    # Each that was said to be created was there, and ended before the next.
    states = Counter(one.state(id) for id in created)
    assert states["pending"] <= 1
    assert set(states) <= {"pending", "succeeded", "cancelled"}
    assert len(live(one)) == states["pending"]


# Replacing


def test_two_who_replace_wait_for_each_other_and_the_last_counts(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    one.run("begin")
    assert one.value(REPLACE, "2") == id
    second = other.start(REPLACE, "3")
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert second.result() == [id]
    assert live(one) == [(id, "k", 3)]


def test_who_replaces_a_task_that_is_being_claimed_leaves_it_as_it_is(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    one.run("begin")
    ((_, lease),) = one.claim("q")
    second = other.start(
        "select (id, created, replaced)::text from underway.enqueue_unique('q', '{2}', '{k}', on_conflict => 'replace')"
    )
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert second.result() == [f"({id},f,f)"]
    assert live(one) == [(id, "k", 1)]
    one.run("select underway.complete(%s, %s)", id, lease)


def test_who_replaces_a_task_whose_claim_is_rolled_back_replaces_it(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    one.run("begin")
    one.claim("q")
    second = other.start(REPLACE, "2")
    one.see_waiting(other, behind=one)
    one.run("rollback")
    assert second.result() == [id]
    assert live(one) == [(id, "k", 2)]


def test_who_replaces_a_task_that_is_being_cancelled_makes_a_new_one(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    one.run("begin")
    one.run("select underway.cancel(%s)", id)
    second = other.start(REPLACE, "2")
    one.see_waiting(other, behind=one)
    one.run("commit")
    (next,) = second.result()
    assert live(one) == [(next, "k", 2)]
    assert one.state(id) == "cancelled"


def test_a_task_that_is_being_replaced_is_passed_over_by_claims(one: Session, other: Session) -> None:
    id = one.value(ENQUEUE, "1")
    one.run("begin")
    one.value(REPLACE, "2")
    other.run("set lock_timeout = '300ms'")
    assert other.claim_ids("q") == []
    one.run("commit")
    assert other.rows("select id, input from underway.dequeue('q')") == [(id, 2)]


def test_a_transaction_that_has_met_a_running_task_does_not_keep_its_holder_waiting(
    one: Session, other: Session
) -> None:
    id = one.value(ENQUEUE, "1")
    ((_, lease),) = one.claim("q")
    one.run("begin")
    assert one.value(ENQUEUE, "2") == one.value(REPLACE, "3") == id
    other.run("set lock_timeout = '300ms'")
    assert other.column("select * from underway.heartbeat(%s, %s)", [id], [lease]) == [id]
    other.run("select underway.complete(%s, %s)", id, lease)
    one.run("commit")


# Keys that are free when their task begins


UNTIL_START = """
    select e.id, e.created, e.replaced
    from underway.enqueue_unique(
        'q', array[%s]::jsonb[], '{k}', unique_until => 'start', on_conflict => %s
    ) e"""


@pytest.mark.parametrize("on_conflict", ["return", "error", "replace"])
def test_a_key_until_start_is_free_once_the_claim_of_its_task_is_committed(one: Session, on_conflict: str) -> None:
    ((first, *_),) = one.rows(UNTIL_START, "1", on_conflict)
    one.claim("q", 1)
    ((second, created, _),) = one.rows(UNTIL_START, "2", on_conflict)
    assert created
    assert [(id, key) for id, key, _ in live(one)] == [(first, None), (second, "k")]


def test_a_replacement_that_meets_an_open_claim_waits_for_it_and_makes_a_new_task(one: Session, other: Session) -> None:
    ((first, *_),) = one.rows(UNTIL_START, "1", "replace")
    one.run("begin")
    one.claim("q", 1)
    second = other.start(UNTIL_START, "2", "replace")
    one.see_waiting(other, behind=one)
    one.run("commit")
    (new,) = second.result()
    assert live(one) == [(first, None, 1), (new, "k", 2)]


def test_a_task_is_not_claimed_while_its_replacement_is_not_committed(one: Session, other: Session) -> None:
    ((first, *_),) = one.rows(UNTIL_START, "1", "replace")
    other.run("begin")
    assert other.rows(UNTIL_START, "2", "replace") == [(first, False, True)]
    assert one.claim("q", 1) == []
    other.run("commit")
    assert [task for task, _ in one.claim("q", 1)] == [first]
    assert live(one) == [(first, None, 2)]


def test_when_a_claim_is_rolled_back_its_task_has_its_key_again(one: Session) -> None:
    ((first, *_),) = one.rows(UNTIL_START, "1", "return")
    one.run("begin")
    one.claim("q", 1)
    one.run("rollback")
    assert one.rows(UNTIL_START, "2", "return") == [(first, False, False)]


# In bulk


@pytest.mark.parametrize("on_conflict", ["return", "replace"])
@pytest.mark.parametrize("unique_for", [None, "1 millisecond", "1 hour"])
def test_bulks_of_the_same_keys_in_any_order_never_wait_in_a_circle(
    database: str, one: Session, on_conflict: str, unique_for: str | None
) -> None:
    keys = [f"k{number}" for number in range(30)]

    def enqueue(number: int) -> None:
        draw = random.Random(number)
        with Session(database) as session:
            for turn in range(12):
                mine = keys[:: 1 if (number + turn) % 2 else -1]
                if turn % 3 == 2:
                    mine = draw.sample(keys, 20)
                session.run(BULK, mine, mine, on_conflict, unique_for)
                for task, lease in session.claim("q", draw.randrange(12)):
                    session.run("select underway.complete(%s, %s)", task, lease)

    at_once(enqueue, 6)
    found = Counter(key for _, key, _ in live(one))
    assert set(found.values()) <= {1}
    if unique_for == "1 hour":
        assert one.value("select count(*) from underway.task_history") + len(live(one)) == len(keys)


def test_a_bulk_says_of_each_input_whose_it_is_when_others_take_keys_meanwhile(database: str, one: Session) -> None:
    keys = [f"k{number}" for number in range(200)]

    def enqueue(number: int) -> list[str]:
        mine = random.Random(number).sample(keys, len(keys))
        with Session(database) as session:
            said = dict(zip(mine, session.value(BULK, mine, mine, "return", None), strict=True))
        return [said[key] for key in keys]

    answers = at_once(enqueue, 5)
    tasks = {key: id for id, key, _ in live(one)}
    assert len(tasks) == len(keys)
    for number, key in enumerate(keys):
        said = sorted(answer[number] for answer in answers)
        assert said == [f"({tasks[key]},f)"] * 4 + [f"({tasks[key]},t)"], key


# Keys that are taken for a while


def test_when_many_take_a_key_for_a_while_and_run_what_they_get_there_is_one_task(database: str, one: Session) -> None:
    def enqueue_and_run(number: int) -> list[int]:
        ids = []
        with Session(database) as session:
            for _ in range(20):
                ids.append(session.value(HOLD if number % 2 else ENQUEUE, "1"))
                for task, lease in session.claim("q"):
                    session.run("select underway.complete(%s, %s)", task, lease)
        return ids

    one.value(HOLD, "1")
    ids = set(itertools.chain(*at_once(enqueue_and_run, 6)))
    assert len(ids) == 1
    assert live(one) == []


@pytest.mark.parametrize("enqueue", [ENQUEUE, REPLACE, HOLD])
def test_who_waits_for_one_that_takes_a_key_for_a_while_gets_its_id_though_its_task_has_ended(
    one: Session, other: Session, enqueue: str
) -> None:
    one.run("begin")
    id = one.value(HOLD, "1")
    second = other.start(enqueue, "2")
    one.see_waiting(other, behind=one)
    # The task is over before the second can see it.
    ((_, lease),) = one.claim("q")
    one.run("select underway.complete(%s, %s)", id, lease)
    one.run("commit")
    assert second.result() == [id]
    assert live(one) == []


def test_a_key_that_was_taken_for_a_while_and_rolled_back_is_free(one: Session, other: Session) -> None:
    one.run("begin")
    one.value(HOLD, "1")
    second = other.start(HOLD, "2")
    one.see_waiting(other, behind=one)
    one.run("rollback")
    (id,) = second.result()
    assert live(one) == [(id, "k", 2)]
    assert one.column("select task from underway.unique_reservation") == [id]


def test_a_time_that_is_over_is_taken_over_by_one_of_many(database: str, one: Session) -> None:
    old = one.value(HOLD, "1")
    ((_, lease),) = one.claim("q")
    one.run("select underway.complete(%s, %s)", old, lease)
    one.run("update underway.unique_reservation set expires_at = clock_timestamp()")

    def enqueue(number: int) -> int:
        with Session(database) as session:
            id: int = session.value(HOLD, "1")
            session.run("select underway._run_chores()")
            return id

    (id,) = set(at_once(enqueue, 8))
    assert id != old
    assert one.column("select task from underway.unique_reservation") == [id]


def test_upkeep_passes_over_a_time_that_is_just_being_taken_over(one: Session, other: Session) -> None:
    old = one.value(HOLD, "1")
    one.run("select underway.cancel(%s)", old)
    one.run("update underway.unique_reservation set expires_at = clock_timestamp()")
    one.run("begin")
    id = one.value(HOLD, "2")
    other.run("set lock_timeout = '300ms'")
    assert other.value("select underway._prune_reservations()") == 0
    one.run("commit")
    assert one.column("select task from underway.unique_reservation") == [id]


# Tasks that come back


@pytest.mark.parametrize("committed", [True, False])
def test_a_retry_waits_for_one_that_is_taking_its_key(one: Session, other: Session, committed: bool) -> None:
    old = one.value(ENQUEUE, "1")
    one.run("select underway.cancel(%s)", old)
    one.run("begin")
    new = one.value(ENQUEUE, "2")
    retry = other.start("select underway.retry(%s)", old)
    one.see_waiting(other, behind=one)
    one.run("commit" if committed else "rollback")
    if committed:
        with refused(CONFLICT, f"taken by task {new}"):
            retry.result()
        assert other.state(old) == "cancelled"
    else:
        retry.result()
        assert other.state(old) == "pending"
        assert other.value(ENQUEUE, "3") == old


def test_a_redrive_waits_for_one_that_is_taking_a_key_and_leaves_that_letter(one: Session, other: Session) -> None:
    one.create_queue("letters")
    one.create_queue("q", "dead_letter_queue => 'letters'")
    old = one.value(ENQUEUE, "1")
    ((_, lease),) = one.claim("q")
    one.run("select underway.fail(%s, %s, '1', retryable => false)", old, lease)
    one.run("begin")
    new = one.value(ENQUEUE, "2")
    redrive = other.start("select underway.redrive('letters')")
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert redrive.result() == [0]
    assert other.state(old) == "failed"
    one.run("select underway.cancel(%s)", new)
    assert other.value("select underway.redrive('letters')") == 1
    assert other.state(old) == "pending"


# Isolation


def test_under_repeatable_read_a_key_is_never_taken_twice_and_40001_is_the_worst(one: Session, other: Session) -> None:
    one.run("begin isolation level repeatable read")
    assert one.value("select count(*) from underway.task") == 0  # now it has its snapshot
    id = other.value(ENQUEUE, "1")
    with refused("40001"):
        one.value(ENQUEUE, "2")
    one.run("rollback")
    assert one.value(ENQUEUE, "2") == id


# A limit of length


def test_a_limit_of_length_keeps_nobody_waiting(one: Session, other: Session) -> None:
    one.run("update underway.queue set max_length = 2")
    one.run("begin")
    one.enqueue("q", 2)
    other.run("set lock_timeout = '300ms'")
    other.enqueue("q", 2)  # it does not see those of the first
    one.run("commit")
    with refused(QUEUE_FULL, "queue 'q' is full: 3 tasks pending"):
        other.enqueue("q")


def test_the_cost_of_an_enqueue_does_not_grow_with_the_length_of_a_queue(one: Session) -> None:
    """What one call reads of the tasks and their indexes."""
    read = (
        "select coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int from pg_class c"
        " where c.relnamespace = 'underway'::regnamespace and c.relname ~ '^(task|parked|queue_length)'"
    )

    def cost() -> int:
        one.run("begin")
        before: int = one.value(read)
        one.enqueue("q", 1, "delay => '1 minute'")
        after: int = one.value(read)
        one.run("commit")
        return after - before

    one.run("update underway.queue set max_length = 30000")
    one.enqueue("q", 100)
    first, second = cost(), cost()
    assert 100 <= first <= 110
    assert second <= 2
    one.enqueue("q", 20_000)
    assert cost() <= 2
    one.enqueue("q", 9_000)
    assert cost() <= 2


def test_an_old_snapshot_records_no_length(one: Session, other: Session) -> None:
    one.run("update underway.queue set max_length = 1000")
    one.enqueue("q", 200)
    one.run("begin isolation level repeatable read")
    one.value("select 1")
    other.enqueue("q", 750)
    other.run("delete from underway.queue_length")
    one.enqueue("q")
    one.run("commit")
    with refused(QUEUE_FULL, "queue 'q' is full: 951 tasks pending"):
        other.enqueue("q", 50)
    other.enqueue("q", 49)


def test_two_sessions_that_count_at_once_do_not_wait_for_each_other(one: Session, other: Session) -> None:
    one.run("update underway.queue set max_length = 1000")
    one.enqueue("q", 200)
    for session in (one, other):
        session.run("set lock_timeout = '300ms'")
        session.run("begin")
    for session in (one, other, one, other):
        session.run("select nextval('underway.task_id_seq') from generate_series(1, 1000)")
        session.enqueue("q")
    one.run("commit")
    other.run("commit")
    one.enqueue("q")
    assert one.value("select count(*) from underway.queue_length") == 2
