"""The worker: claim tasks, run their handlers, settle the results."""

from .context import Context, Middleware, Outcome, OutcomeKind, current_context
from .settings import WorkerOptions, WorkerSettings
from .worker import Worker

__all__ = [
    "Context",
    "Middleware",
    "Outcome",
    "OutcomeKind",
    "Worker",
    "WorkerOptions",
    "WorkerSettings",
    "current_context",
]
