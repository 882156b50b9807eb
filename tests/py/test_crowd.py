"""Many sessions at once: nobody waits for a lock to claim, nobody deadlocks, and each task is done once."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.py.support import Session, at_once

LONG = bool(os.environ.get("UNDERWAY_LONG"))

SESSIONS = [10, 90] if LONG else [10, 40]

# With it a claim that waited at all for somebody else would fail.
NEVER_WAITS = "set lock_timeout = '1 ms'"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue("q", "retry_policy => underway.retry_policy(initial_interval => '0', max_attempts => 3)")
        yield session


@pytest.mark.parametrize("sessions", SESSIONS)
def test_claimers_and_enqueuers_in_a_crowd_do_each_task_once(database: str, session: Session, sessions: int) -> None:
    each = 300 if sessions == 10 else 60
    ended: list[int] = []  # the enqueuers

    def enqueue(number: int) -> list[int]:
        ids = []
        try:
            with Session(database) as mine:
                for place in range(each // 3):
                    mine.run("begin")
                    ids.extend(mine.enqueue("q", 3, f"priority => {(number + place) % 3}"))
                    mine.run("commit")
        finally:
            ended.append(number)
        return ids

    def work(number: int) -> list[int]:
        done = []
        with Session(database) as mine:
            while True:
                was_all = len(ended) == sessions // 2
                claimed = mine.claim("q", 1 + number % 10)
                if not claimed and was_all:
                    return done
                # In an order of its own: some forwards, some backwards; every seventh attempt fails.
                claimed.sort(reverse=number % 2 == 0)
                failing = [row for row in claimed if (row[0] + number) % 7 == 0 and number % 3 == 0]
                ending = [row for row in claimed if row not in failing]
                if failing:
                    mine.run(
                        "select from underway.fail_many(%s, %s, array_fill('1'::jsonb, array[%s]))",
                        [id for id, _ in failing], [lease for _, lease in failing], len(failing),
                    )  # fmt: skip
                done += mine.column(
                    "select * from underway.complete_many(%s, %s)",
                    [id for id, _ in ending], [lease for _, lease in ending],
                )  # fmt: skip

    def one(number: int) -> tuple[str, list[int]]:
        return ("enqueued", enqueue(number)) if number < sessions // 2 else ("done", work(number))

    results = at_once(one, sessions)
    enqueued = sorted(itertools.chain(*(ids for kind, ids in results if kind == "enqueued")))
    done = sorted(itertools.chain(*(ids for kind, ids in results if kind == "done")))
    failed = session.column("select id from underway.task_history where state = 'failed' order by id")
    assert sorted(done + failed) == enqueued
    assert session.value("select count(*) from underway.task") == 0
    assert session.value("select deadlocks from pg_stat_database where datname = current_database()") == 0


def test_a_claim_takes_no_lock_that_another_claim_waits_for(database: str, session: Session) -> None:
    """Each of them holds what it has claimed in an open transaction, and so do the floors that it has raised."""
    ids = session.enqueue("q", 200)
    claimers = [Session(database) for _ in range(20)]
    found = []
    for claimer in claimers:
        claimer.run("begin")
        claimer.run(NEVER_WAITS)
        found += claimer.claim_ids("q", 10)
        claimer.run("select underway._advance_queue_watermark('q', 0)")
    assert sorted(found) == ids
    for number, claimer in enumerate(claimers):
        claimer.run("commit" if number % 2 else "rollback")
    again = session.claim_ids("q", 200)
    assert len(again) == 100
    assert sorted(again) == sorted(itertools.chain(*(found[place : place + 10] for place in range(0, 200, 20))))
    for claimer in claimers:
        claimer.connection.close()


def test_two_who_fail_the_same_tasks_in_opposite_orders_do_not_deadlock(database: str, session: Session) -> None:
    ids = session.enqueue("q", 100)
    leases = dict(session.claim("q", 100))

    def fail(number: int) -> int:
        order = ids if number % 2 else list(reversed(ids))
        with Session(database) as mine:
            settled = mine.column(
                "select id from underway.fail_many(%s, %s, array_fill('1'::jsonb, array[100]))",
                order, [leases[id] for id in order],
            )  # fmt: skip
            return len(settled)

    assert sum(at_once(fail, 6)) == 100
    assert session.value("select sum(jsonb_array_length(errors)) from underway.task") == 100


def test_a_claimer_whose_session_is_killed_leaves_its_tasks_to_others(database: str, session: Session) -> None:
    ids = session.enqueue("q", 10)
    killed = Session(database)
    killed.run("begin")
    assert killed.claim_ids("q", 10) == ids
    session.run("select pg_terminate_backend(%s, 5000)", killed.pid)
    assert session.claim_ids("q", 10) == ids
    with pytest.raises(psycopg.OperationalError):
        killed.run("commit")
    killed.connection.close()


# What a claim reads of the line, in the transaction that it is in: entries, and pages.
READ = """
    select pg_stat_get_xact_tuples_returned(line.oid), pg_stat_get_xact_blocks_fetched(line.oid)
    from (values ('underway.task_to_dequeue'::regclass)) line (oid)"""


@pytest.fixture
def holders(database: str, session: Session) -> Iterator[list[Session]]:
    """Two who have claimed a task each and hold it, so that who comes is one of a crowd."""
    ids = session.enqueue("q", 2)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(Session(database)) for _ in ids]
        for holder, id in zip(sessions, ids, strict=True):
            holder.run("begin")
            assert holder.claim_ids("q", 1) == [id]
        yield sessions


@pytest.mark.every_server
def test_a_claimer_of_a_crowd_does_not_pass_over_what_the_others_hold(
    database: str, session: Session, holders: list[Session]
) -> None:
    session.enqueue("q", 20_000)
    with contextlib.ExitStack() as stack:
        # So that no stretch is full.
        editing = stack.enter_context(Session(database))
        editing.run("begin")
        editing.run("select from underway.task where id % 7 = 0 for update")
        read = []
        for _ in range(50):
            claimer = stack.enter_context(Session(database))
            claimer.run("begin")
            assert len(claimer.claim_ids("q", 20)) == 20
            read += claimer.rows(READ)
        # One in a hundred begins at the head by chance.
        assert sorted(entries for entries, _ in read)[-10] < 100, read
        assert sorted(pages for _, pages in read)[-10] < 100, read


def test_what_a_crowd_has_passed_is_found_by_whoever_finds_nothing_else(
    database: str, session: Session, holders: list[Session]
) -> None:
    with Session(database) as late, Session(database) as claiming, Session(database) as mine:
        late.run("begin")
        passed = late.enqueue("q", 5)
        session.enqueue("q", 100)
        claiming.run("begin")
        passed += claiming.claim_ids("q", 20)
        mine.claim("q", 30)
        claiming.run("rollback")
        late.run("commit")
        found = mine.claim_ids("q", 50)
        assert found == sorted(found)
        found += mine.claim_ids("q", 200)
    assert len(found) == 75
    assert set(passed) <= set(found)
    assert session.value("select count(*) from underway.task where state = 'pending'") == 2  # of the holders


def test_what_a_crowd_has_passed_is_found_while_there_is_more(
    database: str, session: Session, holders: list[Session]
) -> None:
    """However long those at the head stay there, and however long the line."""
    with Session(database) as late, Session(database) as mine:
        late.run("begin")
        (passed,) = late.enqueue("q")
        session.enqueue("q", 3000)
        assert passed not in mine.claim_ids("q", 500)
        late.run("commit")
        claimed = mine.column("select c.id from generate_series(1, 2000) n, underway.dequeue('q', n / n) c")
        assert len(set(claimed)) == 2000
        assert passed in claimed


def test_the_first_who_lets_go_finds_what_the_crowd_has_passed(
    database: str, session: Session, holders: list[Session]
) -> None:
    with Session(database) as late, Session(database) as mine:
        late.run("begin")
        passed = late.enqueue("q", 5)
        session.enqueue("q", 100)
        mine.claim("q", 30)
        late.run("commit")
        holders[0].run("rollback")
        found = mine.claim_ids("q", 7)
    assert set(passed) <= set(found)
