"""The admin of tasks, queues, schedules and workers: everybody who may view them reads, "change" allows the actions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html

from ..errors import UnderwayError
from .application import app
from .models import Queue, Schedule, Task, Worker

__all__ = ["QueueAdmin", "ScheduleAdmin", "TaskAdmin", "WorkerAdmin"]

# How many rows a list leads to, page by page. Counting the history would read all of it.
_MAX_ROWS = 10_000
# How many tasks one action treats, each in a call of its own.
_MAX_ACTION = 1000
# Characters of an input or an output on the page of a task.
_MAX_TEXT = 20_000


class BoundedPaginator(Paginator):
    """Pages of the first rows only, so that no list counts the whole history."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to the bound."""
        return len(self.object_list.order_by().values_list("pk")[:_MAX_ROWS])
