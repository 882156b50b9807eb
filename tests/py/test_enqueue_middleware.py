"""What runs around each call that enqueues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from underway_pg import App, Client, EnqueueCall, Job, Options, QueueNotFound, TaskInfo
from underway_pg.testing import bind

Call = Callable[[App, Job[..., Any], Any], Any]


class Recorder:
    """A middleware that gives each task a header, and records the calls."""

    def __init__(self, name: str = "trace") -> None:
        self.name = name
        self.calls: list[EnqueueCall] = []

    @contextlib.contextmanager
    def __call__(self, call: EnqueueCall) -> Iterator[None]:
        self.calls.append(call)
        call.headers[self.name] = f"of {self.name}"
        yield


def headers(app: App, task: int) -> Any:
    found = app.task(task)
    assert isinstance(found, TaskInfo)
    return found.headers


def made(database: str, *middleware: Any) -> tuple[App, Job[..., Any]]:
    app = App(database, enqueue_middleware=middleware)

    @app.job(queue="q")
    def job(n: int) -> None: ...

    return app, job


CALLS: dict[str, tuple[int, Call]] = {
    "enqueue": (1, lambda app, job, on: job.enqueue(1)),
    "enqueue_async": (1, lambda app, job, on: asyncio.run(job.enqueue_async(1))),
    "enqueue_many": (2, lambda app, job, on: job.enqueue_many({"n": n} for n in range(2))),
    "enqueue_many_async": (2, lambda app, job, on: asyncio.run(job.enqueue_many_async([{"n": 1}, {"n": 2}]))),
    "enqueue_unique": (2, lambda app, job, on: [each.id for each in job.enqueue_unique([{"n": 1}, {"n": 2}], "ab")]),
    "App.enqueue_many": (2, lambda app, job, on: app.enqueue_many(job.task(n) for n in range(2))),
    "using": (1, lambda app, job, on: job.using(on).enqueue(1)),
    "App.enqueue_many on a connection": (1, lambda app, job, on: app.enqueue_many([job.task(1)], connection=on)),
    "Client.enqueue": (1, lambda app, job, on: app.client.enqueue("q", {"n": 1}, job="job")),
    "Client.enqueue on a connection": (1, lambda app, job, on: app.client.enqueue("q", {}, connection=on)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_middleware_wraps_a_call_once_and_gives_headers_to_its_tasks(database: str, call: str) -> None:
    recorder = Recorder()
    app, job = made(database, recorder)
    count, enqueue = CALLS[call]
    with app, psycopg.connect(database, autocommit=True) as connection:
        app.sync()
        answer = enqueue(app, job, connection)
        ids = answer if isinstance(answer, list) else [answer]
        (seen,) = recorder.calls
        assert seen.count == len(ids) == count
        assert [headers(app, id) for id in ids] == count * [{"trace": "of trace"}]
    if "unique" not in call:
        assert seen.answer == answer


def test_a_middleware_sees_the_queue_and_the_job_that_a_call_names(database: str) -> None:
    recorder = Recorder()
    app, job = made(database, recorder)
    with app:
        job.enqueue(1)
        app.enqueue_many([job.task(1)])
    assert [(call.queue, call.job) for call in recorder.calls] == [("q", "job"), (None, None)]


def test_headers_that_a_task_has_already_stay(database: str) -> None:
    app, job = made(database, Recorder(), Recorder("second"))
    with app:
        own = job.options(headers={"trace": "own", "mine": 1})
        expected = {"trace": "own", "mine": 1, "second": "of second"}
        assert headers(app, own.enqueue(1)) == expected
        assert headers(app, app.enqueue_many([own.task(1)])[0]) == expected


def test_all_tasks_of_a_batch_get_headers_and_so_do_its_callbacks(database: str) -> None:
    app, job = made(database, Recorder())
    with app:
        app.sync()
        batch = app.client.enqueue_batch([job.task(1)], on_final=job.task(2))
        app.client.extend_batch(batch, [job.task(3)])
        found = [headers(app, task.id) for task in app.client.tasks()]
    assert [each["trace"] for each in found] == 3 * ["of trace"]


def test_a_middleware_sees_the_error_of_a_call(database: str) -> None:
    seen: list[Any] = []

    @contextlib.contextmanager
    def middleware(call: EnqueueCall) -> Iterator[None]:
        try:
            yield
        except QueueNotFound as error:
            seen.append((call.answer, type(error)))
            raise

    with Client(database, enqueue_middleware=[middleware]) as client, pytest.raises(QueueNotFound):
        client.enqueue("missing", {})
    assert seen == [(None, QueueNotFound)]


def test_a_middleware_that_adds_no_headers_changes_nothing(database: str) -> None:
    app, job = made(database, lambda call: contextlib.nullcontext())
    with app:
        assert headers(app, job.enqueue(1)) is None


def test_a_middleware_is_not_called_for_other_statements(database: str) -> None:
    recorder = Recorder()
    app, job = made(database, recorder)
    with app:
        app.sync()
        app.client.queues()
        job.schedule("@daily", arguments={"n": 1})
    assert recorder.calls == []


def test_a_middleware_that_is_added_later_is_used_by_clients_that_exist(database: str) -> None:
    app, job = made(database)
    with app:
        assert headers(app, job.enqueue(1)) is None
        app.enqueue_middleware.append(Recorder())
        assert headers(app, job.enqueue(1)) == {"trace": "of trace"}


def test_a_middleware_runs_in_the_connection_of_a_test_too(database: str) -> None:
    recorder = Recorder()
    app, job = made(database, recorder)
    with app, psycopg.connect(database) as connection:
        app.sync()
        with bind(app, within=connection):
            id = job.enqueue(1)
            assert app.client.task(id).headers == {"trace": "of trace"}  # type: ignore[union-attr]
        connection.rollback()
    assert len(recorder.calls) == 1


def test_options_keep_what_they_are_when_headers_are_added() -> None:
    options = Options(priority=3, headers={"a": 1})
    assert options.with_headers({"a": 2, "b": 3}) == Options(priority=3, headers={"a": 1, "b": 3})
