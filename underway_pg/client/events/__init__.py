"""Following what happens in a database: `Client.events` and `AsyncClient.events`."""

from ._async import read_events_async
from ._sync import read_events
from .window import EVENT_KINDS

__all__ = ["EVENT_KINDS", "read_events", "read_events_async"]
