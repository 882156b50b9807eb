"""Underway: a job queue in PostgreSQL."""

from .app import App
from .client import AsyncClient, Client
from .errors import DatabaseRefusal, Fatal, Retry, TaskCancelled, TaskFailed, UnderwayError
from .job import Job
from .models import Enqueued, TaskInfo
from .settings import NewTask, Queue, RetryPolicy
from .worker import Context, Middleware, Outcome, OutcomeKind, Worker, current_context

__all__ = [
    "App",
    "AsyncClient",
    "Client",
    "Context",
    "DatabaseRefusal",
    "Enqueued",
    "Fatal",
    "Job",
    "Middleware",
    "NewTask",
    "Outcome",
    "OutcomeKind",
    "Queue",
    "Retry",
    "RetryPolicy",
    "TaskCancelled",
    "TaskFailed",
    "TaskInfo",
    "UnderwayError",
    "Worker",
    "__version__",
    "current_context",
]

__version__ = "0.1.0"
