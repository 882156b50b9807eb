"""FastAPI and Starlette: the lifespan, a worker inside the web server, and its health."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx2
import psycopg
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Route

import underway_pg as underway
from tests.py.support import wait_until
from underway_pg.fastapi import underway_lifespan, worker_health


@pytest.fixture
def app(database: str) -> Iterator[underway.App]:
    with underway.App(database) as app:
        yield app


@contextlib.contextmanager
def served(app: underway.App, **settings: Any) -> Iterator[TestClient]:
    """A web site with a worker inside, and the health of that at /worker."""
    web = FastAPI(lifespan=underway_lifespan(app, worker=True, **settings))
    web.add_api_route("/worker", worker_health)
    with TestClient(web) as client:
        yield client


def test_a_worker_runs_on_the_loop_of_the_server_each_time_that_it_starts(
    app: underway.App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.job
    async def where() -> int:
        return id(asyncio.get_running_loop())

    web = FastAPI(lifespan=underway_lifespan(app, worker=True))

    @web.post("/")
    async def enqueue() -> bool:
        task = await where.enqueue_async()
        return await task.result(timeout=10) == id(asyncio.get_running_loop())

    for _ in range(2):
        with TestClient(web) as client:  # in a thread and on a loop of its own
            assert client.post("/").json() is True
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_connections_are_closed_when_the_server_stops(app: underway.App, database: str) -> None:
    app.job(name="send")(lambda: None)
    with psycopg.connect(database, autocommit=True) as connection:
        sessions = "select count(*) from pg_stat_activity where datname = current_database() and application_name <> ''"
        with TestClient(FastAPI(lifespan=underway_lifespan(app))):
            app.jobs["send"].enqueue()
            assert connection.execute(sessions).fetchall() == [(1,)]
        wait_until(lambda: connection.execute(sessions).fetchall() == [(0,)], "the session has ended")


def test_the_client_is_a_dependency_and_needs_no_lifespan(app: underway.App) -> None:
    @app.job
    def send() -> None: ...

    web = FastAPI()

    @web.post("/")
    async def enqueue(client: Annotated[underway.AsyncClient, Depends(app.async_client)]) -> str | None:
        found = await client.task(await send.enqueue_async())
        return found and found.state

    async def post() -> Any:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(web), base_url="http://shop") as client:
            return (await client.post("/")).json()

    for _ in range(2):  # on one loop each
        assert asyncio.run(post()) == "pending"


def test_the_signals_remain_those_of_the_server(app: underway.App) -> None:
    app.job(name="send")(lambda: None)
    signals = (signal.SIGINT, signal.SIGTERM)

    async def handlers() -> tuple[list[Any], list[Any]]:
        before = [signal.getsignal(each) for each in signals]
        async with underway_lifespan(app, worker=True)(Starlette()):
            return before, [signal.getsignal(each) for each in signals]

    before, during = asyncio.run(handlers())
    assert during == before


def test_a_running_task_may_end_before_the_server_stops(app: underway.App) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    @app.job
    async def send() -> str:
        started.set()
        await may_end.wait()
        return "sent"

    async def run() -> None:
        async with underway_lifespan(app, worker=True)(Starlette()):
            await send.enqueue_async()
            await started.wait()
            asyncio.get_running_loop().call_later(0.1, may_end.set)

    asyncio.run(run())
    assert app.task(1).output == "sent"


@pytest.mark.parametrize("how", ["stops", "is cancelled"])
def test_a_task_goes_back_when_the_server(app: underway.App, how: str) -> None:
    @app.job
    async def send() -> None:
        started.set()
        await asyncio.Event().wait()

    async def run() -> None:
        async with underway_lifespan(app, worker=True, shutdown_timeout=0 if how == "stops" else 600)(Starlette()):
            await send.enqueue_async()
            await started.wait()
            if how == "is cancelled":
                task = asyncio.current_task()
                asyncio.get_running_loop().call_later(0.1, task.cancel)

    started = asyncio.Event()
    with contextlib.nullcontext() if how == "stops" else pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    task = app.task(1)
    assert (task.state, task.attempt) == ("pending", 0)
    assert app.client.workers() == []


def test_a_server_without_its_worker_says_so(app: underway.App, caplog: pytest.LogCaptureFixture) -> None:
    app.job(name="send")(lambda: None)
    with served(app, name="inside") as client:
        health = client.get("/worker")
        assert (health.status_code, health.json()["ready"]) == (200, True)
        assert health.json()["workers"][0]["worker"] == "inside"
        app.client.stop_workers(all_workers=True)
        wait_until(lambda: client.get("/worker").status_code == 503, "the worker has ended")
        health = client.get("/worker").json()
        assert [health["alive"], health["ready"], health["workers"][0]["alive"]] == [False, False, False]
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "has ended before the web server; restart the server to start it again" in record.getMessage()


def test_a_worker_that_fails_logs_why(app: underway.App, caplog: pytest.LogCaptureFixture) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: underway.App) -> AsyncIterator[None]:
        yield
        raise OSError("the printer is on fire")

    app.lifespan = lifespan
    app.job(name="send")(lambda: None)
    with served(app) as client:
        app.client.stop_workers(all_workers=True)
        wait_until(lambda: client.get("/worker").status_code == 503, "the worker has ended")
    assert "the printer is on fire" in caplog.text


def test_the_server_does_not_start_if_its_worker_cannot(app: underway.App) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: underway.App) -> AsyncIterator[None]:
        raise OSError("no paper")
        yield

    app.lifespan = lifespan
    app.job(name="send")(lambda: None)
    with pytest.raises(OSError, match="no paper"), served(app):
        pass


def test_the_server_does_not_start_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "PGHOST", "PGSERVICE", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    web = FastAPI(lifespan=underway_lifespan(underway.App()))
    with pytest.raises(underway.ConfigurationError, match="no database is given"), TestClient(web):
        pass


def test_a_lifespan_of_your_own_surrounds_the_worker(app: underway.App) -> None:
    @app.job
    async def read() -> list[str]:
        return list(opened)

    opened: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(web: Starlette) -> AsyncIterator[dict[str, str]]:
        opened.append("engine")
        async with underway_lifespan(app, worker=True)(web):
            yield {"engine": "E"}
        assert app.client.workers() == []
        opened.clear()

    with TestClient(Starlette(routes=[Route("/worker", worker_health)], lifespan=lifespan)) as client:
        assert client.get("/worker").json()["alive"]
        assert read.enqueue().wait(timeout=10) == ["engine"]
    assert opened == []


def test_a_server_without_a_worker_is_healthy(app: underway.App) -> None:
    web = Starlette(routes=[Route("/worker", worker_health)], lifespan=underway_lifespan(app))
    with TestClient(web) as client:
        assert client.get("/worker").json() == {"alive": True, "ready": True, "workers": []}


def test_the_health_needs_the_lifespan(app: underway.App) -> None:
    client = TestClient(Starlette(routes=[Route("/worker", worker_health)], lifespan=underway_lifespan(app)))
    with pytest.raises(underway.ConfigurationError, match="in tests use TestClient in a with block"):
        client.get("/worker")


def test_settings_of_a_worker_need_a_worker(app: underway.App) -> None:
    with pytest.raises(underway.ConfigurationError, match="concurrency: a setting of the worker; add worker=True"):
        underway_lifespan(app, concurrency=5)
