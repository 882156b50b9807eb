"""Doctor: a healthy database has no finding, and each planted fault has exactly its own."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.py.support import wait_until
from tests.py.test_cli import Underway, assert_refused
from tests.py.test_cli import bare as bare  # a fixture
from tests.py.test_connections import Pooler
from tests.servers import Server, files_in_memory
from underway_pg import connections, doctor
from underway_pg.doctor import CHECKS, Finding, Level, Limits
from underway_pg.doctor._facts import Facts
from underway_pg.embedded import EmbeddedPostgres, system_binaries, wheel_binaries
from underway_pg.version import VERSION

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def healthy_server() -> Iterator[Server]:
    """A server with the settings that PostgreSQL has by default, unlike that of the other tests."""
    binaries = wheel_binaries() or system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL binaries to start a server from")
    settings = {"max_prepared_transactions": "5", "wal_level": "logical", "max_replication_slots": "5"}
    with contextlib.ExitStack() as cleanup:
        with files_in_memory():
            server = cleanup.enter_context(EmbeddedPostgres(bin_directory=binaries, settings=settings))
        yield Server(server.dsn, cleanup)


@pytest.fixture
def dsn(healthy_server: Server) -> Iterator[str]:
    with healthy_server.database() as dsn:
        yield dsn


@pytest.fixture
def admin(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def examine(dsn: str, limits: Limits | None = None, now: Callable[[], float] = time.time) -> list[Finding]:
    with connections.connect(dsn) as connection:
        return doctor.examine(connection, dsn, limits=limits or Limits(), now=now)


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.level.value) for finding in findings if finding.level is not Level.OK]


def test_a_healthy_database_has_no_finding(dsn: str) -> None:
    findings = examine(dsn)
    assert bad(findings) == []
    assert [finding.check for finding in findings] == [check.name for check in CHECKS]
    assert all(finding.remedy is None and finding.what for finding in findings)


# Each fault

Plant = Callable[[Connection, str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault: how it is planted, by SQL or by a function, and what doctor says of it."""

    name: str
    plant: str | Plant
    check: str
    level: str
    what: str
    remedy: str
    undo: str = ""
    limits: Limits = field(default_factory=Limits)


def alter_system(name: str, value: str) -> Plant:
    """A setting of the whole server."""

    @contextlib.contextmanager
    def plant(admin: Connection, dsn: str) -> Iterator[None]:
        before = admin.execute("show " + name).fetchone()
        admin.execute(f"alter system set {name} = '{value}'".encode())
        try:
            admin.execute("select pg_reload_conf()")
            wait_until(lambda: admin.execute("show " + name).fetchone() != before, f"{name} is set")
            yield
        finally:
            admin.execute(f"alter system reset {name}".encode())
            admin.execute("select pg_reload_conf()")
            wait_until(lambda: admin.execute("show " + name).fetchone() == before, f"{name} is reset")

    return plant


def alter_database(name: str, value: str) -> str:
    return f"do $$ begin execute format('alter database %I set {name} = ''{value}''', current_database()); end $$"


@contextlib.contextmanager
def idle_transaction(admin: Connection, dsn: str) -> Iterator[None]:
    with psycopg.connect(dsn, application_name="report") as other:
        other.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        other.execute("select 1 from underway.queue")
        yield


@contextlib.contextmanager
def prepared_transaction(admin: Connection, dsn: str) -> Iterator[None]:
    admin.execute("begin; create table of_a_prepared_transaction (); prepare transaction 'forgotten'")
    try:
        yield
    finally:
        admin.execute("rollback prepared 'forgotten'")


@contextlib.contextmanager
def replication_slot(admin: Connection, dsn: str) -> Iterator[None]:
    admin.execute("select pg_create_logical_replication_slot('nobody', 'test_decoding')")
    try:
        yield
    finally:
        admin.execute("select pg_drop_replication_slot('nobody')")


@contextlib.contextmanager
def unheard_notifications(admin: Connection, dsn: str) -> Iterator[None]:
    """A session that listens, and does not end its transaction while others notify."""
    with psycopg.connect(dsn) as other:
        other.execute("listen anything")
        other.commit()
        other.execute("select 1")
        admin.execute("select pg_notify('anything', n::text || repeat('x', 7000)) from generate_series(1, 200) n")
        yield


@contextlib.contextmanager
def renamed_role(admin: Connection, dsn: str) -> Iterator[None]:
    admin.execute("alter role underway_observer rename to elsewhere_observer")
    try:
        yield
    finally:
        admin.execute("alter role elsewhere_observer rename to underway_observer")


@contextlib.contextmanager
def dead_rows(admin: Connection, dsn: str) -> Iterator[None]:
    """A transaction that was rolled back leaves a dead row for each row that it inserted."""
    with contextlib.suppress(ZeroDivisionError), admin.transaction():
        admin.execute(
            "insert into underway.task (queue, priority, enqueued_at, input)"
            " select 'mail', 0, now(), '{}' from generate_series(1, 1000)"
        )
        raise ZeroDivisionError
    seen = "select n_dead_tup from pg_stat_user_tables where relname = 'task'"
    wait_until(lambda: (admin.execute(seen).fetchone() or (0,))[0] >= 1000, "the statistics have them")
    yield


@contextlib.contextmanager
def many_connections(admin: Connection, dsn: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(psycopg.connect(dsn))
        yield


@contextlib.contextmanager
def busy_minutes(admin: Connection, dsn: str) -> Iterator[None]:
    """Many tasks within the last minutes, and workers that may not vacuum."""
    if admin.info.server_version >= 170000:
        admin.execute("revoke maintain on underway.task from underway_worker")
    admin.execute(
        "insert into underway.task_stat (step, at, queue, job, started) values"
        " ('minute', date_trunc('minute', now() - interval '2 minutes'), 'mail', '', 600000),"
        " ('total', '-infinity', 'mail', '', 600000)"
    )
    yield


@contextlib.contextmanager
def failing_schedule(admin: Connection, dsn: str) -> Iterator[None]:
    admin.execute("select underway.create_queue('mail', max_length => 1), underway.enqueue('mail', delay => '1 day')")
    admin.execute("select underway.schedule('nightly', 'mail', '@every 1 second')")
    failed = "select last_error from underway.schedule_stats where last_error is not null"

    def ran() -> bool:
        admin.execute("select underway.run_schedules()")
        return bool(admin.execute(failed).fetchall())

    wait_until(ran, "the schedule has failed")
    yield


@contextlib.contextmanager
def standby(admin: Connection, dsn: str, sync_state: str = "async") -> Iterator[None]:
    """A program that receives the write-ahead log as a standby does."""
    options = {"replication": "true", "application_name": "standby"}
    receiver = psycopg.pq.PGconn.connect(make_conninfo(dsn, **options).encode())  # type: ignore[arg-type]
    try:
        now = "select p::text, (p - '0/0')::bigint from pg_current_wal_lsn() p"
        position, received = admin.execute(now).fetchall()[0]
        started = receiver.exec_(f"START_REPLICATION PHYSICAL {position}".encode())
        assert started.status == psycopg.pq.ExecStatus.COPY_BOTH
        # One that has not said what it has received is not synchronous.
        receiver.put_copy_data(struct.pack("!cqqqqb", b"r", received, received, received, 0, 0))
        receiver.flush()
        follows = "select sync_state from pg_stat_replication where state = 'streaming'"
        wait_until(lambda: admin.execute(follows).fetchall() == [(sync_state,)], "it follows")
        yield
    finally:
        receiver.finish()
        wait_until(lambda: not admin.execute("select from pg_stat_replication").fetchall(), "it has gone")


@contextlib.contextmanager
def unused_synchronous_standby(admin: Connection, dsn: str) -> Iterator[None]:
    """A synchronous standby, for which commits do not wait."""
    admin.execute(alter_database("synchronous_commit", "local").encode())
    admin.execute("set synchronous_commit = local")
    with alter_system("synchronous_standby_names", "standby")(admin, dsn), standby(admin, dsn, "sync"):
        yield


@contextlib.contextmanager
def session_of_patroni(admin: Connection, dsn: str) -> Iterator[None]:
    admin.execute(MAIL)
    with psycopg.connect(dsn, application_name="Patroni heartbeat"):
        yield


def worker(name: str, queue: str = "mail", concurrency: int = 2, version: str = VERSION) -> str:
    return f"select underway.register_worker('{name}', '{{{queue}}}', {concurrency}, version => '{version}')"


MAIL = "select underway.create_queue('mail');"
INTO_THE_PAST = "update underway.task set ready_at = ready_at - interval '10 minutes'"

FAULTS = [
    Fault(
        name="an older schema", plant="update underway.migration set version = 0", check="schema", level="problem",
        what="this package needs migration", remedy="underway migrate",
    ),
    Fault(
        name="a newer schema", plant="insert into underway.migration (version, name, checksum) values (9999, 'x', '')",
        check="schema", level="warning", what="migration 9999, which is newer than this package",
        remedy="pip install --upgrade",
    ),
    Fault(
        name="functions of another version", plant="update underway.installation set functions = 'other'",
        check="schema", level="problem", what="another version", remedy="underway migrate",
    ),
    Fault(
        name="a function that was changed", check="functions", level="problem", what="changed by hand: stats",
        plant="create or replace function underway.stats() returns jsonb language plpgsql stable security definer"
        " set search_path = pg_catalog, pg_temp as $$ begin return '{}'; end $$",
        remedy="underway migrate",
    ),
    Fault(
        name="a function that was dropped", plant="drop function underway.reprioritize", check="functions",
        level="problem", what="missing: function reprioritize", remedy="underway migrate",
    ),
    Fault(
        name="a view that was dropped", plant="drop view underway.batch_stats", check="functions", level="problem",
        what="missing: view batch_stats", remedy="underway migrate",
    ),
    Fault(
        name="an index that was dropped", plant="drop index underway.worker_to_wake", check="indexes", level="problem",
        what="worker_to_wake is missing", remedy="underway migrate --sql",
    ),
    Fault(
        name="an invalid index", check="indexes", level="problem", what="worker_to_wake is invalid",
        plant="update pg_index set indisvalid = false where indexrelid = 'underway.worker_to_wake'::regclass",
        remedy="reindex index underway.worker_to_wake",
    ),
    Fault(
        name="a table without statistics", check="indexes", level="warning", what="table task has",
        plant=f"{MAIL} select underway.enqueue_many('mail', array_fill('{{}}'::jsonb, '{{100}}'), delay => '1 day');"
        " select pg_stat_force_next_flush()",
        remedy="analyze underway.task", limits=Limits(analyzed_rows=100),
    ),
    Fault(
        name="a role that is missing", plant=renamed_role, check="roles", level="warning",
        what="missing roles: underway_observer", remedy="create role underway_observer",
    ),
    Fault(
        name="a right that was revoked", check="roles", level="problem", what="underway_worker may not call maintain",
        plant="revoke execute on function underway.maintain from underway_worker", remedy="underway migrate",
    ),
    Fault(
        name="a right that was added", check="roles", level="warning", what="underway_producer may call cancel",
        plant="grant execute on function underway.cancel(bigint) to underway_producer", remedy="revoke",
    ),
    Fault(
        name="a function for everybody", check="roles", level="warning", what="public may call cancel",
        plant="grant execute on function underway.cancel(bigint) to public", remedy="revoke",
    ),
    Fault(
        name="a table that others may read", check="roles", level="warning",
        what="underway_producer has rights on the table task", remedy="revoke",
        plant="grant select on underway.task to underway_producer",
    ),
    Fault(
        name="fsync is off", plant=alter_system("fsync", "off"), check="settings", level="problem",
        what="fsync is off", remedy="alter system set fsync = 'on'",
    ),
    Fault(
        name="synchronous_commit is off", plant=alter_database("synchronous_commit", "off"), check="settings",
        level="warning", what="synchronous_commit is off (database ", remedy="set synchronous_commit = 'on'",
    ),
    Fault(
        name="a database that takes no writes", check="settings", level="problem", remedy="'off'",
        plant=alter_database("default_transaction_read_only", "on"), what="default_transaction_read_only is on",
    ),
    Fault(
        name="no synchronous standby", plant=standby, check="failover", level="warning",
        what="no standby is synchronous (standby)", remedy="synchronous_mode=true",
    ),
    Fault(
        name="a synchronous standby that is lost", plant=alter_system("synchronous_standby_names", "lost"),
        check="failover", level="problem", what="is 'lost', and no such standby follows", remedy="start the standby",
    ),
    Fault(
        name="commits that do not wait for the synchronous standby", plant=unused_synchronous_standby,
        check="failover", level="warning", what="synchronous_commit is local", remedy="synchronous_commit = 'on'",
    ),
    Fault(
        name="a heartbeat that is shorter than a failover", plant=session_of_patroni, check="failover",
        level="warning", what="queue 'mail': the heartbeat is shorter",
        remedy="underway queue create mail --heartbeat 45",
    ),
    Fault(
        name="index scans are off", plant=alter_database("enable_indexscan", "off"), check="settings", level="warning",
        what="enable_indexscan is off", remedy="set enable_indexscan = 'on'",
    ),
    Fault(
        name="another isolation level", plant=alter_database("default_transaction_isolation", "serializable"),
        check="settings", level="warning", what="default_transaction_isolation is serializable",
        remedy="set default_transaction_isolation = 'read committed'",
    ),
    Fault(
        name="a short statement_timeout", plant=alter_database("statement_timeout", "5s"), check="settings",
        level="warning", what="statement_timeout is 5s", remedy="set statement_timeout = '0'",
    ),
    Fault(
        name="a short idle_in_transaction_session_timeout", check="settings", level="warning",
        plant=alter_system("idle_in_transaction_session_timeout", "10s"),
        what="idle_in_transaction_session_timeout is 10000",
        remedy="alter system set idle_in_transaction_session_timeout = '0'",
    ),
    Fault(
        name="a timeout of a role", check="settings", level="warning", what="statement_timeout is 2min (role",
        plant="alter role underway_worker set statement_timeout = '2min'", remedy="alter role underway_worker",
        undo="alter role underway_worker reset all", limits=Limits(shortest_timeout=600),
    ),
    Fault(
        name="autovacuum is off", plant=alter_system("autovacuum", "off"), check="autovacuum", level="problem",
        what="autovacuum is off", remedy="alter system set autovacuum = 'on'",
    ),
    Fault(
        name="track_counts is off", plant=alter_system("track_counts", "off"), check="autovacuum", level="problem",
        what="track_counts is off", remedy="alter system set track_counts = 'on'",
    ),
    Fault(
        name="autovacuum is off for a table", plant="alter table underway.task set (autovacuum_enabled = off)",
        check="autovacuum", level="problem", what="off for the table task",
        remedy="alter table underway.task reset (autovacuum_enabled)",
    ),
    Fault(
        name="a long naptime", plant=alter_system("autovacuum_naptime", "10min"), check="autovacuum", level="warning",
        what="autovacuum_naptime is 600 s", remedy="autovacuum_naptime = '5s'",
    ),
    Fault(
        name="a naptime that is too long for the load", plant=busy_minutes, check="autovacuum", level="warning",
        what="autovacuum_naptime is 60 s at 1,000 tasks a second", remedy="autovacuum_naptime = '5s'",
    ),
    Fault(
        name="dead rows", plant=dead_rows, check="autovacuum", level="warning", what="table task has 1,000 dead rows",
        remedy="vacuum (verbose) underway.task", limits=Limits(dead_rows=1000),
    ),
    Fault(
        name="an old transaction", plant=idle_transaction, check="snapshots", level="warning",
        what="(report) is idle in transaction", remedy="select pg_terminate_backend(", limits=Limits(snapshot_age=0),
    ),
    Fault(
        name="a very old transaction", plant=idle_transaction, check="snapshots", level="problem",
        what="(report) is idle in transaction", remedy="select pg_terminate_backend(",
        limits=Limits(snapshot_age=0, snapshot_age_problem=0),
    ),
    Fault(
        name="a prepared transaction", plant=prepared_transaction, check="snapshots", level="problem",
        what="prepared transaction 'forgotten'", remedy="rollback prepared 'forgotten'", limits=Limits(snapshot_age=0),
    ),
    Fault(
        name="a replication slot that nobody reads", plant=replication_slot, check="snapshots", level="warning",
        what="replication slot 'nobody'", remedy="pg_drop_replication_slot('nobody')",
    ),
    Fault(
        name="old transaction ids", plant="select 1", check="transaction ids", level="warning", what="transactions old",
        remedy="vacuum (freeze)", limits=Limits(transaction_id_age=-1),
    ),
    Fault(
        name="connections that are used up", plant=many_connections, check="connections", level="warning",
        what="connections are in use", remedy="max_connections", limits=Limits(connections=0.08),
    ),
    Fault(
        name="too few connections for the workers", plant=f"{MAIL} {worker('big', concurrency=500)}",
        check="connections", level="warning", what="may need 503 connections", remedy="--concurrency",
    ),
    Fault(
        name="times that are ahead", check="clock", level="warning", what="ahead of the clock of the server",
        plant="select underway.maintain(); update underway.upkeep set last_run_at = now() + interval '1 hour'",
        remedy="select underway.maintain()",
    ),
    Fault(
        name="a queue of notifications that fills up", plant=unheard_notifications, check="notifications",
        level="problem", what="queue of notifications", remedy="pg_stat_activity", limits=Limits(notification_queue=0),
    ),
    Fault(
        name="a publication without replica identity", check="publications", level="problem",
        what="'changes' has the table worker", remedy="alter table underway.worker replica identity full",
        plant="alter table underway.worker replica identity nothing;"
        " create publication changes for table underway.worker",
    ),
    Fault(
        name="a lost worker", check="workers", level="warning", what="worker 'w' has not been seen",
        plant=f"{MAIL} {worker('w')}; update underway.worker set seen_at = seen_at - interval '2 minutes'",
        remedy="start it again",
    ),
    Fault(
        name="a worker of another version", plant=f"{MAIL} {worker('old', version='0.0.1')}", check="workers",
        level="warning", what="has version 0.0.1", remedy="deploy the same version",
    ),
    Fault(
        name="a queue without workers", plant=f"{MAIL} select underway.enqueue('mail')", check="queues",
        level="problem", what="queue 'mail': 1 task is ready, and no worker serves it", remedy="--queue mail",
    ),
    Fault(
        name="a paused queue with tasks", check="queues", level="warning", what="has been paused since",
        plant=f"{MAIL} select underway.enqueue('mail'); select underway.pause_queue('mail')",
        remedy="underway queue resume mail",
    ),
    Fault(
        name="a blocked queue", check="queues", level="problem", what="its workers do not start",
        plant=f"{MAIL} {worker('w')}; select underway.enqueue('mail'); {INTO_THE_PAST}", remedy="underway why",
    ),
    Fault(
        name="a job that no worker knows", check="jobs", level="problem", what="job 'send' has tasks, and no worker",
        plant=f"{MAIL} {worker('w')}; select underway.set_skipped_jobs(w.id, '{{send}}') from underway.worker w",
        remedy="underway cancel --job send",
    ),
    Fault(
        name="a job that some workers do not know", check="jobs", level="warning", what="job 'send' has tasks that 'w'",
        plant=f"{MAIL} {worker('w')}; select underway.set_skipped_jobs(w.id, '{{send}}') from underway.worker w;"
        f" {worker('new')}",
        remedy="deploy the code",
    ),
    Fault(
        name="a schedule that fails", plant=failing_schedule, check="schedules", level="problem",
        what="schedule 'nightly' failed", remedy="",
    ),
    Fault(
        name="a schedule without a next time", check="schedules", level="warning", what="has no next time",
        plant=f"{MAIL} select underway.schedule('past', 'mail', '@daily');"
        " update underway.schedule set next_at = null, check_at = null",
        remedy="schedule remove past",
    ),
    Fault(
        name="a schedule that nobody runs", check="schedules", level="problem", what="was due",
        plant=f"{MAIL} select underway.schedule('late', 'mail', '@daily');"
        " update underway.schedule set next_at = now() - interval '1 hour'",
        remedy="underway worker",
    ),
    Fault(
        name="an interrupted move", check="moves", level="problem",
        what="a move was interrupted: 1 tasks have been on their way to shard 7 since",
        plant=f"{MAIL} select underway.enqueue('mail'); select underway.begin_move_batch(7, 'mail', null, 0, 1000000);"
        " update underway.outgoing_move set begun_at = begun_at - interval '2 minutes'",
        remedy="run the same underway move again",
    ),
]  # fmt: skip


def named(fault: Fault) -> str:
    return fault.name


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_doctor_finds_exactly_the_fault_that_was_planted(dsn: str, admin: Connection, fault: Fault) -> None:
    try:
        if isinstance(fault.plant, str):
            admin.execute(fault.plant.encode())
            findings = examine(dsn, fault.limits)
        else:
            with fault.plant(admin, dsn):
                findings = examine(dsn, fault.limits)
    finally:
        if fault.undo:
            admin.execute(fault.undo.encode())
    assert bad(findings) == [(fault.check, fault.level)], [f for f in findings if f.level is not Level.OK]
    (found,) = (finding for finding in findings if finding.level is not Level.OK)
    assert fault.what in found.what
    assert found.remedy is not None
    assert fault.remedy in found.remedy
    json.dumps(found.value)


def test_each_check_has_a_fault_that_it_finds() -> None:
    elsewhere = {"rights", "server"}  # tested below
    assert {fault.check for fault in FAULTS} | elsewhere == {check.name for check in CHECKS}


@pytest.mark.parametrize(("offset", "direction"), [(-30, "ahead of"), (30, "behind")])
def test_doctor_finds_a_clock_that_is_wrong(dsn: str, offset: float, direction: str) -> None:
    findings = examine(dsn, now=lambda: time.time() + offset)
    assert bad(findings) == [("clock", "warning")]
    (found,) = (finding for finding in findings if finding.level is not Level.OK)
    assert f"30.0 s {direction} that of this machine" in found.what


def test_doctor_finds_a_pooler(dsn: str) -> None:
    with Pooler(dsn) as pooler:
        findings = examine(pooler.dsn)
    assert bad(findings) == [("notifications", "warning")]
    assert "--listen-dsn" in next(str(finding.remedy) for finding in findings if finding.check == "notifications")


@pytest.mark.parametrize(("seconds", "what"), [(None, "did not arrive"), (1.7, "took 1.7 s")])
def test_doctor_finds_notifications_that_are_lost_or_late(
    dsn: str, monkeypatch: pytest.MonkeyPatch, seconds: float | None, what: str
) -> None:
    monkeypatch.setattr(Facts, "round_trip", seconds)
    findings = examine(dsn)
    assert bad(findings) == [("notifications", "warning")]
    assert what in next(finding.what for finding in findings if finding.check == "notifications")


def test_doctor_finds_a_standby(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Facts, "standby", True)
    assert bad(examine(dsn)) == [("server", "problem")]


def test_doctor_finds_several_hosts_of_which_none_is_chosen(dsn: str) -> None:
    given = conninfo_to_dict(dsn)
    several = make_conninfo(dsn, host=f"{given['host']},{given['host']}")
    assert bad(examine(several)) == [("failover", "warning")]
    assert bad(examine(make_conninfo(several, target_session_attrs="read-write"))) == []


def test_doctor_finds_an_eager_jit_compiler_where_there_is_one(
    dsn: str, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(alter_database("jit", "on").encode())
    admin.execute(alter_database("jit_above_cost", "10").encode())
    monkeypatch.setattr(Facts, "jit_available", False)
    assert bad(examine(dsn)) == []
    monkeypatch.setattr(Facts, "jit_available", True)
    assert bad(examine(dsn)) == [("settings", "warning")]


def test_doctor_finds_several_faults_at_once(dsn: str, admin: Connection) -> None:
    for name in ("a queue without workers", "a schedule without a next time", "an index that was dropped"):
        (plant,) = (fault.plant for fault in FAULTS if fault.name == name)
        admin.execute(str(plant).encode())
    assert bad(examine(dsn)) == [("indexes", "problem"), ("queues", "problem"), ("schedules", "warning")]


# Users with few rights


@pytest.mark.parametrize("role", ["underway_observer", "underway_operator"])
def test_observers_and_operators_can_check_everything(dsn: str, role: str) -> None:
    assert bad(examine(make_conninfo(dsn, options=f"-c role={role}"))) == []


def test_what_the_user_may_not_see_is_said(dsn: str) -> None:
    findings = examine(make_conninfo(dsn, options="-c role=underway_worker"))
    assert {(finding.level.value, finding.what[:11]) for finding in findings if finding.level is not Level.OK} == {
        ("warning", "not checked")
    }
    assert any("queues" in finding.what and "grant underway_observer" in str(finding.remedy) for finding in findings)


def test_a_user_without_rights_is_a_problem(dsn: str, admin: Connection) -> None:
    admin.execute("create role stranger")
    try:
        findings = examine(make_conninfo(dsn, options="-c role=stranger"))
        assert ("rights", "problem") in bad(findings)
        assert 'grant underway_worker to "stranger"' in [finding.remedy for finding in findings]
    finally:
        admin.execute("drop role stranger")


# The command


def test_the_command_shows_each_finding_with_its_remedy(bare: Underway, dsn: str, admin: Connection) -> None:
    healthy = bare("doctor", "--dsn", dsn)
    assert healthy.code == 0
    assert healthy.out.splitlines()[-1] == "0 problems, 0 warnings"
    assert all(line.startswith("ok ") for line in healthy.out.splitlines()[:-1])

    admin.execute(f"{MAIL} {worker('old', version='0.0.1')}".encode())
    answer = bare("doctor", "--dsn", dsn)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "0 problems, 1 warning")
    assert "remedy: deploy the same version everywhere" in answer.out
    assert bare("doctor", "--strict", "--dsn", dsn).code == 1

    admin.execute("drop index underway.worker_to_wake")
    answer = bare("doctor", "--json", "--dsn", dsn)
    assert answer.code == 1
    assert answer.json["healthy"] is False
    (problem,) = (finding for finding in answer.json["findings"] if finding["level"] == "problem")
    assert (problem["check"], problem["value"]) == ("indexes", "worker_to_wake")


def test_without_the_schema_doctor_says_how_to_install_it(bare: Underway, healthy_server: Server) -> None:
    with healthy_server.new_database() as dsn:
        answer = bare("doctor", "--dsn", dsn)
    assert answer.code == 1
    assert "not installed" in answer.out
    assert "remedy: underway migrate" in answer.out


def test_a_database_that_cannot_be_reached_is_named(bare: Underway, dsn: str) -> None:
    elsewhere = make_conninfo(**{**conninfo_to_dict(dsn), "host": "127.0.0.1", "port": "1"})
    assert_refused(bare("doctor", "--dsn", elsewhere), 1, "port 1")
