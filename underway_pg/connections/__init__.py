"""How connections to the database are made: they notice when the server is silent, and work behind a pooler."""

from ..errors import ServerUnresponsive
from ._async import AsyncPool, connect_async
from ._sync import Pool, connect
from .alive import answer_while_alive
from .dsn import Dsn, dsn_of_environment, dsn_of_pool, read_dsn
from .fork import after_fork
from .handlers import HandlerConnections
from .sessions import (
    READ_ONLY,
    SILENT_AFTER,
    AnyConnection,
    Session,
    answer_within,
    answer_within_sync,
    is_outage,
    is_passing,
    is_pooled,
    session,
    sever,
    unavailable,
)

__all__ = [
    "READ_ONLY",
    "SILENT_AFTER",
    "AnyConnection",
    "AsyncPool",
    "Dsn",
    "HandlerConnections",
    "Pool",
    "ServerUnresponsive",
    "Session",
    "after_fork",
    "answer_while_alive",
    "answer_within",
    "answer_within_sync",
    "connect",
    "connect_async",
    "dsn_of_environment",
    "dsn_of_pool",
    "is_outage",
    "is_passing",
    "is_pooled",
    "read_dsn",
    "session",
    "sever",
    "unavailable",
]
