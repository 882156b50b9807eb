"""Handlers do not see what other handlers set."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator

import pytest

from tests.py.support import SECONDS, beside, final
from tests.py.worker_support import Seen
from underway_pg import App, Context, current_context

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_context_variable_does_not_leak_into_the_next_task(app: App, concurrency: int) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def on_loop(name: str) -> None:
        seen(tenant.get())
        tenant.set(name)
        await asyncio.sleep(0)

    @app.job(queue="q")
    def in_thread(name: str) -> None:
        seen(tenant.get())
        tenant.set(name)

    for number in range(10):
        on_loop.enqueue(f"loop {number}")
        in_thread.enqueue(f"thread {number}")
    with beside(app.worker(concurrency=concurrency)) as worker:
        worker.until(lambda: len(seen.values) == 20, "all have run")
    assert set(seen.values) == {"nobody"}


def test_each_async_handler_has_an_asyncio_task_of_its_own(app: App) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def work() -> None:
        seen(asyncio.current_task())

    work.enqueue_many([{}] * 5)
    with beside(app.worker(concurrency=1)) as worker:
        worker.until(lambda: len(seen.values) == 5, "all have run")
    assert len(set(seen.values)) == 5


def test_handlers_see_what_the_lifespan_has_set(database: str) -> None:
    seen = Seen()

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        tenant.set("everybody")
        yield

    with App(database, lifespan=lifespan) as app:

        @app.job
        async def on_loop() -> None:
            seen(tenant.get())

        @app.job
        def in_thread() -> None:
            seen(tenant.get())

        on_loop.enqueue()
        in_thread.enqueue()
        asyncio.run(app.worker(drain=True).run())
    assert seen.values == ["everybody"] * 2


def test_the_current_context_is_that_of_the_handler_that_asks(app: App) -> None:
    gate = threading.Barrier(2, timeout=SECONDS)

    def id_of_current() -> int:
        context = current_context()
        assert context is not None
        return context.id

    @app.job(queue="q")
    def in_thread(context: Context) -> int:
        gate.wait()
        assert current_context() is context
        return id_of_current()

    @app.job(queue="q")
    async def on_loop() -> int:
        await asyncio.sleep(0)
        return await asyncio.to_thread(id_of_current)

    ids = [in_thread.enqueue(), in_thread.enqueue(), on_loop.enqueue()]
    assert current_context() is None
    with beside(app.worker()) as worker:
        assert [final(app, id, worker).output for id in ids] == ids
