"""The pytest plugin: fixtures for an application that is bound to a database of each test.

It is loaded where a conftest.py asks for it (`pytest_plugins = ["underway_pg.testing"]`), and not by its installation:
those who do not use it do not pay for its import.

PYTEST_DONT_REWRITE: pytest would otherwise warn when the module was imported before it reads `pytest_plugins`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from psycopg.conninfo import conninfo_to_dict

from .. import connections
from ..app import App
from .binding import bind
from .clock import Clock
from .databases import Databases, template_databases
from .immediate import immediate
from .schema import truncate

__all__ = [
    "underway",
    "underway_app",
    "underway_clock",
    "underway_databases",
    "underway_dsn",
    "underway_immediate",
    "underway_prepare",
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
        "template: make a database for each test. truncate: delete the tasks of the database underway_server instead",
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
def underway_prepare() -> Callable[[str], object]:
    """What prepares a new database, whose dsn it is given. Override it to create the tables of your application.

    The schema of the queue is installed afterwards, unless it did so itself.
    """
    return lambda dsn: None


@pytest.fixture(scope="session")
def underway_databases(
    request: pytest.FixtureRequest, underway_prepare: Callable[[str], object]
) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Makes the databases of tests: a function that returns a context manager, which yields a dsn."""
    source = request.config.getoption("underway_server") or request.config.getini("underway_server")
    reset = request.config.getini("underway_reset")
    if reset == "template":
        with template_databases(source, prepare=underway_prepare) as databases:
            yield databases.new
    elif reset == "truncate":
        with _database_of_this_process(source) as dsn:

            @contextmanager
            def emptied() -> Iterator[str]:
                with connections.connect(dsn) as connection:
                    truncate(connection)
                yield dsn

            yield emptied
    else:
        raise pytest.UsageError(f"the setting underway_reset is {reset!r}; it is template or truncate")


@contextmanager
def _database_of_this_process(source: str) -> Iterator[str]:
    """The given database; a copy of it in each process of pytest-xdist."""
    if source in ("embedded", "testcontainers"):
        raise pytest.UsageError("with underway_reset = truncate, underway_server is the dsn of the database to use")
    process = os.environ.get("PYTEST_XDIST_WORKER")
    if process is None:
        yield source
        return
    name = conninfo_to_dict(connections.read_dsn(source)).get("dbname")
    if name is None:
        raise pytest.UsageError("with pytest-xdist, underway_server has to name its database")
    # Not over a connection to that database itself: no other process could copy it meanwhile.
    databases = Databases(Databases(source, "").dsn_of("postgres"), str(name))
    with closing(databases), databases.new(str(name), process) as copy:
        yield databases.dsn_of(copy)


@pytest.fixture
def underway_dsn(underway_databases: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The dsn of the database of this test, with the schema of the queue and no task in it."""
    with underway_databases() as dsn:
        yield dsn


@pytest.fixture
def underway(request: pytest.FixtureRequest, underway_app: App, underway_dsn: str) -> Iterator[App]:
    """The application, bound to the database of this test."""
    with bind(underway_app, dsn=underway_dsn):
        if request.config.getini("underway_reset") == "truncate":
            underway_app.sync()  # the database may have what an older version of the code has declared
        yield underway_app


@pytest.fixture
def underway_clock(underway: App) -> Iterator[Clock]:
    """The clock of this test's database, which is stopped now and can be moved."""
    with Clock() as clock:
        yield clock


@pytest.fixture
def underway_immediate(underway: App) -> Iterator[None]:
    """In this test each enqueue runs the handler at once."""
    with immediate():
        yield
