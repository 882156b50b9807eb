"""Schedules in several sessions: each time gives one task, whoever ticks, edits, waits, dies or sets the clock."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest

from tests.py.support import SECONDS, Session, at_once, beside, listed, refused, wait_until
from tests.servers import Server
from underway_pg import App, statements

SCHEDULE_NOT_FOUND = "UW009"

OpenSession = Callable[..., Session]

TICK = "select underway.run_schedules()"
EVERY_SECOND = "* * * * * *"
# It is not due by itself while a test runs.
YEARLY = "0 0 1 1 *"


@pytest.fixture
def open_session(database: str) -> Iterator[OpenSession]:
    with contextlib.ExitStack() as stack:

        def open_one(*, impatient: bool = False) -> Session:
            return stack.enter_context(Session(database, impatient=impatient))

        yield open_one


def schedule(session: Session, *names: str, cron: str = YEARLY, queue: str = "q", options: str = "") -> None:
    for name in names:
        session.run(f"select underway.schedule('{name}', '{queue}', '{cron}' {', ' + options if options else ''})")


def make_due(session: Session, *names: str, seconds: int = 1) -> None:
    """Let a time of these schedules have come so many seconds ago."""
    session.run(
        "update underway.schedule set (next_at, check_at) = row(t.at, t.at) from (select"
        " date_trunc('second', clock_timestamp()) - make_interval(secs => %s) as at) t where name = any (%s)",
        seconds,
        list(names),
    )


def scheduled(session: Session, *names: str) -> None:
    """Schedules of queue q that are due, once."""
    session.create_queue("q")
    schedule(session, *names)
    make_due(session, *names)


TASKS = """
    select headers ->> 'schedule', (headers ->> 'scheduled_at')::timestamptz
    from (select id, headers from underway.task union all select id, headers from underway.task_history) t
    where headers ? 'schedule'
    order by id"""


def slots(session: Session) -> dict[str, list[float]]:
    """The times that gave tasks, for each schedule in the order of the tasks."""
    found: dict[str, list[float]] = {}
    for name, at in session.rows(TASKS):
        found.setdefault(name, []).append(at.timestamp())
    return found


def tasks_of(session: Session) -> dict[str, int]:
    return {name: len(times) for name, times in slots(session).items()}


def tick_until(session: Session, condition: Callable[[], bool], what: str) -> None:
    """Tick until a condition holds."""

    def tick() -> bool:
        session.run(TICK)
        return condition()

    wait_until(tick, what)


def assert_no_slot_twice(session: Session) -> None:
    assert [slot for slot, count in Counter(session.rows(TASKS)).items() if count > 1] == []


# Ticks


@pytest.mark.parametrize("tick", [TICK, "select (underway._run_chores() ->> 'scheduled')::integer"])
def test_ten_sessions_that_tick_give_one_task_for_each_time_of_each_schedule(
    database: str, open_session: OpenSession, tick: str
) -> None:
    session = open_session()
    session.create_queue("q")
    steps = {f"s{number}": 1 + number % 5 for number in range(100)}
    for name, step in steps.items():
        schedule(session, name, cron=f"*/{step} * * * * *", options="catch_up => 'all', catch_up_limit => 1000")
    # A minute and more has passed, and some seconds more do while they tick.
    session.run(
        "update underway.schedule set (next_at, check_at) = row(t.at, t.at) from (select"
        " date_trunc('minute', clock_timestamp()) - interval '1 minute' as at) t"
    )
    first = session.value("select extract(epoch from min(next_at))::float8 from underway.schedule")
    until = session.value("select clock_timestamp() + interval '3 s'")

    def tick_until_all_have_come(number: int) -> int:
        count = 0
        with Session(database, impatient=True) as ticker:

            def all_have_come() -> bool:
                nonlocal count
                count += ticker.value(tick)
                return bool(ticker.value("select min(next_at) > %s from underway.schedule", until))

            wait_until(all_have_come, "all schedules have come to the end")
        return count

    total = sum(at_once(tick_until_all_have_come, 10))
    found = slots(session)
    assert total == sum(len(times) for times in found.values())
    last = dict(session.rows("select name, extract(epoch from last_at)::float8 from underway.schedule"))
    for name, step in steps.items():
        expected = [first + number * step for number in range(int(last[name] - first) // step + 1)]
        assert last[name] > until.timestamp() - step
        # Each once, oldest first.
        assert found[name] == expected


def test_two_sessions_that_tick_at_once_share_the_work(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    scheduled(one, "a", "b", "c", "d")

    one.run("begin")
    one.run("select from underway.schedule where name in ('a', 'c') for no key update")
    assert other.value(TICK) == 2
    assert other.value(TICK) == 0
    assert one.value(TICK) == 2
    one.run("commit")
    assert other.value(TICK) == 0
    assert tasks_of(one) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_time_and_its_task_appear_together(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    scheduled(one, "a", "b")
    next_times = "select count(*) from underway.schedule_stats where next_at > clock_timestamp()"

    one.run("begin")
    assert one.value(TICK) == 2
    assert other.value(TICK) == 0
    assert (other.value(next_times), tasks_of(other), other.claim("q", 10)) == (0, {}, [])
    one.run("commit")
    assert other.value(TICK) == 0
    assert (other.value(next_times), tasks_of(other), len(other.claim("q", 10))) == (2, {"a": 1, "b": 1}, 2)


def test_a_tick_that_is_rolled_back_leaves_the_times_to_others(open_session: OpenSession) -> None:
    one, other = open_session(), open_session(impatient=True)
    scheduled(one, "a", "b")
    due = one.column("select extract(epoch from next_at)::float8 from underway.schedule order by name")

    one.run("begin")
    assert one.value(TICK) == 2
    one.run("rollback")
    assert other.value(TICK) == 2
    assert one.value(TICK) == 0
    assert slots(other) == {"a": due[:1], "b": due[1:]}


@pytest.mark.parametrize("call", [TICK, "select underway._run_chores()"])
def test_a_session_that_dies_before_it_commits_leaves_its_times_to_others(open_session: OpenSession, call: str) -> None:
    victim, other = open_session(), open_session(impatient=True)
    scheduled(other, "a", "b")
    due = other.column("select extract(epoch from next_at)::float8 from underway.schedule order by name")

    victim.run("begin")
    victim.run(call)
    assert other.value(TICK) == 0
    other.run("select pg_terminate_backend(%s)", victim.pid)
    wait_until(lambda: other.value(TICK) == 2, "what the dead session had claimed is claimed by another")
    assert other.value(TICK) == 0
    assert slots(other) == {"a": due[:1], "b": due[1:]}


def test_a_tick_under_repeatable_read_gives_no_time_twice_and_fails_with_40001_at_worst(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session()
    scheduled(one, "a", "b", "c")

    one.run("begin isolation level repeatable read")
    assert one.value("select count(*) from underway.schedule") == 3  # now it has its snapshot
    assert other.value(TICK) == 3
    try:
        count = one.value(TICK)
        one.run("commit")
    except psycopg.errors.SerializationFailure:
        one.run("rollback")
        count = one.value(TICK)
    assert count == 0
    assert tasks_of(one) == {"a": 1, "b": 1, "c": 1}


# A tick beside somebody who holds a schedule: the call, whether the due time comes after its commit, and other tasks
HELD_BY = {
    "pause": ("select underway.pause_schedule('b')", False, 0),
    "change": ("select underway.schedule('b', 'q', '0 0 2 1 *')", False, 0),
    "change that keeps the times": (f"select underway.schedule('b', 'q', '{YEARLY}', priority => 5)", True, 0),
    "the same again": (f"select underway.schedule('b', 'q', '{YEARLY}')", True, 0),
    "unschedule": ("select underway.unschedule('b')", False, 0),
    "run now": ("select underway.run_schedule_now('b')", True, 1),
}


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("held_by", HELD_BY)
def test_a_schedule_that_somebody_holds_is_passed_over_and_the_others_run(
    open_session: OpenSession, held_by: str, end: str
) -> None:
    holder, ticker = open_session(), open_session()
    scheduled(holder, "a", "b", "c")
    call, comes, others = HELD_BY[held_by]

    holder.run("begin")
    holder.run(call)
    assert holder.see_not_waiting(ticker, TICK) == [2]
    assert tasks_of(ticker) == {"a": 1, "c": 1}
    holder.run(end)
    comes, others = (comes, others) if end == "commit" else (True, 0)
    assert ticker.value(TICK) == int(comes)
    assert ticker.value(TICK) == 0
    assert tasks_of(ticker).get("b", 0) == int(comes) + others
    assert_no_slot_twice(ticker)


def test_idle_workers_rest_while_somebody_holds_a_schedule_that_is_due(
    database: str, open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, session = open_session(), open_session()
    scheduled(session, "s")
    looks: list[float] = []
    look = statements.look

    def looking(worker: int, queues: Sequence[str]) -> statements.Statement[tuple[float, str]]:
        looks.append(time.monotonic())
        return look(worker, queues)

    monkeypatch.setattr(statements, "look", looking)
    with App(database) as app:
        app.job(name="work", queue="q")(lambda: None)
        holder.run("begin")
        holder.run("select underway.run_schedule_now('s')")
        with beside(app.worker()) as worker:
            worker.until(lambda: any(each.idle for each in app.client.workers()), "it is idle")
            first = len(looks)
            worker.until(lambda: len(looks) > first + 10, "it has looked ten times more")
            assert looks[first + 10] - looks[first] > 9 * 0.04  # of 50 ms each; without a rest it takes a few
            holder.run("rollback")
            worker.until(lambda: session.value("select last_at is not null from underway.schedule"), "it has run")


def test_upkeep_passes_over_a_schedule_that_somebody_holds(open_session: OpenSession) -> None:
    holder, keeper = open_session(), open_session()
    scheduled(holder, "a", "b", "c")

    holder.run("begin")
    holder.run("select underway.run_schedule_now('b')")
    assert holder.see_not_waiting(keeper, "select underway._run_chores() -> 'scheduled'") == [2]
    holder.run("rollback")
    assert keeper.value("select underway._run_chores() -> 'scheduled'") == 1


def test_readers_hold_nobody_up(open_session: OpenSession) -> None:
    reader, ticker = open_session(), open_session()
    scheduled(reader, "a", "b")

    reader.run("begin isolation level repeatable read")
    assert len(reader.rows("select * from underway.schedule_stats")) == 2
    reader.run("select underway.stats(), underway.next_wakeup('{q}')")
    assert reader.see_not_waiting(ticker, TICK) == [2]


# Edits beside a tick


EDITS = {
    "pause": "select underway.pause_schedule('b')",
    "change": "select underway.schedule('b', 'q', '0 0 2 1 *')",
    "change that keeps the times": f"select underway.schedule('b', 'q', '{YEARLY}', priority => 5)",
    "the same again": f"select underway.schedule('b', 'q', '{YEARLY}')",
    "unschedule": "select underway.unschedule('b')",
}


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_waits_for_a_tick_and_does_not_bring_its_time_back(
    open_session: OpenSession, edit: str, end: str
) -> None:
    ticker, editor = open_session(), open_session()
    scheduled(ticker, "a", "b")

    ticker.run("begin")
    assert ticker.value(TICK) == 2
    edited = editor.start(EDITS[edit])
    ticker.see_waiting(editor, behind=ticker)
    ticker.run(end)
    edited.result(SECONDS)

    ticker.run(TICK)
    assert ticker.value(TICK) == 0
    found = tasks_of(ticker)
    assert found["a"] == 1
    # What is paused, moved or removed before its time has come, does not come.
    assert found.get("b", 0) == int(end == "commit" or edit in ("change that keeps the times", "the same again"))


def test_a_change_that_waited_for_a_tick_begins_after_the_time_that_was_given(open_session: OpenSession) -> None:
    ticker, editor = open_session(), open_session()
    ticker.create_queue("q")
    schedule(ticker, "s", cron=EVERY_SECOND)

    # The change is begun before the time comes, and waits while it comes.
    ticker.run("begin")
    ticker.run("select from underway.schedule for no key update")
    changed = editor.start("select underway.schedule('s', 'q', '*/1 * * * * *')")
    ticker.see_waiting(editor, behind=ticker)
    wait_until(lambda: ticker.value(TICK) >= 1, "its time has come")
    ticker.run("commit")
    (next_at,) = changed.result(SECONDS)
    assert next_at > ticker.value("select last_at from underway.schedule_stats")
    tick_until(ticker, lambda: len(set(slots(ticker)["s"])) > 2, "more times have come")
    assert_no_slot_twice(ticker)


def test_a_schedule_that_is_run_now_beside_a_tick_gives_both_tasks(open_session: OpenSession) -> None:
    ticker, operator = open_session(), open_session()
    scheduled(ticker, "s")

    ticker.run("begin")
    assert ticker.value(TICK) == 1
    now = operator.start("select underway.run_schedule_now('s')")
    ticker.see_waiting(operator, behind=ticker)
    ticker.run("commit")
    (task,) = now.result(SECONDS)
    assert tasks_of(ticker) == {"s": 2}
    assert ticker.rows("select last_task, next_at > now() from underway.schedule_stats") == [(task, True)]
    assert ticker.value(TICK) == 0


def test_many_who_run_a_schedule_now_get_a_task_each(database: str, open_session: OpenSession) -> None:
    session = open_session()
    scheduled(session, "s")

    def run_now(number: int) -> list[int]:
        with Session(database) as operator:
            if number == 0:
                operator.run(TICK)
            return [operator.value("select underway.run_schedule_now('s')") for _ in range(10)]

    ids = list(itertools.chain(*at_once(run_now, 6)))
    session.run(TICK)
    assert len(set(ids)) == 60
    assert tasks_of(session) == {"s": 61}


def test_ticks_edits_and_pauses_at_once_never_deadlock_and_give_no_time_twice(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q")
    lasting = [f"lasting {number}" for number in range(4)]
    passing = [f"passing {number}" for number in range(3)]
    schedule(session, *lasting, *passing, cron=EVERY_SECOND, options="catch_up => 'all'")
    until = session.value("select clock_timestamp() + interval '2 s'")
    # A slow machine may need longer for the first time of one of them.
    goes_on = f"""
        select clock_timestamp() < %s or (
            clock_timestamp() < %s + interval '20 s'
            and not exists (select from ({TASKS}) task (name) where starts_with(name, 'lasting'))
        )"""

    def disturb(number: int) -> None:
        chance = random.Random(number)
        with Session(database) as other:
            other.run("set deadlock_timeout = '20ms'")
            while other.value(goes_on, until, until):
                name = chance.choice(lasting if number < 6 else passing)
                step = chance.randint(1, 3)
                calls = [
                    TICK,
                    "select underway._run_chores()",
                    f"select underway.schedule('{name}', 'q', '*/{step} * * * * *', catch_up => 'all')",
                    f"select underway.schedule('{name}', 'q', '{EVERY_SECOND}', priority => {step}, catch_up => 'all')",
                    f"select underway.pause_schedule('{name}')",
                    f"select underway.resume_schedule('{name}')",
                    f"select underway.unschedule('{name}')",
                ]
                try:
                    other.run(chance.choice(calls[: 6 if number < 6 else 7]))
                except psycopg.Error as error:
                    if number < 6 or error.sqlstate != SCHEDULE_NOT_FOUND:
                        raise
                time.sleep(0.005 * chance.random())

    at_once(disturb, 9)
    # One that was made anew is another schedule.
    counts = Counter((name, at) for name, at in session.rows(TASKS) if name in lasting)
    assert counts
    assert [slot for slot, count in counts.items() if count > 1] == []
    assert session.value("select count(last_error) from underway.schedule_stats") == 0
    for name in lasting:
        session.run("select underway.resume_schedule(%s)", name)
    before = tasks_of(session)
    tick_until(
        session,
        lambda: all(tasks_of(session).get(name, 0) > before.get(name, 0) for name in lasting),
        "all that last go on",
    )


# Two who create the same schedule


CREATE = f"select underway.schedule('s', 'q', '{EVERY_SECOND}', catch_up => 'all')"
OTHERWISE = f"select underway.schedule('s', 'q', '{EVERY_SECOND}', catch_up => 'all', priority => 5)"


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("second", [CREATE, OTHERWISE])
def test_of_two_sessions_that_create_the_same_schedule_the_second_waits_and_finds_it(
    open_session: OpenSession, second: str, end: str
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")

    one.run("begin")
    one.run(CREATE)
    created = other.start(second)
    one.see_waiting(other, behind=one)
    one.run(end)
    (next_at,) = created.result(SECONDS)
    assert one.rows("select schedule, next_at from underway.schedule_stats") == [("s", next_at)]
    assert one.value("select priority from underway.schedule") == (5 if second == OTHERWISE else None)


@pytest.mark.parametrize("second", [CREATE, OTHERWISE])
def test_a_schedule_that_is_created_twice_and_run_meanwhile_gives_no_time_twice(
    open_session: OpenSession, second: str
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")

    one.run("begin")
    one.run(CREATE)
    created = other.start(second)
    one.see_waiting(other, behind=one)
    wait_until(lambda: one.value(TICK) >= 1, "its time has come")
    last_at = one.value("select last_at from underway.schedule_stats")
    one.run("commit")
    (next_at,) = created.result(SECONDS)
    assert next_at > last_at
    tick_until(one, lambda: len(set(slots(one)["s"])) > 2, "more times have come")
    assert_no_slot_twice(one)


@pytest.mark.parametrize("second", [CREATE, OTHERWISE])
def test_a_schedule_that_is_created_twice_and_paused_meanwhile_stays_paused(
    open_session: OpenSession, second: str
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")

    one.run("begin")
    one.run(CREATE)
    one.run("select underway.pause_schedule('s')")
    created = other.start(second)
    one.see_waiting(other, behind=one)
    one.run("commit")
    created.result(SECONDS)
    assert one.value("select paused_at is not null from underway.schedule_stats")
    assert one.value(TICK) == 0


def test_a_schedule_that_is_removed_and_made_anew_while_another_changes_it_gives_no_time_twice(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    one.run(CREATE)

    one.run("begin")
    one.run("select underway.unschedule('s')")
    one.run(CREATE)
    changed = other.start(OTHERWISE)
    one.see_waiting(other, behind=one)
    wait_until(lambda: one.value(TICK) >= 1, "its time has come")
    one.run("commit")
    changed.result(SECONDS)
    tick_until(one, lambda: len(set(slots(one)["s"])) > 2, "more times have come")
    assert_no_slot_twice(one)


def test_a_schedule_that_waited_for_the_removal_of_another_begins_after_the_last_time_of_that(
    open_session: OpenSession,
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    one.run(CREATE)

    one.run("begin")
    one.run("select from underway.schedule for no key update")
    created = other.start(OTHERWISE)
    one.see_waiting(other, behind=one)
    wait_until(lambda: one.value(TICK) >= 1, "its time has come")
    last_at = one.value("select last_at from underway.schedule_stats")
    one.run("select underway.unschedule('s')")
    one.run("commit")
    (next_at,) = created.result(SECONDS)
    assert next_at > last_at


@pytest.mark.parametrize(
    ("call", "answer", "paused", "tasks"),
    [
        ("select underway.pause_schedule('s')", True, True, 0),
        ("select underway.resume_schedule('s')", False, False, 0),
        ("select underway.run_schedule_now('s') is not null", True, False, 1),
    ],
)
def test_a_call_that_waited_finds_the_schedule_that_was_removed_and_made_anew(
    open_session: OpenSession, call: str, answer: bool, paused: bool, tasks: int
) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    schedule(one, "s")

    one.run("begin")
    one.run("select underway.unschedule('s')")
    schedule(one, "s")
    late = other.start(call)
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert late.result(SECONDS) == [answer]
    assert one.value("select paused_at is not null from underway.schedule_stats") is paused
    assert tasks_of(one).get("s", 0) == tasks


def test_many_sessions_that_declare_the_same_schedules_at_once_all_succeed(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q")
    names = [f"s{number}" for number in range(20)]

    def declare(number: int) -> None:
        with Session(database) as program:
            for name in names:
                schedule(program, name, options="priority => 3")

    at_once(declare, 8)
    assert sorted(session.column("select schedule from underway.schedule_stats")) == sorted(names)
    before = session.rows("select * from underway.schedule order by name")
    at_once(declare, 8)
    assert session.rows("select * from underway.schedule order by name") == before


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_pause_or_a_resumption_waits_for_another_of_the_same_schedule(open_session: OpenSession, end: str) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    schedule(one, "s")

    for call in ("select underway.pause_schedule('s')", "select underway.resume_schedule('s')"):
        one.run("begin")
        assert one.value(call) is True
        second = other.start(call)
        one.see_waiting(other, behind=one)
        one.run(end)
        assert second.result(SECONDS) == [end == "rollback"]


def test_an_unscheduling_that_waited_for_another_finds_nothing(open_session: OpenSession) -> None:
    one, other = open_session(), open_session()
    one.create_queue("q")
    schedule(one, "s")

    one.run("begin")
    assert one.value("select underway.unschedule('s')") is True
    for call, code in {
        "select underway.pause_schedule('s')": SCHEDULE_NOT_FOUND,
        "select underway.resume_schedule('s')": SCHEDULE_NOT_FOUND,
        "select underway.run_schedule_now('s')": SCHEDULE_NOT_FOUND,
    }.items():
        with contextlib.ExitStack() as stack:
            waiting = stack.enter_context(Session(one.connection.info.dsn))
            late = waiting.start(call)
            one.see_waiting(waiting, behind=one)
            one.run("commit")
            with refused(code):
                late.result(SECONDS)
        schedule(one, "s")
        one.run("begin")
        one.run("select underway.unschedule('s')")
    second = other.start("select underway.unschedule('s')")
    one.see_waiting(other, behind=one)
    one.run("commit")
    assert second.result(SECONDS) == [False]


# The queue of a schedule is dropped


def test_a_queue_that_is_dropped_beside_a_tick_fails_its_schedules_only(open_session: OpenSession) -> None:
    ticker, operator = open_session(), open_session()
    scheduled(ticker, "lost")
    ticker.create_queue("other")
    schedule(ticker, "kept", queue="other")
    make_due(ticker, "kept")

    ticker.run("begin")
    assert ticker.value(TICK) == 2
    drop = operator.start("select underway.drop_queue('q', force => true)")
    wait_until(lambda: drop.done() or ticker.waits_for(operator), "the queue is dropped, or that waits")
    ticker.run("commit")
    drop.result(SECONDS)

    make_due(ticker, "lost", "kept")
    assert ticker.value(TICK) == 1
    assert dict(ticker.rows("select schedule, last_error ->> 'type' from underway.schedule_stats")) == {
        "lost": "UW003",
        "kept": None,
    }
    # The first was cancelled with its queue, or else is served when the queue is there again.
    ticker.create_queue("q")
    states = ticker.column("select state::text from underway.task where queue = 'q'")
    assert len(ticker.claim("q", 10)) == len(states)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_tick_does_not_wait_for_the_dropping_of_a_queue(open_session: OpenSession, end: str) -> None:
    operator, ticker = open_session(), open_session()
    scheduled(operator, "s")

    operator.run("begin")
    operator.run("select underway.drop_queue('q', force => true)")
    operator.see_not_waiting(ticker, TICK)
    operator.run(end)
    if end == "commit":
        operator.create_queue("q")
    # When it has failed it is tried again later: now.
    ticker.run("update underway.schedule set check_at = next_at where last_error is not null")
    ticker.run(TICK)
    assert tasks_of(ticker) == {"s": 1}
    assert len(ticker.claim("q", 10)) == 1


def test_queues_that_come_and_go_while_sessions_tick_never_deadlock_and_give_no_time_twice(
    database: str, open_session: OpenSession
) -> None:
    session = open_session()
    session.create_queue("q")
    names = [f"s{number}" for number in range(5)]
    schedule(session, *names)

    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(Session(database)) for _ in range(5)]
        for each in others:
            each.run("set deadlock_timeout = '20ms'")

        def disturb(number: int) -> None:
            if number == 0:
                others[0].create_queue("q")
                others[0].run("select underway.drop_queue('q', force => true)")
            elif number == 1:
                others[1].create_queue("q")
            else:
                others[number].run(TICK)

        for number in range(40):
            make_due(session, *names, seconds=50 - number)
            at_once(disturb, 5)
    assert_no_slot_twice(session)
    session.create_queue("q")
    before = tasks_of(session)
    make_due(session, *names)
    assert session.value(TICK) == 5
    assert tasks_of(session) == {name: before.get(name, 0) + 1 for name in names}


# The clock


def set_clock(session: Session, ahead: str) -> None:
    session.run(
        "create or replace function underway._clock() returns timestamptz language sql volatile as"
        f" $$select pg_catalog.clock_timestamp() + interval '{ahead}'$$"
    )


def test_a_clock_that_jumps_back_gives_no_time_twice(database: str, open_session: OpenSession) -> None:
    session = open_session()
    session.create_queue("q")
    names = [f"s{number}" for number in range(10)]
    set_clock(session, "1 hour")
    schedule(session, *names, cron=EVERY_SECOND, options="catch_up => 'all'")

    def tick(number: int) -> int:
        with Session(database, impatient=True) as ticker:
            return sum(ticker.value(TICK) for _ in range(10))

    wait_until(lambda: sum(at_once(tick, 4)) and len(slots(session)["s0"]) >= 2, "some times have come")
    before = session.rows(TASKS)

    set_clock(session, "0")
    assert sum(at_once(tick, 4)) == 0
    # Whatever is done to them now, nothing comes that has come.
    schedule(session, "s0", cron="*/1 * * * * *", options="catch_up => 'all'")
    schedule(session, "s1", cron=EVERY_SECOND, options="catch_up => 'all', starts_at => now()")
    schedule(session, "s2", cron=EVERY_SECOND, options="catch_up => 'all', priority => 1")
    session.run("select underway.pause_schedule('s3')")
    session.run("select underway.resume_schedule('s3')")
    assert sum(at_once(tick, 4)) == 0
    assert session.rows(TASKS) == before
    assert session.value("select bool_and(next_at > last_at) from underway.schedule_stats") is True

    set_clock(session, "1 hour")
    tick_until(
        session,
        lambda: all(count > len(before) // 10 for count in tasks_of(session).values()),
        "they go on when the clock is there again",
    )
    assert_no_slot_twice(session)


def test_a_clock_that_jumps_forward_leaves_nothing_behind(open_session: OpenSession) -> None:
    session = open_session()
    session.create_queue("q")
    schedule(session, "all", cron="0 * * * * *", options="catch_up => 'all', catch_up_limit => 1000")
    schedule(session, "once", cron="0 * * * * *")
    first = session.value("select extract(epoch from min(next_at))::float8 from underway.schedule_stats")

    set_clock(session, "2 hours")
    session.run(TICK)
    found = slots(session)
    assert found["all"] == [first + 60 * number for number in range(len(found["all"]))]
    assert len(found["all"]) in (119, 120, 121)
    assert found["once"] == found["all"][-2:]


# Plans: what a call reads does not grow with the number of schedules, whatever the statistics say

SCHEDULES = 10_000
DUE = 20
# Rows and entries of indexes that a call may read for each schedule that is due.
PER_SCHEDULE = 15

STATES = ["never analysed", "analysed when empty", "planned when empty", "analysed"]
MODES = ["auto", "force_generic_plan", "force_custom_plan"]

COUNTERS = """
    select
        coalesce(sum(pg_stat_get_xact_numscans(c.oid)) filter (where c.relkind = 'r'), 0)::int,
        coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int
    from pg_class c
    where c.relnamespace = 'underway'::regnamespace
      and c.relkind in ('r', 'i')
      and (c.relname like 'schedule%' or c.relname like 'task%')"""

CALLS = {
    "run_schedules": TICK,
    "maintain": "select underway._run_chores()",
    "next_wakeup": "select underway.next_wakeup('{q}')",
    "schedule again": f"select underway.schedule('s1', 'q', '{YEARLY}', overlap => 'skip')",
    "schedule otherwise": f"select underway.schedule('s1', 'q', '{YEARLY}', overlap => 'skip', priority => 1)",
    "schedule anew": f"select underway.schedule('new', 'q', '{YEARLY}')",
    "pause_schedule": "select underway.pause_schedule('s1')",
    "resume_schedule": "select underway.resume_schedule('s1')",
    "run_schedule_now": "select underway.run_schedule_now('s1')",
    "unschedule": "select underway.unschedule('s1')",
}


class Bench:
    """A database in which the counters of calls are read; `warm` are sessions that planned when all was empty."""

    def __init__(self, dsn: str, warm: dict[str, Session]) -> None:
        self.dsn = dsn
        self.warm = warm


def fill(session: Session) -> None:
    """Schedules that are not due, some of them paused or ended, and tasks."""
    schedule(session, "s0", options="overlap => 'skip'")
    columns = session.column(
        "select attname::text from pg_attribute where attrelid = 'underway.schedule'::regclass and attnum > 1"
    )
    names = ", ".join(columns)
    session.run(
        f"insert into underway.schedule (name, {names}) select 's' || n, {names}"
        f" from underway.schedule, generate_series(1, {SCHEDULES}) n where name = 's0'"
    )
    session.run("update underway.schedule set paused_at = now(), check_at = null where name like '%7'")
    session.run("update underway.schedule set next_at = null, check_at = null where name like '%8'")
    session.run("update underway.schedule s set last_task = substr(name, 2)::bigint where name like 's%9'")
    session.run("select from underway.enqueue_many('q', array_fill('1'::jsonb, array[10000]))")
    # The statistics have counted them, and need no sample of the queues for a while.
    session.run("update underway.stat_position set counted_task = (select max(id) from underway.task)")
    session.run(
        "insert into underway.queue_depth (at, queue, ready, scheduled, in_progress, waiting)"
        " select date_bin('1 minute', now(), 'epoch') + n * interval '1 minute', '', 0, 0, 0, 0"
        " from generate_series(0, 60) n"
    )


@pytest.fixture(params=STATES)
def bench(request: pytest.FixtureRequest, server: Server) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(server.database())
        session = stack.enter_context(Session(dsn))
        for table in ("schedule", "task"):
            session.run(f"alter table underway.{table} set (autovacuum_enabled = false)")
        session.create_queue("q")
        warm = {}
        if request.param == "analysed when empty":
            session.run("analyze")
        elif request.param == "planned when empty":
            for mode in MODES:
                warm[mode] = stack.enter_context(Session(dsn))
                warm[mode].run(f"set plan_cache_mode = '{mode}'")
                for _, call in itertools.product(range(7), CALLS.values()):
                    warm[mode].run("begin")
                    schedule(warm[mode], "s1", options="overlap => 'skip'")
                    make_due(warm[mode], "s1")
                    warm[mode].run(call)
                    warm[mode].run("rollback")
        fill(session)
        if request.param == "analysed":
            session.run("analyze")
        yield Bench(dsn, warm)


def see_cost(bench: Bench, name: str, mode: str) -> None:
    """Make a call, and see that it reads no more than it may."""
    with contextlib.ExitStack() as stack:
        session = bench.warm.get(mode) or stack.enter_context(Session(bench.dsn))
        session.run(f"set plan_cache_mode = '{mode}'")
        # More often than it takes to try a generic plan. What a round has changed is undone.
        for _ in range(7 if mode == "auto" and not bench.warm else 1):
            with session.connection.transaction(force_rollback=True):
                make_due(session, *(f"s{number}" for number in range(1, 10 * DUE, 10)))
                ((whole_before, read_before),) = session.rows(COUNTERS)
                session.run(CALLS[name])
                ((whole, read),) = session.rows(COUNTERS)
            assert whole - whole_before == 0
            assert 0 <= read - read_before <= PER_SCHEDULE * DUE + 100
            # The counters count.
            assert read > read_before or name == "schedule anew"


def test_a_call_reads_what_is_due_and_not_all_schedules(bench: Bench) -> None:
    offenders: list[str] = []
    for name, mode in itertools.product(CALLS, MODES):
        with listed(offenders, (name, mode)):
            see_cost(bench, name, mode)
    assert not offenders, "\n".join(offenders)
