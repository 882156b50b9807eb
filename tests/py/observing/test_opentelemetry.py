"""Spans of enqueues and attempts, checked with the in-memory exporter of the SDK."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests import forks
from tests.py.support import FOREVER, Beside, beside, final
from underway_pg import App, ConfigurationError, Context, Fatal, Queue, QueueNotFound, RetryPolicy
from underway_pg.opentelemetry import OpenTelemetryMiddleware, instrument

ROOT = Path(__file__).resolve().parents[3]

AT_ONCE = RetryPolicy(max_attempts=2, initial_interval=0, jitter=0)


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def wait(self, running: Beside, name: str, count: int) -> list[ReadableSpan]:
        return running.until(lambda: len(self.named(name)) == count and self.named(name), f"{count} spans {name}")


@pytest.fixture
def spans() -> Spans:
    return Spans()


def made(database: str, spans: Spans, **options: Any) -> App:
    app = App(database, queues=[Queue(name="q", retry=AT_ONCE)])
    instrument(app, tracer_provider=spans.provider, **options)
    return app


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_the_span_of_an_attempt_is_a_child_of_that_of_the_enqueue(database: str, spans: Spans, kind: str) -> None:
    inside: list[trace.SpanContext] = []
    with made(database, spans) as app:

        def plain(context: Context) -> None:
            inside.append(trace.get_current_span().get_span_context())

        async def asynchronous(context: Context) -> None:
            await asyncio.sleep(0)
            plain(context)

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        with beside(app.worker()) as running:
            with spans.tracer.start_as_current_span("request"):
                id = job.enqueue()
            final(app, id, running)
            spans.wait(running, "process job", 1)
    request, send, process = (spans.one(name) for name in ("request", "send job", "process job"))
    assert send.parent == request.context
    assert process.parent is not None
    assert send.context is not None
    assert (process.parent.trace_id, process.parent.span_id) == (send.context.trace_id, send.context.span_id)
    assert process.parent.is_remote
    assert inside == [process.context]
    assert send.kind is SpanKind.PRODUCER
    assert process.kind is SpanKind.CONSUMER
    common = {"messaging.system": "underway", "messaging.destination.name": "q", "underway.job": "job"}
    assert send.attributes == {
        **common, "messaging.operation.type": "send", "messaging.operation.name": "send",
        "messaging.message.id": str(id),
    }  # fmt: skip
    assert process.attributes == {
        **common, "messaging.operation.type": "process", "messaging.operation.name": "process",
        "messaging.message.id": str(id), "underway.attempt": 1, "underway.max_attempts": 2,
        "underway.outcome": "succeeded",
    }  # fmt: skip
    assert process.status.status_code is StatusCode.UNSET
    assert process.links == ()


def test_each_attempt_has_a_span_with_its_error(database: str, spans: Spans) -> None:
    with made(database, spans) as app:

        @app.job(queue="q")
        def job() -> None:
            raise ValueError("out of paper")

        with beside(app.worker()) as running:
            final(app, job.enqueue(), running)
            first, second = spans.wait(running, "process job", 2)
    assert first.parent == second.parent
    for attempt, span in enumerate((first, second), start=1):
        assert span.attributes is not None
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: out of paper")
        assert span.attributes["error.type"] == "ValueError"
        assert (span.attributes["underway.attempt"], span.attributes["underway.will_retry"]) == (attempt, attempt == 1)
        (event,) = span.events
        assert event.name == "exception"
        assert "out of paper" in str((event.attributes or {})["exception.stacktrace"])


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_other_ends_are_no_errors(database: str, spans: Spans, kind: str) -> None:
    waits = threading.Event()
    with made(database, spans) as app:

        def plain(context: Context, how: str) -> None:
            if how == "snoozes":
                context.snooze(3600)
            waits.set()
            context.wait_cancelled(FOREVER)

        async def asynchronous(context: Context, how: str) -> None:
            if how == "snoozes":
                context.snooze(3600)
            waits.set()
            await asyncio.sleep(FOREVER)

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        with beside(app.worker()) as running:
            job.enqueue(how="snoozes")
            spans.wait(running, "process job", 1)
            id = job.enqueue(how="waits")
            running.until(waits.is_set, "it runs")
            app.cancel(id)
            found = spans.wait(running, "process job", 2)
    assert [(span.attributes or {})["underway.outcome"] for span in found] == ["snoozed", "cancelled"]
    assert {span.status.status_code for span in found} == {StatusCode.UNSET}
    assert [span.events for span in found] == [(), ()]


def test_tasks_of_one_call_are_linked_to_its_span(database: str, spans: Spans) -> None:
    with made(database, spans) as app:

        @app.job(queue="q")
        def job(n: int) -> None: ...

        with beside(app.worker()) as running:
            job.enqueue_many([{"n": n} for n in range(3)])
            app.enqueue_many([job.task(3), job.task(4)])
            attempts = spans.wait(running, "process job", 5)
    many, tasks = spans.one("send job"), spans.one("send tasks")
    assert [(span.attributes or {})["messaging.batch.message_count"] for span in (many, tasks)] == [3, 2]
    assert all(span.parent is None for span in attempts)
    linked = [link.context.span_id for span in attempts for link in span.links]
    assert sorted(linked) == sorted(3 * [many.context.span_id] + 2 * [tasks.context.span_id])  # type: ignore[union-attr]
    assert len({span.context.trace_id for span in attempts if span.context}) == 5


@pytest.mark.parametrize(("relation", "children"), [("parent", 2), ("link", 0)])
def test_the_relation_is_chosen(database: str, spans: Spans, relation: Any, children: int) -> None:
    with made(database, spans, relation=relation) as app:

        @app.job(queue="q")
        def job(n: int) -> None: ...

        with beside(app.worker()) as running:
            job.enqueue(n=1)
            job.enqueue_many([{"n": 2}, {"n": 3}])
            attempts = spans.wait(running, "process job", 3)
    assert sum(span.parent is not None for span in attempts) == (3 if relation == "parent" else 0)
    assert sum(len(span.links) for span in attempts) == (0 if relation == "parent" else 3)


def test_a_handler_that_enqueues_continues_the_trace_and_has_the_baggage(database: str, spans: Spans) -> None:
    seen: list[object] = []
    with made(database, spans) as app:

        @app.job(queue="q")
        def second() -> None:
            seen.append(baggage.get_baggage("tenant"))

        @app.job(queue="q")
        def first(context: Context) -> None:
            second.enqueue()

        token = context.attach(baggage.set_baggage("tenant", "acme"))
        try:
            with beside(app.worker()) as running:
                first.enqueue()
                (last,) = spans.wait(running, "process second", 1)
        finally:
            context.detach(token)
    assert seen == ["acme"]
    assert last.context is not None
    assert {s.context.trace_id for s in spans.exporter.get_finished_spans() if s.context} == {last.context.trace_id}


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_spans_do_not_leak_from_one_task_to_the_next_nor_from_the_starter_of_the_worker(
    database: str, spans: Spans, kind: str
) -> None:
    current: list[trace.Span] = []
    with made(database, spans) as app:

        def plain(n: int) -> None:
            current.append(trace.get_current_span())
            if n % 2:
                raise Fatal("no")

        async def asynchronous(n: int) -> None:
            await asyncio.sleep(0.001 * (n % 3))
            plain(n)

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        app.enqueue_middleware.clear()  # as if the tasks were enqueued in SQL
        job.enqueue_many([{"n": n} for n in range(20)])
        with spans.tracer.start_as_current_span("server"):
            asyncio.run(app.worker(concurrency=4, drain=True).run())
    attempts = spans.named("process job")
    assert all(span.parent is None and span.links == () for span in attempts)
    assert len({span.context.trace_id for span in attempts if span.context}) == 20
    ids = {span.get_span_context().span_id for span in current}
    assert ids == {span.context.span_id for span in attempts if span.context}
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_trace_that_the_caller_gives_stays(database: str, spans: Spans) -> None:
    own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with made(database, spans) as app:

        @app.job(queue="q")
        def job() -> None: ...

        with beside(app.worker()) as running:
            job.options(headers={"traceparent": own, "n": 1, "tracestate": None}).enqueue()
            (process,) = spans.wait(running, "process job", 1)
    assert process.parent is not None
    assert f"{process.parent.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_an_enqueue_that_is_refused_is_an_error(database: str, spans: Spans) -> None:
    with made(database, spans) as app, pytest.raises(QueueNotFound):
        app.client.enqueue("missing", {})
    send = spans.one("send missing")
    assert send.status.status_code is StatusCode.ERROR
    assert "messaging.message.id" not in (send.attributes or {})


def test_a_transaction_of_the_caller_is_traced(database: str, spans: Spans) -> None:
    with made(database, spans) as app:

        @app.job(queue="q")
        def job() -> None: ...

        app.sync()
        with psycopg.connect(database) as connection:
            id = job.using(connection).enqueue()
        headers = app.task(id).headers  # type: ignore[union-attr]
    assert (spans.one("send job").attributes or {})["messaging.message.id"] == str(id)
    assert headers["traceparent"].startswith("00-")


def test_async_code_enqueues_within_its_span(database: str, spans: Spans) -> None:
    with made(database, spans) as app:

        @app.job(queue="q")
        async def job() -> None: ...

        async def enqueue() -> None:
            await app.sync_async()

            async def one(number: int) -> None:
                with spans.tracer.start_as_current_span(f"request {number}"):
                    await job.enqueue_async()

            await asyncio.gather(*(one(number) for number in range(5)))

        asyncio.run(enqueue())
    parents = {span.parent.span_id for span in spans.named("send job") if span.parent}
    assert parents == {spans.one(f"request {n}").context.span_id for n in range(5)}  # type: ignore[union-attr]


def test_without_an_sdk_nothing_is_recorded_and_no_header_is_added(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app:
        instrument(app)

        @app.job(queue="q")
        def job() -> None:
            assert not trace.get_current_span().is_recording()

        with beside(app.worker()) as running:
            ended = final(app, job.enqueue(), running)
    assert (str(ended.state), ended.headers) == ("succeeded", None)


def test_an_application_is_instrumented_once(database: str, spans: Spans) -> None:
    app = made(database, spans)
    assert instrument(app) is app.middleware[0]
    assert (len(app.middleware), len(app.enqueue_middleware)) == (1, 1)
    with pytest.raises(ConfigurationError, match="relation is 'child'"):
        OpenTelemetryMiddleware(relation="child")  # type: ignore[arg-type]


PROGRAM = """
import json, os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from underway_pg import App, Queue
from underway_pg.opentelemetry import instrument

class Lines(SpanExporter):
    def export(self, spans):
        with open("spans", "a") as file:
            for span in spans:
                parent = span.parent.span_id if span.parent else None
                context = span.context
                print(json.dumps([os.getpid(), span.name, context.trace_id, context.span_id, parent]), file=file)
        return SpanExportResult.SUCCESS

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=600_000))
app = App(sys.argv[1], queues=[Queue(name="q")])
instrument(app)

@app.job(queue="q", executor="process")
def compute(n: int) -> None: ...

if __name__ == "__main__":
    for n in range(4):
        compute.enqueue(n)
    app.run(drain=True, max_tasks_per_process=2, concurrency=1)
"""


def test_processes_export_their_spans_before_they_are_replaced(database: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    forks.run(
        [sys.executable, "program.py", database],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=True, timeout=60,
    )  # fmt: skip
    found = [json.loads(line) for line in (tmp_path / "spans").read_text().splitlines()]
    sent = {span_id: trace_id for _, name, trace_id, span_id, _ in found if name == "send compute"}
    processed = [(pid, trace_id, parent) for pid, name, trace_id, _, parent in found if name == "process compute"]
    assert len(sent) == 4
    assert {parent: trace_id for _, trace_id, parent in processed} == sent
    assert len({pid for pid, _, _ in processed}) == 2
