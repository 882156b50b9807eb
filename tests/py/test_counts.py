"""Counts of tasks: what a reader reads does not grow with the live table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.py.support import Session, wait_until

pytestmark = pytest.mark.every_server

# More rows than a reader counts by itself.
ROWS = 21_000

READERS = (
    "select * from underway.queue_stats",
    "select underway.stats()",
    "select ready from underway.queue_stats where queue = 'q'",
)

HOLD = """
    create temporary table held as
    select (claim.task).id, (claim.task).lease
    from (select underway.dequeue('q', %s) as task from generate_series(1, 3)) claim"""

KNOWN = """
    select pg_stat_get_live_tuples(c.oid) + pg_stat_get_dead_tuples(c.oid)
    from pg_class c
    where c.oid = 'underway.task'::regclass"""

READ = """
    select coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int
    from pg_class c
    where c.relnamespace = 'underway'::regnamespace
      and c.relkind in ('r', 'i')"""


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.run("select underway.create_queue('q', keep_history => false)")
        yield session


def fill(session: Session) -> None:
    session.run("select underway.enqueue_many('q', array_fill('1'::jsonb, array[%s]))", ROWS)


def record(session: Session) -> None:
    """Do the chores when the statistics of the server have the rows, which takes up to a second."""
    wait_until(lambda: session.value(KNOWN) >= ROWS, "the statistics have the rows")
    session.run("delete from underway.last_count")
    session.run("select underway.maintain(at_once => true)")


def rows_read(session: Session, call: str) -> int:
    session.run(call)  # plans are made now
    session.run("begin")
    ((before,),) = session.rows(READ)
    session.run(call)
    ((after,),) = session.rows(READ)
    session.run("rollback")
    return int(after) - int(before)


@pytest.mark.parametrize("kind", ["ready", "running", "dead"])
def test_a_reader_of_a_large_table_reads_what_was_counted(database: str, session: Session, kind: str) -> None:
    with Session(database) as holder:
        fill(session)
        if kind != "ready":
            holder.run("begin isolation level repeatable read")
            holder.run("select 1")
            session.run(HOLD, ROWS // 3)
        if kind == "dead":
            session.run("select underway.complete_many(array_agg(id), array_agg(lease)) from held")
        record(session)
        expected = {"ready": (10_000, 0, True), "running": (0, ROWS, False), "dead": (0, 0, False)}[kind]
        assert session.rows("select ready, in_progress, capped from underway.queue_stats") == [expected]
        assert {call: rows_read(session, call) for call in READERS if rows_read(session, call) > 50} == {}
        holder.run("rollback")


def test_counts_are_exact_again_once_the_table_is_small(session: Session) -> None:
    fill(session)
    record(session)
    session.run("truncate underway.task")
    session.run("select underway.enqueue('q')")
    assert session.rows("select ready from underway.queue_stats") == [(10_000,)]

    def exact() -> bool:
        session.run("select underway.maintain(at_once => true)")
        return session.rows("select ready from underway.queue_stats") == [(1,)]

    wait_until(exact, "the recorded count is removed")
