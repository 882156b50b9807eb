"""Sentry, with a transport that keeps what it is given."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests import forks
from tests.py.support import FOREVER, SECONDS, Session, beside, final
from underway_pg import App, Context, Fatal, Queue, RetryPolicy
from underway_pg.sentry import instrument, monitor_config

ROOT = Path(__file__).resolve().parents[3]

AT_ONCE = RetryPolicy(max_attempts=2, initial_interval=0, jitter=0)


class Sent(Transport):
    """The items of envelopes, by type."""

    def __init__(self) -> None:
        super().__init__({"dsn": "https://key@localhost/1"})
        self.items: list[tuple[str, dict[str, Any]]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.payload.json is not None:
                self.items.append((item.type or "", item.payload.json))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for type, item in list(self.items) if type == kind]

    def errors(self) -> list[str]:
        """The exceptions of events, or their messages."""
        return [
            event["exception"]["values"][-1]["value"] if "exception" in event else event["logentry"]["formatted"]
            for event in self.of("event")
        ]


def initialized(**options: Any) -> Sent:
    sent = Sent()
    sentry_sdk.init(dsn="https://key@localhost/1", transport=sent, default_integrations=True, **options)
    return sent


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().clear()
    sentry_sdk.get_global_scope()._event_processors.clear()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def sent(clean: None) -> Sent:
    return initialized(traces_sample_rate=1.0)


def made(database: str, **options: Any) -> App:
    app = App(database, queues=[Queue(name="q", retry=AT_ONCE)])
    instrument(app, **options)
    return app


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_permanent_failure_is_reported_once_with_its_task(database: str, sent: Sent, kind: str) -> None:
    with made(database) as app:

        def plain(secret: str) -> None:
            sentry_sdk.set_tag("of_handler", "yes")
            raise ValueError("out of paper")

        async def asynchronous(secret: str) -> None:
            plain(secret)

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        with beside(app.worker()) as running:
            id = job.enqueue(secret="hunter2")
            final(app, id, running)
            running.until(lambda: len(sent.of("transaction")) >= 2, "both attempts are traced")
    (event,) = sent.of("event")
    assert {"job": "job", "queue": "q", "task": str(id), "attempt": "2", "of_handler": "yes"}.items() <= event[
        "tags"
    ].items()
    (error,) = event["exception"]["values"]
    assert (error["type"], error["mechanism"]["type"], error["mechanism"]["handled"]) == (
        "ValueError",
        "underway",
        False,
    )
    assert event["contexts"]["underway"]["max_attempts"] == 2
    assert "input" not in event["contexts"]["underway"]


def test_each_attempt_is_reported_when_asked(database: str, sent: Sent) -> None:
    with made(database, each_attempt=True) as app:

        @app.job(queue="q")
        def job() -> None:
            raise ValueError("out of paper")

        with beside(app.worker()) as running:
            final(app, job.enqueue(), running)
    assert [event["tags"]["attempt"] for event in sent.of("event")] == ["1", "2"]


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize("options", [{"send_default_pii": True}, {"data_collection": {"queues": True}}])
def test_the_input_is_sent_only_when_sentry_may_collect_it(database: str, clean: None, options: dict[str, Any]) -> None:
    sent = initialized(**options)
    with made(database) as app:

        @app.job(queue="q")
        def job(address: str) -> None:
            raise Fatal("no")

        with beside(app.worker()) as running:
            final(app, job.enqueue(address="a@b.example"), running)
            running.until(lambda: sent.of("event"), "it is reported")
    (event,) = sent.of("event")
    assert event["contexts"]["underway"]["input"] == {"address": "a@b.example"}


def test_other_ends_are_not_reported(database: str, sent: Sent) -> None:
    with made(database) as app:

        @app.job(queue="q")
        def job(context: Context, how: str) -> None:
            if how == "snoozes" and context.attempt == 1 and how not in seen:
                seen.append(how)
                context.snooze(0)
            if how == "waits":
                context.wait_cancelled(FOREVER)

        seen: list[str] = []
        with beside(app.worker()) as running:
            final(app, job.enqueue(how="snoozes"), running)
            waits = job.enqueue(how="waits")
            running.until(lambda: running.worker.stats().running, "it runs")
            app.cancel(waits)
            running.until(lambda: len(sent.of("transaction")) == 3, "all attempts are traced")
    assert sent.of("event") == []
    statuses = [each["contexts"]["trace"]["status"] for each in sent.of("transaction")]
    assert statuses == ["aborted", "ok", "cancelled"]


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_attempts_have_scopes_of_their_own(database: str, sent: Sent, kind: str) -> None:
    with made(database) as app:

        def plain(n: int) -> None:
            sentry_sdk.set_tag(f"n_{n}", str(n))
            sentry_sdk.add_breadcrumb(message=f"step {n}")
            time.sleep(0.001 * (n % 3))
            raise Fatal(f"error {n}")

        async def asynchronous(n: int) -> None:
            sentry_sdk.set_tag(f"n_{n}", str(n))
            sentry_sdk.add_breadcrumb(message=f"step {n}")
            await asyncio.sleep(0.001 * (n % 3))
            raise Fatal(f"error {n}")

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        with beside(app.worker(concurrency=5)) as running:
            job.enqueue_many([{"n": n} for n in range(20)])
            running.until(lambda: len(sent.of("event")) == 20, "all are reported")
    for event in sent.of("event"):
        own = event["exception"]["values"][-1]["value"].removeprefix("error ")
        assert {tag for tag in event["tags"] if tag.startswith("n_")} == {f"n_{own}"}
        steps = [each["message"] for each in event["breadcrumbs"]["values"] if each["message"].startswith("step")]
        assert steps == [f"step {own}"]


def test_the_trace_of_an_enqueue_is_continued(database: str, sent: Sent) -> None:
    with made(database) as app:

        @app.job(queue="q")
        def job() -> None: ...

        with beside(app.worker()) as running:
            with sentry_sdk.start_transaction(name="request", op="http.server"):
                id = job.enqueue()
            final(app, id, running)
            running.until(lambda: len(sent.of("transaction")) == 2, "both are traced")
    request, attempt = sent.of("transaction")
    (publish,) = request["spans"]
    assert (publish["op"], publish["description"]) == ("queue.publish", "job")
    assert publish["data"]["messaging.message.id"] == str(id)
    trace = attempt["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (publish["trace_id"], publish["span_id"])
    assert (attempt["transaction"], trace["op"], trace["data"]["messaging.destination.name"]) == (
        "job",
        "queue.process",
        "q",
    )


def test_failures_that_no_middleware_sees_are_reported_from_the_log(database: str, sent: Sent) -> None:
    with made(database) as app, Session(database) as session:
        session.run("select underway.configure(max_output_size => '1 kB')")
        app.sync()
        unknown = app.client.enqueue("q", {}, job="unknown")
        with beside(app.worker(unknown_jobs="fail", queues=["q"])) as running:
            final(app, unknown, running)
            running.until(lambda: sent.of("event"), "it is reported")
    (event,) = sent.of("event")
    assert event["logger"] == "underway_pg.worker.log"
    assert "is not known here" in event["logentry"]["formatted"]


def test_a_handler_that_ignores_its_timeout_is_reported_once(database: str, sent: Sent) -> None:
    leave = threading.Event()
    with made(database) as app:

        @app.job(queue="q", timeout=0.2, retry=RetryPolicy(max_attempts=1))
        def job() -> None:
            leave.wait(SECONDS)

        with beside(app.worker()) as running:
            final(app, job.enqueue(), running)
            running.until(lambda: sent.of("event"), "the log is reported")
            leave.set()
            running.until(lambda: sent.of("transaction"), "the handler has ended")
    assert len(sent.of("event")) == 1


def test_without_sentry_nothing_happens(database: str, clean: None) -> None:
    with made(database) as app:

        @app.job(queue="q")
        def job() -> None: ...

        with beside(app.worker()) as running:
            ended = final(app, job.enqueue(), running)
    assert (str(ended.state), ended.headers) == ("succeeded", None)


def test_an_application_is_instrumented_once(database: str, sent: Sent) -> None:
    app = made(database)
    assert instrument(app) is app.middleware[0]
    assert (len(app.middleware), len(app.enqueue_middleware)) == (1, 1)


# Cron monitors


def test_tasks_of_a_schedule_are_check_ins_of_its_monitor(database: str, sent: Sent) -> None:
    with made(database) as app, Session(database) as session:
        failures = 1

        @app.schedule("30 4 * * mon-fri", name="Nightly: cleanup!", time_zone="Europe/Berlin")
        @app.job(queue="q")
        def cleanup() -> None:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise ValueError("disk full")

        app.sync()
        with beside(app.worker()) as running:
            for expected in (["in_progress", "in_progress", "ok"], ["in_progress", "in_progress", "error"]):
                final(app, app.client.run_schedule_now("Nightly: cleanup!"), running)
                running.until(lambda: len(sent.of("check_in")) == 3, "all check-ins are sent")
                found = sent.of("check_in")
                assert [each["status"] for each in found] == expected
                assert len({each["check_in_id"] for each in found}) == 1
                assert {each["monitor_slug"] for each in found} == {"nightly-cleanup"}
                assert found[0]["monitor_config"] == {
                    "schedule": {"type": "crontab", "value": "30 4 * * mon-fri"}, "timezone": "Europe/Berlin",
                }  # fmt: skip
                assert found[-1]["duration"] >= 0
                sent.items.clear()
                failures = 2
        assert session.value("select count(*) from underway.task") == 0


def test_other_tasks_are_no_check_ins_nor_any_when_monitors_are_off(database: str, sent: Sent) -> None:
    with made(database, monitors=False) as app:

        @app.schedule("@daily")
        @app.job(queue="q")
        def job() -> None: ...

        app.sync()
        with beside(app.worker()) as running:
            final(app, app.client.run_schedule_now("job"), running)
            final(app, job.enqueue(), running)
            running.until(lambda: len(sent.of("transaction")) == 2, "both are traced")
    assert sent.of("check_in") == []


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("0 9  * * mon-fri", None, ("crontab", "0 9 * * mon-fri", None, "UTC")),
        ("@daily", "Europe/Berlin", ("crontab", "@daily", None, "Europe/Berlin")),
        ("@daily[America/Los_Angeles]", None, ("crontab", "@daily", None, "America/Los_Angeles")),
        ("@every 90 minutes", None, ("interval", 90, "minute", "UTC")),
        ("@every 2h", None, ("interval", 2, "hour", "UTC")),
        ("@every 1 day", None, ("interval", 1, "day", "UTC")),
        ("@every 10 seconds", None, None),
        ("@every 1.5 hours", None, None),
        ("0 0 9 * * mon", None, None),
        ("0 9 L * *", None, None),
        ("0 9 15W * *", None, None),
        ("0 9 * * fri#2", None, None),
        ("0 9 * jul,dec *", None, ("crontab", "0 9 * jul,dec *", None, "UTC")),
    ],
)
def test_the_configuration_of_a_monitor(cron: str, zone: str | None, expected: Any) -> None:
    found = monitor_config(cron, zone)
    if expected is None:
        assert found is None
        return
    kind, value, unit, time_zone = expected
    schedule = {"type": kind, "value": value} | ({"unit": unit} if unit else {})
    assert found == {"schedule": schedule, "timezone": time_zone}


PROGRAM = """
import json, os, signal, sys, threading
import sentry_sdk
from sentry_sdk.transport import Transport
from underway_pg import App, Fatal, Queue, RetryPolicy
from underway_pg.sentry import instrument

class Lines(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            if item.type == "event":
                event = item.payload.json
                values = event.get("exception", {}).get("values") or [{"type": None}]
                with open("events", "a") as file:
                    line = [values[-1]["type"], event.get("logger"), event.get("tags", {})]
                    print(json.dumps(line), file=file)

sentry_sdk.init(dsn="https://key@localhost/1", transport=Lines)
app = App(sys.argv[1], queues=[Queue(name="q", retry=RetryPolicy(max_attempts=1))])
instrument(app)

@app.job(queue="q", executor="process", timeout=5)
def hang() -> None:
    threading.Event().wait(60)

@app.job(queue="q", executor="process")
def compute(how: str) -> None:
    if how == "raises":
        raise ValueError("no")
    if how == "fatal":
        raise Fatal("no")
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    for how in ("raises", "fatal", "dies"):
        compute.enqueue(how)
    hang.enqueue()
    app.run(drain=True, concurrency=1)
"""


def test_failures_in_processes_are_reported_once(database: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    forks.run(
        [sys.executable, "program.py", database],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True, timeout=60,
    )  # fmt: skip
    found = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    kinds = sorted((kind, logger) for kind, logger, _ in found)
    assert kinds == [
        ("Fatal", None), ("ProcessDied", "underway_pg.worker.log"), ("TimeoutError", "underway_pg.worker.log"),
        ("ValueError", None),
    ]  # fmt: skip
    assert all(tags["job"] == "compute" for _, logger, tags in found if logger is None)
