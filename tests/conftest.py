"""Fixtures for every test that needs a database."""

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import psycopg
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import debian, forks
from tests.clusters import copy_instead_of_initdb
from tests.servers import Server, Servers, ServersError, Source, choose, docker_answers
from underway_pg.embedded import system_binaries, wheel_binaries
from underway_pg.worker.executors import pool

# Compiled modules are kept, whatever the environment says: hundreds of processes import the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The files with the longest tests, which begin first, so that none is left alone at the end of a parallel run.
LONGEST = (
    "test_chaos.py", "test_docs.py", "test_actions.py", "test_model.py", "test_plans.py", "test_pairs.py",
    "test_django.py", "test_shops.py",
)  # fmt: skip

# In a parallel run one process runs all tests of such a place. Those of the dashboard share one browser; each of chaos
# has a server and four workers of its own, and waits more than it computes; those of failover and of the console share
# several servers.
TOGETHER = ("tests/py/dashboard/", "tests/chaos/test_chaos.py", "tests/py/test_failover.py", "tests/py/test_console.py")

SERVERS = pytest.StashKey[Servers]()


class TogetherByPlace(LoadScopeScheduling):
    """Gives the tests of a place to one process, and each other test to the next that is free.

    Not the marks of `--dist loadgroup`: pytest 9.2 ignores the suffix that xdist 3.8 adds to the name of a test.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherByPlace:
    return TogetherByPlace(config, log)


def pytest_configure(config: pytest.Config) -> None:
    try:
        sources = choose(
            os.environ,
            wheel=wheel_binaries(),
            system=system_binaries() or debian.server(),
            docker_answers=docker_answers,
        )
    except ServersError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SERVERS] = Servers(sources)
    copy_instead_of_initdb()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        sources = metafunc.config.stash[SERVERS].sources
        every = metafunc.definition.get_closest_marker("every_server")
        if every is None and os.environ.get("UNDERWAY_TEST_SERVERS") != "all":
            sources = sources[:1]
        params = [
            pytest.param(source, id=source.name, marks=repetition(number)) for number, source in enumerate(sources)
        ]
        metafunc.parametrize("server", params, indirect=True, scope="session")


def repetition(number: int) -> list[pytest.MarkDecorator]:
    """The marks of a test with the server of this number: on any but the first it is done once more."""
    return [pytest.mark.thorough] if number else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


# Last, after the fixtures; and not later than this, for a process of a parallel run has ten seconds from here.
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[SERVERS].stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # What a test logged goes to the process that started this one, and half of a surrogate pair cannot.
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """The running PostgreSQL; each of them in turn with UNDERWAY_TEST_SERVERS=all."""
    source: Source = request.param
    return request.config.stash[SERVERS].get(source)


@pytest.fixture
def forked_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of process executors are forks (tests/forks.py), and not fresh interpreters."""
    monkeypatch.setattr(pool, "subprocess", forks)


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The dsn of a database as `migrate` leaves it."""
    with server.database() as dsn:
        yield dsn


@pytest.fixture
def databases(server: Server) -> Iterator[Callable[[int], str]]:
    """Makes databases with a shard number."""
    with contextlib.ExitStack() as stack:

        def make(shard: int) -> str:
            dsn = stack.enter_context(server.database())
            with psycopg.connect(dsn) as connection:
                connection.execute("select underway.set_shard(%s)", [shard])
            return dsn

        yield make


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """The dsn of a fresh database with nothing in it."""
    with server.new_database() as dsn:
        yield dsn
