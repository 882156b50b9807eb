"""What the async and the plain code need in different forms; the plain code is generated from the async code."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import psycopg

__all__ = ["AsyncSlots", "Slots", "finish", "keep_for_ever", "wait_for_event", "wait_for_event_async"]

# Connections of a parent process, which uses them still. Nothing may close them here, not even at exit.
_OF_THE_PARENT: list[Any] = []


def keep_for_ever(connections: list[Any]) -> None:
    """Never use or close these connections: they belong to the parent of this process."""
    _OF_THE_PARENT.extend(connections)


def finish(idle: list[Any]) -> None:
    """Close idle connections, from any thread, with no need of an event loop."""
    while idle:
        try:
            connection: psycopg.Connection[Any] = idle.pop()
        except IndexError:  # another thread took the last one
            return
        connection.pgconn.finish()


class AsyncSlots:
    """A semaphore for async code; without a number it has no limit."""

    def __init__(self, number: int | None) -> None:
        self._semaphore = None if number is None else asyncio.Semaphore(number)

    async def acquire(self, timeout: float | None) -> bool:
        """Take a slot. Returns False if none is free within `timeout` seconds."""
        semaphore = self._semaphore
        if semaphore is None:
            return True
        if not semaphore.locked():
            return await semaphore.acquire()  # at once
        try:
            async with asyncio.timeout(timeout):
                return await semaphore.acquire()
        except TimeoutError:
            return False

    def release(self) -> None:
        """Free a slot."""
        if self._semaphore is not None:
            self._semaphore.release()


class Slots:
    """A semaphore for threads; without a number it has no limit."""

    def __init__(self, number: int | None) -> None:
        self._semaphore = None if number is None else threading.Semaphore(number)

    def acquire(self, timeout: float | None) -> bool:
        """Take a slot. Returns False if none is free within `timeout` seconds."""
        return self._semaphore is None or self._semaphore.acquire(timeout=timeout)

    def release(self) -> None:
        """Free a slot."""
        if self._semaphore is not None:
            self._semaphore.release()


async def wait_for_event_async(event: asyncio.Event, timeout: float | None) -> None:
    """Wait until an event is set, at most `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        pass


def wait_for_event(event: threading.Event, timeout: float | None) -> None:
    """Wait until an event is set, at most `timeout` seconds."""
    event.wait(timeout)
