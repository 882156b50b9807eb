"""The worker: claim tasks, run their handlers, settle the results."""

from .worker import Worker, WorkerSettings

__all__ = ["Worker", "WorkerSettings"]
