"""Schedules from Python: declared beside a job, put into the database, run by workers wherever they are."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests import forks
from tests.py.support import SECONDS, Session, beside, refused, wait_until
from underway_pg import App, Context
from underway_pg.cron import check_cron
from underway_pg.errors import (
    ConfigurationError,
    DatabaseRefusal,
    InputError,
    InvalidArgument,
    InvalidCron,
    ScheduleNotFound,
)
from underway_pg.settings import Schedule, ScheduleSettings

ROOT = Path(__file__).resolve().parents[2]

# How long three workers serve a schedule of every second, in seconds.
MINUTE = 60 if os.environ.get("UNDERWAY_LONG") else 6

FOREVER = "0 0 1 1 *"


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database) as app:
        yield app


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


# Declared beside a job


def test_a_declared_schedule_is_put_into_the_database_with_all_that_it_says(app: App) -> None:
    @app.schedule(
        "30 9 * * mon-fri",
        time_zone="Europe/Berlin",
        arguments={"region": "eu"},
        catch_up="all",
        catch_up_limit=7,
        overlap="skip",
        jitter=90,
        starts_at=datetime(2030, 1, 1, tzinfo=UTC),
        ends_at=datetime(2040, 1, 1, tzinfo=UTC),
    )
    @app.job(queue="reports", priority=3)
    def report(region: str) -> None: ...

    app.sync()

    (found,) = app.client.schedules()
    assert (found.schedule, found.queue, found.job) == ("report", "reports", "report")
    assert (found.cron, found.time_zone) == ("30 9 * * mon-fri", "Europe/Berlin")
    assert (found.catch_up, found.catch_up_limit, found.overlap) == ("all", 7, "skip")
    assert (found.jitter, found.owner) == (timedelta(seconds=90), "app")
    assert (found.starts_at, found.ends_at) == (datetime(2030, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
    assert found.next_at == datetime(2030, 1, 1, 8, 30, tzinfo=UTC)
    task = app.task(app.client.run_schedule_now("report"))
    assert task is not None
    assert (task.input, task.priority) == ({"region": "eu"}, 3)


def test_a_job_with_schedules_stays_a_job(app: App) -> None:
    @app.schedule(FOREVER, name="one")
    @app.schedule(FOREVER, name="two", arguments={"n": 2})
    @app.job
    def double(n: int = 1) -> int:
        return 2 * n

    assert double(4) == 8
    assert app.sync().schedules.created == ["one", "two"]


def test_a_second_sync_tells_what_was_created_updated_unchanged_and_what_vanished(database: str) -> None:
    def declare(**crons: str) -> App:
        app = App(database)
        for name, cron in crons.items():
            app.schedule(cron, name=name)(app.job(name=name)(lambda: None))
        return app

    with declare(same=FOREVER, changed=FOREVER, gone=FOREVER) as first:
        first.sync()
    with declare(same=FOREVER, changed="0 0 2 1 *", new=FOREVER) as second:
        second.client.schedule(Schedule(name="of nobody", queue="default", cron=FOREVER))
        synced = second.sync().schedules
        assert (synced.created, synced.updated, synced.unchanged) == (["new"], ["changed"], ["same"])
        assert (synced.vanished, synced.removed) == (["gone"], [])
        assert "gone" in {each.schedule for each in second.client.schedules()}

        synced = second.sync(prune=True).schedules
        assert (synced.updated, synced.vanished, synced.removed) == ([], [], ["gone"])
        assert {each.schedule for each in second.client.schedules()} == {"same", "changed", "new", "of nobody"}


def test_what_another_application_declares_is_left_alone(database: str) -> None:
    for name in ("billing", "shop"):
        with App(database, name=name) as app:
            app.schedule(FOREVER, name=f"of {name}")(app.job(name="report")(lambda: None))
            assert app.sync(prune=True).schedules.removed == []


def test_a_schedule_that_somebody_else_made_is_taken_over_and_that_is_told(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    def declare(name: str) -> None:
        with App(database, name=name) as app:
            app.schedule(FOREVER, name="nightly")(app.job(name=f"report of {name}")(lambda: None))
            app.sync()
            assert [each.owner for each in app.client.schedules()] == [name]

    declare("shop")
    declare("shop")
    assert caplog.messages == []
    declare("billing")
    assert caplog.messages == ["schedule 'nightly' was of application 'shop'; now it is of 'billing'"]
    with App(database) as app:
        app.client.schedule(Schedule(name="nightly", queue="default", cron=FOREVER))
    caplog.clear()
    declare("shop")
    assert caplog.messages == ["schedule 'nightly' was of no application; now it is of 'shop'"]


def test_a_sync_that_is_refused_changes_nothing(app: App) -> None:
    @app.schedule(FOREVER, name="a")
    @app.schedule("0 0 30 2 *", name="b")
    @app.job
    def report() -> None: ...

    with pytest.raises(InvalidCron, match="matches no time"):
        app.sync()
    assert app.client.schedules() == []


def here(offset: int) -> str:
    """A line of this file, relative to the caller's, as an error names it."""
    caller = inspect.stack()[1]
    return f"{caller.filename}:{caller.lineno + offset}"


def test_a_wrong_expression_is_refused_where_it_is_written(app: App) -> None:
    line = here(+2)
    with pytest.raises(ConfigurationError) as caught:
        app.schedule("0 25 * * *")
    assert str(caught.value) == f"{line}: cron expression '0 25 * * *': the hour is '25'; an hour is 0-23"


@pytest.mark.parametrize(
    "cron",
    [
        *("60 * * * * *", "60 * * * *", "* 24 * * *", "* * 32 * *", "* * * 13 *", "* * * * 8", "* * * * * * 1969"),
        *("*/90 0 0 1 1 *", "*/60 * * * *", "5,5/70 * * * *", "0-10/20 * * * *", "5-5/2 * * * *", "0 */36 * * *"),
        *("0 22-2/5 * * *", "0 0 */31 * *", "0 0 * jan-MAR/3 *", "0 0 * * */7", "0 0 * * 0-7/7", "0 0 * * 5-7/3"),
        "0 0 0 1 1 * 2000/100",
    ],
)
def test_python_says_what_is_allowed_in_the_words_of_the_database(app: App, cron: str) -> None:
    with pytest.raises(ConfigurationError) as ours:
        check_cron(cron, None)
    with pytest.raises(InvalidCron) as theirs:
        app.client.cron_preview(cron)
    assert theirs.value.hint is not None
    allowed = theirs.value.hint.partition(". ")[0]
    assert str(ours.value) == f"{theirs.value.message}; {allowed[0].lower()}{allowed[1:]}".removesuffix(".")


@pytest.mark.parametrize(
    ("cron", "settings"),
    [("0 0 30 2 *", {}), ("@every 0 seconds", {}), ("@daily", {"time_zone": "CET"}), ("@daily", {"catch_up_limit": 0})],
)
def test_what_only_the_database_refuses_is_told_with_the_line(app: App, cron: str, settings: ScheduleSettings) -> None:
    line = here(+1)
    app.schedule(cron, **settings)(app.job(name="report")(lambda: None))
    with pytest.raises(DatabaseRefusal) as caught:
        app.sync()
    assert str(caught.value).startswith(f"{line}: ")
    assert type(caught.value) is (InvalidArgument if settings.get("catch_up_limit") == 0 else InvalidCron)
    assert caught.value.hint


def test_an_unknown_time_zone_is_refused_where_it_is_written(app: App) -> None:
    line = here(+2)
    with pytest.raises(ConfigurationError, match="there is no time zone 'Europe/Berln'") as caught:
        app.schedule("@daily", time_zone="Europe/Berln")
    assert str(caught.value).startswith(f"{line}: ")


def test_where_python_has_no_time_zones_the_database_alone_decides(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(key: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")

    monkeypatch.setattr(zoneinfo, "ZoneInfo", find)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    job = app.job(name="report")(lambda: None)
    app.schedule(FOREVER, time_zone="Asia/Tokyo")(job)
    assert app.sync().schedules.created == ["report"]
    app.schedule(FOREVER, name="other", time_zone="Asia/Tokio")(job)
    with pytest.raises(InvalidCron, match="'Asia/Tokio' is not a time zone of this server"):
        app.sync()


def test_arguments_that_do_not_fit_the_job_are_refused_with_the_line(app: App) -> None:
    line = here(+1)
    app.schedule(FOREVER, arguments={"m": 1})(app.job(name="j")(lambda n: None))
    with pytest.raises(ConfigurationError) as caught:
        app.sync()
    assert str(caught.value).startswith(f"{line}: job ")


def test_two_schedules_need_two_names(app: App) -> None:
    job = app.job(name="report")(lambda: None)
    line = here(+1)
    app.schedule(FOREVER)(job)
    with pytest.raises(ConfigurationError, match=rf"a schedule 'report' already, at {line}; give one another name"):
        app.schedule("@daily")(job)


def test_a_schedule_below_the_job_is_refused(app: App) -> None:
    with pytest.raises(ConfigurationError, match=r"put it above @app\.job"):
        app.schedule(FOREVER)(lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/5 22-6 * nov-feb Fri-MON",
        "0 0 L * *",
        "0 0 LW,15W,3 * *",
        "0 0 ? * 5L,L5,friL,mon#2,wed",
        "0 0 0 1 1 ? 2099",
        "*/10 * * * * *",
        "@every 90 minutes",
        "@EVERY 1h30m",
        "@every 1.5 hours",
        f" @every {timedelta(days=1, hours=2)} [Europe/Berlin]",
        "@every 2 weeks 3 days, 01:30",
        " @Daily[Europe/Berlin] ",
        "0 0 * * 0-7[UTC]",
        "5-5 0 * mar-3 7-0",
        "59/1,*/59,5-5/1 22-2/4 */30 jan/11 0-7/6",
    ],
)
def test_python_takes_what_the_database_takes(app: App, cron: str) -> None:
    check_cron(cron, None)
    assert len(app.client.cron_preview(cron, count=1)) == 1


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "@reboot",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32W * *",
        "* * * 13 *",
        "* * L L *",
        "* * * * 8",
        "* * * * mon#6",
        "* * * * lw",
        "*/0 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "* * * * * * 1969",
        "* * * * * * *,jan",
        "H * * * *",
        "R(0-5) * * * *",
        "* * w15 * *",
        "* * 28-L * *",
        "* * * * mon-fri#1",
        "00005 * * * *",
        "@every",
        "@every 5",
        "@everyone",
        "@every 1 month",
        "@every 0.5 years",
        "@every -5 minutes",
        "@every 5 minutes ago",
        "@every \u0663 minutes",
        "@every 1:60",
        "@every 5 minutes[Nowhere/Town]",
        "@daily[Nowhere/Town]",
        "@daily[]",
    ],
)
def test_python_refuses_what_the_database_refuses(app: App, cron: str) -> None:
    with pytest.raises(ConfigurationError):
        check_cron(cron, None)
    with pytest.raises(InvalidCron):
        app.client.cron_preview(cron)


# Made while the program runs


def test_a_job_is_scheduled_with_its_options(app: App) -> None:
    @app.job(queue="mail", timeout=60)
    def remind(customer: int) -> None: ...

    bound = remind.options(priority=5, headers={"tenant": "a"})
    next_at = bound.schedule("0 0 1 1 *[Asia/Tokyo]", name="remind 7", arguments={"customer": 7}, overlap="skip")

    (found,) = app.client.schedules()
    assert (found.schedule, found.owner, found.next_at) == ("remind 7", None, next_at)
    task = app.task(app.client.run_schedule_now("remind 7"))
    assert task is not None
    assert (task.queue, task.job, task.priority, task.input) == ("mail", "remind", 5, {"customer": 7})
    assert task.headers is not None
    assert (task.headers["tenant"], task.headers["schedule"]) == ("a", "remind 7")
    assert app.unschedule("remind 7") is True
    assert app.unschedule("remind 7") is False


def test_a_schedule_is_part_of_the_transaction_of_the_caller(app: App, database: str) -> None:
    job = app.job(name="report")(lambda: None)
    app.sync()
    with psycopg.connect(database) as connection:
        job.using(connection).schedule(FOREVER)
        assert app.client.schedules() == []
        connection.rollback()
    assert app.client.schedules() == []


async def schedule_and_close(app: App) -> datetime | None:
    try:
        return await app.jobs["report"].schedule_async(FOREVER)
    finally:
        client = await app.async_client()
        await client.close()


def test_a_job_is_scheduled_from_async_code(app: App) -> None:
    app.job(name="report")(lambda: None)
    next_at = asyncio.run(schedule_and_close(app))
    assert [each.next_at for each in app.client.schedules()] == [next_at]


def test_a_wrong_schedule_is_refused_before_the_database_is_asked(app: App) -> None:
    job = app.job(name="report")(lambda: None)
    with pytest.raises(ConfigurationError, match="the minute is '99'"):
        job.schedule("99 * * * *")
    with pytest.raises(InputError, match=r"starts_at .* has no time zone"):
        job.schedule(FOREVER, starts_at=datetime(2030, 1, 1))
    with pytest.raises(InputError, match="has the option delay; its cron expression says when its tasks run"):
        job.options(delay=5).schedule(FOREVER)
    with pytest.raises(InputError, match="unknown argument 'x'"):
        job.schedule(FOREVER, arguments={"x": 1})
    assert app.client.schedules() == []


def test_the_client_pauses_resumes_and_previews(app: App) -> None:
    client = app.client
    app.job(name="report")(lambda: None).schedule(FOREVER)
    assert [client.pause_schedule("report"), client.pause_schedule("report")] == [True, False]
    assert client.schedules()[0].paused_at is not None
    assert [client.resume_schedule("report"), client.resume_schedule("report")] == [True, False]
    with pytest.raises(ScheduleNotFound, match="schedule 'other' does not exist"):
        client.pause_schedule("other")
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert client.cron_preview("30 2 * * *", "Europe/Berlin", after=after, count=2) == [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # 03:00, for 02:30 does not exist
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]


# Run by workers


@pytest.mark.parametrize("cron", ["* * * * * *", "@every 1 second"])
def test_a_worker_puts_the_declared_schedules_in_and_runs_them(app: App, cron: str) -> None:
    seen: list[tuple[str | None, datetime | None, int]] = []

    @app.schedule(cron, name="tick", arguments={"n": 3})
    @app.job
    def note(context: Context, n: int) -> None:
        seen.append((context.schedule, context.scheduled_at, n))

    with beside(app.worker()) as worker:
        worker.until(lambda: len(seen) >= 2, "it ran twice")

    times = [at for _, at, _ in seen]
    assert {(schedule, n) for schedule, _, n in seen} == {("tick", 3)}
    assert times == [times[0] + timedelta(seconds=number) for number in range(len(times)) if times[0]]


def test_a_task_that_no_schedule_enqueued_has_no_schedule(app: App) -> None:
    seen: list[tuple[str | None, datetime | None]] = []

    @app.job
    def note(context: Context) -> None:
        seen.append((context.schedule, context.scheduled_at))

    note.enqueue()
    app.run(drain=True)
    assert seen == [(None, None)]


def test_a_change_takes_effect_while_workers_run(app: App) -> None:
    seen: list[int] = []

    @app.job
    def note(n: int) -> None:
        seen.append(n)

    note.schedule(FOREVER, arguments={"n": 1})
    with beside(app.worker()) as worker:
        worker.until(lambda: app.client.workers(), "it has started")
        note.schedule("* * * * * *", arguments={"n": 2})
        worker.until(lambda: seen, "the changed schedule ran")
        note.schedule("* * * * * *", arguments={"n": 3})
        worker.until(lambda: 3 in seen, "the changed input came")
    assert set(seen) == {2, 3}


def test_a_worker_whose_role_may_not_schedule_says_so_and_works(
    app: App, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('default')")
        connection.execute("create role only_works login in role underway_worker, underway_producer")
    try:
        done: list[int] = []
        user = psycopg.conninfo.make_conninfo(database, user="only_works")
        with App(user) as theirs:
            job = theirs.schedule(FOREVER)(theirs.job(name="report")(lambda: done.append(1)))
            job.enqueue()
            theirs.run(drain=True)
        assert done == [1]
        assert "schedule 'report': does not exist; run `underway sync MODULE:APP`" in caplog.text
        assert app.client.schedules() == []
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("drop role only_works")


PROGRAM = """
import sys

import underway_pg as underway

app = underway.App(sys.argv[1])


@app.schedule("* * * * * *", name="tick")
@app.job(queue="ticks")
def tick(context: underway.Context) -> str:
    return f"for {context.scheduled_at}"


app.run()
"""


def test_three_workers_give_one_task_for_each_second_though_two_are_killed(
    database: str, session: Session, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def seconds() -> list[str]:
        return session.column(
            "select headers ->> 'scheduled_at' from underway.task where queue = 'ticks'"
            " union all select headers ->> 'scheduled_at' from underway.task_history where queue = 'ticks' order by 1"
        )

    with contextlib.ExitStack() as stack:
        workers = []
        for _ in range(3):
            worker = forks.Popen(
                [sys.executable, str(program), database],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.DEVNULL,
            )
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)
        for third, worker in enumerate(workers[:2], start=1):
            wait_until(
                lambda third=third: len(seconds()) >= third * MINUTE // 3,
                "a third is over",
                seconds=2 * MINUTE + SECONDS,
            )
            worker.send_signal(signal.SIGKILL)
            worker.wait(SECONDS)
        wait_until(lambda: len(seconds()) >= MINUTE, "all seconds are over", seconds=2 * MINUTE + SECONDS)
        workers[2].terminate()
        assert workers[2].wait(SECONDS) == 0

    given = [datetime.fromisoformat(at) for at in seconds()]
    assert given == [given[0] + timedelta(seconds=number) for number in range(len(given))]
    states = session.column("select distinct state::text from underway.task_history where queue = 'ticks'")
    assert states == ["succeeded"]


def test_the_header_of_a_slot_does_not_depend_on_the_session(session: Session) -> None:
    session.create_queue("reports")
    session.run("set timezone = 'Asia/Kolkata'")
    session.run("set datestyle = 'German'")
    session.run("select underway.schedule('report', 'reports', '* * * * * *')")
    session.run("update underway.schedule set next_at = '2026-01-01 00:00:00+00', check_at = '2026-01-01 00:00:00+00'")
    session.run("select underway._run_chores()")
    first = session.value("select min(headers ->> 'scheduled_at') from underway.task")
    assert datetime.fromisoformat(first).utcoffset() == timedelta(0)
    assert first.endswith("Z")


def test_a_producer_may_look_at_cron_and_not_schedule(database: str) -> None:
    with Session(database) as session:
        session.create_queue("reports")
        session.run("set role underway_producer")
        assert session.value("select count(*) from underway.cron_preview('@daily', 'UTC', '2026-01-01', 3)") == 3
        with refused("42501"):
            session.run("select underway.schedule('report', 'reports', '@daily')")
