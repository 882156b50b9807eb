"""Plans of what people call: what a call reads does not grow with the history, whatever the statistics say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.py.support import Session, listed

pytestmark = pytest.mark.every_server

HISTORY = 20_000

FILL = """
    insert into underway.task_history (
        id, queue, job, state, priority, attempt, enqueued_at, started_at, finished_at, kept_until, kept_slot, input,
        errors
    )
    select
        i, 'q' || i %% 3, 'job', case when i %% 100 = 0 then 'failed' else 'succeeded' end::underway.task_state, 0, 1,
        at, at, at, at + interval '14 days', i %% 33, to_jsonb(i),
        case when i %% 100 = 0 then '[{"type": "E", "message": "no"}]'::jsonb end
    from generate_series(1, %s) i
    cross join lateral (select underway._clock() - interval '1 day' + i * interval '4 seconds' as at) x"""

# What each call may read: rows and entries of indexes.
CALLS = {
    "select underway.find_tasks()": 600,
    'select underway.find_tasks(\'{"state": ["failed"]}\')': 600,
    'select underway.find_tasks(\'{"state": ["failed"], "queue": ["q1"]}\')': 600,
    'select underway.find_tasks(\'{"job": ["nothing"]}\', max_read => 1000)': 7000,
    "select underway.find_tasks('{\"ids\": [1, 2, 3]}')": 600,
    'select underway.find_tasks(\'{"state": ["in_progress"]}\')': 600,
    "select underway.find_tasks(before => 10000)": 600,
    "select underway.count_tasks('{}', 100)": 1000,
    "select underway.task_dependencies(5)": 600,
    "select underway.queue_counts()": 600,
    "select underway.run_again(7)": 600,
    "select underway.cancel_many('{1,2,3}')": 600,
    "select underway.delete_many('{1,2,3}')": 600,
}

COUNTERS = """
    select
        coalesce(sum(pg_stat_get_xact_numscans(c.oid)) filter (where c.relkind = 'r'), 0)::int,
        coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::int
    from pg_class c
    where c.relnamespace = 'underway'::regnamespace
      and c.relkind in ('r', 'i')
      and c.relname ~ '^(task|event)'"""


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        for number in range(3):
            session.create_queue(f"q{number}")
        yield session


@pytest.mark.parametrize("analysed", ["never", "when empty", "when full"])
def test_a_call_reads_little(session: Session, analysed: str) -> None:
    if analysed == "when empty":
        session.run("analyze")
    session.run(FILL, HISTORY)
    session.run("select setval('underway.task_id_seq', %s)", HISTORY)
    if analysed == "when full":
        session.run("analyze")
    offenders: list[str] = []
    for call, most in CALLS.items():
        session.run(call)  # plans are made now
        session.run("begin")
        ((whole_before, read_before),) = session.rows(COUNTERS)
        session.run(call)
        ((whole, read),) = session.rows(COUNTERS)
        session.run("rollback")
        with listed(offenders, call):
            assert (whole - whole_before, read - read_before <= most) == (0, True), f"it read {read - read_before}"
    assert not offenders, "\n".join(offenders)
