"""The application of a Django project, and its binding to Django's database."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from ..app import App
from ..binding import Binding
from ..client import AsyncClient, Client, execute
from ..connections import Dsn
from ..errors import ConfigurationError
from ..models import SyncResult
from ..routing import Routing
from ..settings import Queue
from ..sync import sync
from .database import AliasAsyncClient, AliasClient, HandlerDatabase, close_idle_connections, read_dsn
from .settings import Problem, read_settings

__all__ = ["DjangoApp", "app"]

logger = logging.getLogger(__name__)


class DjangoBinding(Binding):
    """Django's database of an alias. What is enqueued is part of the transaction that Django's connection is in."""

    def __init__(self, alias: str, **settings: Any) -> None:
        super().__init__(partial(read_dsn, alias), **settings)
        self._alias = self.within = alias

    def _new_client(self) -> Client:
        return AliasClient(self._alias, self.dsn, before_enqueue=self._prepare)

    def _new_async_client(self, dsn: Dsn) -> AsyncClient:
        return AliasAsyncClient(self._alias, dsn, before_enqueue=sync_to_async(self._prepare))

    def _prepare(self) -> None:
        """Create what is missing, in the transaction of Django's connection, and again if that is rolled back."""
        if not self._is_due:
            return
        prepared = partial(setattr, self, "_prepared_for", self._count())
        try:
            with transaction.atomic(using=self._alias):
                has_created = self._run_steps()
        except psycopg.errors.InsufficientPrivilege as error:
            logger.debug("this role may not declare queues and jobs; they have to exist: %s", error)
            has_created = False
        if has_created:
            transaction.on_commit(prepared, using=self._alias)
        elif not self._has_created_here():
            prepared()

    def _run_steps(self) -> bool:
        """Read what is missing, and create it. Returns whether there was something."""
        steps, count = self._steps(), 0
        with suppress(StopIteration):
            statement = next(steps)
            while True:
                statement = steps.send(execute(self._alias, statement))
                count += 1
        return count > 0

    def _has_created_here(self) -> bool:
        """Whether an earlier enqueue of the same open transaction has created something."""
        hooks = (hook for _, hook, *_ in connections[self._alias].run_on_commit)
        return any(isinstance(hook, partial) and hook.args[:1] == (self,) for hook in hooks)


class DjangoApp(App):
    """The application of a Django project: its database is one of Django's, and its settings are UNDERWAY.

    Wrong settings are left out until the first use of the database, so that the system checks list all of them.
    """

    def __init__(self) -> None:
        self.settings = read_settings()
        self.database = self.settings.database
        self.problems = list(self.settings.problems)
        super().__init__(name=self.settings.name, queues=self.settings.queues)
        self._bindings = [DjangoBinding(self.database, steps=self._create_missing, count=self._count)]

    def _count(self) -> int:
        return len(self._jobs) + len(self._queues)

    def configure(self) -> None:
        """Import the functions that the settings name. Django calls it when all models are loaded."""
        middleware, lifespan = [], None
        try:
            middleware = self.settings.load_middleware()
            lifespan = self.settings.load_lifespan()
        except ConfigurationError as error:
            self.problems.append(Problem("E004", str(error)))
        self.middleware = [partial(HandlerDatabase, alias=self.database), *middleware]
        self.lifespan = partial(_lifespan, lifespan)

    def add_queue(self, name: str) -> None:
        """Declare a queue; one that UNDERWAY declares keeps its settings."""
        self._queues.setdefault(name, Queue(name=name))

    def replace_job(self, function: Callable[..., Any], *, name: str, **options: Any) -> None:
        """Make a function a job, in the place of one of this name."""
        self._jobs.pop(name, None)
        self.job(name=name, **options)(function)

    @property
    def _binding(self) -> Binding | Routing:
        self._check_settings()
        return super()._binding

    def _check_settings(self) -> None:
        if self.problems:
            raise ImproperlyConfigured("; ".join(problem.message for problem in self.problems))

    def sync(self, *, prune: bool = False, plan: bool = False) -> SyncResult:
        """Write the declared queues, jobs and schedules into the database, over Django's connection."""
        self._check_settings()
        with transaction.atomic(using=self.database), connections[self.database].cursor() as cursor:
            cursor.execute("select")  # begins the transaction, which psycopg would otherwise begin and commit
            return sync(cursor.connection, self._declared(), prune=prune, plan=plan)


@asynccontextmanager
async def _lifespan(inner: Any, app: App) -> AsyncIterator[Any]:
    async with nullcontext(app.state) if inner is None else inner(app) as state:
        try:
            yield state
        finally:
            await close_idle_connections()


app = DjangoApp()
