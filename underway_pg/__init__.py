"""Underway: a job queue in PostgreSQL."""

from .app import App
from .client import AsyncClient, Client
from .context import Context
from .errors import DatabaseRefusal, Fatal, Retry, TaskCancelled, TaskFailed, UnderwayError
from .job import Job
from .models import Enqueued, TaskInfo
from .settings import NewTask, Queue, RetryPolicy
from .worker import Worker

__all__ = [
    "App",
    "AsyncClient",
    "Client",
    "Context",
    "DatabaseRefusal",
    "Enqueued",
    "Fatal",
    "Job",
    "NewTask",
    "Queue",
    "Retry",
    "RetryPolicy",
    "TaskCancelled",
    "TaskFailed",
    "TaskInfo",
    "UnderwayError",
    "Worker",
    "__version__",
]

__version__ = "0.1.0"
