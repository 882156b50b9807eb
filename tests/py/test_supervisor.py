"""`underway worker` as a service: several processes, health over HTTP, being stopped, reloading, logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.py.support import SECONDS, Session, beside, wait_until
from underway_pg import App, Client, Context, DatabaseRefusal, Queue
from underway_pg.service.health import HealthServer
from underway_pg.service.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]

TASKS = """
import os
from underway_pg import App, Context

app = App()

@app.job(queue="pids")
def pid(n: int) -> int:
    return os.getpid()

@app.job(queue="pids")
def wait(context: Context, n: int) -> None:
    context.wait_cancelled(30)

"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue(
            "pids", "retry_policy => underway.retry_policy(max_attempts => 1), heartbeat => '1 second'"
        )
        yield session


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Start]:
    """Starts `underway worker` of an application in a directory of its own, and ends what is left of it."""
    (tmp_path / "tasks.py").write_text(TASKS)
    with contextlib.ExitStack() as stack:

        def run(*options: object) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "underway_pg", "worker", "tasks:app", *map(str, options)],
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "DATABASE_URL": database},
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def pids(session: Session) -> set[int]:
    """The processes of the workers that are known, by their names."""
    names = session.column("select name from underway.worker")
    return {int(name.rpartition(":")[2]) for name in names}


def started(session: Session, count: int, *, without: set[int] | None = None, seconds: float = SECONDS) -> set[int]:
    """Wait until so many workers are known, those not counted that were there before; gives their processes."""

    def look() -> set[int] | None:
        found = pids(session) - (without or set())
        return found if len(found) == count else None

    found = wait_until(look, f"{count} workers", seconds=seconds)
    assert found is not None
    return found


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Send a signal, and wait for a good end; gives what was logged."""
    process.send_signal(number)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    return log


# Several processes


def test_processes_share_the_work_and_stop_on_one_signal(session: Session, start: Start) -> None:
    process = start("--processes", 3)
    there = started(session, 3)
    assert process.pid not in there
    stop(process)
    assert pids(session) == set()


def test_a_process_that_dies_is_started_again(session: Session, start: Start) -> None:
    process = start("--processes", 2)
    before = started(session, 2)
    os.kill(min(before), signal.SIGKILL)
    assert len(started(session, 1, without=before)) == 1
    log = stop(process)
    assert "was killed by SIGKILL; another starts in 0.5 s" in log


def test_the_second_signal_gives_running_tasks_back_at_once(session: Session, start: Start) -> None:
    process = start("--processes", 2, "--shutdown-timeout", "60s")
    started(session, 2)
    (task,) = session.enqueue("pids", 1, "job => 'wait'")
    wait_until(lambda: session.value("select state = 'in_progress' from underway.task where id = %s", task), "it runs")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: session.value("select count(*) from underway.worker") == 1, "the idle one stops")
    stop(process, signal.SIGINT)
    assert session.value("select state::text from underway.task where id = %s", task) == "pending"


def test_children_end_when_their_parent_is_killed(session: Session, start: Start) -> None:
    process = start("--processes", 2)
    started(session, 2)
    process.kill()
    wait_until(lambda: pids(session) == set(), "they have stopped")


def test_processes_that_drain_are_not_started_again(session: Session, start: Start) -> None:
    tasks = session.enqueue("pids", 20, "job => 'pid'")
    process = start("--processes", 2, "--drain")
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert session.value("select count(*) from underway.task_history where state = 'succeeded'") == len(tasks)


def test_a_given_name_is_numbered(session: Session, start: Start) -> None:
    process = start("--processes", 2, "--name", "mailer")
    wait_until(
        lambda: session.column("select name from underway.worker order by 1") == ["mailer-1", "mailer-2"],
        "both are there",
    )
    stop(process)


def test_an_application_that_is_none_is_said_once_and_ends_all(session: Session, start: Start, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("app = 1")
    _, log = start("--processes", 2).communicate(timeout=30)
    assert len(log.splitlines()) == 1
    assert "app" in log


def test_a_child_that_is_wrongly_used_is_not_started_again(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"from pathlib import Path; Path({str(seen)!r}).open('a').write('x'); raise SystemExit(2)"
    assert asyncio.run(Supervisor([sys.executable, "-c", program], 1).run()) == 2
    assert seen.read_text() == "x"


# Reload


def test_a_worker_starts_anew_when_code_changes(session: Session, start: Start, tmp_path: Path) -> None:
    process = start("--reload")
    before = started(session, 1)
    for number in range(10):  # the watcher may not be there yet when the code is changed first
        (tmp_path / "tasks.py").write_text(f"{TASKS}\n# {number}\n")
        with contextlib.suppress(AssertionError):
            started(session, 1, without=before, seconds=3)
            break
    assert len(started(session, 1, without=before)) == 1
    assert "code has changed" in stop(process)


@pytest.mark.parametrize(
    "first",
    ["sys.exit(1)", "sys.exit(2)", "time.sleep(600)"],
    ids=["an error", "wrong usage", "not done with its start"],
)
def test_a_worker_that_can_not_work_starts_anew_as_soon_as_code_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr("underway_pg.service.supervisor._FIRST_PAUSE", 600.0)
    starts, mended = tmp_path / "starts", tmp_path / "mended"
    starts.touch()
    program = f"""
import sys, time
from pathlib import Path
Path({str(starts)!r}).open("a").write("x")
if not Path({str(mended)!r}).exists():
    {first}
time.sleep(600)
"""

    async def started(count: int) -> None:
        while len(starts.read_text()) < count:
            await asyncio.sleep(0.01)

    async def changes() -> AsyncIterator[None]:
        await started(1)
        while first.startswith("sys.exit") and supervisor._running:
            await asyncio.sleep(0.01)
        mended.touch()
        yield
        await started(2)
        os.kill(os.getpid(), signal.SIGTERM)

    async def main() -> int:
        nonlocal supervisor
        supervisor = Supervisor([sys.executable, "-c", program], 1, changes())
        return await asyncio.wait_for(supervisor.run(), SECONDS)

    supervisor: Supervisor
    assert asyncio.run(main()) == 0
    assert starts.read_text() == "xx"


def test_a_worker_whose_module_is_gone_for_a_while_starts_anew_when_it_is_back(
    session: Session, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").rename(tmp_path / "elsewhere.txt")
    process = start("--reload")
    assert process.stderr is not None
    assert "there is no module 'tasks'" in process.stderr.readline()
    assert "ended with code 2; another starts" in process.stderr.readline()
    (tmp_path / "elsewhere.txt").rename(tmp_path / "tasks.py")
    started(session, 1)
    stop(process)


def test_to_reload_and_to_drain_is_wrong_usage(start: Start) -> None:
    process = start("--reload", "--drain")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--drain or --reload" in log


# Health


def ask(port: int, path: str) -> tuple[int, Any]:
    """The status and the JSON of a path; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_worker_says_that_it_is_alive_and_ready(session: Session, start: Start) -> None:
    port = free_port()
    process = start("--health-port", port, "--name", "healthy")
    wait_until(lambda: (ask(port, "/ready")[1] or {}).get("last_claim_at"), "it has claimed")
    status, health = ask(port, "/ready")
    assert status == 200
    assert (health["alive"], health["ready"], health["stopping"]) == (True, True, False)
    assert (health["worker"], health["queues"], health["running"]) == ("healthy", ["pids"], 0)
    assert health["schema_version"] >= 1
    assert ask(port, "/live")[0] == 200
    assert ask(port, "/nothing")[0] == 404
    stop(process)
    assert ask(port, "/live")[0] == 0


def test_each_of_several_processes_has_a_port(session: Session, start: Start) -> None:
    port = free_port()
    process = start("--health-port", port, "--processes", 2)
    workers = set()
    for number in (0, 1):
        wait_until(lambda port=port + number: ask(port, "/ready")[0] == 200, "it is ready")
        workers.add(ask(port + number, "/")[1]["worker"])
    assert len(workers) == 2
    stop(process)


def test_a_worker_that_stops_is_alive_and_not_ready(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app:
        release = threading.Event()

        @app.job(queue="q")
        def wait() -> None:
            release.wait(30)

        worker = app.worker()
        with beside(worker) as running, contextlib.ExitStack() as stack:
            stack.callback(release.set)
            wait.enqueue()
            server = running.on_loop(lambda: stack.enter_context(HealthServer(0, worker.health, host="127.0.0.1")))
            wait_until(lambda: ask(server.port, "/")[1]["running"] == 1, "it runs")
            running.stop()
            wait_until(lambda: ask(server.port, "/ready")[0] == 503, "it is not ready")
            status, health = ask(server.port, "/live")
            assert (status, health["stopping"], health["ready"]) == (200, True, False)


def test_a_worker_whose_queues_were_all_dropped_is_alive_and_not_ready(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underway_pg.worker.worker._ASK_AFTER", 0.2)
    monkeypatch.setattr("underway_pg.worker.worker._REFUSED_FOR", 0.2)
    with App(database, queues=[Queue(name="only")]) as app:
        worker = app.worker()
        with beside(worker) as running, contextlib.ExitStack() as stack:
            server = running.on_loop(lambda: stack.enter_context(HealthServer(0, worker.health, host="127.0.0.1")))
            wait_until(lambda: ask(server.port, "/ready")[0] == 200, "it is ready")
            app.client.drop_queue("only", force=True)
            wait_until(lambda: ask(server.port, "/ready")[0] == 503, "it is not ready")
            assert ask(server.port, "/live")[0] == 200
            app.client.create_queue(Queue(name="only"))
            wait_until(lambda: ask(server.port, "/ready")[0] == 200, "it is ready again")


def test_a_loop_that_hangs_is_not_alive(database: str) -> None:
    hangs, release = threading.Event(), threading.Event()
    with App(database, queues=[Queue(name="q")]) as app:

        @app.job(queue="q")
        async def hang() -> None:
            hangs.set()
            release.wait(30)  # which no async handler should

        worker = app.worker()
        with beside(worker) as running, contextlib.ExitStack() as stack:
            stack.callback(release.set)
            server = running.on_loop(lambda: stack.enter_context(HealthServer(0, worker.health, host="127.0.0.1")))
            wait_until(lambda: ask(server.port, "/live")[0] == 200, "it is alive")
            hang.enqueue()
            assert hangs.wait(SECONDS)
            assert ask(server.port, "/live") == (503, {"alive": False, "ready": False})
            release.set()
            wait_until(lambda: ask(server.port, "/live")[0] == 200, "it is alive again")


def test_a_port_that_is_taken_is_said(session: Session, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--health-port", port)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"port {port}" in log
    assert "Traceback" not in log


# Stopped through the database


def test_one_worker_is_asked_to_stop(database: str) -> None:
    with App(database, queues=[Queue(name="q"), Queue(name="r")]) as app:
        first, second = app.worker(name="first", queues=["q"]), app.worker(name="second", queues=["r"])
        with beside(first, second), Session(database) as session:
            wait_until(lambda: session.value("select count(*) from underway.worker") == 2, "both are there")
            id = session.value("select id from underway.worker where name = 'first'")
            assert app.client.stop_workers(worker=id) == 1
            wait_until(lambda: session.column("select name from underway.worker") == ["second"], "the first stops")
            assert app.client.stop_workers(queue="q") == 0
            assert app.client.stop_workers(queue="r") == 1
            wait_until(lambda: session.column("select name from underway.worker") == [], "the second stops")


def test_a_worker_that_is_asked_to_stop_lets_running_tasks_end(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app, Session(database) as session:
        runs, end = threading.Event(), threading.Event()

        @app.job(queue="q")
        def work(context: Context) -> str:
            runs.set()
            end.wait(30)
            return "done"

        with beside(app.worker(shutdown_timeout=30)) as running:
            task = work.enqueue()
            assert runs.wait(10)
            app.client.stop_workers(all_workers=True)
            running.until(lambda: running.on_loop(running.worker.health).stopping, "it stops")
            assert [worker.stop_asked_at is None for worker in app.client.workers()] == [False]
            end.set()
            wait_until(lambda: session.value("select count(*) from underway.worker") == 0, "it has stopped")
            assert app.client.wait_for(task) == "done"


def test_it_is_to_be_said_who_stops(database: str) -> None:
    with Client(database) as client, pytest.raises(DatabaseRefusal, match="Give exactly one of"):
        client.stop_workers()


def test_a_worker_that_was_forgotten_is_registered_anew(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app, Session(database) as session:

        @app.job(queue="q")
        def work() -> str:
            return "done"

        with beside(app.worker(name="w")):
            wait_until(lambda: session.value("select count(*) from underway.worker where idle") == 1, "it is idle")
            session.run("delete from underway.worker")
            wait_until(
                lambda: session.value("select count(*) from underway.worker where idle") == 1, "it is there again"
            )
            assert app.client.wait_for(work.enqueue(), timeout=10) == "done"


# Logs


def test_logs_are_json_when_asked(session: Session, start: Start) -> None:
    process = start("--log-format", "json")
    started(session, 1)
    lines = [json.loads(line) for line in stop(process).splitlines()]
    assert {line["levelname"] for line in lines} == {"INFO"}
    assert any("serves pids" in line["message"] for line in lines)


def test_the_lines_of_tasks_are_logged_in_fields_and_inputs_when_asked(session: Session, start: Start) -> None:
    def log(*options: str) -> list[dict[str, Any]]:
        id = session.value("select underway.enqueue('pids', '{\"n\": 7}', job => 'pid')")
        process = start("--log-format", "json", "--drain", *options)
        _, text = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, text
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line.get("task") == id]

    first, last = log()
    assert (first["job"], first["queue"], first["attempt"], "input" in first) == ("pid", "pids", 1, False)
    assert first["message"].endswith("(pid, queue pids, attempt 1) starts")
    assert (last["job"], last["queue"], last["attempt"], last["outcome"]) == ("pid", "pids", 1, "succeeded")
    assert f"succeeded after {last['duration']:.3f} s" in last["message"]
    assert log("--log-inputs")[0]["input"] == '{"n": 7}'
    assert log("--no-log-tasks") == []
