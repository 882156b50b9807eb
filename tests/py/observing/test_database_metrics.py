"""The metrics of a database: right numbers, bounded labels, and an answer when the database is away."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import pytest

from tests.py.observing.metrics_support import OPENMETRICS, Samples
from tests.py.support import Session, beside, final, wait_until
from underway_pg import App, Client, Queue, RetryPolicy
from underway_pg.metrics import DatabaseCollector, WorkerCollector, metrics_response
from underway_pg.metrics.counts import BOUNDS


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


def sampled(app: App) -> Samples:
    return Samples.of(DatabaseCollector(app.client.run))


def counted(app: App, session: Session, enqueued: int) -> Samples:
    """The metrics when so many tasks are counted. The database counts only what no open transaction can change."""

    def look() -> Samples | None:
        session.run("update underway.upkeep set last_run_at = '-infinity'")
        session.run("select underway.maintain(null, true)")
        found = sampled(app)
        return found if found.value("underway_tasks_enqueued_total") >= enqueued else None

    found = wait_until(look, f"{enqueued} tasks are counted")
    assert found is not None
    return found


def test_counters_and_histograms_are_by_queue_and_job(database: str, session: Session) -> None:
    with App(database, queues=[Queue(name="q", retry=RetryPolicy(max_attempts=2, initial_interval=0))]) as app:

        @app.job(queue="q")
        def works() -> None: ...

        @app.job(queue="q")
        def fails() -> None:
            raise ValueError("no")

        with beside(app.worker()) as running:
            for id in [*works.enqueue_many([{}] * 3), fails.enqueue()]:
                final(app, id, running)

        found = counted(app, session, 4)
        assert found.by_job("underway_tasks_enqueued_total") == {("q", "works"): 3, ("q", "fails"): 1}
        assert found.by_job("underway_tasks_started_total") == {("q", "works"): 3, ("q", "fails"): 2}
        assert found.by_job("underway_tasks_succeeded_total") == {("q", "works"): 3}
        assert found.by_job("underway_tasks_failed_total") == {("q", "fails"): 1}
        assert found.by_job("underway_tasks_retried_total") == {("q", "fails"): 1}
        assert found.by_job("underway_run_seconds_count") == {("q", "works"): 3, ("q", "fails"): 2}
        assert found.value("underway_run_seconds_bucket", job="works", le="+Inf") == 3
        assert found.by_job("underway_wait_seconds_count")["q", "works"] == 3
        assert found.value("underway_database_up") == 1


def test_jobs_that_are_not_registered_share_one_label_and_dropped_queues_vanish(
    database: str, session: Session
) -> None:
    with App(database, queues=[Queue(name="q"), Queue(name="old")]) as app:

        @app.job(queue="q")
        def known() -> None: ...

        app.sync()
        session.run("select underway.enqueue('q', job => 'invented_' || n) from generate_series(1, 20) n")
        session.run("select underway.enqueue('q', job => 'known'), underway.enqueue('q')")
        session.run("select underway.enqueue('old')")
        found = counted(app, session, 23)
        assert found.by_job("underway_tasks_enqueued_total") == {
            ("q", ""): 21,
            ("q", "known"): 1,
            ("old", ""): 1,
        }
        app.client.drop_queue("old", force=True)
        assert "old" not in {sample.labels.get("queue") for sample in sampled(app).samples}


def test_the_state_of_queues_workers_and_schedules_is_shown(database: str, session: Session) -> None:
    with App(database, queues=[Queue(name="q"), Queue(name="paused")]) as app:

        @app.job(queue="q")
        def job() -> None: ...

        app.sync()
        job.enqueue_many([{}] * 3)
        job.options(delay=3600).enqueue()
        app.client.pause_queue("paused")
        session.run("update underway.task set ready_at = ready_at - interval '100 seconds' where ready_at <= now()")
        session.run("select underway.register_worker('w', '{q}', 7)")
        session.run(
            "update underway.worker set seen_at = now() - interval '2 minutes'"
            " where id = underway.register_worker('lost', '{q}', 5)"
        )
        job.schedule("@daily", name="nightly")
        session.run("update underway.schedule set last_error = '{}', last_error_at = now()")
        found = sampled(app)
        states = {
            state: found.value("underway_queue_tasks", queue="q", state=state)
            for state in ("ready", "scheduled", "in_progress")
        }
        assert states == {"ready": 3, "scheduled": 1, "in_progress": 0}
        assert 100 <= found.value("underway_queue_oldest_ready_seconds", queue="q") < 200
        assert found.value("underway_queue_oldest_ready_seconds", queue="paused") == 0
        assert found.value("underway_queue_paused", queue="paused") == 1
        assert found.value("underway_queue_paused", queue="q") == 0
        assert found.value("underway_queue_workers", queue="q") >= 1
        assert found.value("underway_workers", state="alive") >= 1
        assert found.value("underway_workers_concurrency") >= 7
        assert found.value("underway_schedule_failing", schedule="nightly") == 1
        assert found.value("underway_schedule_next_timestamp_seconds", schedule="nightly") > 1e9


def test_the_health_of_the_database_is_shown(database: str, session: Session) -> None:
    with App(database) as app, Session(database) as other:
        other.run("begin isolation level repeatable read")
        other.run("select 1 from underway.task")
        found = sampled(app)
    assert found.value("underway_oldest_snapshot_seconds") > 0
    assert found.value("underway_connections_used") >= 2
    assert found.value("underway_connections_max") >= 10
    assert found.value("underway_database_bytes") > 1e6
    assert found.value("underway_table_bytes", table="task") >= 0
    assert {"task", "task_history"} <= {
        s.labels["table"] for s in found.samples if s.name == "underway_table_dead_rows"
    }


def test_buckets_are_those_of_the_database(database: str, session: Session) -> None:
    assert set(BOUNDS) <= {round(bound, 6) for bound in session.value("select underway.histogram_bounds()")}


def test_a_histogram_keeps_all_that_it_counts_when_bounds_are_left_out(database: str, session: Session) -> None:
    with App(database, queues=[Queue(name="q")]) as app:

        @app.job(queue="q")
        def job() -> None: ...

        app.sync()
        job.enqueue()
        counted(app, session, 1)
        each = json.dumps([1] * 28).replace("[", "{").replace("]", "}")
        session.run(f"update underway.task_stat set run_histogram = '{each}', run_seconds = 5 where step = 'total'")
        found = sampled(app)
    buckets = [s.value for s in found.samples if s.name == "underway_run_seconds_bucket" and s.labels["job"] == "job"]
    assert buckets == [1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 21, 23, 28]
    assert found.value("underway_run_seconds_sum", job="job") == 5


def test_an_observer_may_read_the_metrics(database: str, session: Session) -> None:
    session.run("create role metrics_reader login")
    try:
        session.run("grant underway_observer to metrics_reader")
        with Client(
            f"{database}&user=metrics_reader" if "?" in database else f"{database}?user=metrics_reader"
        ) as client:
            assert Samples.of(DatabaseCollector(client.run)).value("underway_database_up") == 1
    finally:
        session.run("drop role metrics_reader")


@pytest.mark.parametrize("accept", [None, OPENMETRICS, "application/openmetrics-text;version=wrong", "text/html"])
def test_an_answer_is_in_the_format_that_is_asked_for(database: str, accept: str | None) -> None:
    with App(database) as app:

        async def answered() -> tuple[str, bytes]:
            return await metrics_response((await app.async_client()).run, accept)

        content_type, body = asyncio.run(answered())
    assert content_type.startswith("application/openmetrics-text") == (accept == OPENMETRICS)
    assert Samples(body.decode(), content_type).value("underway_database_up") == 1


def test_a_database_that_is_away_gives_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    with Client("postgresql://localhost:1/none", timeout=1) as client:
        found = Samples.of(DatabaseCollector(client.run))
    assert {sample.name for sample in found.samples} == {"underway_database_up"}
    assert found.value("underway_database_up") == 0
    assert "cannot read the metrics of the database" in caplog.text


def test_names_follow_the_conventions_of_prometheus(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app:
        found = Samples.of(DatabaseCollector(app.client.run), WorkerCollector(app.worker()))
    for family in found.families:
        assert re.fullmatch(r"underway(_[a-z]+)+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge", "histogram", "info"), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
        assert not re.search(r"_(ms|milliseconds|minutes|percent|kilobytes)(_|$)", family.name), family.name


@pytest.mark.parametrize("accept", [None, OPENMETRICS])
def test_a_name_with_any_characters_is_one_label(database: str, session: Session, accept: str | None) -> None:
    name = 'a "quoted" \\name\\n{job="x"} é'
    with App(database, queues=[Queue(name=name)]) as app:
        app.sync()
        app.client.enqueue(name, {})
        found = Samples.of(DatabaseCollector(app.client.run), accept=accept)
    assert found.value("underway_queue_tasks", queue=name, state="ready") == 1
    assert {sample.labels["queue"] for sample in found.samples if "queue" in sample.labels} == {name}
