"""OpenTelemetry: spans for enqueueing and for attempts, joined by the headers of a task.

`instrument(app)` is all that is needed. The spans follow the semantic conventions for messaging. Only the API of
OpenTelemetry is used: without an SDK nothing is recorded, and no header is added.

In a process (`executor="process"`) spans are made in that process. It imports the module of the job, so configure the
SDK and call `instrument` where a module is imported, not below `if __name__ == "__main__"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
except ModuleNotFoundError as missing:
    if missing.name is None or not missing.name.startswith("opentelemetry"):
        raise
    raise ModuleNotFoundError("opentelemetry is not installed: pip install 'underway-pg[opentelemetry]'") from None

from .app import App
from .checks import check_kind
from .client import EnqueueCall
from .errors import ConfigurationError
from .version import VERSION
from .worker import Context, OutcomeKind

__all__ = ["OpenTelemetryMiddleware", "Relation", "instrument"]

Relation = Literal["auto", "parent", "link"]
"""How the span of an attempt relates to the span of the call that has enqueued the task."""

# A header of tasks that were enqueued by one call for several tasks: their attempts are linked to its span.
_LINK = "trace_link"


class OpenTelemetryMiddleware:
    """A middleware for attempts; its `enqueueing` is one for enqueues. `instrument` adds both to an application.

    `relation` says how the span of an attempt relates to the span that enqueued the task. With "parent" it is a child
    of it, in the same trace. With "link" it begins a trace of its own, with a link. "auto" is "parent" for tasks that
    were enqueued alone, and "link" for those of one call for several tasks: one trace for thousands of them is hard to
    read. Without a `tracer_provider` the global one is used.
    """

    def __init__(self, *, tracer_provider: trace.TracerProvider | None = None, relation: Relation = "auto") -> None:
        if relation not in ("auto", "parent", "link"):
            raise ConfigurationError(f"relation is {relation!r}; give 'auto', 'parent' or 'link'")
        self._tracer = trace.get_tracer("underway_pg", VERSION, tracer_provider)
        self._relation = relation

    def __repr__(self) -> str:
        return "OpenTelemetryMiddleware()"

    def __call__(self, context: Context) -> AbstractContextManager[None]:
        """The span of an attempt."""
        return self._process(context)

    @contextmanager
    def _process(self, context: Context) -> Iterator[None]:
        headers = context.headers
        # Not from the current context: a worker may have been started within a span, of a web server for example.
        sender = propagate.extract(_texts(headers), contexts.Context())
        links = []
        if self._relation == "link" or (self._relation == "auto" and headers.get(_LINK) is True):
            of_sender = trace.get_current_span(sender).get_span_context()
            links = [trace.Link(of_sender)] if of_sender.is_valid else []
            sender = trace.set_span_in_context(trace.INVALID_SPAN, sender)
        # What else the sender has sent, such as baggage, is for the handler too.
        token = contexts.attach(sender)
        try:
            with self._tracer.start_as_current_span(
                f"process {context.job or context.queue}",
                kind=trace.SpanKind.CONSUMER,
                attributes={
                    **_attributes("process", context.queue, context.job),
                    "messaging.message.id": str(context.id),
                    "underway.attempt": context.attempt,
                    "underway.max_attempts": context.max_attempts,
                },
                links=links,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    yield
                finally:
                    _finish(span, context)
        finally:
            contexts.detach(token)

    @contextmanager
    def enqueueing(self, call: EnqueueCall) -> Iterator[None]:
        """The span of a call that enqueues. Its context becomes headers of the tasks."""
        attributes = _attributes("send", call.queue, call.job)
        if call.count != 1:
            attributes["messaging.batch.message_count"] = call.count
        name = f"send {call.job or call.queue or 'tasks'}"
        with self._tracer.start_as_current_span(name, kind=trace.SpanKind.PRODUCER, attributes=attributes) as span:
            propagate.inject(call.headers)
            if call.count != 1 and call.headers:
                call.headers[_LINK] = True
            yield
            if call.count == 1 and span.is_recording():
                answer = call.answer[0] if isinstance(call.answer, list) else call.answer
                span.set_attribute("messaging.message.id", str(getattr(answer, "id", answer)))


def _attributes(operation: str, queue: str | None, job: str | None) -> dict[str, Any]:
    given = {
        "messaging.system": "underway",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "underway.job": job,
    }
    return {name: value for name, value in given.items() if value is not None}


def _texts(headers: dict[str, Any]) -> dict[str, str]:
    """The headers that are texts; propagators expect no others."""
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def _finish(span: trace.Span, context: Context) -> None:
    """Record how an attempt has ended."""
    outcome = context.outcome
    if outcome is None or not span.is_recording():
        return
    span.set_attribute("underway.outcome", str(outcome.kind))
    if outcome.kind is OutcomeKind.FAILED and outcome.error is not None:
        error = outcome.error
        kind = type(error)
        span.set_attribute("underway.will_retry", outcome.will_retry)
        span.set_attribute(
            "error.type",
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        )
        span.record_exception(error)
        span.set_status(trace.Status(trace.StatusCode.ERROR, f"{kind.__name__}: {error}"))


def instrument(
    app: App, *, tracer_provider: trace.TracerProvider | None = None, relation: Relation = "auto"
) -> OpenTelemetryMiddleware:
    """Trace all enqueues and attempts of an application; see `OpenTelemetryMiddleware`.

    Call it before a worker is made. The middleware becomes the outermost of the application. A second call changes
    nothing: it returns the middleware of the first.
    """
    check_kind("app", app, App, "an App")
    for each in app.middleware:
        if isinstance(each, OpenTelemetryMiddleware):
            return each
    middleware = OpenTelemetryMiddleware(tracer_provider=tracer_provider, relation=relation)
    app.middleware = (middleware, *app.middleware)
    app.enqueue_middleware.insert(0, middleware.enqueueing)
    return middleware
