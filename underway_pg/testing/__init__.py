"""A testing kit: databases for tests, assertions about tasks, running them in the test, and a clock that stands still.

The functions here need no test framework. Fixtures for pytest: `pytest_plugins = ["underway_pg.testing"]` in the
conftest.py at the root of the tests.

PYTEST_DONT_REWRITE: pytest would otherwise warn when the module was imported before it reads `pytest_plugins`.
"""

from .assertions import (
    assert_enqueued,
    assert_enqueued_async,
    assert_not_enqueued,
    assert_not_enqueued_async,
    enqueued,
    enqueued_async,
)
from .binding import bind
from .clock import Clock
from .databases import TemplateDatabases, template_databases
from .fake import FakeContext, context
from .immediate import immediate
from .running import RanTask, run_pending, run_pending_async
from .schema import install, truncate, truncate_async, uninstall

__all__ = [
    "Clock",
    "FakeContext",
    "RanTask",
    "TemplateDatabases",
    "assert_enqueued",
    "assert_enqueued_async",
    "assert_not_enqueued",
    "assert_not_enqueued_async",
    "bind",
    "context",
    "enqueued",
    "enqueued_async",
    "immediate",
    "install",
    "run_pending",
    "run_pending_async",
    "template_databases",
    "truncate",
    "truncate_async",
    "uninstall",
]

pytest_plugins = ["underway_pg.testing.plugin"]
