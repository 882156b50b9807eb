"""Waiting for the end of a task, by both clients."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.py.support import SECONDS, Session, beside, wait_until
from tests.py.worker_support import info, messages
from underway_pg import (
    App,
    AsyncClient,
    Client,
    Context,
    Fatal,
    Queue,
    TaskCancelled,
    TaskFailed,
    TaskInfo,
)
from underway_pg.errors import TaskNotFound, WaitTimeout
from underway_pg.models import BlockedReason
from underway_pg.settings import Options

# Seconds between two looks of a client, by default.
LIKE_OTHERS = 1.0


class Waiter:
    """`wait_for` in both forms, from plain code."""

    def __init__(self, app: App, kind: str, poll_interval: float) -> None:
        self._app = app
        self._kind = kind
        self.poll_interval = poll_interval

    def __call__(self, task: int, timeout: float | None = SECONDS) -> Any:
        if self._kind == "sync":
            with Client(self._app.dsn, poll_interval=self.poll_interval) as client:
                return client.wait_for(task, timeout=timeout)

        async def wait() -> Any:
            async with AsyncClient(self._app.dsn, poll_interval=self.poll_interval) as client:
                return await client.wait_for(task, timeout=timeout)

        return asyncio.run(wait())

    def many(self, tasks: list[int], timeout: float | None = SECONDS) -> dict[int, TaskInfo]:
        if self._kind == "sync":
            with Client(self._app.dsn, poll_interval=self.poll_interval) as client:
                return client.wait_for_many(tasks, timeout=timeout)

        async def wait() -> dict[int, TaskInfo]:
            async with AsyncClient(self._app.dsn, poll_interval=self.poll_interval) as client:
                return await client.wait_for_many(tasks, timeout=timeout)

        return asyncio.run(wait())


@pytest.fixture(params=["sync", "async"])
def wait_for(request: pytest.FixtureRequest, app: App) -> Waiter:
    """Waits by notifications, unless a test has no use for them: the client looks at the tasks very rarely.

    While a task is claimed, its row is locked, and no notification of its end can be requested. A test in which a
    client may ask just then looks once a second, as clients do (`LIKE_OTHERS`).
    """
    return Waiter(app, request.param, poll_interval=2 * SECONDS)


def test_waiting_gives_the_output(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def answer() -> dict[str, int]:
        return {"answer": 42}

    wait_for.poll_interval = LIKE_OTHERS
    with beside(app.worker()):
        id = answer.enqueue()
        assert wait_for(id) == {"answer": 42}
        assert wait_for(id) == {"answer": 42}  # it is final already


def see_watched(session: Session, context: Context) -> None:
    """Wait in a handler until the end of its task will be notified."""
    watched = "select 1 from underway.task where id = %s and watched"
    wait_until(lambda: session.rows(watched, context.id), "somebody waits for the task")


@pytest.mark.usefixtures("no_polls")
def test_waiting_ends_by_notification_and_not_at_a_look(app: App, session: Session, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def slow(context: Context) -> str:
        see_watched(session, context)
        return "done"

    with beside(app.worker()):  # the client asks before the task is claimed, whose row is locked for a moment
        assert wait_for(slow.options(delay=0.5).enqueue()) == "done"


def test_waiting_raises_how_the_task_ended_otherwise(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def fails() -> None:
        raise Fatal("because")

    wait_for.poll_interval = LIKE_OTHERS
    id = fails.enqueue()
    cancelled = fails.options(delay=3600).enqueue()
    with beside(app.worker()):
        with pytest.raises(TaskFailed, match=f"task {id} failed: Fatal: because") as failure:
            wait_for(id)
        assert (failure.value.task, failure.value.error["message"]) == (id, "because")
    app.cancel(cancelled)
    with pytest.raises(TaskCancelled):
        wait_for(cancelled)
    with pytest.raises(TaskNotFound):
        wait_for(987654321)


def test_waiting_ends_after_its_time_and_the_task_goes_on(app: App, wait_for: Waiter) -> None:
    @app.job(queue="q")
    def later() -> str:
        return "done"

    id = later.options(delay=3600).enqueue()
    began_at = time.monotonic()
    with pytest.raises(WaitTimeout, match=f"task {id} was not final after 0.3 s"):
        wait_for(id, timeout=0.3)
    assert 0.3 <= time.monotonic() - began_at < SECONDS
    with pytest.raises(WaitTimeout):
        wait_for(id, timeout=0)
    assert info(app, id).state == "pending"
    app.client.reschedule(id, datetime.now(UTC))
    with beside(app.worker()):
        assert wait_for(id) == "done"


def test_waiting_ends_after_its_time_while_a_handler_completes_in_an_open_transaction(
    app: App, session: Session, wait_for: Waiter
) -> None:
    id = app.client.enqueue("q", {})
    _ = session.claim("q")
    ((lease,),) = session.rows("select lease from underway.task")
    session.run("begin")
    session.run("select underway.complete(%s, %s, '7')", id, lease)
    commit = threading.Timer(SECONDS, session.run, ["commit"])  # for a wait that would not end before
    commit.start()
    try:
        with pytest.raises(WaitTimeout):
            wait_for(id, timeout=0.3)
        assert not commit.finished.is_set()
    finally:
        commit.cancel()
        commit.join()


def test_waiting_for_many_gives_how_each_ended_in_the_order_in_which_they_were_given(
    app: App, wait_for: Waiter
) -> None:
    @app.job(queue="q")
    def half(n: int) -> int:
        if n % 2:
            raise Fatal("odd")
        return n // 2

    wait_for.poll_interval = LIKE_OTHERS
    ids = half.enqueue_many({"n": n} for n in range(20))
    cancelled = half.options(delay=3600).enqueue(n=0)
    app.cancel(cancelled)
    asked = [cancelled, *reversed(ids), ids[3]]
    with beside(app.worker()):
        ended = wait_for.many(asked)
    assert list(ended) == asked[:-1]
    assert [ended[id].output for id in ids[::2]] == list(range(10))
    assert {ended[id].state for id in ids[1::2]} == {"failed"}
    assert messages(ended[ids[1]]) == ["odd"]
    assert ended[cancelled].state == "cancelled"
    assert wait_for.many([]) == {}


@pytest.mark.usefixtures("no_polls")
def test_waiting_for_many_ends_by_the_notification_of_the_last_and_not_at_a_look(
    app: App, session: Session, wait_for: Waiter
) -> None:
    @app.job(queue="q")
    def slow(context: Context, seconds: float) -> None:
        see_watched(session, context)
        context.wait_cancelled(seconds)

    with beside(app.worker(concurrency=3)):
        for _ in range(3):
            # The client asks before the tasks are claimed, whose rows are locked for a moment.
            later = slow.options(delay=0.5)
            ended = wait_for.many(later.enqueue_many({"seconds": seconds} for seconds in (0.1, 0.2, 0.3)))
            assert {task.state for task in ended.values()} == {"succeeded"}


def test_waiting_for_many_waits_for_none_when_one_does_not_exist(app: App, wait_for: Waiter) -> None:
    id = app.client.enqueue("q", {})
    with pytest.raises(TaskNotFound, match="task 987654321 does not exist"):
        wait_for.many([id, 987654321], timeout=None)


def test_waiting_for_many_ends_after_its_time_and_says_which_go_on(app: App, wait_for: Waiter) -> None:
    first, *rest = app.client.enqueue_many("q", [{}] * 7)
    app.cancel(first)
    with pytest.raises(WaitTimeout) as late:
        wait_for.many([first, *rest], timeout=0.3)
    names = ", ".join(map(str, rest[:5]))
    assert str(late.value) == f"6 of 7 tasks ({names}, ...) were not final after 0.3 s; they go on"
    for id in rest[1:]:
        app.cancel(id)
    with pytest.raises(WaitTimeout, match=rf"^1 of 7 tasks \({rest[0]}\) was not final after 0 s; it goes on$"):
        wait_for.many([first, *rest], timeout=0)


def test_waiting_goes_on_when_what_is_told_is_not_so(app: App, session: Session, wait_for: Waiter) -> None:
    ids = app.client.enqueue_many("q", [{}] * 2)
    looks = "select 1 from underway.task where id = %s and watched"

    def tell_lies() -> None:
        wait_until(lambda: session.column(looks, ids[1]), "the tasks are watched")
        for payload in (ids[0], ids[1], "nonsense", ids[1], "", "-1"):
            session.run("select pg_notify('underway_finished', %s)", str(payload))
        for id in ids:
            session.run("select underway.cancel(%s)", id)

    teller = threading.Thread(target=tell_lies)
    teller.start()
    ended = wait_for.many(ids)
    teller.join()
    assert [ended[id].state for id in ids] == ["cancelled", "cancelled"]


def test_a_client_says_why_a_task_is_not_running(app: App) -> None:
    app.client.create_queue(Queue(name="q"))
    id = app.client.enqueue("q", {}, options=Options(delay=3600))
    app.client.pause_queue("q")

    async def ask() -> list[BlockedReason]:
        async with AsyncClient(app.dsn) as client:
            with pytest.raises(TaskNotFound):
                await client.why(987654321)
            return await client.why(id)

    reasons = app.client.why(id)
    assert [reason.code for reason in reasons] == ["not_due", "queue_paused", "no_worker"]
    assert reasons[1].reason.startswith("queue 'q' has been paused since ")
    assert (reasons[1].details["queue"], reasons[2].details) == ("q", {"queue": "q"})
    assert [reason.code for reason in asyncio.run(ask())] == ["not_due", "queue_paused", "no_worker"]
    with pytest.raises(TaskNotFound):
        app.client.why(987654321)
