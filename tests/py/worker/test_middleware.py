"""What runs around handlers, and around a worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.py.support import FOREVER, SECONDS, Session, beside, final, wait_until
from tests.py.worker_support import AT_ONCE, ONCE, Seen, messages
from underway_pg import App, Context, Fatal, Middleware, OutcomeKind, Queue, RetryPolicy
from underway_pg.errors import UnderwayError
from underway_pg.worker.claimer import Claimer

seen = Seen()


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.values.clear()


def around(name: str) -> Middleware:
    @contextlib.contextmanager
    def middleware(context: Context) -> Iterator[None]:
        seen(f"{name} begins")
        try:
            yield
        finally:
            seen(f"{name} ends")

    return middleware


def made(database: str, *middleware: Middleware, **settings: Any) -> App:
    return App(database, queues=[Queue(name="q", retry=AT_ONCE)], middleware=middleware, **settings)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_middleware_wraps_a_handler_and_the_first_is_the_outermost(database: str, kind: str) -> None:
    with made(database, around("outer"), around("inner")) as app:

        @app.job(queue="q")
        def plain() -> str:
            seen(threading.current_thread() is threading.main_thread())
            return "output"

        @app.job(queue="q")
        async def asynchronous() -> str:
            seen(False)
            return "output"

        id = (plain if kind == "plain" else asynchronous).enqueue()
        with beside(app.worker()) as worker:
            assert final(app, id, worker).output == "output"
    assert seen.values == ["outer begins", "inner begins", False, "inner ends", "outer ends"]


@contextlib.contextmanager
def outcomes(context: Context) -> Iterator[None]:
    assert context.outcome is None
    try:
        yield
    finally:
        assert context.outcome is not None
        error = None if context.outcome.error is None else type(context.outcome.error).__name__
        seen((str(context.outcome.kind), error, context.outcome.will_retry, context.attempt, context.max_attempts))


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_middleware_is_told_the_outcome_and_whether_the_task_will_be_retried(database: str, kind: str) -> None:
    with made(database, outcomes) as app:

        def plain(context: Context, how: str) -> Any:
            if how == "fails":
                raise ValueError("no")
            if how == "fatal":
                raise Fatal("no")
            if how == "snoozes" and len(seen.values) == 0:
                context.snooze(0)
            return object() if how == "bad output" else None

        async def asynchronous(context: Context, how: str) -> Any:
            return plain(context, how)

        job = app.job(queue="q", name="job", retry=RetryPolicy(max_attempts=2, initial_interval=0))(
            plain if kind == "plain" else asynchronous
        )
        expected: dict[str, list[Any]] = {
            "works": [("succeeded", None, False, 1, 2)],
            "fails": [("failed", "ValueError", True, 1, 2), ("failed", "ValueError", False, 2, 2)],
            "fatal": [("failed", "Fatal", False, 1, 2)],
            "snoozes": [("snoozed", "Snooze", False, 1, 2), ("succeeded", None, False, 1, 2)],
            "bad output": [("failed", "InputError", False, 1, 2)],
        }
        with beside(app.worker()) as worker:
            for how, outcome in expected.items():
                seen.values.clear()
                final(app, job.enqueue(how=how), worker)
                assert seen.values == outcome


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_middleware_is_told_why_a_handler_was_stopped(database: str, kind: str) -> None:
    started = []
    with made(database, outcomes) as app:

        @app.job(queue="q", retry=ONCE)
        def plain(context: Context) -> None:
            started.append(context.id)
            context.wait_cancelled(FOREVER)

        @app.job(queue="q", retry=ONCE)
        async def asynchronous(context: Context) -> None:
            started.append(context.id)
            await asyncio.sleep(FOREVER)

        job = plain if kind == "plain" else asynchronous
        with beside(app.worker()) as worker:
            final(app, job.options(timeout=0.2).enqueue(), worker)
            running = job.enqueue()
            worker.until(lambda: running in started, "its handler runs")
            app.cancel(running)
            worker.until(lambda: len(seen.values) == 2, "it was cancelled")
            released = job.enqueue()
            worker.until(lambda: released in started, "its handler runs")
            worker.stop()
            worker.stop()
        wait_until(lambda: len(seen.values) == 3, "it was released")
    assert [(kind, will_retry) for kind, _, will_retry, *_ in seen.values] == [
        (OutcomeKind.FAILED, False),
        (OutcomeKind.CANCELLED, False),
        (OutcomeKind.RELEASED, False),
    ]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_exception_of_a_middleware_is_that_of_the_attempt(database: str, kind: str) -> None:
    @contextlib.contextmanager
    def replacing(context: Context) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise RuntimeError("replaced") from error

    with made(database, outcomes, replacing) as app:

        @app.job(queue="q", retry=ONCE)
        def plain() -> None:
            raise ValueError("original")

        @app.job(queue="q", retry=ONCE)
        async def asynchronous() -> None:
            raise ValueError("original")

        id = (plain if kind == "plain" else asynchronous).enqueue()
        with beside(app.worker()) as worker:
            assert messages(final(app, id, worker)) == ["replaced"]
    assert [error for _, error, *_ in seen.values] == ["RuntimeError"]


def test_an_async_middleware_wraps_async_handlers_only(database: str, caplog: pytest.LogCaptureFixture) -> None:
    @contextlib.asynccontextmanager
    async def middleware(context: Context) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        seen(f"around {context.job}")
        yield
        await asyncio.sleep(0)
        seen(f"after {context.job}: {context.outcome and context.outcome.kind}")

    with made(database, middleware) as app:

        @app.job(queue="q")
        def plain() -> None: ...

        @app.job(queue="q")
        async def asynchronous() -> None:
            await asyncio.sleep(0)

        with beside(app.worker()) as worker:
            for job in (plain, asynchronous):
                assert final(app, job.enqueue(), worker).state == "succeeded"
    assert seen.values == ["around asynchronous", "after asynchronous: succeeded"]
    (warning,) = [message for message in caplog.messages if "is async and does not wrap" in message]
    assert ".middleware is async" in warning
    assert warning.endswith("jobs: plain")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_middleware_that_returns_no_context_manager_is_named(database: str, kind: str) -> None:
    def forgetful(context: Context) -> Any:
        return None

    with made(database, forgetful) as app:

        @app.job(queue="q", retry=ONCE)
        def plain() -> None: ...

        @app.job(queue="q", retry=ONCE)
        async def asynchronous() -> None: ...

        id = (plain if kind == "plain" else asynchronous).enqueue()
        with beside(app.worker()) as worker:
            (message,) = messages(final(app, id, worker))
    assert "forgetful returned None, which is not a context manager" in message


def test_what_the_lifespan_yields_is_the_state_of_the_handlers(database: str) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
        seen("opens")
        loop = asyncio.get_running_loop()
        yield {"loop": loop, "app": app.name}
        seen("closes")

    with made(database, lifespan=lifespan, name="shop") as app:

        @app.job(queue="q")
        async def work(context: Context) -> str:
            seen("runs")
            assert context.state["loop"] is asyncio.get_running_loop()
            return str(context.state["app"])

        id = work.enqueue()
        with beside(app.worker()) as worker:
            assert final(app, id, worker).output == "shop"
    assert seen.values == ["opens", "runs", "closes"]


def test_a_lifespan_that_fails_leaves_no_worker_behind(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise RuntimeError("no broker")
        yield

    with made(database, lifespan=lifespan) as app, pytest.raises(RuntimeError, match="no broker"):
        asyncio.run(app.worker().run())
    assert session.column("select name from underway.worker") == []
    assert not issubclass(RuntimeError, UnderwayError)
    assert "serves" not in caplog.text
    assert "has stopped" in caplog.text


def test_a_lifespan_that_hangs_at_its_start_does_not_keep_the_worker_from_stopping(
    database: str, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        seen("starts")
        await asyncio.sleep(2 * SECONDS)
        yield

    with made(database, lifespan=lifespan) as app:

        @app.job(queue="q")
        def job() -> None: ...

        with beside(app.worker()) as worker:
            worker.until(lambda: seen.values, "the lifespan starts")
            worker.stop()
            worker.join()
    assert caplog.text.count("stopped while the lifespan started") == 1
    assert "serves q" not in caplog.text
    assert session.column("select name from underway.worker") == []


@pytest.mark.parametrize("how", ["the shutdown timeout is over", "a second stop"])
def test_a_lifespan_that_hangs_at_its_end_does_not_keep_the_worker_from_stopping(
    database: str, session: Session, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        seen("ends")
        await asyncio.sleep(2 * SECONDS)

    with made(database, lifespan=lifespan) as app:

        @app.job(queue="q")
        def job() -> None: ...

        timeout = 600.0 if how == "a second stop" else 0.1
        with beside(app.worker(shutdown_timeout=timeout, forced_stop_step=0.1)) as worker:
            final(app, job.enqueue(), worker)
            worker.stop()
            if how == "a second stop":
                worker.until(lambda: seen.values, "the lifespan ends")
                worker.stop()
            worker.join()
    assert caplog.text.count("the lifespan does not end") == 1
    assert session.column("select name from underway.worker") == []


@pytest.mark.parametrize("when", ["start", "end"])
def test_a_lifespan_that_swallows_its_cancellation_does_not_keep_the_worker_from_stopping(
    database: str, session: Session, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    async def hang() -> None:
        seen("hangs")
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(2 * SECONDS)

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        if when == "start":
            await hang()
        yield
        await hang()

    with made(database, lifespan=lifespan) as app:

        @app.job(queue="q")
        def job() -> None: ...

        with beside(app.worker(shutdown_timeout=0.1, stop_step=0.1, forced_stop_step=0.1)) as worker:
            if when == "start":
                worker.until(lambda: seen.values, "the lifespan starts")
            else:
                final(app, job.enqueue(), worker)
            worker.stop()
            worker.join()
    assert caplog.text.count("the lifespan ignores its cancellation and is abandoned") == 1
    assert session.column("select name from underway.worker") == []


def test_a_lifespan_that_fails_while_the_worker_works_stops_it(database: str, session: Session) -> None:
    async def fails() -> None:
        raise RuntimeError("no broker any more")

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield

    with made(database, lifespan=lifespan) as app, pytest.raises(ExceptionGroup) as raised:
        asyncio.run(app.worker().run())
    assert raised.group_contains(RuntimeError, match="no broker any more")
    assert session.column("select name from underway.worker") == []


def test_a_lifespan_receives_the_error_of_the_worker_and_may_swallow_it(
    database: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Claimer) -> None:
        raise RuntimeError("a fault")

    @contextlib.asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        try:
            yield
        except RuntimeError as error:
            seen(str(error))

    monkeypatch.setattr(Claimer, "run", broken)
    with made(database, lifespan=lifespan) as app:
        asyncio.run(app.worker().run())
    assert seen.values == ["a fault"]
