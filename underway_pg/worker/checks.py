"""What is found when a worker starts, and not at its first task."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..job import Job
from .context import Middleware, is_async_only, middleware_name
from .executors.program import import_path

__all__ = ["check_jobs", "check_middleware"]

logger = logging.getLogger(__name__)


def check_jobs(jobs: Iterable[Job[..., Any]]) -> None:
    """Raise what keeps a job from running."""
    for job in jobs:
        _ = job.arguments
        if job.executor == "process":
            module, _ = import_path(job)
            if module == "__main__":
                _check_program(job)


def _check_program(job: Job[..., Any]) -> None:
    main = sys.modules["__main__"]
    file = Path(main.__file__ or "")
    if main.__spec__ is None and not file.is_file():
        raise ConfigurationError(f"job {job.name}: its processes import the program from {file}, which does not exist")


def check_middleware(
    middleware: Sequence[Middleware], jobs: Iterable[Job[..., Any]], queues: Collection[str], worker: str
) -> None:
    """Warn of async middleware, if there are plain handlers in these queues."""
    plain = [job.name for job in jobs if job.executor != "async" and job.queue in queues]
    for each in filter(is_async_only, middleware) if plain else ():
        logger.warning(
            "worker %s: middleware %s is async and does not wrap plain handlers, as of these jobs: %s",
            worker, middleware_name(each), ", ".join(plain),
        )  # fmt: skip
