"""Sentry: errors of tasks that failed permanently, traces, and cron monitors for schedules.

`sentry_sdk.init(...)` and `instrument(app)` are all that is needed; without the first, nothing is sent. In a process
(`executor="process"`) errors are reported by that process. It imports the module of the job, so call both where a
module is imported, not below `if __name__ == "__main__"`.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

try:
    import sentry_sdk
    from sentry_sdk.crons import capture_checkin
    from sentry_sdk.scope import should_send_default_pii
    from sentry_sdk.utils import event_from_exception
except ModuleNotFoundError as missing:
    if missing.name is None or not missing.name.startswith("sentry_sdk"):
        raise
    raise ModuleNotFoundError("sentry-sdk is not installed: pip install 'underway-pg[sentry]'") from None

from .app import App
from .checks import check_kind
from .client import EnqueueCall
from .statements import load_json
from .wire import json_text
from .worker import Context, Outcome, OutcomeKind
from .worker.attempt import StopReason
from .worker.failure import RemoteError

__all__ = ["SentryMiddleware", "instrument", "monitor_config"]

_ORIGIN = "auto.queue.underway"

_LOGGER = "underway_pg.worker.log"

_STATUS = {OutcomeKind.SUCCEEDED: "ok", OutcomeKind.FAILED: "internal_error", OutcomeKind.CANCELLED: "cancelled"}

_EVERY = re.compile(r"@every\s+(\d+)\s*(m|min|minutes?|h|hours?|d|days?|w|weeks?)")
_UNITS = {"m": "minute", "h": "hour", "d": "day", "w": "week"}


class SentryMiddleware:
    """A middleware for attempts; its `enqueueing` is one for enqueues. `instrument` adds both to an application.

    With `each_attempt` a failed attempt is reported even if its task will be retried. Without `monitors` no check-ins
    are sent for tasks of schedules.
    """

    def __init__(self, app: App, *, each_attempt: bool = False, monitors: bool = True) -> None:
        self._app = app
        self._each_attempt = each_attempt
        self._monitors = monitors
        self._reported = _Recent()

    def __repr__(self) -> str:
        return "SentryMiddleware()"

    def __call__(self, context: Context) -> AbstractContextManager[None]:
        """The scope, the transaction and the report of an attempt."""
        return self._process(context)

    @contextmanager
    def _process(self, context: Context) -> Iterator[None]:
        raised: BaseException | None = None
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            for name in ("job", "queue", "task", "attempt"):
                value = context.id if name == "task" else getattr(context, name)
                scope.set_tag(name, "" if value is None else str(value))
            scope.set_context("underway", _details(context))
            headers = {name: value for name, value in context.headers.items() if isinstance(value, str)}
            transaction = sentry_sdk.continue_trace(
                headers, op="queue.process", name=context.job or context.queue, source="task", origin=_ORIGIN
            )
            sampling = {"underway": {"job": context.job, "queue": context.queue, "attempt": context.attempt}}
            with sentry_sdk.start_transaction(transaction, custom_sampling_context=sampling) as span:
                span.set_data("messaging.system", "underway")
                span.set_data("messaging.destination.name", context.queue)
                span.set_data("messaging.message.id", str(context.id))
                span.set_data("messaging.message.retry.count", context.attempt - 1)
                started_at = time.monotonic()
                self._check_in(context, "in_progress")
                try:
                    yield
                except BaseException as error:  # raised again below: Sentry would take a snooze for an error
                    raised = error
                outcome = context.outcome
                if outcome is not None:
                    span.set_status(_STATUS.get(outcome.kind, "aborted"))
                    self._finish(context, outcome, time.monotonic() - started_at)
        if raised is not None:
            raise raised

    def _finish(self, context: Context, outcome: Outcome, seconds: float) -> None:
        if outcome.kind is OutcomeKind.SUCCEEDED:
            self._check_in(context, "ok", seconds)
        elif outcome.kind is OutcomeKind.FAILED:
            if outcome.error is not None and (self._each_attempt or not outcome.will_retry):
                self._report(context, outcome.error)
            if not outcome.will_retry:
                self._check_in(context, "error", seconds)

    def _report(self, context: Context, error: BaseException) -> None:
        attempt = context._attempt
        if attempt.lane is None and attempt.stop_reason is StopReason.TIMED_OUT:
            return  # in a process, which may be killed before it gets here: the log of the worker is reported
        if not self._reported.add((context.id, context.attempt, context.queue)):
            return  # the log was first: the handler ran on after its timeout
        client = sentry_sdk.get_client()
        event, hint = event_from_exception(
            error, client_options=client.options, mechanism={"type": "underway", "handled": False}
        )
        sentry_sdk.capture_event(event, hint=hint)

    def _check_in(self, context: Context, status: str, seconds: float | None = None) -> None:
        """Tell the monitor of a schedule about the task that it has enqueued. All attempts are one check-in."""
        if context.schedule is None or not self._monitors or not sentry_sdk.get_client().is_active():
            return
        declared = self._app._schedules.get(context.schedule)
        # The same in every process that runs an attempt of the task.
        name = f"underway {context.schedule} {context.headers.get('scheduled_at')} {context.id}"
        capture_checkin(
            monitor_slug=re.sub(r"[^a-z0-9_-]+", "-", context.schedule.lower()).strip("-")[:50] or "schedule",
            check_in_id=uuid.uuid5(uuid.NAMESPACE_OID, name).hex,
            status=status,
            duration=seconds,
            monitor_config=None
            if declared is None
            else monitor_config(declared.cron, declared.settings.get("time_zone")),  # type: ignore[arg-type]
        )

    @contextmanager
    def enqueueing(self, call: EnqueueCall) -> Iterator[None]:
        """The span of a call that enqueues. Its trace becomes headers of the tasks."""
        if not sentry_sdk.get_client().is_active():
            yield
            return
        name = call.job or call.queue or "tasks"
        with sentry_sdk.start_span(op="queue.publish", name=name, origin=_ORIGIN) as span:
            span.set_data("messaging.system", "underway")
            if call.queue is not None:
                span.set_data("messaging.destination.name", call.queue)
            for header, value in sentry_sdk.get_current_scope().iter_trace_propagation_headers(span=span):
                known = call.headers.get(header)  # OpenTelemetry has a header "baggage" too
                call.headers[header] = f"{known},{value}" if header == "baggage" and known else value
            yield
            if call.count == 1:
                answer = call.answer[0] if isinstance(call.answer, list) else call.answer
                span.set_data("messaging.message.id", str(getattr(answer, "id", answer)))

    def process_event(self, event: Any, hint: dict[str, Any]) -> Any:
        """Drop the event that Sentry makes of the worker's log, if the failure was reported with the handler's scope.

        The log has failures that no middleware sees: processes that died, results that the database refuses.
        """
        record = hint.get("log_record")
        if event.get("logger") != _LOGGER or record is None or not hasattr(record, "task"):
            return event
        error = record.exc_info[1] if record.exc_info else None
        job = self._app._jobs.get(record.job)
        by_process = isinstance(error, RemoteError) or (error is None and job is not None and job.executor == "process")
        place = (record.task, record.attempt, record.queue)
        return event if not by_process and self._reported.add(place) else None


class _Recent:
    """The last thousand things that were added, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: OrderedDict[object, None] = OrderedDict()

    def add(self, item: object) -> bool:
        """Add something. Returns whether it is new."""
        with self._lock:
            is_new = item not in self._items
            self._items[item] = None
            if len(self._items) > 1000:
                self._items.popitem(last=False)
            return is_new


def _details(context: Context) -> dict[str, Any]:
    """What is known of a task. Its input may be personal."""
    details = {
        "task": context.id, "job": context.job, "queue": context.queue, "attempt": context.attempt,
        "max_attempts": context.max_attempts, "enqueued_at": context.enqueued_at.isoformat(),
        "schedule": context.schedule,
    }  # fmt: skip
    if _may_send_input():
        details["input"] = load_json(json_text(context._attempt.task.input).decode())
    return {name: value for name, value in details.items() if value is not None}


def _may_send_input() -> bool:
    """Whether Sentry is told to collect inputs: by `data_collection`, or in older versions by `send_default_pii`."""
    collection = sentry_sdk.get_client().options.get("data_collection")
    if isinstance(collection, dict) and "queues" in collection:
        return bool(collection["queues"])
    return should_send_default_pii()


def monitor_config(cron: str, time_zone: str | None = None) -> dict[str, Any] | None:
    """The configuration of a cron monitor for an expression; None for one that Sentry does not understand.

    It takes five fields, `@daily` and the like, and intervals of whole minutes, hours, days or weeks.
    """
    cron, _, zone = cron.strip().removesuffix("]").partition("[")
    cron = " ".join(cron.split())
    if every := _EVERY.fullmatch(cron):
        schedule: dict[str, Any] = {"type": "interval", "value": int(every[1]), "unit": _UNITS[every[2][0]]}
    elif re.fullmatch(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)", cron) or (
        len(cron.split()) == 5 and not re.search(r"[?#]|\bL|\d[LW]\b", cron)
    ):
        schedule = {"type": "crontab", "value": cron}
    else:
        return None
    return {"schedule": schedule, "timezone": zone or time_zone or "UTC"}


def instrument(app: App, *, each_attempt: bool = False, monitors: bool = True) -> SentryMiddleware:
    """Report to Sentry for an application; see `SentryMiddleware`.

    Call it before a worker is made. A second call changes nothing: it returns the middleware of the first.
    """
    check_kind("app", app, App, "an App")
    for each in app.middleware:
        if isinstance(each, SentryMiddleware):
            return each
    middleware = SentryMiddleware(app, each_attempt=each_attempt, monitors=monitors)
    app.middleware = (middleware, *app.middleware)
    app.enqueue_middleware.insert(0, middleware.enqueueing)
    sentry_sdk.get_global_scope().add_event_processor(middleware.process_event)
    return middleware
