"""The pytest plugin: fixtures for an application that is bound to a database of each test.

It is loaded where a conftest.py asks for it (`pytest_plugins = ["underway_pg.testing"]`), and not by its installation:
those who do not use it do not pay for its import.

PYTEST_DONT_REWRITE: pytest would otherwise warn when the module was imported before it reads `pytest_plugins`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from .. import connections, schema
from ..app import App
from .binding import override
from .clock import Clock
from .databases import Databases, server
from .schema import install, truncate

__all__ = [
    "underway",
    "underway_app",
    "underway_clock",
    "underway_dsn",
    "underway_prepare",
    "underway_server",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings."""
    parser.addini("underway_app", "the App that the tests use, as module:name")
    parser.addini(
        "underway_server",
        "where the tests have their databases: embedded, testcontainers, or the dsn of a server",
        default="embedded",
    )
    parser.addini(
        "underway_reset",
        "template: make a database for each test; truncate: delete the tasks in the database underway_server first",
        default="template",
    )
    parser.getgroup("underway").addoption(
        "--underway-server", help="embedded, testcontainers, or a dsn; instead of the setting underway_server"
    )


@pytest.fixture(scope="session")
def underway_app(request: pytest.FixtureRequest) -> App:
    """The application: that of the setting `underway_app`. Override this fixture to make one."""
    path: str = request.config.getini("underway_app")
    module, _, name = path.partition(":")
    if not module:
        raise pytest.UsageError("set underway_app = module:name in the pytest settings, or override underway_app")
    app = getattr(importlib.import_module(module), name or "app", None)
    if not isinstance(app, App):
        raise pytest.UsageError(f"the setting underway_app is {path!r}, which is not an App")
    return app


@pytest.fixture(scope="session")
def underway_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The dsn of the server, which is started here unless the setting `underway_server` is a dsn."""
    source = request.config.getoption("underway_server") or request.config.getini("underway_server")
    with server(source) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def underway_prepare() -> Callable[[str], None]:
    """What prepares a new database, whose dsn it is given. Override it to create the tables of your application.

    The schema of the queue is installed afterwards, unless it did so itself.
    """
    return lambda dsn: None


@pytest.fixture(scope="session")
def _underway_new_dsn(
    request: pytest.FixtureRequest, underway_server: str, underway_prepare: Callable[[str], None]
) -> Iterator[Callable[[ExitStack], str]]:
    """Gives the dsn of a database for a test; the stack ends with the test."""
    process = os.environ.get("PYTEST_XDIST_WORKER")
    databases = Databases(underway_server, f"underway_test_{os.getpid()}")
    reset = request.config.getini("underway_reset")
    with ExitStack() as session:
        if reset == "template":
            template = session.enter_context(databases.new(name="template"))
            dsn_of_template = databases.dsn_of(template)
            underway_prepare(dsn_of_template)
            schema.migrate(dsn_of_template)
            install(dsn_of_template)
            yield lambda test: databases.dsn_of(test.enter_context(databases.new(template)))
        elif reset == "truncate":
            dsn = underway_server
            if process is not None:  # each process has a copy of its own
                with psycopg.connect(dsn) as connection:
                    copied = connection.info.dbname
                dsn = databases.dsn_of(session.enter_context(databases.new(copied, name=process)))

            def emptied(test: ExitStack) -> str:
                with connections.connect(dsn) as connection:
                    truncate(connection)
                return dsn

            yield emptied
        else:
            raise pytest.UsageError(f"the setting underway_reset is {reset!r}; it is template or truncate")


@pytest.fixture
def underway_dsn(_underway_new_dsn: Callable[[ExitStack], str]) -> Iterator[str]:
    """The dsn of the database of this test, with the schema of the queue and no task in it."""
    with ExitStack() as test:
        yield _underway_new_dsn(test)


@pytest.fixture
def underway(underway_app: App, underway_dsn: str) -> Iterator[App]:
    """The application, bound to the database of this test."""
    with override(underway_app, underway_dsn):
        yield underway_app


@pytest.fixture
def underway_clock(underway: App) -> Iterator[Clock]:
    """The clock of this test's database, which is stopped now and can be moved."""
    with Clock() as clock:
        yield clock
