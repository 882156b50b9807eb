"""What an application declares and its database has: synced, compared, or completed by the first enqueue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psycopg
import pytest

from tests import forks
from tests.py.support import Session, at_once, beside, final
from underway_pg import (
    App,
    Client,
    ConfigurationError,
    InvalidCron,
    JobNotFound,
    JobPolicy,
    NewTask,
    Options,
    Queue,
    RetryPolicy,
    Schedule,
    SyncChanges,
    sync,
)
from underway_pg.client import execute
from underway_pg.embedded import find_binaries

FOREVER = "0 0 1 1 *"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def shop(dsn: str, *, timeout: float = 7, max_running: int = 3, job: str = "bill", schedule: str = "nightly") -> App:
    """An application with two queues, a job and a schedule."""
    app = App(dsn, name="shop", queues=[Queue(name="orders", max_running=max_running, dead_letter_queue="dead")])
    decorated = app.job(name=job, queue="orders", timeout=timeout, retry=RetryPolicy(max_attempts=3), priority=4)
    app.schedule(FOREVER, name=schedule)(decorated(lambda: None))
    return app


# Sync


def test_a_sync_creates_updates_and_tells_what_has_vanished(database: str) -> None:
    with shop(database) as app:
        synced = app.sync()
        assert synced.queues == SyncChanges(created=["dead", "orders"])
        assert synced.jobs == SyncChanges(created=["bill"])
        assert synced.schedules == SyncChanges(created=["nightly"])
        (first,) = app.client.jobs()

        synced = app.sync()
        assert synced.queues == SyncChanges(unchanged=["dead", "orders"])
        assert synced.jobs == SyncChanges(unchanged=["bill"])
        assert app.client.jobs() == [first]

    with shop(database, timeout=8, max_running=0) as changed:
        synced = changed.sync()
        assert synced.queues == SyncChanges(unchanged=["dead"], updated=["orders"])
        assert synced.jobs == SyncChanges(updated=["bill"])
        (second,) = changed.client.jobs()
        assert (second.timeout, second.registered_at) == (timedelta(seconds=8), first.registered_at)

    with shop(database, job="charge", schedule="weekly") as renamed:
        synced = renamed.sync()
        assert (synced.jobs.created, synced.jobs.vanished) == (["charge"], ["bill"])
        assert (synced.schedules.created, synced.schedules.vanished) == (["weekly"], ["nightly"])
        synced = renamed.sync(prune=True)
        assert (synced.jobs.removed, synced.schedules.removed, synced.queues.removed) == (["bill"], ["nightly"], [])
        assert [job.job for job in renamed.client.jobs()] == ["charge"]


def test_what_another_application_has_declared_stays(database: str) -> None:
    with shop(database) as first, App(database, name="other") as second:
        first.sync()
        second.job(queue="elsewhere")(other)
        assert second.sync(prune=True).jobs == SyncChanges(created=["other"])
        assert [job.job for job in first.client.jobs()] == ["bill", "other"]


def other() -> None: ...


def test_a_plan_changes_nothing(database: str) -> None:
    with shop(database) as app:
        planned = app.sync(plan=True)
        assert (planned.queues.created, planned.jobs.created) == (["dead", "orders"], ["bill"])
        assert planned.schedules.created == ["nightly"]
        assert (app.client.queues(), app.client.jobs(), app.client.schedules()) == ([], [], [])
        assert asyncio.run(app.sync_async()) == planned


def test_a_sync_that_is_refused_writes_nothing(database: str) -> None:
    with shop(database) as app:
        app.schedule("0 0 30 2 *", name="never")(app.job(other))
        with pytest.raises(InvalidCron, match=r"test_sync\.py:"):
            app.sync()
        assert (app.client.queues(), app.client.jobs()) == ([], [])


def test_the_settings_of_a_job_are_stored_and_those_that_it_omits_are_not(database: str) -> None:
    policy = RetryPolicy(max_attempts=7, initial_interval=2, max_interval=timedelta(minutes=5), factor=3, jitter=0.25)
    with App(database) as app:

        @app.job(
            queue="q", retry=policy, timeout=1, heartbeat=2, retention=timedelta(days=3), priority=-5,
            dead_letter_queue="dead", concurrency_key="one", expires=60,
        )  # fmt: skip
        def full() -> None: ...

        @app.job
        def plain() -> None: ...

        app.sync()
        stored, empty = app.client.jobs()

    assert (stored.job, stored.queue, stored.owner) == ("full", "q", "app")
    assert stored.retry is not None
    assert stored.retry.fields() == policy.fields()
    assert (stored.timeout, stored.heartbeat) == (timedelta(seconds=1), timedelta(seconds=2))
    assert (stored.retention, stored.expires) == (timedelta(days=3), timedelta(minutes=1))
    assert (stored.priority, stored.dead_letter_queue, stored.concurrency_key) == (-5, "dead", "one")
    settings = {"retry", "timeout", "heartbeat", "retention", "priority", "dead_letter_queue", "concurrency_key"}
    assert {getattr(empty, name) for name in settings} == {None}


def test_a_job_does_not_expire_at_a_point_in_time() -> None:
    with pytest.raises(ConfigurationError, match=r"job job: expires is 2030-01-01 .*; a job takes a duration"):
        App("postgresql:///nowhere").job(name="job", expires=datetime(2030, 1, 1, tzinfo=UTC))(other)


def test_a_sync_that_changes_no_limit_does_not_wait_for_claims(database: str, session: Session) -> None:
    with shop(database) as app:
        app.sync()
        app.client.enqueue("orders", {})
        with session.connection.transaction():
            assert session.claim("orders")  # holds the claim lock of the queue until the transaction ends
            with App(f"{database}&options=-c%20lock_timeout%3D300ms") as impatient:
                impatient._queues, impatient._jobs = app._queues, app._jobs
                assert impatient.sync().queues.unchanged == ["dead", "orders"]


def test_many_workers_sync_at_once(database: str) -> None:
    def one(number: int) -> int:
        with shop(database) as app:
            return len(app.sync().queues.created)

    assert sorted(at_once(one, 4)) == [0, 0, 0, 2]


def test_a_sync_reads_the_settings_of_the_declared_queues_only(
    database: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run("select underway.create_queue('other-' || n) from generate_series(1, 50) n")
    read: list[Any] = []

    def record(connection: Any, statement: Any) -> Any:
        read.append(execute(connection, statement))
        return read[-1]

    monkeypatch.setattr(sync, "execute", record)
    with shop(database) as app:
        app.sync()

    assert {each.name for found in read if isinstance(found, list) for each in found if isinstance(each, Queue)} == {
        "dead",
        "orders",
    }


# The first enqueue


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of clients, from here on."""
    statements: list[str] = []
    run = Client.run

    def record(self: Client, statement: Any, connection: Any = None) -> Any:
        statements.append(statement.sql)
        return run(self, statement, connection)

    monkeypatch.setattr(Client, "run", record)
    return statements


def test_the_first_enqueue_looks_once_and_creates_what_is_missing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shop(database) as app:
        statements = recorded(monkeypatch)
        app.jobs["bill"].enqueue()
        app.jobs["bill"].enqueue()
        called = [sql.split("(")[0] for sql in statements if sql.startswith("select underway.")]
        assert called == [
            "select underway.enqueue", "select underway.create_queue", "select underway.create_queue",
            "select underway.register_job", "select underway.enqueue",
        ]  # fmt: skip
        assert len(statements) == len(called) + 1  # the look
        assert [job.job for job in app.client.jobs()] == ["bill"]

    statements.clear()
    with shop(database) as again:
        for _ in range(3):
            again.jobs["bill"].enqueue()
    assert len(statements) == 4


def test_the_first_enqueue_changes_nothing_that_exists(database: str, session: Session) -> None:
    session.create_queue("dead")
    session.create_queue("orders", "max_running => 1, timeout => '1 min'")
    session.run("select underway.register_job('bill', 'orders', timeout => '2 min')")
    with shop(database) as app:
        app.jobs["bill"].enqueue()
        (job,) = app.client.jobs()
        assert (job.timeout, job.priority, job.owner) == (timedelta(minutes=2), None, None)
        assert [(queue.queue, queue.max_running) for queue in app.client.queues()] == [("dead", None), ("orders", 1)]


def test_a_job_that_is_declared_later_is_registered_by_its_first_enqueue(database: str) -> None:
    with shop(database) as app:
        app.jobs["bill"].enqueue()
        app.job(queue="later")(other).enqueue()
        assert [job.job for job in app.client.jobs()] == ["bill", "other"]


def test_an_async_first_enqueue_creates_what_is_missing(database: str) -> None:
    async def main() -> None:
        async with shop(database) as app:
            await asyncio.gather(*(app.jobs["bill"].enqueue_async() for _ in range(20)))
            client = await app.async_client()
            assert [job.job for job in await client.jobs()] == ["bill"]

    asyncio.run(main())


# What a task carries


def test_a_task_carries_only_the_options_that_it_was_given(database: str, session: Session) -> None:
    columns = "retry_policy is null, timeout is null, heartbeat is null, retention is null, priority"
    with App(database) as app:
        job = app.job(retry=RetryPolicy(max_attempts=9), timeout=1, heartbeat=1, retention=1, priority=3)(other)
        job.enqueue()
        job.options(timeout=5, priority=0).enqueue()
        job.enqueue_many([{}])
        app.enqueue_many([job.task()])
    rows = session.rows(f"select {columns} from underway.task order by id")
    assert rows == [(True,) * 4 + (3,), (True, False, True, True, 0), (True,) * 4 + (3,), (True,) * 4 + (3,)]


def test_a_task_goes_to_the_queue_of_its_job_if_none_is_given(database: str) -> None:
    with App(database) as app:
        client = app.client
        client.create_queue(Queue(name="orders"))
        client.register_job(JobPolicy(name="bill", queue="orders", priority=2))
        ids = [client.enqueue(None, {}, job="bill"), *client.enqueue_many(None, [{}, {}], job="bill")]
        ids += client.enqueue_tasks([NewTask(job="bill")])
        client.schedule(Schedule(name="nightly", cron=FOREVER, job="bill"))
        ids.append(client.run_schedule_now("nightly"))
        for id in ids:
            task = client.task(id)
            assert task is not None
            assert (task.queue, task.priority) == ("orders", 2)
        with pytest.raises(JobNotFound, match="job 'charge' is not registered"):
            client.enqueue(None, {}, job="charge")
        assert client.unregister_job("bill")
        assert not client.unregister_job("bill")


def test_a_task_expires_after_a_duration_or_at_a_time(database: str) -> None:
    at = datetime(2040, 1, 1, tzinfo=UTC)
    with App(database) as app:
        job = app.job(expires=60)(other)
        client = app.client
        ids = [
            job.enqueue(),
            job.options(expires=timedelta(hours=1)).enqueue(),
            job.options(expires=at).enqueue(),
            *job.options(expires=at).enqueue_many([{}]),
            *app.enqueue_many([job.options(expires=3600).task(), job.options(expires=at).task()]),
        ]
        client.schedule(Schedule(name="s", queue="default", cron=FOREVER, options=Options(expires=3600)))
        ids.append(client.run_schedule_now("s"))
        found = []
        for id in ids:
            task = client.task(id)
            assert task is not None
            assert task.expires_at is not None
            found.append(at if task.expires_at == at else round((task.expires_at - task.enqueued_at).total_seconds()))
        assert found == [60, 3600, at, at, 3600, at, 3600]
        with pytest.raises(Exception, match="schedule 's' has the option expires_at; give a duration"):
            client.schedule(Schedule(name="s", queue="default", cron=FOREVER, options=Options(expires=at)))


# Roles, and workers


@contextlib.contextmanager
def role(session: Session, database: str, *member_of: str) -> Iterator[str]:
    """The dsn of a user with these roles of Underway."""
    name = "sync_" + "_".join(member_of)
    session.run(f"create role {name} login in role {', '.join(f'underway_{each}' for each in member_of)}")
    try:
        yield psycopg.conninfo.make_conninfo(database, user=name)
    finally:
        session.run(f"drop role {name}")


def test_a_producer_who_may_not_look_enqueues_all_the_same(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "underway_pg")
    session.create_queue("orders")
    with role(session, database, "producer") as dsn, shop(dsn) as app:
        app.jobs["bill"].enqueue()
        app.jobs["bill"].enqueue()
    lines = [record for record in caplog.records if "may not declare queues and jobs" in record.message]
    assert [record.levelname for record in lines] == ["DEBUG"]
    assert [record.levelname for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_worker_without_the_right_registers_its_jobs_and_says_what_else_differs(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    session.create_queue("dead")
    session.create_queue("orders", "max_running => 1")
    with role(session, database, "worker") as dsn, shop(dsn) as app, beside(app.worker(name="w")):
        assert session.column("select job from underway.job_list") == ["bill"]
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == [
        "worker w: the database is not as the application declares it: queue 'orders': dead_letter_queue, max_running;"
        " schedule 'nightly': does not exist; run `underway sync MODULE:APP` as a role with underway_operator"
    ]


def test_an_operator_syncs_and_the_worker_has_nothing_to_say(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with role(session, database, "operator") as dsn, shop(dsn) as app:
        assert app.sync().schedules.created == ["nightly"]
    with role(session, database, "worker") as dsn, shop(dsn) as app:
        app.worker()
    with role(session, database, "worker") as dsn, shop(dsn) as app:
        app.worker(sync=False)
    warnings = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert warnings == []


def test_a_worker_that_shall_not_sync_compares_and_writes_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with shop(database) as app:
        app.worker(sync=False, name="w")
        assert (app.client.queues(), app.client.jobs()) == ([], [])
        assert "queue 'orders': does not exist; job 'bill': does not exist; schedule" in caplog.text
        app.sync()
    caplog.clear()
    with shop(database, timeout=8) as app:
        app.worker(sync=False, name="w")
        assert [job.timeout for job in app.client.jobs()] == [timedelta(seconds=7)]
    assert caplog.messages == [
        "worker w: the database is not as the application declares it: job 'bill': timeout; run `underway sync"
        " MODULE:APP` as a role with underway_operator"
    ]


def test_a_worker_names_what_has_vanished(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with shop(database) as app:
        app.sync()
    with shop(database, job="charge") as app:
        app.worker(name="w")
    assert caplog.messages == [
        "worker w: no longer declared, and kept: job 'bill'; `underway sync MODULE:APP --prune` removes them"
    ]


def test_a_worker_syncs_when_it_starts(database: str) -> None:
    with shop(database) as app, beside(app.worker()) as worker:
        final(app, app.client.enqueue(None, {}, job="bill"), worker)
        assert [schedule.schedule for schedule in app.client.schedules()] == ["nightly"]


# All ways of enqueueing

JOB = "send"

TRIGGER = """
    create table account (email text);
    create function welcome() returns trigger language plpgsql as $$
    begin
        perform underway.enqueue(job => 'send', input => jsonb_build_object('to', new.email));
        return null;
    end;
    $$;
    create trigger welcome after insert on account for each row execute function welcome();
    insert into account values ('ada');
    drop table account;
    drop function welcome"""

# A client of the protocol, without any package: start, one statement, and its answer.
NODE = r"""
const [, , host, port, user, database, sql] = process.argv;
const text = (s) => Buffer.from(s + "\0");
const message = (type, body) => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
};
const where = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
const socket = require("net").connect(where, () =>
  socket.write(message("", Buffer.concat([Buffer.from([0, 3, 0, 0]), text("user"), text(user), text("database"),
    text(database), Buffer.from([0])]))));
let received = Buffer.alloc(0), started = false;
socket.on("data", (data) => {
  received = Buffer.concat([received, data]);
  while (received.length > 4 && received.length > received.readInt32BE(1)) {
    const type = String.fromCharCode(received[0]), body = received.subarray(5, received.readInt32BE(1) + 1);
    received = received.subarray(received.readInt32BE(1) + 1);
    if (type === "E") throw new Error(body.toString());
    if (type === "D") console.log(body.subarray(6).toString());
    if (type === "Z") {
      if (started) socket.end(message("X", Buffer.alloc(0)));
      else socket.write(message("Q", text(sql)));
      started = true;
    }
  }
});
"""


def enqueue_from_python(app: App) -> None:
    app.jobs[JOB].enqueue(to="ada")


def enqueue_from_the_command_line(app: App) -> None:
    arguments = ["enqueue", '{"to": "ada"}', "--job", JOB, "--dsn", app.dsn]
    forks.run([sys.executable, "-m", "underway_pg", *arguments], check=True, capture_output=True)


def enqueue_from_psql(app: App) -> None:
    sql = """select underway.enqueue(job => 'send', input => '{"to": "ada"}')"""
    psql = [str(PSQL), "-X", "-v", "ON_ERROR_STOP=1", app.dsn, "-c", sql]
    subprocess.run(psql, check=True, capture_output=True)


def enqueue_from_a_trigger(app: App) -> None:
    with psycopg.connect(app.dsn) as connection:
        connection.execute(TRIGGER)


def enqueue_from_node(app: App) -> None:
    at = psycopg.conninfo.conninfo_to_dict(app.dsn)
    sql = """select underway.enqueue(job => 'send', input => '{"to": "ada"}')"""
    node = [str(NODE_BINARY), "-", *(str(at[name]) for name in ("host", "port", "user", "dbname")), sql]
    subprocess.run(node, input=NODE, check=True, capture_output=True, text=True)


def enqueue_from_asyncpg(app: App) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(app.dsn)
        await connection.fetchval("select underway.enqueue(job => $1, input => $2)", JOB, '{"to": "ada"}')
        await connection.close()

    asyncio.run(main())


NODE_BINARY = shutil.which("node")
PSQL = shutil.which("psql") or find_binaries() / "psql"
# Where there is no node, another driver takes its place.
WAYS = [
    enqueue_from_python, enqueue_from_the_command_line, enqueue_from_psql, enqueue_from_a_trigger,
    enqueue_from_node if NODE_BINARY else enqueue_from_asyncpg,
]  # fmt: skip


def test_a_job_has_one_policy_however_it_is_enqueued(database: str, session: Session) -> None:
    with App(database) as app:
        settings = {"timeout": 7, "priority": 4, "expires": 3600, "concurrency_key": "one"}
        app.job(name=JOB, queue="mail", dead_letter_queue="dead", retry=RetryPolicy(max_attempts=3), **settings)(
            lambda to: None
        )
        app.sync()
        for way in WAYS:
            way(app)
        session.create_queue("mail", "max_running_per_key => 10")
        claimed = session.rows("select id, lease, input, job, max_attempts, timeout from underway.dequeue('mail', 10)")
        assert [row[2:] for row in claimed] == [({"to": "ada"}, JOB, 3, timedelta(seconds=7))] * len(WAYS)
        stored = session.rows("select priority, expires_at - enqueued_at, concurrency_key from underway.task")
        assert stored == [(4, timedelta(hours=1), "one")] * len(WAYS)

        error = '{"type": "Error", "message": "no such address"}'
        for id, lease, *_ in claimed:
            session.run("select underway.fail(%s, %s, %s, retryable => false)", id, lease, error)
        letters = session.column("select (dead_letter ->> 'task')::bigint from underway.task where queue = 'dead'")
        assert sorted(letters) == [id for id, *_ in claimed]

        # The job changes, and so does what is waiting.
        app.jobs[JOB].enqueue(to="ada")
        app.client.register_job(JobPolicy(name=JOB, queue="mail", timeout=9))
        (row,) = session.rows("select max_attempts, timeout from underway.dequeue('mail', 10)")
        assert row == (5, timedelta(seconds=9))
