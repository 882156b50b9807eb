"""The views of the schema `underway` as models, for the admin and for queries of your own. They are read only.

Django writes none of them: functions of the database do, and `app` and `app.client` call these.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from .application import app

__all__ = ["Queue", "Schedule", "Task", "Worker"]


class TextsField(models.Field):
    """Several texts. Django's own field would need django.contrib.postgres among the applications."""

    def db_type(self, connection: Any) -> str:
        """The type of the column."""
        return "text[]"


class ViewManager(models.Manager):
    """Reads from the database of the application, whatever the routers say about it."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """All rows of the view."""
        return super().get_queryset().using(self._db or app.database)


class View(models.Model):
    """A view of the schema `underway`."""

    objects = ViewManager()

    class Meta:
        abstract = True
        managed = False
        default_permissions = ("view", "change")  # to change is to cancel, retry, pause and so on

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: only the functions of the database change its tables."""
        raise TypeError(f"{type(self).__name__} is a view; use underway_pg.django.app or app.client to change it")

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, as `save` does."""
        self.save()


class Task(View):
    """A task, live or finished, without its input and output, which `app.task(id)` returns."""

    class State(models.TextChoices):
        """The state of a task."""

        PENDING = "pending"
        IN_PROGRESS = "in_progress"
        WAITING = "waiting"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.BigIntegerField(primary_key=True)
    queue = models.TextField()
    job = models.TextField(null=True)
    state = models.TextField(choices=State.choices)
    priority = models.IntegerField()
    attempt = models.IntegerField()
    enqueued_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    dead_letter_of = models.BigIntegerField(null=True)
    unique_key = models.TextField(null=True)
    concurrency_key = models.TextField(null=True)

    class Meta(View.Meta):
        db_table = 'underway"."task_list'

    def __str__(self) -> str:
        return f"{self.id} ({self.job or self.queue})"


class Queue(View):
    """A queue with its settings, and the numbers of its live tasks."""

    queue = models.TextField(primary_key=True)
    paused_at = models.DateTimeField(null=True)
    ready = models.BigIntegerField()
    scheduled = models.BigIntegerField()
    parked = models.BigIntegerField()
    in_progress = models.BigIntegerField()
    waiting = models.BigIntegerField()
    dead_letters = models.BigIntegerField()
    oldest_ready_at = models.DateTimeField(null=True)
    workers = models.BigIntegerField()
    dead_letter_queue = models.TextField(null=True)
    timeout = models.DurationField()
    heartbeat = models.DurationField()
    retention = models.DurationField()
    keep_history = models.BooleanField()
    max_running = models.IntegerField(null=True)
    max_running_per_key = models.IntegerField()
    rate_limit = models.IntegerField(null=True)
    rate_limit_per_key = models.IntegerField(null=True)
    rate_period = models.DurationField()
    max_length = models.IntegerField(null=True)
    fair = models.BooleanField()
    paused_keys = TextsField()

    class Meta(View.Meta):
        db_table = 'underway"."queue_stats'

    def __str__(self) -> str:
        return self.queue


class Schedule(View):
    """A schedule, with its next and its last time."""

    schedule = models.TextField(primary_key=True)
    queue = models.TextField()
    job = models.TextField(null=True)
    cron = models.TextField()
    time_zone = models.TextField()
    next_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    last_task = models.BigIntegerField(null=True)
    last_error = models.JSONField(null=True)
    last_error_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    catch_up = models.TextField()
    catch_up_limit = models.IntegerField()
    overlap = models.TextField()
    jitter = models.DurationField()
    owner = models.TextField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta(View.Meta):
        db_table = 'underway"."schedule_stats'

    def __str__(self) -> str:
        return self.schedule


class Worker(View):
    """A registered worker, and the number of its running tasks."""

    id = models.BigIntegerField(primary_key=True)
    name = models.TextField()
    queues = TextsField()
    concurrency = models.IntegerField(null=True)
    idle = models.BooleanField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    lost = models.BooleanField()
    in_progress = models.BigIntegerField()
    oldest_started_at = models.DateTimeField(null=True)
    stop_asked_at = models.DateTimeField(null=True)

    class Meta(View.Meta):
        db_table = 'underway"."worker_stats'

    def __str__(self) -> str:
        return self.name
