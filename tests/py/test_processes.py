"""The executors of threads and processes by themselves, without a worker or a database."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from tests import forks
from tests.py import process_jobs
from tests.py.support import SECONDS, wait_until
from underway_pg import Job
from underway_pg.errors import LeaseLost, ProcessDied, Retry, Snooze, TaskFailed
from underway_pg.models import ClaimedTask
from underway_pg.worker.attempt import Attempt, Environment, StopReason
from underway_pg.worker.executors.child import Child
from underway_pg.worker.executors.messages import RunTask, Shutdown, StopTask
from underway_pg.worker.executors.pool import Process, ProcessPool
from underway_pg.worker.executors.process import ProcessExecutor, ProcessRun
from underway_pg.worker.executors.program import describe_program
from underway_pg.worker.executors.thread import AttemptThreads, DaemonExecutor, ThreadExecutor
from underway_pg.worker.failure import RemoteError

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("forked_executors")

ROOT = Path(__file__).resolve().parents[2]

TIMEOUT = StopReason.TIMED_OUT


class NoConnections:
    """Handlers here have no transactions."""

    def connection(self) -> Any:
        raise NotImplementedError

    def async_connection(self) -> Any:
        raise NotImplementedError


def attempt_of(job: Job[..., Any], **arguments: Any) -> Attempt:
    """A claimed task of the job, in its second attempt of two."""
    input = b"\1" + json.dumps(arguments).encode()
    task = ClaimedTask(1, "q", job.name, input, 2, b"", b"\0" * 16, b"\0" * 16, None, 0, b"\0" * 8, None, 3)
    attempt = Attempt(task, Environment(connections=NoConnections()))
    attempt.job = job
    return attempt


class Running:
    """An executor, and what it has reported."""

    def __init__(self, kind: str, max_tasks: int = 1000) -> None:
        self._ends: dict[Attempt, asyncio.Future[tuple[str | None, BaseException | None]]] = {}
        self.executor = (
            ThreadExecutor(self._on_end)
            if kind == "thread"
            else ProcessExecutor(self._on_end, "postgresql://nowhere", max_tasks, None)
        )

    def _on_end(self, attempt: Attempt, output: str | None, error: BaseException | None) -> None:
        self._ends[attempt].set_result((output, error))

    def start(self, job: Job[..., Any], **arguments: Any) -> Attempt:
        attempt = attempt_of(job, **arguments)
        self._ends[attempt] = asyncio.get_running_loop().create_future()
        self.executor.start(attempt)
        return attempt

    def stop(self, attempt: Attempt) -> bool:
        attempt.request_stop(TIMEOUT)
        goes_on = self.executor.stop(attempt)
        attempt.stop_level += 1
        return goes_on

    async def end(self, attempt: Attempt) -> Any:
        """What the handler has returned, or the exception that it raised."""
        output, error = await asyncio.wait_for(self._ends[attempt], SECONDS)
        return error if output is None else json.loads(output)

    async def run(self, job: Job[..., Any], **arguments: Any) -> Any:
        return await self.end(self.start(job, **arguments))


@contextlib.asynccontextmanager
async def executor(kind: str = "process", **settings: Any) -> AsyncIterator[Running]:
    running = Running(kind, **settings)
    try:
        yield running
    finally:
        await running.executor.close()


async def until(condition: Callable[[], T], what: str) -> T:
    return await asyncio.to_thread(wait_until, condition, what)


def is_alive(pid: int) -> bool:
    """Whether a process exists and runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def group_of(pid: int) -> list[int]:
    """The live processes of a process group."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, group = (each / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == pid and state != "Z":
                found.append(int(each.name))
    return found


def sleepers(file: Path) -> list[int]:
    """The programs that a handler has started, once it has started all."""
    lines = file.read_text().split() if file.exists() else []
    return [int(pid) for pid in lines[:-1]] if lines[-1:] == ["done"] else []


def loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


# Isolation


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_context_variable_set_by_one_handler_is_not_seen_by_the_next(kind: str) -> None:
    async def main() -> None:
        async with executor(kind) as running:
            for name in ("first", "second"):
                assert await running.run(process_jobs.sets_its_tenant, name=name) == ["nobody", name]

    loop(main)


def test_a_handler_in_a_thread_starts_with_the_context_of_its_worker_and_not_with_that_of_its_starter() -> None:
    async def main() -> None:
        process_jobs.tenant.set("worker")
        async with executor("thread") as running:
            starter = contextvars.copy_context()
            starter.run(process_jobs.tenant.set, "starter")
            attempt = starter.run(running.start, process_jobs.sets_its_tenant, name="handler")
            assert await running.end(attempt) == ["worker", "handler"]

    loop(main)


def test_middleware_runs_around_a_handler_in_a_process_and_learns_its_outcome() -> None:
    async def main() -> None:
        async with executor() as running:
            assert await running.run(process_jobs.is_watched, fails=False) == "1"
            error = await running.run(process_jobs.is_watched, fails=True)
            assert isinstance(error, RemoteError)
            assert error.failure.type == "ValueError"
            assert (await running.run(process_jobs.what_was_seen))[:-1] == [
                "is_watched begins",
                "is_watched succeeded None False",
                "is_watched begins",
                "is_watched failed ValueError('bad') True",
            ]

    loop(main)


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize(("how", "code"), [("exit", 5), ("raise", 1), ("return", 0)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_that_returns_from_its_handler_does_not_go_on_as_the_worker(
    tmp_path: Path, kind: str, how: str, code: int
) -> None:
    async def main() -> None:
        async with executor(kind) as running:
            assert await running.run(process_jobs.forks, file=str(tmp_path / "f"), how=how) == f"exit code {code}"
            assert await running.run(process_jobs.sets_its_tenant, name="next") == ["nobody", "next"]
        assert (tmp_path / "f").read_text() == "fork\n"

    loop(main)


# Errors


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("which", process_jobs.ERRORS)
def test_an_exception_of_any_kind_ends_its_attempt_only(kind: str, which: str) -> None:
    async def main() -> None:
        async with executor(kind) as running:
            error = await running.run(process_jobs.raises_one, which=which)
            expected = type(process_jobs.ERRORS[which]())
            if kind == "process":
                assert isinstance(error, RemoteError)
                assert error.failure.type == expected.__qualname__
                assert len(error.failure.message) < 5000
            else:
                assert type(error) is expected
            assert await running.run(process_jobs.sets_its_tenant, name="next") == ["nobody", "next"]

    loop(main)


@pytest.mark.parametrize(
    "error",
    [
        TaskFailed(7, {"type": "ValueError", "message": "bad"}),
        Snooze(60),
        Retry("later", after=5),
        LeaseLost("lost", "discard the result"),
        ProcessDied(-9),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_package_does_not_break_a_process_pool_that_pickles_it(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


# Processes that die


@pytest.mark.parametrize(
    ("job", "arguments", "why"),
    [
        (process_jobs.segfaults, {}, r"by signal 11 \(Segmentation fault\)"),
        (process_jobs.dies, {"how": "exit"}, "with exit code 7"),
        (process_jobs.closes_all_files, {}, r"by signal 9 \(Killed\)"),
        (process_jobs.writes_to_all_files, {}, r"by signal 9 \(Killed\)"),
    ],
)
def test_a_handler_that_breaks_its_process_ends_its_attempt_only(
    job: Job[..., Any], arguments: dict[str, Any], why: str
) -> None:
    async def main() -> None:
        async with executor() as running:
            error = await running.run(job, **arguments)
            with pytest.raises(ProcessDied, match=f"the process that ran the task ended {why}"):
                raise error
            assert await running.run(process_jobs.sets_its_tenant, name="next") == ["nobody", "next"]

    loop(main)


def test_a_program_started_by_a_handler_does_not_outlive_a_process_that_dies(tmp_path: Path) -> None:
    async def main() -> None:
        async with executor() as running:
            file = tmp_path / "pids"
            error = await running.run(process_jobs.starts_a_program_and, file=str(file), then="dies")
            assert isinstance(error, ProcessDied)
            await until(lambda: not any(map(is_alive, sleepers(file))), "the shell and its child have ended")

    loop(main)


def test_a_program_started_by_a_handler_does_not_outlive_a_process_that_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with executor(max_tasks=1) as running:
            file = tmp_path / "pids"
            assert await running.run(process_jobs.starts_a_program_and, file=str(file), then="returns") is None
            await until(lambda: not any(map(is_alive, sleepers(file))), "the shell and its child have ended")

    loop(main)


@pytest.mark.parametrize("levels", [2, 3], ids=["terminated", "killed"])
def test_a_program_started_by_a_handler_does_not_outlive_a_process_that_is(tmp_path: Path, levels: int) -> None:
    async def main() -> None:
        async with executor() as running:
            file = tmp_path / "pids"
            attempt = running.start(process_jobs.starts_a_program_and, file=str(file), then="hangs in C")
            pids = await until(lambda: sleepers(file), "the program runs")
            for _ in range(levels):
                assert running.stop(attempt)
            await until(lambda: not any(map(is_alive, pids)), "the shell and its child have ended")

    loop(main)


WORKER = """
import asyncio, sys, threading
from tests.py import process_jobs, test_processes


async def main():
    async with test_processes.executor() as running:
        attempt = running.start(process_jobs.starts_a_program_and, file=sys.argv[1], then=sys.argv[2])
        await asyncio.sleep(600)


asyncio.run(main())
"""


@pytest.mark.parametrize("then", ["hangs", "hangs in C"])
def test_neither_a_process_nor_what_it_has_started_outlives_a_worker_that_is_killed(tmp_path: Path, then: str) -> None:
    file = tmp_path / "pids"
    with forks.Popen([sys.executable, "-c", WORKER, str(file), then], cwd=ROOT) as worker:
        try:
            wait_until(lambda: sleepers(file), "the program runs")
            group = os.getpgid(sleepers(file)[0])
            assert len(group_of(group)) == 3
        finally:
            worker.kill()
        worker.wait(SECONDS)
        wait_until(lambda: not group_of(group), "all have ended")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_does_not_die_of_a_signal_that_is_sent_to_all_processes_of_a_service(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def main() -> None:
        async with executor() as running:
            file = tmp_path / "pid"
            attempt = running.start(process_jobs.sleeps, file=str(file), seconds=0.5)
            pid = int(await until(lambda: file.exists() and file.read_text(), "it runs"))
            for _ in range(3):
                os.killpg(pid, number)
            assert await running.end(attempt) == "slept"
            os.killpg(pid, number)  # while it is idle
            attempt = running.start(process_jobs.sleeps, file=str(file), seconds=0)
            assert await running.end(attempt) == "slept"
            assert file.read_text().split() == [str(pid)] * 2

    loop(main)


def test_a_process_that_is_just_starting_does_not_die_of_a_signal_for_the_worker() -> None:
    process = Process(describe_program("postgresql://nowhere"))
    for _ in range(200):  # from before it runs Python until after it listens
        os.killpg(process._popen.pid, signal.SIGTERM)
        os.killpg(process._popen.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process._popen.wait(0.005)
    assert process.is_usable
    process.send(Shutdown())
    assert process._popen.wait(SECONDS) == 0
    process.close(0)


def test_a_process_dies_of_the_sigterm_of_its_worker_after_one_for_the_worker_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with executor() as running:
            file = tmp_path / "pids"
            attempt = running.start(process_jobs.starts_a_program_and, file=str(file), then="hangs")
            pids = await until(lambda: sleepers(file), "it runs")
            os.kill(os.getpgid(pids[0]), signal.SIGTERM)
            attempt.stop_level = 1
            running.stop(attempt)
            error = await running.end(attempt)
            assert isinstance(error, ProcessDied)
            assert error.code == -signal.SIGTERM

    loop(main)


def test_a_handler_that_handles_sigterm_gets_it_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with executor() as running:
            file = tmp_path / "signals"
            attempt = running.start(process_jobs.handles_sigterm, file=str(file))
            await until(lambda: file.exists() and "ready" in file.read_text(), "it runs")
            running.stop(attempt)
            await until(lambda: "CancelledError" in file.read_text(), "it has the exception")
            running.stop(attempt)
            await until(lambda: "SIGTERM" in file.read_text(), "it has the signal")
            running.stop(attempt)
            assert isinstance(await running.end(attempt), ProcessDied)
            assert file.read_text().split() == ["ready", "CancelledError", "SIGTERM"]

    loop(main)


def test_a_program_started_by_a_handler_has_the_usual_signals() -> None:
    async def main() -> None:
        async with executor() as running:
            assert await running.run(process_jobs.knows_its_signals) == [[], []]

    loop(main)


# The stack


WITHOUT_FILES = """
import asyncio, resource, sys
from tests.py import process_jobs, test_processes


async def main():
    async with test_processes.executor() as running:
        attempt = running.start(process_jobs.says_that_it_hangs_in_c)
        await asyncio.to_thread(sys.stdin.readline)
        process = attempt.handle._process
        stack = ""
        while "in hangs_in_c" not in stack:  # it may be still on its way there
            process.request_traceback()
            stack = await test_processes.until(process.read_traceback, "the process has written its stack")
        running.stop(attempt)
        await test_processes.until(lambda: running.executor.stack(attempt), "it has written its stack")
        for _ in range(2):
            running.stop(attempt)
        print(repr(await running.end(attempt)), running.executor.stack(attempt))


resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as a read-only file system: nothing is written to any file
asyncio.run(main())
"""


def test_where_a_process_hangs_is_known_though_no_file_can_be_written() -> None:
    program = [sys.executable, "-c", WITHOUT_FILES]
    with forks.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "hangs\n"
        said, _ = worker.communicate("stop\n", SECONDS)
        assert said.startswith("ProcessDied(")
        assert "in hangs_in_c" in said


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_stack_of_a_handler_that_runs_an_event_loop_shows_what_that_waits_for(kind: str) -> None:
    async def main() -> None:
        async with executor(kind) as running:
            attempt = running.start(process_jobs.waits_in_an_event_loop)
            await until(attempt.take_progress, "it runs")
            if kind == "process":
                running.stop(attempt)
            stack = await until(lambda: running.executor.stack(attempt), "its stack is known")
            await until(lambda: "wait_deep_inside" in running.executor.stack(attempt), stack)
            attempt.request_stop(TIMEOUT)
            assert isinstance(await running.end(attempt), asyncio.CancelledError)

    loop(main)


def test_a_thread_is_found_while_it_is_in_a_call_and_not_after_that() -> None:
    async def main() -> None:
        ended = asyncio.Event()
        threads = AttemptThreads(lambda *_: ended.set())
        one, other = attempt_of(process_jobs.pid), attempt_of(process_jobs.pid)
        inside: list[int | None] = []

        def call() -> None:
            inside.extend((threading.get_ident(), threads.thread_of(one), threads.thread_of(other)))

        threads.call(one, call)
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert inside == [inside[0], inside[0], None]
        assert threads.thread_of(one) is None
        threads.close()

    loop(main)


# The exception that stops a handler in a process


def test_a_handler_that_is_stopped_before_its_process_exists_does_not_begin() -> None:
    attempt = attempt_of(process_jobs.hangs)
    attempt.request_stop(TIMEOUT)
    pool = ProcessPool(describe_program("postgresql://nowhere"), max_tasks=1, max_memory=None)
    with pytest.raises(asyncio.CancelledError):
        ProcessRun(pool, attempt)()
    pool.close()


@pytest.fixture
def child() -> Iterator[Child]:
    """The side of a process, whose main thread is that of the test."""
    ours, theirs = Pipe()
    with ours, theirs:
        yield Child(theirs, describe_program("postgresql://nowhere"))


def run_task(number: int) -> RunTask:
    return RunTask("module", "name", None, attempt_of(process_jobs.hangs).task._replace(id=number), 1, True, 10.0)


def test_a_stop_that_comes_late_does_not_hit_the_next_task_of_its_process(child: Child) -> None:
    def listen() -> None:
        child._on_message(run_task(1))
        child._on_message(StopTask(TIMEOUT))
        child._attempt = None  # it has ended before the main thread sees the signal
        child._on_message(run_task(2))

    before = signal.signal(signal.SIGUSR1, child._raise)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        listener = threading.Thread(target=listen)
        listener.start()
        listener.join()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)
    assert child._attempt is not None
    assert (child._attempt.task.id, child._attempt.stop_reason) == (2, None)


def test_a_signal_that_a_wait_for_a_lock_has_missed_is_sent_again(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A signal that arrives just before the main thread waits for a lock is noted, and the wait goes on.
    signals: list[int] = []
    monkeypatch.setattr(signal, "pthread_kill", lambda thread, number: signals.append(number))
    child._on_message(run_task(1))
    child._check_handler()
    assert signals == []
    child._on_message(StopTask(TIMEOUT))
    child._check_handler()
    assert signals == [signal.SIGUSR1] * 2
    child._raise(signal.SIGUSR1, None)
    child._check_handler()
    assert signals == [signal.SIGUSR1] * 2


def test_a_handler_may_be_stopped_at_any_point_of_its_wait_for_a_stop() -> None:
    def wait(attempt: Attempt, point: int) -> None:
        """Wait, and stop at the call or return with this number, as the signal of a process does."""
        points = itertools.count(1)

        def stop(frame: FrameType, event: str, argument: object) -> None:
            if next(points) == point:
                sys.setprofile(None)
                attempt.request_stop(TIMEOUT)

        sys.setprofile(stop)
        attempt.context.wait_cancelled(0)
        sys.setprofile(None)

    for point in itertools.count(1):
        attempt = attempt_of(process_jobs.hangs)
        thread = threading.Thread(target=wait, args=(attempt, point), daemon=True)
        thread.start()
        thread.join(SECONDS)
        assert not thread.is_alive(), f"it waits for itself at point {point}"
        if attempt.stop_reason is None:
            break
    assert point > 3  # there were some


def test_a_handler_that_asks_in_a_loop_whether_it_should_stop_is_stopped() -> None:
    async def main() -> None:
        async with executor() as running:
            for _ in range(8):
                attempt = running.start(process_jobs.asks_in_a_loop)
                await until(lambda attempt=attempt: attempt.take_progress(), "it runs")
                running.stop(attempt)
                assert isinstance(await running.end(attempt), asyncio.CancelledError)

    loop(main)


# What `asyncio.to_thread` uses


def test_calls_to_threads_are_not_a_thread_each() -> None:
    limit = min(32, (os.cpu_count() or 1) + 4)
    release = threading.Event()
    running: set[int] = set()

    def call() -> int:
        running.add(threading.get_ident())
        release.wait(SECONDS)
        return threading.get_ident()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        calls = [asyncio.ensure_future(asyncio.to_thread(call)) for _ in range(10 * limit)]
        while len(running) < limit:
            await asyncio.sleep(0.001)
        release.set()
        assert len(set(await asyncio.gather(*calls))) == limit

    loop(main)
    wait_until(lambda: not any("underway-to-thread" in each.name for each in threading.enumerate()), "they have ended")


def test_a_call_to_a_thread_uses_a_free_thread_again() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(DaemonExecutor())
        first = await asyncio.to_thread(threading.get_ident)
        threads = {await asyncio.to_thread(threading.get_ident) for _ in range(100)}
        assert len(threads | {first}) <= 2  # one may not be counted as free yet when the next call comes

    loop(main)


def test_an_executor_that_was_shut_down_refuses_calls_instead_of_losing_them() -> None:
    executor = DaemonExecutor()
    assert executor.submit(lambda: 1).result(SECONDS) == 1
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(lambda: 1)


def test_a_process_sets_up_django_only_if_its_settings_are_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    # settings.configure() is a call of the program, which the process repeats when it imports the program.
    django = types.ModuleType("django.apps")
    django.apps = types.SimpleNamespace(ready=True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.apps", django)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    assert describe_program("postgresql://nowhere").django_databases is None


def test_the_time_of_an_attempt_does_not_include_the_start_of_its_process() -> None:
    async def main() -> None:
        async with executor() as running:
            attempt = attempt_of(process_jobs.pid)
            running._ends[attempt] = asyncio.get_running_loop().create_future()
            attempt.started_at = asked_at = time.monotonic()
            running.executor.start(attempt)
            await running.end(attempt)
            assert time.monotonic() - asked_at > 0.05, "an interpreter has started"
            assert attempt.started_at - asked_at > 0.9 * (time.monotonic() - asked_at)

    asyncio.run(main())
