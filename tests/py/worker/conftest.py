"""Fixtures for the tests of workers: an application, and a session of the test beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.py.support import SECONDS, Session
from tests.py.worker_support import AT_ONCE
from underway_pg import (
    App,
    Queue,
    statements,
)


@pytest.fixture
def app(database: str) -> Iterator[App]:
    with App(database, queues=[Queue(name="q", retry=AT_ONCE)], state={"color": "green"}) as app:
        yield app


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        yield session


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look again only when they are notified, or when they know that something is due."""
    maintain = statements.maintain

    def maintain_and_sleep(
        worker: int, queues: Sequence[str], **options: bool
    ) -> statements.Statement[statements.Looked]:
        statement = maintain(worker, queues, **options)

        def read(rows: list[Any]) -> statements.Looked:
            looked = statement.read(rows)
            return looked if looked.pause < 1.0 else looked._replace(pause=2 * SECONDS)

        return dataclasses.replace(statement, read=read)

    monkeypatch.setattr(statements, "maintain", maintain_and_sleep)
