"""The worker's row in the database: it makes the worker known, and enqueueing notifies it there."""

from __future__ import annotations

import contextlib
import time

from .. import statements
from ..version import VERSION
from .database import GaveUp
from .shared import Shared

__all__ = ["register", "unregister"]


async def register(shared: Shared) -> None:
    """Add the worker to the list of workers, under a new id."""
    settings = shared.settings
    shared.id = await shared.database.run(
        statements.register_worker(shared.name, settings.queue_names, settings.total_concurrency, VERSION)
    )


async def unregister(shared: Shared) -> None:
    """Remove the worker from the list of workers. A database that is away is not waited for longer than to connect."""
    if shared.id:
        database = shared.database
        database.give_up_at = min(database.give_up_at, time.monotonic() + shared.settings.connect_timeout)
        with contextlib.suppress(GaveUp):
            await database.run(statements.unregister_worker(shared.id))
