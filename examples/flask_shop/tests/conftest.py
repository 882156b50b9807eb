from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from shop import app, engine, migrate, web

import underway_pg

pytest_plugins = ["underway_pg.testing"]


@pytest.fixture(scope="session")
def underway_prepare() -> Callable[[str], None]:
    def prepare(dsn: str) -> None:
        with app.override(dsn=dsn):
            migrate()
            engine(dsn).dispose()

    return prepare


@pytest.fixture
def site(underway: underway_pg.App) -> FlaskClient:
    return web.test_client()
