"""A dashboard over a seeded database, and a headless Chromium to look at it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.py.support import SECONDS, wait_until
from tests.servers import Server
from underway_pg.dashboard import Dashboard

from . import data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

ROOT = Path(__file__).parents[3]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


# The dashboard


@contextlib.contextmanager
def served(application: Any, path: str = "") -> Iterator[str]:
    """Serve an ASGI application on a free port of the loopback interface; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="dashboard", daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the dashboard is served")
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
    finally:
        if isinstance(application, Dashboard):
            application.close()  # which ends the streams of live updates, for which the server would wait
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture(scope="session")
def seeded(server: Server) -> Iterator[data.Shop]:
    """The sample data. Nobody connects to its database, so that it can be copied."""
    with server.new_database(server.template, "shop") as dsn:
        yield data.open_shop(dsn)


CopyShop = Callable[[], contextlib.AbstractContextManager[data.Shop]]


@pytest.fixture(scope="session")
def copy_shop(server: Server, seeded: data.Shop) -> CopyShop:
    """Makes copies of the sample data, whose workers are alive."""
    template = re.search(r"/(\w+)(\?|$)", seeded.dsn.partition("://")[2])
    assert template

    @contextlib.contextmanager
    def copy() -> Iterator[data.Shop]:
        with server.new_database(template[1]) as dsn:
            shop = data.Shop(dsn, seeded.tasks, seeded.batches, seeded.workers)
            with data.alive(shop):
                yield shop

    return copy


@pytest.fixture(scope="session")
def shop(copy_shop: CopyShop) -> Iterator[data.Shop]:
    """The sample data for tests that only read."""
    with copy_shop() as copy:
        yield copy


@pytest.fixture(scope="session")
def dashboard(shop: data.Shop) -> Iterator[str]:
    """The address of a dashboard for tests that only read."""
    with served(Dashboard(shop.dsn, local=True)) as address:
        yield address


@pytest.fixture
def own_shop(copy_shop: CopyShop) -> Iterator[data.Shop]:
    """The sample data for a test that changes it."""
    with copy_shop() as copy:
        yield copy


@pytest.fixture
def own_dashboard(own_shop: data.Shop) -> Iterator[str]:
    """The address of a dashboard for a test that changes data."""
    with served(Dashboard(own_shop.dsn, local=True)) as address:
        yield address


# The browser. Playwright's plain interface occupies the event loop of its thread for as long as it is in use. So it has
# a thread of its own, in which the tests with a page run too; other tests of this process use loops of theirs.


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    if "page" in pyfuncitem.fixturenames:
        test, thread = pyfuncitem.obj, pyfuncitem.funcargs["browser_thread"]
        pyfuncitem.obj = lambda **arguments: thread.submit(test, **arguments).result()


@pytest.fixture(scope="session")
def browser_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as thread:
        yield thread


@pytest.fixture(scope="session")
def browser(browser_thread: ThreadPoolExecutor) -> Iterator[Browser]:
    """A headless Chromium that reaches nothing but this machine."""
    found = subprocess.run([ROOT / "tools" / "chromium", "--find"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("no Chromium: run tools/chromium, or set UNDERWAY_TEST_CHROMIUM to the path of one")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=SECONDS * 1000)

    def start() -> tuple[Any, Browser]:
        with pytest.MonkeyPatch.context() as patch:
            for libraries in (ROOT / ".cache/chromium/root").glob("usr/lib/*-linux-gnu"):  # of Playwright's Node.js
                patch.setenv("LD_LIBRARY_PATH", str(libraries), prepend=os.pathsep)
            playwright = sync_playwright().start()
        return playwright, playwright.chromium.launch(executable_path=found.stdout.strip(), args=ARGUMENTS)

    def stop() -> None:
        browser.close()
        playwright.stop()

    playwright, browser = browser_thread.submit(start).result()
    yield browser
    browser_thread.submit(stop).result()


class Watched:
    """Pages whose errors are collected: messages of the console, violations of the policy, requests elsewhere."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.problems: list[str] = []

    def open(self, **options: Any) -> Page:
        """A page in a context of its own: with no cookies, and the options of Playwright's `new_context`."""
        context = self._browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
        )
        context.set_default_timeout(2 * SECONDS * 1000)
        self._contexts.append(context)
        context.route(lambda url: not url.startswith("http://127.0.0.1:"), self._refuse)
        page: Page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(f"error in {page.url}: {error}"))
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        # The dashboard of a test may stop before its pages, which then lose their stream of live updates.
        stopped = ("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_REFUSED")
        if message.type in ("error", "warning") and not any(each in message.text for each in stopped):
            self.problems.append(f"console of {message.page.url if message.page else '?'}: {message.text}")

    def _refuse(self, route: Route) -> None:
        self.problems.append(f"the page asked for {route.request.url}")
        route.abort()


@pytest.fixture
def pages(browser: Browser, browser_thread: ThreadPoolExecutor) -> Iterator[Watched]:
    """Opens pages, and fails the test if one of them has a problem."""
    watched = Watched(browser)
    yield watched
    browser_thread.submit(watched.close).result()
    assert watched.problems == []


@pytest.fixture
def page(pages: Watched, browser_thread: ThreadPoolExecutor) -> Page:
    """A page of a browser window of 1280 by 900."""
    found: Page = browser_thread.submit(pages.open).result()
    return found
