"""Statistics and events between sessions: each task is counted once, whatever commits when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.py.support import Session, at_once, wait_until
from underway_pg import Client

COUNTS = ("enqueued", "started", "succeeded", "failed", "retried", "cancelled")


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue("q", "heartbeat => '1 hour'")
        yield session


def maintain(session: Session) -> None:
    session.run("select underway.maintain(at_once => true)")


def counts(session: Session) -> dict[str, int]:
    """What has been counted of the queue since the installation."""
    rows = session.rows(
        f"select {', '.join(COUNTS)} from underway.task_stat where step = 'total' and queue = 'q' and job = ''"
    )
    return dict(zip(COUNTS, rows[0] if rows else [0] * len(COUNTS), strict=True))


def test_a_task_of_a_transaction_that_commits_late_is_counted_once(database: str, session: Session) -> None:
    with Session(database) as late:
        late.run("begin")
        late.enqueue("q", 2)
        session.enqueue("q", 3)  # with higher ids
        for _ in range(4):
            maintain(session)
        assert counts(session)["enqueued"] == 0, "while a lower id may still appear"
        late.run("commit")
    for _ in range(4):
        maintain(session)
    assert counts(session)["enqueued"] == 5


def test_an_end_that_commits_late_is_counted_once(database: str, session: Session) -> None:
    session.enqueue("q", 3)
    (first, first_lease), (second, second_lease), _ = session.claim("q", 3)
    with Session(database) as late:
        late.run("begin")
        late.run("select underway.complete(%s, %s)", first, first_lease)
        session.run("select underway.complete(%s, %s)", second, second_lease)
        for _ in range(4):
            maintain(session)
        assert counts(session)["succeeded"] == 1, "the one that has committed"
        late.run("commit")
    maintain(session)
    assert counts(session)["succeeded"] == 2


def test_a_prepared_transaction_holds_up_only_the_count_of_new_tasks(database: str, session: Session) -> None:
    if session.value("select current_setting('max_prepared_transactions')::integer") == 0:
        pytest.skip("the server has max_prepared_transactions = 0")
    with Session(database) as other:
        other.run("begin")
        other.enqueue("q", 1)
        other.run("prepare transaction 'statistics'")
    try:
        session.enqueue("q", 2)
        [(task, lease)] = session.claim("q")
        session.run("select underway.complete(%s, %s)", task, lease)
        for _ in range(3):
            maintain(session)
        assert counts(session) | {"enqueued": 0} == counts(session)
        assert counts(session)["succeeded"] == 1
    finally:
        session.run("commit prepared 'statistics'")
    for _ in range(3):
        maintain(session)
    assert counts(session)["enqueued"] == 3


def test_what_many_sessions_do_at_once_is_counted_exactly(database: str, session: Session) -> None:
    def work(number: int) -> tuple[int, int, int]:
        """What this session has enqueued, completed and cancelled, with chores in between."""
        done = cancelled = 0
        with Session(database) as own:
            for turn in range(20):
                own.enqueue("q", 10)
                claimed = own.claim("q", 7)
                ids, leases = [id for id, _ in claimed], [lease for _, lease in claimed]
                done += len(own.column("select * from underway.complete_many(%s, %s)", ids[:5], leases[:5]))
                cancelled += len(own.column("select underway.cancel_many(%s)", ids[5:]))
                if turn % 4 == number:
                    maintain(own)
        return 200, done, cancelled

    outcomes = at_once(work, 4)
    for _ in range(3):
        maintain(session)
    enqueued, done, cancelled = (sum(each) for each in zip(*outcomes, strict=True))
    assert counts(session) == {
        "enqueued": enqueued,
        "started": done + cancelled,
        "succeeded": done,
        "failed": 0,
        "retried": 0,
        "cancelled": cancelled,
    }


def test_one_session_at_a_time_counts(database: str, session: Session) -> None:
    [task] = session.enqueue("q")
    session.run("select underway.cancel(%s)", task)
    with Session(database) as other:
        other.run("begin")
        maintain(other)
        maintain(session)
        other.run("rollback")
    assert counts(session)["cancelled"] == 0, "the other session counted, and was rolled back"
    maintain(session)
    assert counts(session)["cancelled"] == 1


def test_a_transaction_with_an_old_snapshot_does_not_count(database: str, session: Session) -> None:
    [task] = session.enqueue("q")
    session.run("select underway.cancel(%s)", task)
    with Session(database) as other:
        other.run("begin isolation level repeatable read")
        other.run("select underway._keep_statistics()")
        other.run("commit")
        assert counts(session)["cancelled"] == 0
    maintain(session)
    assert counts(session)["cancelled"] == 1


def test_a_call_with_many_failures_sends_one_notification(database: str, session: Session) -> None:
    with Session(database) as listener:
        listener.run("listen underway_event")
        session.enqueue("q", 3)
        claimed = session.claim("q", 3)
        session.rows(
            "select * from underway.fail_many(%s, %s, array_fill('\"no\"'::jsonb, array[3]), '{f,f,f}')",
            [id for id, _ in claimed],
            [lease for _, lease in claimed],
        )
        heard = list(listener.connection.notifies(timeout=5, stop_after=1))
        heard += list(listener.connection.notifies(timeout=0.1))
    assert [notification.payload for notification in heard] == [""]
    assert session.value("select count(*) from underway.event") == 3


def test_a_retry_sends_no_notification(database: str, session: Session) -> None:
    with Session(database) as listener:
        listener.run("listen underway_event")
        session.enqueue("q")
        [(task, lease)] = session.claim("q")
        session.run("select underway.fail(%s, %s, '\"no\"')", task, lease)
        session.run("select pg_notify('underway_event', 'fence')")
        assert [n.payload for n in listener.connection.notifies(timeout=5, stop_after=1)] == ["fence"]


def test_statistics_are_counted_on_after_a_dump_is_restored_elsewhere(session: Session) -> None:
    """Ids of transactions that another server gave are compared with those of this one, and mean nothing here."""
    session.run("update underway.stat_position set observed_locks = '{3/99999}', observed_task = 0")
    session.enqueue("q")

    def is_counted() -> bool:
        maintain(session)
        return counts(session)["enqueued"] == 1

    wait_until(is_counted, "the count")


def test_clients_read_what_was_counted(database: str, session: Session) -> None:
    session.enqueue("q", 2)
    [(task, lease)] = session.claim("q")
    session.run("select underway.fail(%s, %s, %s::jsonb, false)", task, lease, '{"type": "Refused", "message": "no 7"}')
    for _ in range(3):
        maintain(session)
    now = datetime.now(UTC)
    hour, soon = now - timedelta(hours=1), now + timedelta(minutes=1)
    with Client(database) as client:
        over_time = client.stats_over_time(hour, soon, step=60)
        assert (sum(row.enqueued for row in over_time), sum(row.failed for row in over_time)) == (2, 1)
        [by_queue] = client.stats_by_queue(hour, soon)
        assert (by_queue.queue, by_queue.job, by_queue.failed) == ("q", None, 1)
        [by_job] = client.stats_by_job(hour, soon, queue="q")
        assert (by_job.queue, by_job.job, by_job.started) == ("q", "", 1)
        [total] = client.stats_total()
        assert (total.enqueued, len(total.run_histogram), sum(total.run_histogram)) == (2, 28, 1)
        depths = [row.ready for row in client.queue_depth_over_time(hour, soon, queue="q") if row.ready is not None]
        assert depths, "there is a sample"
        [group] = client.failure_groups(hour)
        assert (group.queue, group.error_type, group.message, group.last_task) == ("q", "Refused", "no *", task)

        found = client.find_tasks({"state": ["failed"], "enqueued_after": hour})
        assert [(each.id, each.error) for each in found.tasks] == [(task, "Refused: no 7")]
        assert found.next_before is None
        assert (client.count_tasks().count, client.count_tasks(max_count=1).capped) == (2, True)
        copy = client.run_again(task, {"n": 1})
        assert client.cancel_many([copy, task]) == [copy]
        assert client.retry_many([copy, task]) == [task, copy]
        assert client.cancel_many([copy]) == [copy]
        assert client.delete_many([copy]) == [copy]
        assert client.redrive_many([task]) == []
        assert client.task_dependencies(task) == []
        assert client.database_health()["invalid_indexes"] == []


def test_the_chores_wait_for_no_lock_of_another_session(database: str, session: Session) -> None:
    session.enqueue("q", 2)
    session.run("select underway.cancel(min(id)) from underway.task")
    for _ in range(3):
        maintain(session)
    with psycopg.connect(database) as other, other.cursor() as cursor:
        cursor.execute("select from underway.uncounted for update")
        cursor.execute("select from underway.event for update")
        cursor.execute("select from underway.queue_depth for update")
        session.run("set lock_timeout = '1s'")
        session.run("select underway.cancel(min(id)) from underway.task")
        maintain(session)
    maintain(session)
    assert counts(session)["cancelled"] == 2
