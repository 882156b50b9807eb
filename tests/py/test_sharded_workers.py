"""`underway worker` for several databases: a process for each, and one that is away delays its own tasks only."""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests import forks
from tests.py.support import AWAY, Session, wait_until
from tests.py.test_supervisor import ask, free_port, stop
from underway_pg import App, Queue
from underway_pg.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]

TASKS = """
import json, os
from underway_pg import App, Context

one = App()
several = App(dsns=json.loads(os.environ["TEST_DSNS"]))

def echo(text: str) -> str:
    return text

one.job(echo)
several.job(echo)

@several.job(executor="process")
def relay(context: Context, text: str) -> None:
    several.jobs["echo"].on_shard("us").enqueue(text=text)
    with context.transaction() as connection:
        several.jobs["echo"].using(connection).enqueue(text=text)
"""

Start = Callable[..., subprocess.Popen[str]]
Databases = Callable[[int], str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `underway worker` of an application of tasks.py, and ends what is left of it."""
    (tmp_path / "tasks.py").write_text(TASKS)
    with ExitStack() as stack:

        def run(app: str, *options: object, dsns: dict[str, str] | None = None, **others: str) -> subprocess.Popen[str]:
            process = forks.Popen(
                [sys.executable, "-m", "underway_pg", "worker", f"tasks:{app}", *map(str, options)],
                env={
                    **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "TEST_DSNS": json.dumps(dsns),
                    forks.CHILDREN: "1", **others,
                },
                cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


@pytest.fixture
def dsns(databases: Databases) -> dict[str, str]:
    return {"eu": databases(0), "us": databases(1)}


def enqueue(dsn: str, text: str) -> Callable[[], bool]:
    """Enqueue a task for `echo`. Returns a function that returns whether it has succeeded."""
    app = App(dsn)
    if not app.client.queues():
        app.client.create_queue(Queue(name="default"))
    id = app.client.enqueue("default", {"text": text}, job="echo")

    def is_done() -> bool:
        task = app.task(id)
        return task is not None and task.output == text

    return is_done


def test_each_database_is_served_by_processes_of_its_own(start: Start, dsns: dict[str, str]) -> None:
    port = free_port()
    process = start("several", "--processes", 2, "--health-port", port, "--metrics-database", dsns=dsns)
    done = [enqueue(dsn, name) for name, dsn in dsns.items()]
    wait_until(lambda: all(each() for each in done), "the tasks of both databases are done")
    wait_until(lambda: ask(port, "/ready")[0] == 200, "all are ready")

    assert [worker["shard"] for worker in ask(port, "/ready")[1]["workers"]] == ["eu", "eu", "us", "us"]
    for dsn in dsns.values():
        with Session(dsn) as session:
            assert len(session.column("select name from underway.worker")) == 2
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    for name in dsns:
        labels = f'{{job="echo",queue="default",shard="{name}"}}'
        assert f"underway_worker_tasks_succeeded_total{labels} 1.0" in metrics
        assert f'underway_worker_ready{{shard="{name}"}} 2.0' in metrics
        assert f'underway_database_up{{shard="{name}"}} 1.0' in metrics
    assert len(re.findall("^# HELP underway_worker_ready ", metrics, re.MULTILINE)) == 1
    stop(process)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every account may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="underway-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_a_database_that_is_away_delays_its_own_tasks_only(start: Start, databases: Databases, place: Path) -> None:
    port = free_port()
    server, us = EmbeddedPostgres(data_directory=place / "data", port=port), f"postgresql://postgres@localhost:{port}"
    with server:
        App(us).migrate(shard=1)
        american = enqueue(us, "us")
    eu, port = databases(0), free_port()

    process = start("several", "--health-port", port, dsns={"us": us, "eu": eu})
    wait_until(enqueue(eu, "eu"), "the task of the database that can be reached is done")
    wait_until(lambda: ask(port, "/live")[0] == 200, "it is alive")
    status, health = ask(port, "/ready")
    assert (status, [(each["shard"], each["ready"]) for each in health["workers"]]) == (
        503, [("us", False), ("eu", True)]
    )  # fmt: skip

    with server:
        wait_until(american, "the task of the database that is back is done", seconds=60)
        server.stop()
        wait_until(lambda: ask(port, "/ready")[0] == 503, "it has noticed that the database is away again")
        wait_until(enqueue(eu, "eu again"), "the others go on")
        assert ask(port, "/live")[0] == 200
        server.start()
        wait_until(lambda: ask(port, "/ready")[0] == 200, "it serves both again", seconds=60)
        log = stop(process)
    assert re.search(r"worker process 1 of us ended with code 1; restarting in", log)
    assert "cannot be reached" in log


def test_one_of_the_databases_may_be_served_alone(start: Start, dsns: dict[str, str]) -> None:
    done = {name: enqueue(dsn, name) for name, dsn in dsns.items()}
    process = start("several", "--shard", "us", "--drain", dsns=dsns)
    assert process.wait(30) == 0
    assert {name: is_done() for name, is_done in done.items()} == {"eu": False, "us": True}


def test_a_handler_in_a_process_has_the_databases_of_the_application(start: Start, dsns: dict[str, str]) -> None:
    app = App(dsns["eu"])
    app.client.create_queue(Queue(name="default"))
    App(dsns["us"]).client.create_queue(Queue(name="default"))
    task = app.client.enqueue("default", {"text": "hello"}, job="relay")

    process = start("several", "--shard", "eu", "--drain", dsns=dsns)
    assert process.wait(60) == 0

    assert app.client.task(task).state == "succeeded"  # type: ignore[union-attr]
    for dsn, state in ((dsns["eu"], "succeeded"), (dsns["us"], "pending")):
        (found,) = (each for each in App(dsn).client.tasks() if each.job == "echo")
        assert found.state == state


def test_sync_writes_to_each_database_and_names_the_one_that_is_away(
    tmp_path: Path, start: Start, databases: Databases
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}", "TEST_DSNS": json.dumps({"away": AWAY, "eu": databases(0)})}

    def sync(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "underway_pg", "sync", "tasks:several", *options]
        return forks.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    first, again = sync(), sync("--json")

    assert (first.returncode, again.returncode) == (1, 1)
    assert first.stdout.splitlines() == [
        "eu: created: queue default", "eu: created: job echo", "eu: created: job relay"
    ]  # fmt: skip
    assert "away cannot be reached: " in first.stderr
    answer = json.loads(again.stdout)
    assert answer["eu"]["jobs"]["unchanged"] == ["echo", "relay"]
    assert list(answer["unreachable"]) == ["away"]


@pytest.mark.parametrize("app", ["one", "several"])
def test_several_dsns_replace_the_database_of_the_application(start: Start, dsns: dict[str, str], app: str) -> None:
    done = [enqueue(dsn, name) for name, dsn in dsns.items()]
    given = [option for dsn in dsns.values() for option in ("--dsn", dsn)]
    process = start(app, "--drain", *given, dsns={"elsewhere": AWAY})
    assert process.wait(30) == 0
    assert all(is_done() for is_done in done)


def test_dsns_in_the_environment_are_uris_or_one_conninfo_string(start: Start, dsns: dict[str, str]) -> None:
    done = [enqueue(dsn, name) for name, dsn in dsns.items()]
    process = start("one", "--drain", dsns=dsns, UNDERWAY_WORKER_DSN=make_conninfo(**conninfo_to_dict(dsns["eu"])))
    assert process.wait(30) == 0
    assert [is_done() for is_done in done] == [True, False]

    process = start("one", "--drain", dsns=dsns, UNDERWAY_WORKER_DSN=" ".join(dsns.values()))
    assert process.wait(30) == 0
    assert [is_done() for is_done in done] == [True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "asia"], "there is no database 'asia': the application has the databases eu, us"),
        (["--shard", "eu", "--dsn", AWAY], "--shard names a database of the App: leave out --dsn"),
        (["--dsn", AWAY, "--dsn", AWAY], "--dsn names the same database twice"),
        (["--listen-dsn", AWAY], "--listen-dsn is given 1 times, for 2 databases"),
        (["--shard", "eu", *2 * ["--listen-dsn", AWAY]], "--listen-dsn is given 2 times, for 1 databases"),
    ],
)
def test_options_that_do_not_fit_the_databases_are_refused(start: Start, options: list[str], message: str) -> None:
    process = start("several", *options, dsns={"eu": AWAY, "us": AWAY.replace(":1/", ":2/")})
    _, log = process.communicate(timeout=30)
    assert process.returncode in (1, 2)
    assert message in log
