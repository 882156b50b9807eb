"""Executors: handlers in processes, and how handlers of each kind are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.py import process_jobs
from tests.py.support import FOREVER, SECONDS, Beside, Session, beside, final, wait_until
from tests.py.worker_support import AT_ONCE, ONCE, Seen, deafen, info, listening, messages, put_back
from underway_pg import App, Context, Queue, TaskInfo, Worker
from underway_pg.errors import ConfigurationError
from underway_pg.settings import Options
from underway_pg.worker.executors import pool
from underway_pg.worker.settings import WorkerOptions, WorkerSettings

# Those of the programs at the end of this file are fresh interpreters.
pytestmark = pytest.mark.usefixtures("forked_executors")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(database: str) -> Iterator[App]:
    queues = [
        Queue(name="q", retry=AT_ONCE),
        Queue(name="poison", dead_letter_queue="dead"),
    ]
    with App(database, queues=queues) as app:
        yield app


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.run("create table seen (what text)")
        yield session


def of_processes(app: App, **settings: Any) -> Worker:
    """A worker for the jobs that run in processes."""
    app.sync()
    chosen = WorkerSettings(**{"queues": ["q", "poison"], "concurrency": 2, **settings})
    return Worker(app.dsn, process_jobs.app.jobs, chosen)


def enqueue(app: App, job: str, options: Options | None = None, queue: str = "q", **arguments: Any) -> int:
    return app.client.enqueue(queue, arguments, job=job, options=options or Options())


def error(task: TaskInfo) -> dict[str, Any]:
    """The only error of a task."""
    (kept,) = task.errors or []
    return kept


def is_alive(pid: int) -> bool:
    """Whether a process is there and runs; a zombie is there, and does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The processes that a process has started, zombies too."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    with contextlib.suppress(OSError):
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []


def seen(session: Session) -> list[str]:
    return session.column("select what from seen")


# Processes


def test_a_handler_in_a_process_gets_its_arguments_and_knows_its_task(app: App) -> None:
    id = enqueue(app, "knows", Options(priority=3, headers={"trace": "abc"}), n=7)
    with beside(of_processes(app)) as worker:
        output = final(app, id, worker).output
    assert output["pid"] != os.getpid()
    assert output["group"] == output["pid"]  # a terminal's Ctrl-C is for the worker alone
    del output["pid"], output["group"]
    assert output == {
        "n": 7,
        "id": id,
        "queue": "q",
        "job": "knows",
        "attempt": 1,
        "priority": 3,
        "headers": {"trace": "abc"},
        "state": {"color": "green"},  # what the application has there
        "cancelled": False,
    }


def test_an_error_in_a_process_is_kept_with_its_traceback_and_the_task_tried_again(app: App) -> None:
    id = enqueue(app, "raises")
    with beside(of_processes(app)) as worker:
        task = final(app, id, worker)
    assert (task.output, error(task)["type"], error(task)["message"]) == (
        "in the second attempt", "ValueError", "bad \\x00 value",
    )  # fmt: skip
    assert "in raise_deep_inside" in error(task)["traceback"]
    assert "underway_pg" not in error(task)["traceback"]


def test_a_handler_in_a_process_says_how_its_attempt_ends(app: App, session: Session) -> None:
    retry, fatal, leaves = (enqueue(app, "says_how_it_ends", how=how) for how in ("retry", "fatal", "exit"))
    snoozed = enqueue(app, "snoozes")
    with beside(of_processes(app)) as worker:
        task = final(app, retry, worker)
        assert (task.output, error(task)["type"], messages(task)) == ("done", "Retry", ["not now"])
        task = final(app, fatal, worker)
        assert (task.state, error(task)["type"], messages(task)) == ("failed", "Fatal", ["never"])
        task = final(app, leaves, worker)
        assert (task.output, error(task)["type"]) == ("done", "SystemExit")
        worker.until(lambda: put_back(app, snoozed), "it is snoozed")
    assert (info(app, snoozed).attempt, info(app, snoozed).errors) == (0, None)
    waited = "select ready_at - now() between interval '59 minutes' and interval '1 hour' from underway.task"
    assert session.column(waited) == [True]


@pytest.mark.parametrize(
    ("job", "arguments", "type_name", "why"),
    [
        ("gives_no_json", {}, "InputError", "the output does not fit into JSON"),
        ("grows", {"megabytes": "many"}, "InputError", "argument megabytes does not fit"),
        ("pid", {"unknown": 1}, "UnknownArguments", "unknown"),
    ],
)
def test_what_does_not_fit_fails_for_good_in_a_process_too(
    app: App, job: str, arguments: dict[str, Any], type_name: str, why: str
) -> None:
    id = enqueue(app, job, **arguments)
    with beside(of_processes(app, unknown_jobs="fail")) as worker:
        task = final(app, id, worker)
    assert (task.state, task.attempt, error(task)["type"]) == ("failed", 1, type_name)
    assert why in error(task)["message"]


def test_arguments_that_a_job_in_a_process_does_not_know_wait_for_another_worker(app: App, session: Session) -> None:
    id = enqueue(app, "pid", unknown=1)
    with beside(of_processes(app)) as worker:
        put_back = "select 1 from underway.task where id = %s and attempt = 0 and ready_at > enqueued_at"
        worker.until(lambda: session.column(put_back, id), "it is put back")
    assert info(app, id).errors is None


def test_the_progress_of_a_handler_in_a_process_is_seen(app: App, session: Session) -> None:
    id = enqueue(app, "tells_progress")
    with beside(of_processes(app)) as worker:
        worker.until(lambda: info(app, id).progress == {"percent": 40}, "its progress is seen")
        app.cancel(id)


def test_a_transaction_in_a_process_commits_its_writes_with_the_completion(app: App, session: Session) -> None:
    id = enqueue(app, "writes")
    with beside(of_processes(app)) as worker:
        task = final(app, id, worker)
    assert (task.output, task.errors, seen(session)) == ("in the transaction", None, ["written"])


def test_a_transaction_in_a_process_that_raises_is_undone_and_the_task_tried_again(app: App, session: Session) -> None:
    id = enqueue(app, "writes", fails=True)
    with beside(of_processes(app)) as worker:
        task = final(app, id, worker)
    assert (task.output, messages(task), seen(session)) == ("in the transaction", ["undone"], ["written"])


def test_a_transaction_in_a_process_whose_lease_was_lost_is_undone(app: App, session: Session) -> None:
    id, other = enqueue(app, "loses_its_lease"), enqueue(app, "pid")
    with beside(of_processes(app, concurrency=1)) as worker:
        final(app, other, worker)
        task = final(app, id, worker)
    assert (task.state, task.errors, seen(session)) == ("cancelled", None, [])


def test_a_handler_in_a_process_uses_the_database_of_its_worker(app: App) -> None:
    id = enqueue(app, "enqueues")
    with beside(of_processes(app)) as worker:
        enqueued = final(app, id, worker).output
        assert final(app, enqueued, worker).state == "succeeded"


def test_a_process_is_kept_for_the_next_task_and_replaced_after_some(app: App) -> None:
    ids = [enqueue(app, "pid") for _ in range(5)]
    with beside(of_processes(app, concurrency=1, max_tasks_per_process=2)) as worker:
        pids = [final(app, id, worker).output for id in ids]
        assert (pids[0], pids[2]) == (pids[1], pids[3])
        assert len(set(pids)) == 3
        gone = {pids[0], pids[2]}
        worker.until(lambda: not gone & set(children(os.getpid())), "those replaced are gone")


def test_a_process_that_has_grown_too_large_is_replaced(app: App) -> None:
    small, large, after = enqueue(app, "pid"), enqueue(app, "grows", megabytes=300), enqueue(app, "pid")
    with beside(of_processes(app, concurrency=1, max_memory_per_process=300 << 20)) as worker:
        first, second, third = (final(app, id, worker).output for id in (small, large, after))
    assert first == second != third


def test_a_process_that_dies_while_it_is_idle_costs_no_attempt(app: App) -> None:
    with beside(of_processes(app, concurrency=1)) as worker:
        pid = final(app, enqueue(app, "pid"), worker).output
        os.kill(pid, signal.SIGKILL)
        worker.until(lambda: not is_alive(pid), "it is dead")
        task = final(app, enqueue(app, "pid"), worker)
        assert (task.state, task.errors) == ("succeeded", None)
        assert task.output != pid


def test_a_worker_that_has_stopped_has_no_processes(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "subprocess", subprocess)  # its own children
    before = set(children(os.getpid()))
    id = enqueue(app, "pid")
    with beside(of_processes(app)) as worker:
        pid = final(app, id, worker).output
        assert pid in children(os.getpid())
    assert set(children(os.getpid())) == before


def test_the_processes_of_a_worker_that_stops_end_side_by_side(app: App, session: Session) -> None:
    with beside(of_processes(app, concurrency=3)) as worker:
        for id in [enqueue(app, "meets_others_at_its_end", count=3) for _ in range(3)]:
            assert final(app, id, worker).state == "succeeded"
    assert sorted(seen(session)) == ["has left"] * 3 + ["leaves"] * 3 + ["runs"] * 3


def test_plain_jobs_of_a_queue_run_in_processes_where_it_says_so_and_the_job_does_not(database: str) -> None:
    with App(database, queues=[Queue(name="heavy", executor="process"), Queue(name="light")]) as app:
        app.sync()
        worker = Worker(app.dsn, process_jobs.heavy.jobs, WorkerSettings(queues=["heavy", "light"]))
        with beside(worker) as running:
            ran_in = {
                name: final(app, enqueue(app, name, queue=job.queue), running).output
                for name, job in process_jobs.heavy.jobs.items()
            }
    apart = ran_in.pop("where_plain")
    assert apart != os.getpid()
    here = ("where_plain_in_a_thread", "where_async", "where_elsewhere")
    assert ran_in == dict.fromkeys(here, os.getpid())


# Jobs that cannot run where they should


def test_an_executor_that_does_not_fit_its_function_is_refused(app: App) -> None:
    with pytest.raises(ConfigurationError, match="'async'; for a plain function it is thread or process"):
        app.job(name="work", executor="async")(lambda: None)

    async def asynchronous() -> None: ...

    with pytest.raises(ConfigurationError, match="job asynchronous: executor is 'thread'"):
        app.job(executor="thread")(asynchronous)


def test_a_job_that_a_process_can_not_find_is_refused_when_the_worker_starts(app: App) -> None:
    @app.job(queue="q", executor="process")
    def inside() -> None: ...

    worker = app.worker()
    with pytest.raises(ConfigurationError, match=r"job inside: .* define the job at the top level of a module"):
        asyncio.run(worker.run())


def test_a_process_that_runs_no_task_at_all_is_refused(app: App) -> None:
    with pytest.raises(ConfigurationError, match="max_tasks_per_process is 0"):
        of_processes(app, max_tasks_per_process=0)


# Processes that die


OUT_OF_MEMORY = "perhaps out of memory; see max_memory_per_process"


@pytest.mark.parametrize(
    ("how", "why"), [("exit", "with exit code 7"), ("kill", f"by signal 9 (Killed); {OUT_OF_MEMORY}")]
)
def test_a_task_that_kills_its_process_each_time_ends_as_failed_and_the_worker_lives_on(
    app: App, session: Session, how: str, why: str
) -> None:
    with beside(of_processes(app, concurrency=1)) as worker:
        poison = enqueue(app, "dies", queue="poison", options=Options(retry=process_jobs.dies.policy.retry), how=how)
        others = [enqueue(app, "pid") for _ in range(3)]
        task = final(app, poison, worker)
        assert (task.state, task.attempt) == ("failed", 3)
        assert [kept["type"] for kept in task.errors or []] == ["ProcessDied"] * 3
        assert set(messages(task)) == {f"the process that ran the task ended {why}"}
        assert [final(app, id, worker).attempt for id in others] == [1] * 3
        assert session.value("select dead_letter -> 'task' from underway.task where queue = 'dead'") == poison


# Handlers that take too long


class Stubborn:
    """Handlers that go on when they are told to stop, until the test lets them end."""

    def __init__(self, app: App) -> None:
        self.released = threading.Event()
        self.running = 0
        self.in_threads = 0

        @app.job(queue="q", retry=ONCE)
        def plain() -> None:
            self.hang_in_a_thread()

        @app.job(queue="q", retry=ONCE, name="async")
        async def asynchronous() -> None:
            await self.hang_on_the_loop()

        self.jobs = {"thread": plain, "async": asynchronous}

    def hang_in_a_thread(self) -> None:
        self.running += 1
        self.in_threads += 1
        self.released.wait(2 * SECONDS)
        self.in_threads -= 1
        self.running -= 1

    async def hang_on_the_loop(self) -> None:
        self.running += 1
        while not self.released.is_set():  # it ends with the loop of its worker at the latest
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        self.running -= 1


@pytest.fixture
def stubborn(app: App) -> Iterator[Stubborn]:
    stubborn = Stubborn(app)
    yield stubborn
    stubborn.released.set()
    wait_until(lambda: stubborn.in_threads == 0, "the threads that were left behind have ended")


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
def test_an_attempt_that_takes_too_long_has_failed_where_it_hung(app: App, session: Session, kind: str) -> None:
    async def hang_in_a_coroutine() -> None:
        await asyncio.sleep(FOREVER)

    def hang_in_a_thread(context: Context) -> None:
        context.wait_cancelled(FOREVER)

    @app.job(queue="q", retry=ONCE, timeout=0.3)
    async def asynchronous() -> None:
        await hang_in_a_coroutine()

    @app.job(queue="q", retry=ONCE, timeout=0.3)
    def plain(context: Context) -> None:
        hang_in_a_thread(context)

    timeout = 2.0 if kind == "process" else 0.3  # it counts from the claim, and the task has to be handed over
    worker = of_processes(app, concurrency=1) if kind == "process" else app.worker()
    with beside(worker) as running:
        if kind == "process":
            final(app, enqueue(app, "pid"), running)  # the process is there, and has imported the jobs
            id = enqueue(app, "hangs_at_once", Options(retry=ONCE, timeout=timeout))
        else:
            id = (plain if kind == "thread" else asynchronous).enqueue()
        task = final(app, id, running)
        assert running.on_loop(lambda: running.worker.abandoned) == 0
    assert (task.state, error(task)["type"]) == ("failed", "TimeoutError")
    assert error(task)["message"] == f"the attempt timed out after {timeout:g} s"
    hung = {"async": "hang_in_a_coroutine", "thread": "hang_in_a_thread", "process": "hang_deep_inside"}[kind]
    assert f"in {hung}" in error(task)["traceback"]
    assert "underway_pg/worker/executors/" not in error(task)["traceback"]


def test_where_a_process_hung_is_known_though_nothing_in_it_could_say_so(app: App, session: Session) -> None:
    with beside(of_processes(app, concurrency=1, stop_step=0.5)) as running:
        final(app, enqueue(app, "pid"), running)
        task = final(app, enqueue(app, "hangs_in_c", Options(retry=ONCE, timeout=1.0)), running)
    assert (task.state, error(task)["type"]) == ("failed", "TimeoutError")
    assert "in hangs_in_c" in error(task)["traceback"]


def test_a_process_whose_handler_took_too_long_and_stopped_is_kept(app: App, session: Session) -> None:
    first = enqueue(app, "pid")
    hangs = enqueue(app, "hangs", Options(retry=ONCE, timeout=0.5))
    last = enqueue(app, "pid")
    with beside(of_processes(app, concurrency=1)) as worker:
        pids = [final(app, id, worker).output for id in (first, last)]
        assert messages(info(app, hangs)) == ["the attempt timed out after 0.5 s"]
    assert pids[0] == pids[1]


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_handler_that_does_not_stop_is_given_up_and_counted_and_another_runs_in_its_place(
    app: App, kind: str, stubborn: Stubborn, caplog: pytest.LogCaptureFixture
) -> None:
    id = stubborn.jobs[kind].options(timeout=0.3).enqueue()
    hung = {"async": "hang_on_the_loop", "thread": "hang_in_a_thread"}[kind]

    @app.job(queue="q")
    async def on_the_loop() -> str:
        await asyncio.sleep(0)
        return "alive"

    @app.job(queue="q")
    def in_a_thread() -> str:
        return "alive"

    with caplog.at_level(logging.WARNING, "underway_pg"), beside(app.worker(concurrency=1, stop_step=0.3)) as worker:
        others = [on_the_loop.enqueue(), in_a_thread.enqueue()]
        task = final(app, id, worker)
        assert (task.state, error(task)["type"]) == ("failed", "TimeoutError")
        assert f"in {hung}" in error(task)["traceback"]
        assert [final(app, other, worker).output for other in others] == ["alive", "alive"]
        assert worker.on_loop(lambda: worker.worker.abandoned) == stubborn.running == 1
        (warning,) = (record.getMessage() for record in caplog.records if "did not stop" in record.getMessage())
        assert f"task {id} " in warning
        assert f"in {hung}" in warning
        stubborn.released.set()
        worker.until(lambda: worker.on_loop(lambda: worker.worker.abandoned == 0), "it has ended after all")
        assert final(app, on_the_loop.enqueue(), worker).output == "alive"
    assert "lease lost" not in caplog.text  # what it gave in the end was not even reported
    assert (info(app, id).state, len(info(app, id).errors or [])) == ("failed", 1)


def test_as_many_handlers_run_at_once_as_the_concurrency_after_one_was_given_up_and_came_back(
    app: App, stubborn: Stubborn
) -> None:
    seen = Seen()

    @app.job(queue="q")
    async def counted() -> None:
        with seen.inside():
            await asyncio.sleep(0.01)

    id = stubborn.jobs["async"].options(timeout=0.1).enqueue()
    with beside(app.worker(concurrency=2, stop_step=0.3)) as worker:
        final(app, id, worker)
        for released in (False, True):
            if released:
                stubborn.released.set()
                worker.until(lambda: worker.on_loop(lambda: worker.worker.abandoned == 0), "it has come back")
            for other in [counted.enqueue() for _ in range(20)]:
                final(app, other, worker)
            assert (seen.running, seen.most_running) == (0, 2)


@pytest.mark.parametrize(("term", "killed_by"), [(False, "signal 15"), (True, "signal 9")])
def test_a_process_whose_handler_does_not_stop_is_ended_harder_and_harder(app: App, term: bool, killed_by: str) -> None:
    with beside(of_processes(app, concurrency=1, stop_step=0.3)) as worker:
        pid = final(app, enqueue(app, "pid"), worker).output
        task = final(app, enqueue(app, "swallows", Options(retry=ONCE, timeout=0.5), term=term), worker)
        assert not is_alive(pid)
        assert final(app, enqueue(app, "pid"), worker).output != pid
        assert worker.on_loop(lambda: worker.worker.abandoned) == 0
    assert (task.state, error(task)["type"]) == ("failed", "TimeoutError")
    assert "in swallow_deep_inside" in error(task)["traceback"]
    assert f"ProcessDied: the process that ran the task ended by {killed_by}" in error(task)["traceback"]


def test_the_timeout_of_a_handler_that_does_not_stop_is_reported_before_its_lease_lapses(
    app: App, stubborn: Stubborn
) -> None:
    ids = [job.options(timeout=0.3, heartbeat=4.0).enqueue() for job in stubborn.jobs.values()]
    with beside(app.worker()) as worker:  # whose patience is five seconds
        tasks = [final(app, id, worker) for id in ids]
        stubborn.released.set()
    assert [error(task)["type"] for task in tasks] == ["TimeoutError"] * 2


# Cancellation


def test_a_cancellation_reaches_a_handler_in_a_process_at_once(app: App, session: Session) -> None:
    with beside(of_processes(app, concurrency=1)) as worker:
        pid = final(app, enqueue(app, "pid"), worker).output
        id = enqueue(app, "hangs", Options(heartbeat=600))
        worker.until(lambda: seen(session), "it runs")
        listening(session, worker)
        app.cancel(id)
        worker.until(lambda: seen(session) == ["hangs", "stops"], "it is interrupted")
        assert final(app, enqueue(app, "pid"), worker).output == pid
    assert (info(app, id).state, info(app, id).errors) == ("cancelled", None)


def test_a_cancellation_that_is_not_heard_reaches_a_process_with_the_heartbeat(
    app: App, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(monkeypatch)
    id = enqueue(app, "listens", Options(heartbeat=1.5))
    with beside(of_processes(app)) as worker:
        worker.until(lambda: seen(session), "it runs")
        app.cancel(id)
        worker.until(lambda: seen(session) == ["runs", "stops"], "it was told")


@pytest.mark.parametrize("kind", ["async", "thread", "process"])
def test_a_handler_that_goes_on_when_it_is_cancelled_loses_its_place(
    app: App, session: Session, kind: str, stubborn: Stubborn
) -> None:
    @app.job(queue="q")
    async def next_one() -> str:
        return "alive"

    settings: WorkerOptions = {"concurrency": 1, "stop_step": 0.3}
    worker = of_processes(app, **settings) if kind == "process" else app.worker(**settings)
    id = enqueue(app, "swallows", term=True) if kind == "process" else stubborn.jobs[kind].enqueue()
    with beside(worker) as running:
        running.until(lambda: info(app, id).state == "in_progress", "it runs")
        listening(session, running)
        app.cancel(id)
        following = enqueue(app, "pid") if kind == "process" else next_one.enqueue()
        assert final(app, following, running).state == "succeeded"
        stubborn.released.set()
    assert (info(app, id).state, info(app, id).errors) == ("cancelled", None)


# Stopping


@pytest.mark.parametrize("how", ["the shutdown timeout is over", "a second stop"])
def test_a_worker_that_stops_gives_back_what_runs_in_processes(app: App, session: Session, how: str) -> None:
    id = enqueue(app, "listens")
    with beside(of_processes(app, shutdown_timeout=0.3 if how.startswith("the shutdown") else 600.0)) as worker:
        worker.until(lambda: seen(session), "it runs")
        worker.stop()
        if how == "a second stop":
            worker.stop()
        worker.join()
    assert seen(session) == ["runs", "stops"]
    assert (info(app, id).state, info(app, id).attempt, info(app, id).errors) == ("pending", 0, None)


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_a_handler_that_does_not_stop_keeps_no_worker_from_stopping(
    app: App, kind: str, stubborn: Stubborn, caplog: pytest.LogCaptureFixture
) -> None:
    id = stubborn.jobs[kind].enqueue()
    worker = Beside(app.worker(shutdown_timeout=0.1))
    with caplog.at_level(logging.WARNING, "underway_pg"):
        worker.start()
        worker.until(lambda: stubborn.running, "it runs")
        stopped_at = time.monotonic()
        worker.stop()
        wait_until(lambda: "abandoned handlers that still run: 1" in caplog.text, "the worker has ended")
        assert time.monotonic() - stopped_at < 5.0
    assert (info(app, id).state, info(app, id).attempt) == ("pending", 0)
    stubborn.released.set()  # asyncio.run waits for it
    worker.join()


# Programs


PROGRAM = """
import asyncio, os, sys, time

import psycopg

import underway_pg as underway

app = underway.App(sys.argv[1])


def note() -> None:
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute("insert into seen values (%s)", [str(os.getpid())])


@app.job(queue="q", executor="process")
def sleeps() -> None:
    note()
    time.sleep(600)


@app.job(queue="q")
async def swallows() -> None:
    note()
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


@app.job(queue="q")
async def uses_a_thread() -> None:
    note()
    await asyncio.to_thread(time.sleep, 600)


@app.job(queue="q", executor="process")
def naps() -> str:
    note()
    time.sleep(1)
    return "woken by nobody"


@app.job(queue="q", executor="process")
def says() -> str:
    print("said in a process", flush=True)
    return __name__
"""
GUARDED = """
if __name__ == "__main__":
    app.run(concurrency=3, shutdown_timeout=0.1)
"""
ON_A_LOOP = """
import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background
    asyncio.run(app.worker(concurrency=3, forced_stop_step=0.1).run())
"""
PATIENT = """
if __name__ == "__main__":
    app.run(concurrency=2, shutdown_timeout=60)
"""
UNGUARDED = """
says.enqueue()
app.run(concurrency=1)
"""
UNGUARDED_AT_ITS_BEGINNING = """
says.enqueue()
def helps() -> None: ...
app.run(concurrency=1)
"""
WITH_A_FORMATTER = """
import logging


class Formatter(logging.Formatter):
    pass


if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler])
    app.run(concurrency=1)
"""

StartProgram = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_program(app: App, session: Session, tmp_path: Path) -> Iterator[StartProgram]:
    """Starts a worker as a program, and ends what is left of it."""
    app.sync()
    with contextlib.ExitStack() as stack:

        def start(end: str) -> subprocess.Popen[str]:
            program = tmp_path / "program.py"
            program.write_text(PROGRAM + end)
            process = forks.Popen(
                [sys.executable, str(program), app.dsn],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(process)  # which waits for its end
            stack.callback(process.kill)
            return process

        yield start


def finished(app: App, id: int) -> TaskInfo:
    return wait_until(lambda: info(app, id) if info(app, id).finished_at else None, f"task {id} is final")


@pytest.mark.parametrize("end", [GUARDED, WITH_A_FORMATTER], ids=["plain", "with a formatter of its own"])
def test_a_job_of_a_program_runs_in_a_process_whose_output_is_the_programs(
    app: App, start_program: StartProgram, end: str
) -> None:
    program = start_program(end)
    id = enqueue(app, "says")
    assert finished(app, id).output == "__mp_main__"
    program.terminate()
    assert program.wait(SECONDS) == 0
    assert program.stdout is not None
    assert program.stdout.read() == "said in a process\n"


def test_a_process_does_not_repeat_what_a_program_without_a_main_guard_does(
    app: App, session: Session, start_program: StartProgram
) -> None:
    program = start_program(UNGUARDED)
    other = enqueue(app, "says")
    assert finished(app, other).output == "__mp_main__"
    program.terminate()
    assert program.wait(SECONDS) == 0
    assert session.rows("select state::text, attempt from underway.task_history") == [("succeeded", 1)] * 2
    assert session.value("select count(*) from underway.task") == 0


def test_a_program_that_defines_more_after_it_has_enqueued_is_told_to_use_a_main_guard(
    app: App, session: Session, start_program: StartProgram
) -> None:
    program = start_program(UNGUARDED_AT_ITS_BEGINNING)
    task = finished(app, enqueue(app, "says", Options(retry=ONCE)))
    program.terminate()
    assert program.wait(SECONDS) == 0
    assert (task.state, error(task)["type"]) == ("failed", "ConfigurationError")
    line = PROGRAM.count("\n") + UNGUARDED_AT_ITS_BEGINNING[: UNGUARDED_AT_ITS_BEGINNING.index("says")].count("\n") + 1
    assert f"program.py, line {line}, enqueues" in error(task)["message"]
    assert 'if __name__ == "__main__"' in error(task)["message"]


def test_a_worker_that_is_killed_leaves_no_process(app: App, session: Session, start_program: StartProgram) -> None:
    program = start_program(GUARDED)
    for _ in range(2):
        enqueue(app, "sleeps")
    wait_until(lambda: len(seen(session)) == 2, "two run")
    pids = [int(pid) for pid in seen(session)]
    assert all(map(is_alive, pids))
    program.kill()
    program.wait(SECONDS)
    wait_until(lambda: not any(map(is_alive, pids)), "both are gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_of_a_service_lets_handlers_in_processes_end(
    app: App, session: Session, start_program: StartProgram, number: signal.Signals
) -> None:
    program = start_program(PATIENT)
    ids = [enqueue(app, "naps", Options(retry=ONCE)) for _ in range(2)]
    wait_until(lambda: len(seen(session)) == 2, "two run")
    for pid in (program.pid, *children(program.pid)):
        os.kill(pid, number)
    assert program.wait(SECONDS) == 0
    assert [info(app, id).output for id in ids] == ["woken by nobody"] * 2


def test_a_program_that_runs_its_worker_on_a_loop_ends_at_ctrl_c_although_an_async_handler_does_not(
    app: App, session: Session, start_program: StartProgram
) -> None:
    program = start_program(ON_A_LOOP)
    id = enqueue(app, "swallows")
    wait_until(lambda: seen(session), "it runs")
    program.send_signal(signal.SIGINT)
    assert program.wait(SECONDS) != 0  # KeyboardInterrupt
    assert (info(app, id).state, info(app, id).attempt) == ("pending", 0)


@pytest.mark.parametrize("job", ["swallows", "uses_a_thread"])
def test_a_program_ends_although_an_async_handler_does_not(
    app: App, session: Session, start_program: StartProgram, job: str
) -> None:
    program = start_program(GUARDED)
    id = enqueue(app, job)
    wait_until(lambda: seen(session), "it runs")
    signalled_at = time.monotonic()
    program.terminate()
    assert program.wait(SECONDS) == 0
    assert time.monotonic() - signalled_at < 6.0
    assert (info(app, id).state, info(app, id).attempt, info(app, id).errors) == ("pending", 0, None)
