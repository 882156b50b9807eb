"""The metrics of workers: counted right, merged over processes, served over HTTP, and nothing where nobody asks."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from tests import forks
from tests.py.observing.metrics_support import OPENMETRICS, Samples
from tests.py.support import FOREVER, SECONDS, Session, beside, final, wait_until
from underway_pg import App, Context, Fatal, Queue, RetryPolicy
from underway_pg.cli import main
from underway_pg.errors import ConfigurationError
from underway_pg.metrics import MergedWorkers, WorkerCollector, WorkerMetrics, render
from underway_pg.metrics.counts import BOUNDS, Histogram, TaskCounts, WorkerCounts, WorkerSample
from underway_pg.service.link import Process, Request

ROOT = Path(__file__).resolve().parents[3]

AT_ONCE = RetryPolicy(max_attempts=2, initial_interval=0, jitter=0)


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_each_end_of_a_task_is_counted_by_queue_and_job(database: str, kind: str) -> None:
    with App(database, queues=[Queue(name="q", retry=AT_ONCE)]) as app:
        snoozed: list[int] = []

        def plain(context: Context, how: str) -> None:
            if how == "fails":
                raise ValueError("no")
            if how == "fatal":
                raise Fatal("no")
            if how == "snoozes" and not snoozed:
                snoozed.append(context.id)
                context.snooze(0)
            if how == "completes":
                with context.transaction():
                    pass

        async def asynchronous(context: Context, how: str) -> None:
            if how == "completes":
                async with context.transaction():
                    return
            plain(context, how)

        job = app.job(queue="q", name="job")(plain if kind == "thread" else asynchronous)
        worker = app.worker()
        collector = WorkerCollector(worker)
        with beside(worker) as running:
            for how in ("works", "works", "fails", "fatal", "snoozes", "completes"):
                final(app, job.enqueue(how=how), running)
            expected = {"claimed": 8, "succeeded": 4, "failed": 2, "retried": 1, "snoozed": 1}

            def counted() -> dict[str, float]:
                found = Samples.of(collector)
                return {
                    name: found.value(f"underway_worker_tasks_{name}_total", queue="q", job="job") for name in expected
                }

            running.until(lambda: counted() == expected, f"{expected}")
            found = Samples.of(collector)
        assert found.value("underway_worker_run_seconds_count", queue="q", job="job") == 8
        assert found.value("underway_worker_run_seconds_bucket", queue="q", job="job", le="+Inf") == 8
        assert 0 < found.value("underway_worker_run_seconds_sum", queue="q", job="job") < SECONDS
        assert found.value("underway_worker_claim_seconds_count") >= 8
        assert 0 < found.value("underway_worker_settle_seconds_count") <= 8
        assert found.value("underway_worker_info", worker=worker.name, version="0.1.0") == 1
        assert found.value("underway_worker_concurrency") == worker.concurrency


def test_what_runs_and_what_waits_for_a_slot_is_shown(database: str) -> None:
    with App(database) as app:

        @app.job(queue="q")
        def waits(context: Context) -> None:
            context.wait_cancelled(FOREVER)

        worker = app.worker(concurrency=1)
        collector = WorkerCollector(worker)
        with beside(worker) as running:
            ids = waits.enqueue_many([{}, {}])
            running.until(lambda: Samples.of(collector).value("underway_worker_running_tasks", job="waits"), "it runs")
            assert Samples.of(collector).value("underway_worker_ready") == 1
            for id in ids:
                app.cancel(id)
            running.until(
                lambda: Samples.of(collector).value("underway_worker_tasks_cancelled_total", job="waits"),
                "it is cancelled",
            )
            running.until(lambda: not Samples.of(collector).value("underway_worker_running_tasks"), "nothing runs")
            names = {sample.labels["job"] for sample in Samples.of(collector).samples if "job" in sample.labels}
        assert names == {"waits"}
        assert Samples.of(collector).value("underway_worker_ready") == 0


def test_jobs_that_the_worker_does_not_know_share_one_label(database: str) -> None:
    with App(database, queues=[Queue(name="q")]) as app, Session(database) as session:
        app.sync()
        session.run("select underway.enqueue('q', job => 'invented_' || n) from generate_series(1, 20) n")
        worker = app.worker(drain=True)
        collector = WorkerCollector(worker)
        with beside(worker) as running:
            running.until(
                lambda: Samples.of(collector).value("underway_worker_tasks_skipped_total", queue="q", job="") >= 20,
                "all are skipped",
            )
            assert set(Samples.of(collector).by_job("underway_worker_tasks_claimed_total")) == {("q", "")}


def test_a_lost_lease_is_counted(database: str) -> None:
    entered, leave = threading.Event(), threading.Event()
    with App(database, queues=[Queue(name="q")]) as app, Session(database) as session:

        @app.job(queue="q")
        def job() -> None:
            entered.set()
            leave.wait(SECONDS)

        worker = app.worker()
        collector = WorkerCollector(worker)
        with beside(worker) as running:
            id = job.enqueue()
            assert entered.wait(SECONDS)
            session.run("update underway.task set lease = gen_random_uuid() where id = %s", id)
            leave.set()
            running.until(
                lambda: Samples.of(collector).value("underway_worker_tasks_lost_total", job="job"), "it is lost"
            )
            session.run("delete from underway.task")


def test_a_worker_counts_nothing_by_job_where_nobody_asks(database: str) -> None:
    with App(database) as app:

        @app.job
        def job() -> None: ...

        worker = app.worker(drain=True)
        job.enqueue()
        with beside(worker) as running:
            running.join()
        assert worker.observer is None
        assert worker.stats().succeeded == 1


def test_a_collector_fits_a_registry_beside_metrics_of_the_application(database: str) -> None:
    registry = CollectorRegistry()
    emails = Counter("emails", "Emails sent.", registry=registry)
    emails.inc(3)
    with App(database, queues=[Queue(name="q")]) as app:
        registry.register(WorkerCollector(app.worker()))
    found = Samples.of(registry)
    assert found.value("emails_total") == 3
    assert found.value("underway_worker_ready") == 0


def test_a_family_that_two_collectors_have_is_written_once() -> None:
    one, two = (CollectorRegistry() for _ in range(2))
    for registry in (one, two):
        Counter("emails", "Emails sent.", registry=registry)
    _, body = render([one, two])
    assert body.count(b"# TYPE emails_total counter") == 1


def sample(name: str, **running: int) -> WorkerSample:
    return WorkerSample(
        worker=name, version="1", ready=True, concurrency=10, prefetched=2, abandoned=0,
        running={("q", job): number for job, number in running.items()},
    )  # fmt: skip


def counts(succeeded: int, seconds: float = 1.0) -> WorkerCounts:
    found = WorkerCounts()
    found.tasks["q", "job"] = TaskCounts(claimed=succeeded)
    found.tasks["q", "job"].outcomes["succeeded"] = succeeded
    for _ in range(succeeded):
        found.tasks["q", "job"].run.observe(seconds)
    found.claims.observe(0.01)
    return found


def answer(worker: WorkerSample, counted: WorkerCounts) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps({"counts": counted.as_json(), "sample": worker.as_json()}))
    return answer


def test_sums_over_processes_never_fall() -> None:
    merged = MergedWorkers()
    succeeded = "underway_worker_tasks_succeeded_total"
    merged.update({1: answer(sample("a", job=1), counts(5)), 2: answer(sample("b", job=2), counts(7))})
    both = Samples.of(merged)
    assert both.by_job(succeeded) == {("q", "job"): 12}
    assert both.value("underway_worker_running_tasks", job="job") == 3
    assert both.value("underway_worker_concurrency") == 20
    assert both.value("underway_worker_run_seconds_count", job="job") == 12
    assert both.value("underway_worker_claim_seconds_count") == 2

    merged.update({2: answer(sample("b"), counts(8))})  # the first does not answer
    assert Samples.of(merged).by_job(succeeded) == {("q", "job"): 13}
    assert Samples.of(merged).value("underway_worker_concurrency") == 10

    merged.ended(1)
    assert Samples.of(merged).by_job(succeeded) == {("q", "job"): 13}
    merged.update({1: answer(sample("c"), counts(1)), 2: answer(sample("b"), counts(8))})
    assert Samples.of(merged).by_job(succeeded) == {("q", "job"): 14}
    assert {s.labels["worker"] for s in Samples.of(merged).samples if s.name == "underway_worker_info"} == {"b", "c"}


def test_a_duration_is_counted_in_the_bucket_that_has_it_as_its_bound() -> None:
    found = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[-1], 1e9):
        found.observe(seconds)
    assert found.counts == [2, *[0] * (len(BOUNDS) - 2), 1, 1]


# Over HTTP

TASKS = """
import os, time
from prometheus_client import Counter
from underway_pg import App, Queue

emails = Counter("emails", "Emails sent.")
app = App(queues=[Queue(name="q")])

@app.job(queue="q")
def send(n: int) -> None:
    emails.inc()

@app.job(queue="q", executor="process")
def compute(n: int) -> int:
    return n

@app.job(queue="q")
async def hang(n: int) -> None:
    time.sleep(n)

for number in range(int(os.environ.get("JOBS", "0"))):
    app.job(queue="q", name=f"a_job_with_a_rather_long_name_{number}")(lambda n: None)
"""

Start = Callable[..., subprocess.Popen[str]]


# Seconds. Processes that import an application start slowly on a busy machine.
STARTS_WITHIN = 3 * SECONDS


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def app(database: str) -> Iterator[App]:
    """The application of the workers, which knows the names only."""
    with App(database, queues=[Queue(name="q")]) as app:
        app.sync()
        yield app


@pytest.fixture
def start(database: str, tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "tasks.py").write_text(TASKS)
    with contextlib.ExitStack() as stack:

        def run(port: int, *options: object, without_client: bool = False, **environment: str) -> subprocess.Popen[str]:
            arguments = ["worker", "tasks:app", "--health-port", str(port), *map(str, options)]
            program = f"from underway_pg.cli import main; sys.exit(main({arguments!r}))"
            hidden = "sys.modules['prometheus_client'] = None; " if without_client else ""
            process = (subprocess if without_client else forks).Popen(
                [sys.executable, "-c", f"import sys; {hidden}{program}"],
                env={
                    **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "DATABASE_URL": database,
                    **environment,
                },
                cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    return log


def samples(port: int, accept: str | None = OPENMETRICS) -> Samples | None:
    with contextlib.suppress(OSError):
        return Samples.at(port, accept)
    return None


def value(port: int, name: str, **labels: str) -> float:
    found = samples(port)
    return -1 if found is None else found.value(name, **labels)


def test_a_worker_serves_its_metrics_and_those_of_the_application(app: App, start: Start) -> None:
    port = free_port()
    process = start(port, "--name", "mailer")
    app.client.enqueue_many("q", [{"n": n} for n in range(5)], job="send")
    app.client.enqueue("q", {"n": 1}, job="compute")
    done = "underway_worker_tasks_succeeded_total"
    wait_until(lambda: value(port, done) == 6, "all tasks are counted", seconds=STARTS_WITHIN)
    for accept in (OPENMETRICS, None):
        found = samples(port, accept)
        assert found is not None
        assert found.by_job(done) == {("q", "send"): 5, ("q", "compute"): 1}
        assert found.value("emails_total") == 5
        assert found.value("underway_worker_info", worker="mailer") == 1
        assert found.value("process_start_time_seconds") > 0
        assert "underway_database_up" not in found.labels()
    stop(process)


def test_a_worker_serves_the_metrics_of_the_database_when_asked(app: App, start: Start) -> None:
    port = free_port()
    process = start(port, "--metrics-database")
    wait_until(lambda: value(port, "underway_database_up") == 1, "the database is asked", seconds=STARTS_WITHIN)
    assert value(port, "underway_workers", state="alive") == 1
    stop(process)


def test_a_supervisor_adds_up_the_metrics_of_its_processes(app: App, start: Start, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "shared").mkdir()
    process = start(
        port, "--processes", 2, "--concurrency", 3, "--metrics-database",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "shared"), JOBS="5",
    )  # fmt: skip
    wait_until(lambda: value(port, "underway_worker_ready") == 2, "both are ready", seconds=STARTS_WITHIN)
    assert value(port, "underway_worker_concurrency") == 6
    jobs = ["send"] * 40 + [f"a_job_with_a_rather_long_name_{n}" for n in range(5)]
    for job in jobs:
        app.client.enqueue("q", {"n": 1}, job=job)
    done = "underway_worker_tasks_succeeded_total"
    wait_until(lambda: value(port, done) == 45, "all tasks are counted", seconds=STARTS_WITHIN)
    assert value(port, "emails_total") == 40
    assert value(port, "underway_database_up") == 1

    victim = min(children(process.pid))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: value(port, "underway_worker_ready") == 1, "one has died", seconds=STARTS_WITHIN)
    assert value(port, done) == 45
    wait_until(lambda: value(port, "underway_worker_ready") == 2, "it is started again", seconds=STARTS_WITHIN)
    assert value(port, done) == 45
    stop(process)


CHILD = """
import sys, threading
from underway_pg.service.link import Child, Request

def fail():
    raise ValueError("no answer")

child = Child.from_environment(1.0)
child.answer({
    Request.METRICS: fail,
    Request.HEALTH: lambda: child.send(Request.HEALTH, {"large": 500_000 * "x"}),
})
threading.Event().wait(60)
"""


def test_an_answer_may_be_large_and_one_that_fails_does_not_end_the_link() -> None:
    async def asked() -> tuple[Any, Any]:
        ours, theirs = socket.socketpair()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, pass_fds=[theirs.fileno()], start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "UNDERWAY_CHILD": f"1:0:{theirs.fileno()}"},
        )  # fmt: skip
        theirs.close()
        async with Process(child, ours) as link:
            try:
                async with asyncio.timeout(SECONDS):
                    while (large := await link.ask(Request.HEALTH)) is None:
                        pass
                return await link.ask(Request.METRICS), [large, await link.ask(Request.HEALTH)]
            finally:
                link.kill()
                await child.wait()

    failed, answers = asyncio.run(asked())
    assert failed is None
    assert answers == 2 * [{"large": 500_000 * "x"}]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_metrics_are_served_while_the_loop_is_blocked(app: App, start: Start) -> None:
    port = free_port()
    process = start(port)
    wait_until(lambda: value(port, "underway_worker_ready") == 1, "it is ready", seconds=STARTS_WITHIN)
    app.client.enqueue("q", {"n": 3}, job="hang")
    wait_until(lambda: value(port, "underway_worker_running_tasks", job="hang") == 1, "it runs")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5)
    assert value(port, "underway_worker_running_tasks", job="hang") == 1
    stop(process)


@pytest.mark.parametrize("options", [[], ["--processes", 2]])
def test_without_prometheus_client_the_answer_says_what_to_install(
    app: App, start: Start, tmp_path: Path, options: list[Any]
) -> None:
    (tmp_path / "tasks.py").write_text("from underway_pg import App, Queue\napp = App(queues=[Queue(name='q')])\n")
    port = free_port()
    process = start(port, *options, without_client=True)

    def answered() -> Any:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]
        except OSError:
            return None

    expected = (501, "prometheus-client is not installed: pip install 'underway-pg[metrics]'")
    assert wait_until(answered, "it answers", seconds=STARTS_WITHIN) == expected
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5) as live:
        assert live.status == 200
    stop(process)


def test_a_broken_collector_of_the_application_is_reported(app: App, start: Start, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        TASKS
        + """
from prometheus_client import REGISTRY

class Broken:
    def describe(self):
        return []

    def collect(self):
        raise ValueError("out of order")

REGISTRY.register(Broken())
"""
    )
    port = free_port()
    process = start(port)

    def answered() -> Any:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]
        except OSError:
            return None

    assert wait_until(answered, "it answers", seconds=STARTS_WITHIN) == (500, "cannot collect: out of order")
    assert "ValueError: out of order" in stop(process)


def test_the_directory_of_shared_metrics_has_to_exist(app: App, start: Start, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    process = start(free_port(), PROMETHEUS_MULTIPROC_DIR=missing)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1, log
    assert "missing" in log


def test_metrics_of_the_database_need_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", "tasks:app", "--metrics-database"]) == 2
    assert "--metrics-database needs --health-port" in capsys.readouterr().err


def test_a_collector_says_what_to_install(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with App(database, queues=[Queue(name="q")]) as app:
        WorkerMetrics(app.worker())  # counts without it
        with pytest.raises(ConfigurationError, match=r"pip install 'underway-pg\[metrics\]'"):
            WorkerCollector(app.worker())
