import asyncio
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from shop.jobs import app
from shop.migrate import migrate
from shop.web import web

import underway_pg

pytest_plugins = ["underway_pg.testing"]


@pytest.fixture(scope="session")
def underway_prepare() -> Callable[[str], None]:
    def prepare(dsn: str) -> None:
        with app.override(dsn=dsn):
            asyncio.run(migrate())

    return prepare


@pytest.fixture
def site(underway: underway_pg.App) -> Iterator[TestClient]:
    with TestClient(web) as client:
        yield client
