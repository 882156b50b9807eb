"""PostgreSQL's binary formats, where a worker reads them by itself: late, or not at all, or once for a whole batch."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.string import ByteaBinaryLoader

__all__ = ["json_text", "json_value", "return_bytes", "seconds", "time", "uuid_text"]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INTERVAL = struct.Struct("!qii")
_TIMESTAMP = struct.Struct("!q")

_LEFT = ("jsonb", "uuid", "interval", "timestamptz")


def return_bytes(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Have a cursor leave these types as the bytes that they come in."""
    for name in _LEFT:
        cursor.adapters.register_loader(name, ByteaBinaryLoader)


def json_text(value: bytes) -> bytes:
    """A jsonb as JSON text: the format has a version before it."""
    return value[1:]


def json_value(value: bytes | None) -> Any:
    """A jsonb, or None."""
    return None if value is None else json.loads(value[1:])


@lru_cache(maxsize=1024)
def seconds(value: bytes) -> float:
    """An interval in seconds; a month has 30 days and a day 24 hours, as in extract(epoch ...) within a year."""
    microseconds, days, months = _INTERVAL.unpack(value)
    return timedelta(microseconds=microseconds, days=days + 30 * months).total_seconds()


def time(value: bytes) -> datetime:
    """A timestamptz, in UTC."""
    (microseconds,) = _TIMESTAMP.unpack(value)
    return _EPOCH + timedelta(microseconds=microseconds)


@lru_cache(maxsize=1024)
def uuid_text(value: bytes) -> str:
    """A uuid as text."""
    return str(UUID(bytes=value))
