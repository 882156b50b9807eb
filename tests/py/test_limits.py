"""Limits hold at each committed instant, whoever claims at once, and nothing waits that may run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.py.support import FORGOTTEN, Session, at_once, beside, refused, stopped_in
from underway_pg import App, Queue

OpenSession = Callable[..., Session]

LONG = bool(os.environ.get("UNDERWAY_LONG"))

# The most that ran at once, of a queue and of a key: one statement, one committed instant.
RUNNING = """
    select coalesce(max(tasks), 0)
    from (
        select count(*) as tasks
        from underway.task
        where state = 'in_progress'
        group by grouping sets ((queue), (queue, concurrency_key))
        having {which}
    ) running"""
RUNNING_OF_A_KEY = RUNNING.format(which="grouping(concurrency_key) = 0 and concurrency_key is not null")
RUNNING_OF_A_QUEUE = RUNNING.format(which="grouping(concurrency_key) = 1")


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Session(database, **options))


@pytest.fixture
def session(open_session: OpenSession) -> Iterator[Session]:
    session = open_session()
    session.create_queue("q", "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 2)")
    yield session
    assert session.rows(FORGOTTEN) == []


def keyed(session: Session, key: str, count: int = 1, options: str = "") -> list[int]:
    return session.enqueue("q", count, f"concurrency_key => '{key}'" + (f", {options}" if options else ""))


def parked(session: Session) -> list[int]:
    return session.column("select id from underway.task where parked order by id")


# One key


def test_tasks_of_a_key_run_one_at_a_time_in_order(session: Session) -> None:
    a = keyed(session, "a", 3)
    b = keyed(session, "b", 2)
    plain = session.enqueue("q", 2)
    done = []
    for expected in ([a[0], b[0], *plain], [a[1], b[1]], [a[2]], []):
        claimed = session.claim("q", 10)
        assert [id for id, _ in claimed] == expected
        assert session.claim("q", 10) == []
        session.run("select from underway.complete_many(%s, %s)", expected, [lease for _, lease in claimed])
        done += expected
    assert sorted(done) == sorted(a + b + plain)


def test_a_blocked_task_is_parked_once(session: Session) -> None:
    a = keyed(session, "a", 5)
    session.claim("q", 1)
    assert parked(session) == a[1:]
    session.run("begin")
    assert session.claim("q", 10) == []
    assert session.value("select pg_current_xact_id_if_assigned()") is None
    session.run("commit")


def test_more_of_a_key_may_run_where_the_queue_allows(session: Session) -> None:
    session.create_queue("q", "max_running_per_key => 3")
    a = keyed(session, "a", 5)
    assert session.claim_ids("q", 2) == a[:2]
    assert session.claim_ids("q", 5) == a[2:3]
    assert session.claim_ids("q", 5) == []


def test_keys_of_two_queues_have_nothing_to_do_with_each_other(session: Session) -> None:
    session.create_queue("other")
    (a,) = keyed(session, "a")
    (other,) = session.enqueue("other", 1, "concurrency_key => 'a'")
    assert session.claim_ids("q") == [a]
    assert session.claim_ids("other") == [other]


def test_of_one_key_the_higher_priority_comes_first_parked_or_not(session: Session) -> None:
    low = keyed(session, "a", 3)
    ((running, lease),) = session.claim("q")
    high = keyed(session, "a", 2, "priority => 1")
    order = [running]
    for _ in range(4):
        session.run("select underway.complete(%s, %s)", running, lease)
        if len(order) == 2:
            high += keyed(session, "a", 1, "priority => 1")
        ((running, lease),) = session.claim("q", 10)
        order.append(running)
    assert order == [low[0], *high, low[1]]


def test_what_is_parked_comes_before_what_was_enqueued_later(session: Session) -> None:
    first = keyed(session, "a", 3)
    ((id, lease),) = session.claim("q")
    later = keyed(session, "a", 2)
    order = [id]
    for _ in range(4):
        session.run("select underway.complete(%s, %s)", id, lease)
        ((id, lease),) = session.claim("q", 10)
        order.append(id)
    assert order == first + later


# Whatever frees a key

FREE: dict[str, Callable[[Session, int, str], None]] = {
    "complete": lambda s, id, lease: s.run("select underway.complete(%s, %s)", id, lease),
    "fail for good": lambda s, id, lease: s.run("select underway.fail(%s, %s, '1', retryable => false)", id, lease),
    "fail to try again": lambda s, id, lease: s.run(
        "select underway.fail(%s, %s, '1', retry_after => '1 hour')", id, lease
    ),
    "snooze": lambda s, id, lease: s.run("select underway.snooze(%s, %s, '1 hour')", id, lease),
    "release": lambda s, id, lease: s.run("select underway.release(%s, %s)", id, lease),
    "cancel": lambda s, id, lease: s.run("select underway.cancel(%s)", id),
    "reclaim": lambda s, id, lease: (s.lapse(id), s.run("select underway._run_chores()"))[1],
}


@pytest.mark.parametrize("how", FREE)
def test_the_next_of_a_key_runs_when(session: Session, how: str) -> None:
    _, second, _ = keyed(session, "a", 3)
    ((id, lease),) = session.claim("q")
    assert session.claim("q", 10) == []
    FREE[how](session, id, str(lease))
    assert session.value("select underway.next_wakeup('{q}') <= '20 ms'")
    # A task that is released goes back to the front.
    assert session.claim_ids("q", 10) == [id if how == "release" else second]


@pytest.mark.parametrize("how", FREE)
def test_a_queue_with_a_limit_goes_on_after(session: Session, how: str) -> None:
    session.create_queue("q", "max_running => 1")
    _, second, _ = session.enqueue("q", 3)
    ((id, lease),) = session.claim("q", 10)
    assert session.claim("q", 10) == []
    assert session.value("select underway.next_wakeup('{q}') = '1 s'")
    FREE[how](session, id, str(lease))
    assert session.value("select underway.next_wakeup('{q}') <= '20 ms'")
    # A task that is released goes back to the front.
    assert session.claim_ids("q", 10) == [id if how == "release" else second]


@pytest.mark.parametrize("order", ["the claim is committed first", "the completion is committed first"])
def test_a_claim_that_meets_a_completion_of_the_same_key_parks_nothing(
    session: Session, open_session: OpenSession, order: str
) -> None:
    """The completion has looked for parked tasks, so the claim leaves the next one ready."""
    (first,) = keyed(session, "a")
    ((id, lease),) = session.claim("q")
    assert id == first
    (second,) = keyed(session, "a")
    holder, claimer = open_session(), open_session()
    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", id, lease)
    claimer.run("begin")
    assert claimer.claim("q", 10) == []
    for each in (claimer, holder) if order.startswith("the claim") else (holder, claimer):
        each.run("commit")
    assert parked(session) == []
    assert session.claim_ids("q", 10) == [second]


def test_a_completion_that_is_rolled_back_frees_nothing(session: Session, open_session: OpenSession) -> None:
    keyed(session, "a", 2)
    ((id, lease),) = session.claim("q")
    holder = open_session()
    holder.run("begin")
    holder.run("select underway.complete(%s, %s)", id, lease)
    holder.run("rollback")
    assert session.claim("q", 10) == []


def test_a_claim_that_is_rolled_back_leaves_all_as_it_was(session: Session, open_session: OpenSession) -> None:
    a = keyed(session, "a", 3)
    claimer = open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 10) == a[:1]
    claimer.run("rollback")
    assert parked(session) == a[1:]
    assert session.claim_ids("q", 10) == a[:1]


def test_a_claim_from_a_queue_with_limits_does_not_wait_for_another(
    session: Session, open_session: OpenSession
) -> None:
    a, b = keyed(session, "a")[0], keyed(session, "b")[0]
    claimer, other = open_session(), open_session(impatient=True)
    claimer.run("begin")
    assert claimer.claim_ids("q", 1) == [a]
    assert other.claim_ids("q", 1) == []
    claimer.run("commit")
    assert other.claim_ids("q", 1) == [b]


def test_a_task_that_is_being_cancelled_does_not_block_its_key(session: Session, open_session: OpenSession) -> None:
    first, second = keyed(session, "a", 2)
    canceller = open_session()
    canceller.run("begin")
    canceller.run("select underway.cancel(%s)", first)
    assert session.claim("q", 10) == []
    canceller.run("commit")
    assert session.claim_ids("q", 10) == [second]


def test_a_parked_task_that_is_cancelled_is_passed_over(session: Session) -> None:
    _, second, third = keyed(session, "a", 3)
    ((id, lease),) = session.claim("q")
    session.run("select underway.cancel(%s)", second)
    session.run("select underway.complete(%s, %s)", id, lease)
    assert session.claim_ids("q", 10) == [third]


def test_a_parked_task_may_be_rescheduled_and_reprioritized(session: Session) -> None:
    _, second, third, fourth = keyed(session, "a", 4)
    ((id, lease),) = session.claim("q")
    session.run("select underway.reschedule(%s, now() + interval '1 hour')", second)
    session.run("select underway.reprioritize(%s, 5)", fourth)
    session.run("select underway.complete(%s, %s)", id, lease)
    ((id, lease),) = session.claim("q", 10)
    assert id == fourth
    session.run("select underway.complete(%s, %s)", id, lease)
    assert session.claim_ids("q", 10) == [third]


# Settings that change


def test_a_limit_counts_what_was_claimed_before_it(session: Session) -> None:
    ids = session.enqueue("q", 10)
    claimed = session.claim("q", 5)
    session.create_queue("q", "max_running => 6")
    assert session.claim_ids("q", 10) == ids[5:6]
    session.run("select from underway.complete_many(%s, %s)", *map(list, zip(*claimed[:2], strict=True)))
    assert session.claim_ids("q", 10) == ids[6:8]
    session.create_queue("q", "max_running => 2")
    assert session.claim_ids("q", 10) == []
    session.create_queue("q", "max_running => 0")
    assert session.claim_ids("q", 10) == ids[8:]


def test_a_limit_waits_for_claims_that_do_not_know_it(session: Session, open_session: OpenSession) -> None:
    ids = session.enqueue("q", 10)
    claimer, operator = open_session(), open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 5) == ids[:5]
    setting = operator.start("select underway.create_queue('q', max_running => 5)")
    operator_waits = session
    operator_waits.see_waiting(operator, behind=claimer)
    assert session.claim_ids("q", 5) == []
    claimer.run("commit")
    setting.result(15)
    assert session.claim_ids("q", 5) == []


def test_a_limit_that_came_since_a_claim_looked_is_kept_by_it(session: Session, open_session: OpenSession) -> None:
    """A claim from two queues is slow with the first, while the second gets its limit."""
    session.create_queue("other")
    session.enqueue("other", 1, "priority => 1")
    session.enqueue("q", 6)
    claimer = open_session()
    claim = "select queue from underway.dequeue('{other,q}'::text[], 10)"
    before = "if random() * 1000 < 10"
    with stopped_in(session, claimer, "dequeue(text[],integer,bigint)", claim, before=before) as claiming:
        session.create_queue("q", "max_running => 1")
    assert claiming.result(15) == ["other", "q"]  # one of the six
    assert session.claim_ids("q", 10) == []


def test_an_old_snapshot_does_not_hide_a_new_limit(session: Session, open_session: OpenSession) -> None:
    ids = session.enqueue("q", 6)
    old = open_session()
    old.run("begin isolation level repeatable read")
    assert old.value("select count(*) from underway.queue") == 1
    session.create_queue("q", "max_running => 1")
    with refused("40001"):
        old.claim("q", 5)
    old.run("rollback")
    assert session.claim_ids("q", 10) == ids[:1]


def test_an_old_snapshot_does_not_wait_for_a_limit(session: Session, open_session: OpenSession) -> None:
    session.enqueue("q", 6)
    old, operator = open_session(impatient=True), open_session()
    operator.run("begin")
    operator.run("update underway.queue set retention = retention")
    old.run("begin isolation level repeatable read")
    assert old.claim_ids("q", 5) == []
    operator.run("rollback")
    assert len(old.claim_ids("q", 5)) == 5
    old.run("commit")


def test_a_rate_of_keys_that_changes_while_a_claim_parks_holds_for_what_it_parks(
    session: Session, open_session: OpenSession
) -> None:
    session.create_queue("q", "rate_limit_per_key => 1, rate_period => '1 day', max_running_per_key => 10")
    ids = keyed(session, "a", 3)
    claimer, operator = open_session(), open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 10) == ids[:1]
    setting = operator.start("select underway.create_queue('q', rate_limit_per_key => 0)")
    session.see_waiting(operator, behind=claimer)
    claimer.run("commit")
    setting.result(15)
    assert session.claim_ids("q", 10) == ids[1:]


def test_why_names_the_session_that_holds_up_a_task_with_its_transaction(
    session: Session, open_session: OpenSession
) -> None:
    session.create_queue("q", "max_running => 10")
    session.run("select underway.register_worker('w', '{q}')")
    first, second = session.enqueue("q", 2)
    claimer = open_session()
    claimer.run("begin")
    assert claimer.claim_ids("q", 1) == [first]

    def reason(task: int) -> str:
        return str(session.value("select reason from underway.why(%s)", task))

    claims = f"; session {claimer.pid} has claimed from the queue and not committed"
    assert session.claim("q") == []
    assert reason(second).endswith(claims)
    assert reason(first).endswith(f"{claims}; session {claimer.pid} has locked the task")
    claimer.run("rollback")
    assert reason(second).endswith("live workers of queue 'q': w")


def test_a_higher_limit_of_keys_lets_parked_tasks_run(session: Session) -> None:
    a = keyed(session, "a", 5)
    assert session.claim_ids("q", 10) == a[:1]
    session.create_queue("q", "max_running_per_key => 3")
    assert session.claim_ids("q", 10) == a[1:3]


def test_a_paused_key_is_not_claimed_until_it_is_resumed(session: Session) -> None:
    a, b = keyed(session, "a", 2), keyed(session, "b", 1)
    assert session.value("select underway.pause_key('q', 'a')")
    assert not session.value("select underway.pause_key('q', 'a')")
    assert session.claim_ids("q", 10) == b
    assert session.claim_ids("q", 10) == []
    assert session.value("select underway.resume_key('q', 'a')")
    assert not session.value("select underway.resume_key('q', 'a')")
    assert session.claim_ids("q", 10) == a[:1]


def test_limits_are_not_kept_by_an_old_snapshot_and_so_it_is_refused(session: Session) -> None:
    keyed(session, "a")
    session.run("begin isolation level repeatable read")
    with refused("UW001", "repeatable read"):
        session.claim("q")
    session.run("rollback")


def test_a_rate_limit_lets_so_many_start_at_once_and_then_as_tokens_come(session: Session) -> None:
    session.create_queue("q", "rate_limit => 5, rate_period => '1 hour'")
    ids = session.enqueue("q", 20)
    assert session.claim_ids("q", 3) == ids[:3]
    assert session.claim_ids("q", 10) == ids[3:5]
    assert session.claim("q", 10) == []
    session.run("update underway.token_bucket set refilled_at = refilled_at - interval '25 minutes'")
    assert session.claim_ids("q", 10) == ids[5:7]
    session.create_queue("q", "rate_limit => 0")
    assert session.claim_ids("q", 10) == ids[7:17]


# Many at once


@pytest.fixture
def set_clock(session: Session) -> Callable[[str], None]:
    """Sets the clock of the database, for all sessions."""
    session.run("create table public.clock as select timestamptz '2030-01-01 12:00Z' as now")
    session.run(
        "create or replace function underway._clock() returns timestamptz language sql volatile"
        " as 'select now from public.clock'"
    )
    return lambda now: session.run(f"update public.clock set now = {now}")


def test_a_claim_at_the_very_microsecond_of_a_token_forgets_no_key(
    session: Session, set_clock: Callable[[str], None]
) -> None:
    """A third of a second is no whole number of microseconds."""
    session.create_queue("q", "rate_limit_per_key => 3, rate_period => '1 second', max_running_per_key => 10")
    ids = keyed(session, "a", 4)
    for id, lease in session.claim("q", 10):
        session.run("select underway.complete(%s, %s)", id, lease)
    assert session.claim_ids("q", 10) == []
    set_clock("(select min(check_at) from underway.ready_key where check_at > '-infinity')")
    claimed = session.claim_ids("q", 10)
    set_clock("now + interval '2 microseconds'")
    assert claimed + session.claim_ids("q", 10) == ids[3:]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_claim_does_not_wait_for_who_prunes_the_bucket_of_its_key(
    session: Session, open_session: OpenSession, set_clock: Callable[[str], None], end: str
) -> None:
    session.create_queue("q", "rate_limit_per_key => 2, rate_period => '1 second', max_running_per_key => 10")
    ids = keyed(session, "a", 6)
    assert session.claim_ids("q", 10) == ids[:2]
    set_clock("now + interval '1 hour'")
    pruner, claimer = open_session(), open_session(impatient=True)
    pruner.run("begin")
    pruner.run("select underway._prune_buckets()")
    assert claimer.claim_ids("q", 1) == ids[2:3]
    pruner.run(end)
    assert claimer.claim_ids("q", 10) == ids[3:4]
    session.run("select underway._prune_buckets()")
    assert session.value("select count(*) from underway.token_bucket") == 1


@pytest.mark.parametrize("settings", ["rate_limit => 1", "rate_limit_per_key => 1, max_running_per_key => 10"])
def test_a_clock_that_is_put_back_does_not_keep_tokens_away(
    session: Session, set_clock: Callable[[str], None], settings: str
) -> None:
    session.create_queue("q", f"rate_period => '1 second', {settings}")
    ids = keyed(session, "a", 3)
    assert session.claim_ids("q", 10) == ids[:1]
    session.run("select underway.complete(id, lease) from underway.task where state = 'in_progress'")
    assert session.claim_ids("q", 10) == []
    session.run("select underway._run_chores()")
    set_clock("now - interval '1 hour'")
    session.run("select underway._run_chores()")
    assert session.claim_ids("q", 10) == ids[1:2]
    session.run("select underway.complete(id, lease) from underway.task where state = 'in_progress'")
    assert session.claim_ids("q", 10) == []
    set_clock("now + interval '1 second'")
    assert session.claim_ids("q", 10) == ids[2:]


@pytest.mark.parametrize("sessions", [12, 50] if LONG else [12])
def test_limits_hold_at_each_instant_and_all_is_done(database: str, session: Session, sessions: int) -> None:
    session.create_queue("q", "max_running => 7, max_running_per_key => 2")
    ids = list(itertools.chain(*(keyed(session, f"k{number % 6}", 2) for number in range(sessions * 6))))
    ids += session.enqueue("q", sessions * 5)
    ended = threading.Event()
    most = {"queue": 0, "key": 0}

    def record() -> None:
        with Session(database) as mine:
            while not ended.is_set():
                most["queue"] = max(most["queue"], mine.value(RUNNING_OF_A_QUEUE))
                most["key"] = max(most["key"], mine.value(RUNNING_OF_A_KEY))
                assert mine.rows(FORGOTTEN) == []

    def work(number: int) -> list[int]:
        done: list[int] = []
        with Session(database) as mine:
            while mine.value("select exists (select from underway.task)"):
                for id, lease in mine.claim("q", 1 + number % 4):
                    if (id + number) % 9 == 0:
                        mine.run("select underway.release(%s, %s)", id, lease)
                    elif (id + number) % 10 == 0:
                        mine.run("select from underway.fail(%s, %s, '1')", id, lease)
                    else:
                        done += mine.column("select * from underway.complete_many(%s, %s)", [id], [lease])
        return done

    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        done = list(itertools.chain(*at_once(work, sessions)))
    finally:
        ended.set()
        recorder.join()
    failed = session.column("select id from underway.task_history where state = 'failed'")
    assert sorted(done + failed) == sorted(ids)
    assert most == {"queue": 7, "key": 2}
    assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


def test_workers_use_a_limit_up_and_do_not_sleep_over_it(database: str, session: Session) -> None:
    """Who frees a place calls: forty rounds end long before workers that look once a second would be done."""
    running, most, lock = 0, 0, threading.Lock()
    app = App(database, queues=[Queue(name="q", max_running=3, max_running_per_key=2)])

    @app.job(queue="q")
    async def work(n: int) -> None:
        nonlocal running, most
        with lock:  # of two loops
            running += 1
            most = max(most, running)
        await asyncio.sleep(0.01)  # the work
        with lock:
            running -= 1

    with app:
        for n in range(120):
            work.options(concurrency_key=f"k{n % 4}").enqueue(n=n)
        with beside(app.worker(concurrency=10), app.worker(concurrency=10)) as worker:
            gone = "select 1 where not exists (select from underway.task)"
            worker.until(lambda: session.column(gone), "all is done")
    assert most == 3
