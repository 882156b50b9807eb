"""Underway: a job queue in PostgreSQL."""

from .app import App
from .client import AsyncClient, Client
from .context import Context
from .errors import Fatal, Refusal, Retry, TaskCancelled, TaskFailed, UnderwayError
from .jobs import Job
from .rows import Enqueued, TaskInfo
from .settings import NewTask, Queue, RetryPolicy
from .worker import Worker

__all__ = [
    "App",
    "AsyncClient",
    "Client",
    "Context",
    "Enqueued",
    "Fatal",
    "Job",
    "NewTask",
    "Queue",
    "Refusal",
    "Retry",
    "RetryPolicy",
    "TaskCancelled",
    "TaskFailed",
    "TaskInfo",
    "UnderwayError",
    "Worker",
]
