"""Many sessions at once: no claim waits for a lock, nothing deadlocks, and each task is done once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.py.support import Session, at_once

LONG = bool(os.environ.get("UNDERWAY_LONG"))

SESSIONS = [10, 90] if LONG else [10, 40]

# With it a claim that waited for another session would fail.
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
    """Each of them holds its tasks in an open transaction, and the first also the watermark that it has moved."""
    ids = session.enqueue("q", 200)
    claimers = [Session(database) for _ in range(20)]
    found = []
    for claimer in claimers:
        claimer.run("begin")
        claimer.run(NEVER_WAITS)
        found += claimer.claim_ids("q", 10)
        claimer.run("select underway._advance_watermark('q', 0)")
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


@pytest.mark.parametrize("max_tasks", [1, 60])
@pytest.mark.parametrize("settings", ["", "max_running => 1000", "fair => true"])
def test_tasks_that_other_sessions_hold_are_skipped_and_found_when_they_let_go(
    database: str, session: Session, settings: str, max_tasks: int
) -> None:
    """Some are locked by claims, three by an operator, and some are not committed when the others are claimed."""
    session.create_queue("q", settings)
    with Session(database) as late, Session(database) as operator, Session(database) as mine:
        mine.run(NEVER_WAITS)
        late.run("begin")
        uncommitted = late.enqueue("q", 5)
        *locked, first, second = session.enqueue("q", 5)
        rest = session.enqueue("q", 100)
        operator.run("begin")
        operator.run("select underway.reprioritize(id, 0) from unnest(%s) id", locked)
        assert mine.claim_ids("q", max_tasks) == [first, second, *rest][:max_tasks]
        operator.run("rollback")
        late.run("commit")
        assert mine.claim_ids("q", 8) == [*uncommitted, *locked]
        assert mine.claim_ids("q", 200) == [first, second, *rest][max_tasks:]
