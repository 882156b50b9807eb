"""Jobs and expiry with two sessions: who wins, who waits for whom, and who waits for nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest

from tests.py.support import Session, at_once, refused, wait_until

JOB_NOT_FOUND, LEASE_LOST, QUEUE_NOT_FOUND, WRONG_STATE = "UW016", "UW002", "UW003", "UW005"

OpenSession = Callable[..., Session]

MINUTE = timedelta(minutes=1)
EXPIRED = "expires_at => now()"  # a time in the past means now


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:

        def open_one(*, impatient: bool = False) -> Session:
            return stack.enter_context(Session(database, impatient=impatient))

        yield open_one


def register(session: Session, job: str = "send", queue: str = "q", settings: str = "timeout => '1 minute'") -> None:
    session.run(f"select underway.register_job('{job}', '{queue}', {settings})")


def claimed_timeout(session: Session, queue: str = "q") -> timedelta:
    """The timeout of a new task that is claimed now."""
    session.enqueue(queue, 1, "job => 'send'")
    timeout: timedelta = session.value("select timeout from underway.dequeue(%s)", queue)
    return timeout


def reasons(session: Session) -> list[tuple[str, str | None]]:
    """The states and the reasons of the tasks in the history."""
    return session.rows("select state::text, reason from underway.task_history order by id")


# Registering


def test_a_claim_does_not_wait_for_a_job_that_is_being_registered(open_session: OpenSession) -> None:
    one, claimer = open_session(), open_session(impatient=True)
    one.create_queue("q", "timeout => '1 hour'")

    one.run("begin")
    register(one)
    assert claimed_timeout(claimer) == timedelta(hours=1)
    one.run("commit")
    assert claimed_timeout(claimer) == MINUTE

    one.run("begin")
    register(one, settings="timeout => '2 minutes'")
    assert claimed_timeout(claimer) == MINUTE
    one.run("rollback")
    assert claimed_timeout(claimer) == MINUTE


def test_a_failure_follows_the_job_as_it_is_committed_then(open_session: OpenSession) -> None:
    one, holder = open_session(), open_session(impatient=True)
    one.create_queue("q")
    register(one, settings="retry_policy => underway.retry_policy(2)")
    one.enqueue("q", 2, "job => 'send'")
    (first, second) = holder.claim("q", 2)

    one.run("begin")
    register(one, settings="retry_policy => underway.retry_policy(1)")
    assert holder.value("select underway.fail(%s, %s, '1')", *first) is not None
    one.run("commit")
    assert holder.value("select underway.fail(%s, %s, '1')", *second) is None


def test_of_two_sessions_that_register_a_job_the_last_counts(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    register(one)

    one.run("begin")
    register(one, settings="timeout => '2 minutes'")
    waiting = other.start("select underway.register_job('send', 'q', timeout => '3 minutes')")
    wait_until(lambda: other.pid in one.column("select pid from pg_locks where not granted"), "the other waits")
    one.run("commit")
    waiting.result()
    assert claimed_timeout(one) == 3 * MINUTE


def test_many_workers_that_start_at_once_register_the_same_jobs(database: str, open_session: OpenSession) -> None:
    session = open_session()
    session.create_queue("q")

    def start(number: int) -> None:
        with Session(database) as worker:
            for job in range(20):
                register(worker, f"job {job if number % 2 else 19 - job}")

    at_once(start, 8)
    assert session.value("select count(*) from underway.job_list where timeout = '1 minute'") == 20
    assert session.value("select count(*) from underway.job_list where updated_at > registered_at") == 0


def test_a_queue_that_is_created_beside_the_first_job_is_marked_by_maintain(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")

    one.run("begin")
    register(one)
    other.run("begin")
    other.create_queue("r", "timeout => '1 hour'")
    one.run("commit")
    other.run("commit")
    assert claimed_timeout(one) == MINUTE
    assert claimed_timeout(one, "r") == timedelta(hours=1)
    other.run("select underway.maintain(at_once => true)")
    assert claimed_timeout(one, "r") == MINUTE


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_registration_waits_for_the_dropping_of_its_queue(open_session: OpenSession, end: str) -> None:
    one, other = open_session(), open_session()
    for queue in ("q", "dead"):
        one.create_queue(queue)

    one.run("begin")
    one.run("select underway.drop_queue('q')")
    waiting = other.start("select underway.register_job('send', 'q')")
    wait_until(lambda: other.pid in one.column("select pid from pg_locks where not granted"), "the other waits")
    one.run(end)
    if end == "commit":
        with refused(QUEUE_NOT_FOUND):
            waiting.result()
    else:
        waiting.result()
    assert one.value("select count(*) from underway.job_list") == (end == "rollback")


def test_the_dropping_of_a_queue_waits_for_a_registration_and_removes_the_job(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    for queue in ("q", "dead"):
        one.create_queue(queue)
    register(one, "buried", "q", "dead_letter_queue => 'dead'")

    one.run("begin")
    register(one, "send", "dead")
    waiting = other.start("select underway.drop_queue('dead')")
    wait_until(lambda: other.pid in one.column("select pid from pg_locks where not granted"), "the other waits")
    one.run("commit")
    waiting.result()
    assert one.rows("select job, dead_letter_queue from underway.job_list") == [("buried", None)]
    with refused(JOB_NOT_FOUND):
        one.run("select underway.enqueue(job => 'send')")


def test_a_repeatable_read_transaction_sees_the_jobs_of_its_snapshot(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    for queue in ("q", "r"):
        one.create_queue(queue, "timeout => '1 hour'")
    register(one)

    one.run("begin isolation level repeatable read")
    assert one.value("select queue from underway.job where name = 'send'") == "q"
    register(other, queue="r", settings="timeout => '2 minutes'")
    task = one.value("select underway.enqueue(job => 'send')")
    assert claimed_timeout(one) == MINUTE
    with pytest.raises(psycopg.errors.SerializationFailure):
        register(one, settings="timeout => '3 minutes'")
    one.run("rollback")
    assert one.state(task) is None
    assert claimed_timeout(one) == 2 * MINUTE


# Expiry


def test_many_claimers_at_once_get_each_task_once_and_none_that_has_expired(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q")
    session.create_queue("limited", "max_running => 1000")
    live = []
    for queue in ("q", "limited"):
        for _ in range(5):
            session.enqueue(queue, 300, EXPIRED)
            live += session.enqueue(queue, 20, "expires => '1 hour'")

    def claim_until_nothing_is_left(number: int) -> list[int]:
        with Session(database, impatient=True) as claimer:
            found = []
            while claimer.value(
                "select exists (select from underway.task where state = 'pending' and (queue = 'q' or %s))",
                number % 2 == 1,
            ):
                found += claimer.column("select id from underway.dequeue('{q,limited}'::text[], 7)")
                if number == 0:
                    claimer.run("select (underway._expire_overdue(100)).expired")
            return found

    claimed = sum(at_once(claim_until_nothing_is_left, 4), [])
    claimed += session.column("select id from underway.dequeue('limited', 1000)")
    assert sorted(claimed) == sorted(live)
    assert session.value("select count(*) from underway.task where state = 'pending'") == 0
    assert session.rows("select state::text, reason, count(*)::int from underway.task_history group by 1, 2") == [
        ("cancelled", "expired", 3000)
    ]


def test_nobody_waits_for_an_expired_task_that_another_session_has_locked(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    one.create_queue("limited", "max_running => 5")
    locked = one.enqueue("q", 1, EXPIRED) + one.enqueue("limited", 1, EXPIRED)
    ready = [one.enqueue(queue, 1)[0] for queue in ("q", "limited")]

    one.run("begin")
    one.run("select from underway.task where id = any (%s) for update", locked)
    assert [other.claim_ids(queue, 5) for queue in ("q", "limited")] == [[ready[0]], [ready[1]]]
    other.run("select underway.maintain(at_once => true)")
    assert reasons(one) == []
    one.run("commit")
    other.run("select underway.maintain(at_once => true)")
    assert reasons(one) == [("cancelled", "expired")] * 2


def test_a_task_that_is_being_cancelled_does_not_expire(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    (task, undone) = one.enqueue("q", 2, EXPIRED)

    one.run("begin")
    one.run("select underway.cancel(%s)", task)
    one.run("savepoint before")
    one.run("select underway.cancel(%s)", undone)
    assert other.claim_ids("q", 5) == []
    assert other.value("select (underway._expire_overdue()).expired") == 0
    one.run("rollback to before")
    one.run("commit")
    assert other.value("select (underway._expire_overdue()).expired") == 1
    assert reasons(one) == [("cancelled", None), ("cancelled", "expired")]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_task_that_was_claimed_in_time_runs_if_the_claim_commits(open_session: OpenSession, end: str) -> None:
    one, other = open_session(), open_session(impatient=True)
    one.create_queue("q")
    (task,) = one.enqueue("q", 1, "expires => '0.2 seconds'")

    one.run("begin")
    ((id, lease),) = one.claim("q", 1)
    wait_until(lambda: other.value("select expires_at <= clock_timestamp() from underway.task"), "the task has expired")
    assert other.value("select (underway._expire_overdue()).expired") == 0
    one.run(end)
    assert other.value("select (underway._expire_overdue()).expired") == (end == "rollback")
    if end == "commit":
        one.run("select underway.release(%s, %s)", id, lease)
        assert other.claim_ids("q", 1) == []
    assert one.rows("select state::text, reason from underway.task_info(%s)", task) == [("cancelled", "expired")]


def test_a_cancel_and_a_retry_wait_for_an_expiry_under_way(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    (task,) = one.enqueue("q", 1, EXPIRED)

    one.run("begin")
    assert one.value("select (underway._expire_overdue()).expired") == 1
    with refused(WRONG_STATE):
        other.run("select underway.retry(%s)", task)
    waiting = other.start("select underway.cancel(%s)", task)
    wait_until(lambda: other.pid in one.column("select pid from pg_locks where not granted"), "the other waits")
    one.run("commit")
    assert waiting.result() == [False]
    other.run("select underway.retry(%s)", task)
    assert other.claim_ids("q", 1) == [task]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_an_enqueue_with_the_unique_key_of_an_expired_task_is_not_lost(open_session: OpenSession, end: str) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    expired = one.value(f"select underway.enqueue('q', unique_key => 'a', {EXPIRED})")

    one.run("begin")
    assert one.value("select (underway._expire_overdue()).expired") == 1
    waiting = other.start("select underway.enqueue('q', unique_key => 'a')")
    wait_until(lambda: other.pid in one.column("select pid from pg_locks where not granted"), "the other waits")
    one.run(end)
    (new,) = waiting.result()
    assert new != expired
    assert other.claim_ids("q", 5) == [new]
    assert reasons(one) == [("cancelled", "expired")]


def test_a_claim_does_not_wait_for_the_batch_of_an_expired_task(open_session: OpenSession) -> None:
    one, claimer = open_session(), open_session(impatient=True)
    for queue in ("q", "keyed"):
        one.create_queue(queue)
    batch = one.value(
        "select underway.enqueue_batch(jsonb_build_array(jsonb_build_object('queue', 'q', 'expires_at', now())),"
        """ on_failure => '{"queue": "keyed", "concurrency_key": "k"}')"""
    )
    (ready,) = one.enqueue("q", 1)

    one.run("begin")
    one.run("select from underway.batch where id = %s for update", batch)
    assert claimer.claim_ids("q", 5) == [ready]
    assert reasons(claimer) == [("cancelled", "expired")]
    assert claimer.claim_ids("keyed", 1) == []
    one.run("commit")
    claimer.run("select underway.maintain(at_once => true)")
    assert len(claimer.claim_ids("keyed", 1)) == 1


def test_a_repeatable_read_claim_skips_expired_tasks(open_session: OpenSession) -> None:
    session = open_session()
    session.create_queue("q")
    session.enqueue("q", 3, EXPIRED)
    (ready,) = session.enqueue("q", 1)

    session.run("begin isolation level repeatable read")
    assert session.claim_ids("q", 1) == [ready]
    session.run("commit")
    assert reasons(session) == [("cancelled", "expired")] * 3
