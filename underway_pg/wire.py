"""Decoding of PostgreSQL's binary formats, and encoding.

A worker receives most columns of a claimed task as bytes. It decodes a column when a handler reads it, so a column that
no handler reads costs nothing.
"""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.string import ByteaBinaryLoader

__all__ = [
    "interval_bytes",
    "json_bytes",
    "json_text",
    "json_value",
    "return_bytes",
    "seconds",
    "time",
    "time_bytes",
    "uuid_text",
]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INTERVAL = struct.Struct("!qii")
_TIMESTAMP = struct.Struct("!q")

_LEFT = ("jsonb", "uuid", "interval", "timestamptz")


def return_bytes(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Make a cursor return values of the types in `_LEFT` as the bytes that the server sent."""
    for name in _LEFT:
        cursor.adapters.register_loader(name, ByteaBinaryLoader)


def json_text(value: bytes) -> bytes:
    """Return a jsonb value as JSON text. The binary format is one byte with a version, then the text."""
    return value[1:]


def json_value(value: bytes | None) -> Any:
    """Parse a jsonb value. None stays None."""
    return None if value is None else json.loads(value[1:])


@lru_cache(maxsize=1024)
def seconds(value: bytes) -> float:
    """Return an interval in seconds. A month has 30 days and a day 24 hours, as in extract(epoch ...) below a year."""
    microseconds, days, months = _INTERVAL.unpack(value)
    return timedelta(microseconds=microseconds, days=days + 30 * months).total_seconds()


def time(value: bytes) -> datetime:
    """Return a timestamptz as a datetime in UTC."""
    (microseconds,) = _TIMESTAMP.unpack(value)
    return _EPOCH + timedelta(microseconds=microseconds)


# The other way round, for tasks that no database has sent.


def json_bytes(text: str) -> bytes:
    """Return JSON text as a jsonb value."""
    return b"\x01" + text.encode()


def interval_bytes(seconds: float) -> bytes:
    """Return seconds as an interval."""
    return _INTERVAL.pack(round(seconds * 1_000_000), 0, 0)


def time_bytes(value: datetime) -> bytes:
    """Return a datetime as a timestamptz."""
    return _TIMESTAMP.pack((value - _EPOCH) // timedelta(microseconds=1))


@lru_cache(maxsize=1024)
def uuid_text(value: bytes) -> str:
    """Return a uuid as text."""
    return str(UUID(bytes=value))
