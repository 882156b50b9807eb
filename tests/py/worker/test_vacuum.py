"""Workers vacuum the tables of the queue between the visits of autovacuum."""

from __future__ import annotations

import logging

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.py.support import Session, beside, wait_until
from underway_pg import App, Queue

MANY = 21_000  # more than _tables_to_vacuum tolerates


def leave_dead_rows(dsn: str) -> None:
    """Enqueue tasks and delete them, without autovacuum. The counts of a session are visible once it has ended."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("alter table underway.task set (autovacuum_enabled = off)")
        connection.execute("select underway.enqueue_many('q', array_fill('1'::jsonb, %s))", [[MANY]])
        connection.execute("delete from underway.task")
    with Session(dsn) as session:
        wait_until(lambda: dead_rows(session) > MANY - 1000, "the dead rows are counted")


def dead_rows(session: Session) -> int:
    return int(session.value("select pg_stat_get_dead_tuples('underway.task'::regclass)"))


def vacuums(session: Session) -> int:
    return int(session.value("select pg_stat_get_vacuum_count('underway.task'::regclass)"))


def test_a_worker_vacuums_a_table_with_many_dead_rows(app: App, database: str, session: Session) -> None:
    app.client.create_queue(Queue(name="q"))
    leave_dead_rows(database)
    with beside(app.worker(queues=["q"])) as worker:
        worker.until(lambda: vacuums(session) == 1 and dead_rows(session) == 0, "the dead rows are removed")


def test_a_worker_does_not_vacuum_when_it_is_told_not_to(app: App, database: str, session: Session) -> None:
    app.client.create_queue(Queue(name="q"))
    leave_dead_rows(database)
    maintained = "select max(last_run_at) from underway.upkeep"
    with beside(app.worker(queues=["q"], vacuum=False)) as worker:
        for _ in range(2):  # the first one may have been under way
            last = session.value(maintained)
            worker.until(lambda last=last: session.value(maintained) != last, "maintain has run")  # type: ignore[misc]
    assert vacuums(session) == 0


def test_a_worker_that_may_not_vacuum_says_so_once_and_goes_on(
    app: App, database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    app.client.create_queue(Queue(name="q"))
    leave_dead_rows(database)
    session.run("create role vacuum_stranger login in role underway_worker")
    if session.value("select current_setting('server_version_num')::integer") >= 170000:
        session.run("revoke maintain on underway.task from underway_worker")
    try:
        with caplog.at_level(logging.WARNING), App(make_conninfo(database, user="vacuum_stranger")) as stranger:

            @stranger.job(queue="q")
            def job() -> None: ...

            maintained = "select max(last_run_at) from underway.upkeep"
            with beside(stranger.worker(sync=False)) as worker:
                worker.until(lambda: "may not vacuum" in caplog.text, "the worker says so")
                last = session.value(maintained)
                worker.until(lambda: session.value(maintained) != last, "maintain has run again")
        assert caplog.text.count("may not vacuum") == 1
        assert "autovacuum_naptime" in caplog.text
        assert vacuums(session) == 0
    finally:
        session.run("drop role vacuum_stranger")


def test_a_vacuum_waits_for_more_dead_rows_after_one_that_could_remove_none(
    app: App, database: str, session: Session
) -> None:
    """The time between two vacuums grows with the table: a long snapshot does not keep the server busy."""
    app.client.create_queue(Queue(name="q"))
    leave_dead_rows(database)
    assert session.value("select underway._tables_to_vacuum()") == ["task"]
    with psycopg.connect(database) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select 1 from underway.queue")
        session.run("alter table underway.task alter column input set storage external")  # not compressed
        session.run(
            "insert into underway.task (ready_at, enqueued_at, priority, queue, input)"
            " select now(), now(), 0, 'q', to_jsonb(repeat('x', 7000)) from generate_series(1, 21000)"
        )
        session.run("delete from underway.task")
        session.run("vacuum underway.task")
        wait_until(lambda: vacuums(session) == 1, "the vacuum is counted")  # up to PostgreSQL 14, a moment later
        assert session.value("select underway._tables_to_vacuum()") == []
        wait_until(lambda: dead_rows(session) >= MANY, "the dead rows stay")
