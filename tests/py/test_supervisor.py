"""`underway worker` as a service: several processes, health over HTTP, being stopped, reloading, logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.py.support import SECONDS, Beside, Session, beside, wait_until
from underway_pg import App, Client, Context, DatabaseRefusal, Queue, Worker
from underway_pg.cli import main
from underway_pg.errors import ConfigurationError
from underway_pg.service.health import HealthAddress, worker_health
from underway_pg.service.run import loop_factory
from underway_pg.service.server import HealthServer
from underway_pg.service.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]

TASKS = """
import os, time
from underway_pg import App, Context

app = App()

@app.job(queue="pids")
def pid(n: int) -> int:
    return os.getpid()

@app.job(queue="pids")
def run_for(n: int) -> None:
    time.sleep(2 * n)

@app.job(queue="pids")
def wait(context: Context, n: int) -> None:
    context.wait_cancelled(30)

"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with Session(database) as session:
        session.create_queue("pids", "retry_policy => underway.retry_policy(max_attempts => 1)")
        yield session


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Start]:
    """Starts `underway worker` of an application in a directory of its own, and ends what is left of it."""
    (tmp_path / "tasks.py").write_text(TASKS)
    with contextlib.ExitStack() as stack:

        def run(*options: object, program: str | None = None) -> subprocess.Popen[str]:
            command = ["-m", "underway_pg", "worker", "tasks:app", *map(str, options)]
            process = forks.Popen(
                [sys.executable, *(command if program is None else ["-c", program])],
                env={
                    **os.environ,
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
                    "DATABASE_URL": database,
                    forks.CHILDREN: "1",
                },
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
    assert "was killed by SIGKILL; restarting in 0.5 s" in log


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


def supervise(program: str, processes: int = 1, **settings: Any) -> int:
    return asyncio.run(Supervisor([sys.executable, "-c", program], processes, **settings).run())


def test_a_child_that_is_wrongly_used_is_not_started_again(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"from pathlib import Path; Path({str(seen)!r}).open('a').write('x'); raise SystemExit(2)"
    assert supervise(program) == 2
    assert seen.read_text() == "x"


def test_a_child_that_ignores_its_stop_is_killed_with_its_process_group(tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = f"""
import os, signal, subprocess, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
below = subprocess.Popen(["sleep", "600"])
Path({str(started)!r} + "-").write_text(f"{{os.getpid()}} {{below.pid}}")
os.rename({str(started)!r} + "-", {str(started)!r})
time.sleep(600)
"""

    def stop_when_started() -> None:
        wait_until(started.exists, "the child has started")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_when_started)
    thread.start()
    assert supervise(program, shutdown_timeout=0.1, kill_margin=0.1) == 1
    thread.join()
    for pid in map(int, started.read_text().split()):
        wait_until(lambda pid=pid: not is_running(pid), f"process {pid} has ended")


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """The processes below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, numbers = path.read_text().rpartition(")")
            if int(numbers.split()[1]) == pid and not name.endswith(f"({forks.SERVER_NAME}"):
                child = int(path.parent.name)
                found += [child, *children(child)]
    return found


def test_a_signal_to_every_process_of_the_group_is_counted_once_by_each_worker(session: Session, start: Start) -> None:
    process = start("--processes", 2, "--shutdown-timeout", "60s")
    started(session, 2)
    (task,) = session.enqueue("pids", 1, "job => 'run_for'")
    state = "select state::text from underway.task_info(%s)"
    wait_until(lambda: session.value(state, task) == "in_progress", "it runs")
    for pid in children(process.pid):
        os.kill(pid, signal.SIGTERM)
    stop(process)
    assert session.value(state, task) == "succeeded"


def test_the_children_run_with_the_options_of_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = "from underway_pg.service.supervisor import child_command; print(*child_command(['worker', 'a b']))"
    ended = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "ignore", "-O", "-c", program],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    options = ended.stdout.removeprefix(sys.executable).removesuffix(" -m underway_pg worker a b\n").split()
    assert {"-O", "-Wignore", "utf8"} <= set(options)


def test_the_children_get_the_arguments_of_a_command_line_that_is_called_as_a_function(
    session: Session, tmp_path: Path, database: str, start: Start
) -> None:
    program = f"import sys; sys.argv = ['other', 'arguments']; from underway_pg.cli import main; main({ARGUMENTS!r})"
    process = start(program=program)
    wait_until(
        lambda: session.column("select name from underway.worker order by 1") == ["mailer-1", "mailer-2"],
        "both are registered",
    )
    stop(process)


ARGUMENTS = ["worker", "tasks:app", "--processes", "2", "--name", "mailer"]


def test_a_child_whose_loop_is_blocked_ends_after_its_supervisor_was_killed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    program = """
import signal, time
from underway_pg.service import link
signal.signal(signal.SIGTERM, signal.SIG_IGN)
link.KILL_MARGIN = 0.1
link.Child.from_environment(0.1)
print("started", flush=True)
time.sleep(600)
"""
    with theirs, ours, forks.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "UNDERWAY_CHILD": f"1:0:{theirs.fileno()}"},
        pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            theirs.close()
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            ours.close()
            assert process.wait(SECONDS) == 1
            assert process.stderr is not None
            assert "its supervisor died" in process.stderr.read()
        finally:
            process.kill()


# Reload


def test_a_worker_restarts_when_code_changes(session: Session, start: Start, tmp_path: Path) -> None:
    process = start("--reload")
    before = started(session, 1)
    watches = Path(f"/proc/{process.pid}/fdinfo")
    wait_until(lambda: any("inotify wd" in file.read_text() for file in watches.iterdir()), "files are watched")
    (tmp_path / "tasks.py").write_text(f"{TASKS}\n# changed\n")
    assert len(started(session, 1, without=before)) == 1
    stop(process)
    assert pids(session) == set()


def test_a_worker_whose_module_was_renamed_restarts_when_it_is_back(
    session: Session, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").rename(tmp_path / "elsewhere.txt")
    process = start("--reload")
    assert process.stderr is not None
    assert "'tasks'" in process.stderr.readline()
    (tmp_path / "elsewhere.txt").rename(tmp_path / "tasks.py")
    started(session, 1)
    stop(process)


def test_a_worker_ends_when_the_process_that_reloads_it_was_killed(session: Session, start: Start) -> None:
    process = start("--reload")
    started(session, 1)
    process.kill()
    wait_until(lambda: pids(session) == set(), "it has stopped")


def test_a_watcher_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run_process(*paths: Path, **settings: object) -> int:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr("watchfiles.run_process", run_process)
    monkeypatch.setattr("underway_pg.cli.worker.configure_logging", lambda *_: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main(["worker", "tasks:app", "--reload"]) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "inotify watch limit reached" in capsys.readouterr().err


@pytest.mark.parametrize("other", [["--drain"], ["--processes", "2"]], ids=" ".join)
def test_reload_does_not_go_together_with_drain_or_processes(start: Start, other: list[str]) -> None:
    process = start("--reload", *other)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--reload" in log
    assert other[0] in log


# Health


def ask(port: int, path: str, *, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, Any]:
    """The status and the JSON of a path; 0 if nothing answers."""
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            body = answer.read()
            return answer.status, json.loads(body) if body else None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve(worker: Worker, running: Beside, stack: contextlib.ExitStack) -> int:
    """Serve the health of a worker that runs beside the test; gives the port."""

    async def ask() -> Sequence[dict[str, Any]]:
        return [worker_health(worker)]

    server = running.on_loop(lambda: stack.enter_context(HealthServer(HealthAddress(0, "127.0.0.1"), ask)))
    return server.port


def test_a_worker_says_that_it_is_alive_and_ready(session: Session, start: Start) -> None:
    port = free_port()
    process = start("--health-port", port, "--name", "healthy")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready")
    wait_until(lambda: ask(port, "/ready")[1]["workers"][0]["last_claim_at"], "it has claimed")
    health = ask(port, "/ready")[1]
    assert (health["alive"], health["ready"]) == (True, True)
    (worker,) = health["workers"]
    assert (worker["alive"], worker["ready"], worker["stopping"]) == (True, True, False)
    assert (worker["worker"], worker["queues"], worker["running"]) == ("healthy", ["pids"], 0)
    assert worker["schema_version"] >= 1
    assert worker["counters"].keys() >= {"claimed", "succeeded", "failed", "retried", "running", "prefetched"}
    assert ask(port, "/live")[0] == 200
    assert ask(port, "/live?probe=kubelet")[0] == 200
    assert ask(port, "/nothing")[0] == 404
    stop(process)
    assert ask(port, "/live")[0] == 0


def test_health_answers_over_ipv4_and_ipv6_and_to_head(session: Session, start: Start) -> None:
    port = free_port()
    process = start("--health-port", port)
    wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready")
    assert ask(port, "/ready", method="HEAD") == (200, None)
    assert ask(port, "/ready", method="POST") == (405, {"error": "POST is not allowed; use GET or HEAD"})
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(b"GET /ready HTTP/one\r\n\r\n")
        assert json.loads(connection.makefile("rb").read().rpartition(b"\r\n\r\n")[2])["error"].startswith(
            "Bad request"
        )
    assert ask(port, "/ready", host="[::1]")[0] == 200
    stop(process)


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "[::1]"), ("::1", "127.0.0.1")])
def test_health_is_served_on_the_given_host_only(session: Session, start: Start, host: str, other: str) -> None:
    port = free_port()
    process = start("--health-port", port, "--health-host", host)
    at = f"[{host}]" if ":" in host else host
    wait_until(lambda: ask(port, "/ready", host=at)[0] == 200, "it is ready")
    assert ask(port, "/ready", host=other)[0] == 0
    stop(process)


def test_one_port_answers_for_all_processes(session: Session, start: Start) -> None:
    port = free_port()
    process = start("--health-port", port, "--processes", 2, "--name", "mailer")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "both are ready")
    workers = ask(port, "/")[1]["workers"]
    assert [(worker["worker"], worker["ready"]) for worker in workers] == [("mailer-1", True), ("mailer-2", True)]

    victim = min(children(process.pid))
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: ask(port, "/live")[0] == 503, "one does not answer")
    health = ask(port, "/ready")[1]
    assert (health["alive"], health["ready"]) == (False, False)
    assert sorted(worker["alive"] for worker in health["workers"]) == [False, True]

    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: ask(port, "/live")[0] == 200, "the supervisor restarts it")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "both are ready again")
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
            port = serve(worker, running, stack)
            wait_until(lambda: ask(port, "/")[1]["workers"][0]["running"] == 1, "it runs")
            running.stop()
            wait_until(lambda: ask(port, "/ready")[0] == 503, "it is not ready")
            status, health = ask(port, "/live")
            assert (status, health["ready"], health["workers"][0]["stopping"]) == (200, False, True)


def test_a_worker_whose_queues_were_all_dropped_is_alive_and_not_ready(database: str) -> None:
    with App(database, queues=[Queue(name="only")]) as app:
        worker = app.worker(idle_claim_interval=0.2, recheck_queues_after=0.2)
        with beside(worker) as running, contextlib.ExitStack() as stack:
            port = serve(worker, running, stack)
            wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready")
            app.client.drop_queue("only", force=True)
            wait_until(lambda: ask(port, "/ready")[0] == 503, "it is not ready")
            assert ask(port, "/live")[0] == 200
            app.client.create_queue(Queue(name="only"))
            wait_until(lambda: ask(port, "/ready")[0] == 200, "it is ready again")


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
            port = serve(worker, running, stack)
            wait_until(lambda: ask(port, "/live")[0] == 200, "it is alive")
            hang.enqueue()
            assert hangs.wait(SECONDS)
            assert ask(port, "/live") == (503, {"alive": False, "ready": False, "workers": []})
            release.set()
            wait_until(lambda: ask(port, "/live")[0] == 200, "it is alive again")


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
    assert {line["level"] for line in lines} == {"INFO"}
    assert all(line["logger"].startswith("underway_pg") for line in lines)
    assert all(datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0) for line in lines)
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
    assert f"returned after {last['duration']:.3f} s" in last["message"]
    assert log("--log-inputs")[0]["input"] == '{"n": 7}'
    assert log("--no-log-tasks") == []


BASIC = "logging.basicConfig(format='OURS %(message)s', level='INFO')"
DICT = """logging.config.dictConfig({
    "version": 1,
    "formatters": {"ours": {"format": "OURS %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
})"""
FAILING = """
@app.job(queue="pids")
def fail(n: int) -> None:
    raise ValueError("no")
"""


@pytest.mark.parametrize(
    ("configure", "options"),
    [(BASIC, []), (DICT, []), (BASIC, ["--no-log-config"]), (DICT, ["--no-log-config"]), (DICT, ["--processes", "2"])],
)
def test_the_logging_of_the_application_is_left_alone(
    session: Session, start: Start, tmp_path: Path, configure: str, options: list[str]
) -> None:
    # The default of dictConfig disables the loggers that exist, which are those of the package.
    (tmp_path / "tasks.py").write_text(f"import logging.config\n{TASKS}\n{FAILING}\n{configure}\n")
    session.enqueue("pids", 1, "job => 'fail'")
    process = start("--drain", *options)
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, log
    failures = [line for line in log.splitlines() if "ValueError" in line and line.startswith("OURS ")]
    assert failures, log
    assert [line for line in log.splitlines() if "INFO" in line] == []


def test_a_log_format_that_has_no_effect_is_reported(session: Session, start: Start, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(f"import logging\n{BASIC}\n{TASKS}")
    process = start("--drain", "--log-format", "json", "--log-level", "warning")
    _, log = process.communicate(timeout=SECONDS)
    assert [line.partition(" has")[0] for line in log.splitlines()] == ["OURS --log-format json"]


def test_without_log_config_an_application_that_configures_no_logging_gets_warnings_only(
    session: Session, start: Start
) -> None:
    process = start("--drain", "--no-log-config")
    _, log = process.communicate(timeout=SECONDS)
    assert (process.returncode, log) == (0, "")


# In a program


def test_an_app_that_runs_in_a_thread_says_how_to_run_there(database: str) -> None:
    with (
        App(database, queues=[Queue(name="q")]) as app,
        ThreadPoolExecutor(1) as threads,
        pytest.raises(ConfigurationError, match=re.escape("asyncio.run(app.worker().run())")),
    ):
        threads.submit(app.run).result(SECONDS)


def test_an_app_that_runs_under_a_running_loop_says_how_to_run_there(database: str) -> None:
    async def main() -> None:
        app.run()

    with (
        App(database, queues=[Queue(name="q")]) as app,
        pytest.raises(ConfigurationError, match=re.escape("await app.worker().run()")),
    ):
        asyncio.run(main())


def test_on_windows_a_worker_says_that_it_does_not_run_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["worker", "tasks:app"]) == 1
    assert "Windows" in capsys.readouterr().err


def test_a_worker_runs_on_uvloop_where_it_is_installed(session: Session, start: Start, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        TASKS
        + """
import asyncio
@app.job(queue="pids")
async def loop(n: int) -> str:
    return type(asyncio.get_running_loop()).__module__
"""
    )
    session.enqueue("pids", 1, "job => 'loop'")
    process = start("--drain")
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, log
    assert session.column("select output #>> '{}' from underway.task_history") == ["uvloop"]


def test_without_uvloop_the_worker_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ConfigurationError, match="pip install"):
        loop_factory("uvloop")
    assert loop_factory("auto") is None
