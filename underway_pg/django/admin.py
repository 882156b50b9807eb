"""The admin: who may view a model reads its lists and pages; who may change it has the actions as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

import psycopg
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..client import Client
from ..errors import UnderwayError
from .application import app
from .models import Queue, Schedule, Task, Worker

__all__ = ["QueueAdmin", "ScheduleAdmin", "TaskAdmin", "WorkerAdmin"]

# How many rows a list leads to, page by page. To count the history would read all of it.
_MAX_ROWS = 1000
# How many rows one action treats. Each is a call of its own.
_MAX_ACTION = 1000
# How long a query of a list may take.
_LIST_TIMEOUT = "5s"
# Characters of an input, an output and a traceback on the page of a task.
_MAX_TEXT = 20_000


class _BoundedPaginator(Paginator):
    """Pages of the first rows only."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to the bound."""
        return len(self.object_list.values_list("pk")[:_MAX_ROWS])


def _action(name: str, description: str, call: Callable[[Client, Any], object]) -> Any:
    """An action of the admin: one call for each chosen row. What the database refuses is reported, row by row."""

    def run(model_admin: admin.ModelAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        done = unchanged = 0
        for key in list(queryset.values_list("pk", flat=True)[: _MAX_ACTION + 1]):
            if done + unchanged == _MAX_ACTION:
                text = f"These were the first {_MAX_ACTION}; repeat the action for more."
                model_admin.message_user(request, text, messages.WARNING)
                break
            try:
                with transaction.atomic(using=app.database):
                    result = call(app.client, key)
            except (UnderwayError, DatabaseError) as error:
                model_admin.message_user(request, f"{key}: {error}", messages.ERROR)
                unchanged += 1
            else:
                unchanged += result is False or result == 0
                done += not (result is False or result == 0)
        if done:
            model_admin.message_user(request, f"{description}: {done}", messages.SUCCESS)

    run.__name__ = name
    return admin.action(permissions=["operate"], description=description)(run)


class _ViewAdmin(admin.ModelAdmin):
    """Of a view: nobody adds, edits or deletes its rows."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody has it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody has it: the fields are not to be edited. The permission allows the actions."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody has it."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may view the objects, and who has the actions."""
        return super().has_view_permission(request, obj) or self.has_operate_permission(request)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this user has the actions: the permission to change the model."""
        return request.user.has_perm(f"underway.change_{self.opts.model_name}")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list. A query that would read too much of the history ends, and says what to do."""
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        try:
            with transaction.atomic(using=app.database), connections[app.database].cursor() as cursor:
                cursor.execute("select set_config('statement_timeout', %s, true)", [_LIST_TIMEOUT])
                response = super().changelist_view(request, extra_context)
                return response.render() if hasattr(response, "render") else response
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.QueryCanceled) or not request.GET:
                raise
        text = "This would have read too much of the history: choose a state or a queue as well, or search for an id."
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.path)


class _NamesFilter(admin.SimpleListFilter):
    """A filter for names that are known without reading tasks."""

    names: Callable[[], Any]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The names, and the one that is chosen."""
        chosen = [self.value()] if self.value() else []
        return [(name, name) for name in dict.fromkeys([*sorted(type(self).names()), *chosen])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the chosen name."""
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class _QueueFilter(_NamesFilter):
    title = parameter_name = "queue"
    names = staticmethod(lambda: Queue.objects.values_list("queue", flat=True))


class _JobFilter(_NamesFilter):
    title = parameter_name = "job"
    names = staticmethod(lambda: app.jobs)


def _json(value: Any) -> SafeString | str:
    """A value of JSON, readable and not too long."""
    if value is None:
        return "-"
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _text(text)


def _text(text: str) -> SafeString:
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}\n... ({len(text)} characters)"
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)


@admin.register(Task)
class TaskAdmin(_ViewAdmin):
    """The tasks, the newest first."""

    list_display = ["id", "queue", "job", "state", "priority", "attempt", "enqueued_at", "ready_at", "finished_at"]
    list_filter = ["state", _QueueFilter, _JobFilter]
    ordering = ["-id"]
    sortable_by = ()
    search_fields = ["id"]
    search_help_text = "An id, or a whole unique key or concurrency key"
    paginator = _BoundedPaginator
    readonly_fields = ["why", "worker", "progress", "errors", "input", "output", "headers"]
    actions = [
        _action("retry", "Retry failed or cancelled tasks", lambda client, id: client.retry(id)),
        _action("cancel", "Cancel tasks", lambda client, id: client.cancel(id)),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Tasks by their id, else by a key."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isdecimal() and int(term) < 1 << 63:
            return queryset.filter(id=int(term)), False
        return queryset.filter(Q(unique_key=term) | Q(concurrency_key=term)), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Task | None:
        """A task with all that is known of it."""
        task = super().get_object(request, object_id, from_field)
        if task is not None:
            task.info = app.client.task(task.pk)
            task.reasons = app.client.why(task.pk)
        return task

    def why(self, task: Any) -> str:
        """Why it is not running, or how it ended."""
        return "; ".join(reason.reason for reason in task.reasons)

    def worker(self, task: Any) -> str:
        """The worker of its latest attempt."""
        return task.info.worker or "-"

    def progress(self, task: Any) -> str:
        """What its handler has reported."""
        return _json(task.info.progress)

    def input(self, task: Any) -> str:
        """Its input."""
        return _json(task.info.input)

    def output(self, task: Any) -> str:
        """Its output."""
        return _json(task.info.output)

    def headers(self, task: Any) -> str:
        """Its headers."""
        return _json(task.info.headers)

    def errors(self, task: Any) -> str:
        """The errors of its attempts."""
        errors = task.info.errors or []
        return _text("\n\n".join(each.get("traceback") or each["message"] for each in errors)) if errors else "-"


@admin.register(Queue)
class QueueAdmin(_ViewAdmin):
    """The queues, with the numbers of their live tasks."""

    list_display = [
        "queue", "paused_at", "ready", "scheduled", "parked", "in_progress", "waiting", "dead_letters",
        "oldest_ready_at", "workers",
    ]  # fmt: skip
    ordering = ["queue"]
    actions = [
        _action("pause", "Pause queues", lambda client, name: client.pause_queue(name)),
        _action("resume", "Resume queues", lambda client, name: client.resume_queue(name)),
        _action(
            "redrive",
            "Send dead letters of these queues back",
            lambda client, name: client.redrive(name, max_tasks=_MAX_ACTION),
        ),
    ]


@admin.register(Schedule)
class ScheduleAdmin(_ViewAdmin):
    """The schedules."""

    list_display = ["schedule", "cron", "time_zone", "queue", "job", "next_at", "last_at", "paused_at", "owner"]
    list_filter = [("paused_at", admin.EmptyFieldListFilter), "owner"]
    ordering = ["schedule"]
    search_fields = ["schedule", "job"]
    actions = [
        _action("pause", "Pause schedules", lambda client, name: client.pause_schedule(name)),
        _action("resume", "Resume schedules", lambda client, name: client.resume_schedule(name)),
        _action("run_now", "Run schedules now", lambda client, name: client.run_schedule_now(name)),
    ]


@admin.register(Worker)
class WorkerAdmin(_ViewAdmin):
    """The workers that are registered."""

    list_display = ["id", "name", "queues", "concurrency", "in_progress", "idle", "started_at", "seen_at", "lost"]
    list_filter = ["lost", "idle"]
    ordering = ["id"]
    search_fields = ["name"]
    actions = [_action("stop", "Stop workers", lambda client, id: client.stop_workers(worker=id))]
