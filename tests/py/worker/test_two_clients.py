"""The sync and the async client have the same calls."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from underway_pg import (
    App,
    AsyncClient,
    Client,
    Queue,
)
from underway_pg.settings import Options


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, str]:
        found = {}
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                signature = inspect.signature(member)
                found[name] = str(signature).replace("AsyncConnection", "Connection")
        return found

    assert calls(AsyncClient) == calls(Client)
    for name in calls(AsyncClient):
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name)), name
        assert not inspect.iscoroutinefunction(getattr(Client, name)), name
        assert getattr(AsyncClient, name).__doc__ == getattr(Client, name).__doc__, name


def test_both_clients_do_the_same(app: App, database: str) -> None:
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("create_queue", (Queue(name="calls", timeout=5),), {}),
        ("pause_queue", ("calls",), {}),
        ("resume_queue", ("calls",), {}),
        ("pause_key", ("calls", "a"), {}),
        ("resume_key", ("calls", "a"), {}),
        ("enqueue", ("calls", {"a": 1}), {"options": Options(priority=3)}),
        ("enqueue_many", ("calls", [1, None, "x"]), {}),
        ("drop_queue", ("calls",), {"force": True}),
    ]

    async def with_async() -> list[Any]:
        async with AsyncClient(database) as client:
            return [await getattr(client, name)(*args, **named) for name, args, named in calls]

    plain = [getattr(app.client, name)(*args, **named) for name, args, named in calls]
    assert plain == [None, True, True, True, True, 1, [2, 3, 4], None]
    assert asyncio.run(with_async()) == [None, True, True, True, True, 5, [6, 7, 8], None]
