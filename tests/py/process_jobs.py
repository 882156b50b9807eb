"""Jobs that run in processes, which import this module; `test_executors.py` has what they promise."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psycopg

from underway_pg import App, Context, Fatal, Queue, Retry, RetryPolicy, current_context
from underway_pg.errors import Snooze

# A process is told the database of its worker; this one is nowhere.
app = App("postgresql://nowhere", state={"color": "green"})

job = app.job(queue="q", executor="process")

# Longer than any test waits.
SECONDS = 60.0


def note(connection: psycopg.Connection[Any], what: str) -> None:
    connection.execute("insert into seen (what) values (%s)", [what])


def note_alone(what: str) -> None:
    with psycopg.connect(app.dsn, autocommit=True) as connection:
        note(connection, what)


@job
def knows(context: Context, n: int = 0) -> dict[str, Any]:
    assert threading.current_thread() is threading.main_thread()
    return {
        "n": n,
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "id": context.id,
        "queue": context.queue,
        "job": context.job,
        "attempt": context.attempt,
        "priority": context.priority,
        "headers": context.headers,
        "state": context.state,
        "cancelled": context.cancelled,
    }


@job
def pid() -> int:
    return os.getpid()


@job
def grows(megabytes: int) -> int:
    kept.append(bytearray(b"x") * (megabytes << 20))
    return os.getpid()


kept: list[bytearray] = []


@job
def raises(context: Context) -> str:
    if context.attempt == 1:
        raise_deep_inside()
    return "in the second attempt"


def raise_deep_inside() -> None:
    raise ValueError("bad \0 value")


@job
def says_how_it_ends(context: Context, how: str) -> str:
    if context.attempt == 1:
        if how == "retry":
            raise Retry("not now", after=0.2)
        if how == "fatal":
            raise Fatal("never")
        if how == "exit":
            raise SystemExit(3)
    return "done"


@job
def snoozes() -> None:
    raise Snooze(3600)


@job
def gives_no_json() -> object:
    return object()


@job
def tells_progress(context: Context) -> bool:
    context.progress({"percent": 40})
    return context.wait_cancelled(SECONDS)


@job
def writes(context: Context, fails: bool = False) -> object:
    with context.transaction() as connection:
        note(connection, "written")
        context.output = "in the transaction"
        if fails and context.attempt == 1:
            raise RuntimeError("undone")
    return object()  # which no JSON can carry, and nobody needs


@job
def loses_its_lease(context: Context) -> None:
    with context.transaction() as connection:
        note(connection, "written")
        with psycopg.connect(app.dsn, autocommit=True) as other:
            other.execute("select underway.cancel(%s)", [context.id])


@job
def enqueues() -> int:
    return pid.enqueue()


@job
def hangs() -> None:
    try:  # from here on: it may be interrupted as soon as it is seen to run
        note_alone("hangs")
        hang_deep_inside()
    finally:
        note_alone("stops")


@job
def hangs_at_once() -> None:
    hang_deep_inside()


@job
def hangs_in_c() -> int:
    return sum(range(10**12))  # which does not let go of the interpreter


def hang_deep_inside() -> None:
    time.sleep(SECONDS)


@job
def listens(context: Context) -> None:
    try:
        note_alone("runs")
        context.wait_cancelled(SECONDS)
    finally:
        note_alone("stops" if context.cancelled else "was not told")


@job
def swallows(term: bool) -> None:
    """Goes on whatever it is told; with `term` on SIGTERM too."""
    if term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            swallow_deep_inside()


def swallow_deep_inside() -> None:
    time.sleep(SECONDS)


@app.job(queue="poison", executor="process", retry=RetryPolicy(max_attempts=3, initial_interval=0))
def dies(how: str) -> None:
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


# What holds its task until it is settled, and how a handler waits for a test that has locked the gate.
HOLD = "select from underway.task where id = %s for update"
GATE = "select pg_advisory_xact_lock(1)"


@job
def holds(context: Context, dsn: str, dies: bool) -> None:
    with context.transaction() as connection:
        connection.execute(HOLD, [context.id])
        if context.attempt == 1:
            with psycopg.connect(dsn) as gate:
                gate.execute(GATE)
            if dies:
                os._exit(1)


def meet(what: str, count: int) -> None:
    """Wait until so many processes have come here."""
    note_alone(what)
    with psycopg.connect(app.dsn, autocommit=True) as connection:
        met = "select count(*) from seen where what = %s"
        while connection.execute(met, [what]).fetchone() != (count,):
            time.sleep(0.01)


@job
def meets_others_at_its_end(count: int) -> None:
    """Runs while others do, and its process ends when theirs do."""
    meet("runs", count)
    atexit.register(note_alone, "has left")  # called in the opposite order
    atexit.register(meet, "leaves", count)


# Jobs of a queue whose plain jobs run in processes.
heavy = App("postgresql://nowhere", queues=[Queue(name="heavy", executor="process")])


@heavy.job(queue="heavy")
def where_plain() -> int:
    return os.getpid()


@heavy.job(queue="heavy", executor="thread")
def where_plain_in_a_thread() -> int:
    return os.getpid()


@heavy.job(queue="heavy")
async def where_async() -> int:
    return os.getpid()


@heavy.job(queue="light")
def where_elsewhere() -> int:
    return os.getpid()


# Handlers that break their own process. `test_processes.py` checks the outcome of each.


def record(file: str, text: object) -> None:
    """Append a line to a file."""
    with Path(file).open("a") as lines:
        lines.write(f"{text}\n")


def start_sleeper(file: str) -> None:
    """Start a shell that starts a program, both of which run for long, and record their ids."""
    script = f"sleep 600 & echo $! >> {file}; echo $$ >> {file}; echo done >> {file}; wait"
    subprocess.Popen(["sh", "-c", script])
    while not Path(file).exists() or "done" not in Path(file).read_text():
        time.sleep(0.01)


@job
def starts_a_program_and(file: str, then: str) -> None:
    start_sleeper(file)
    if then == "dies":
        os._exit(3)
    if then == "hangs":
        time.sleep(SECONDS)
    if then == "hangs in C":
        sum(range(10**12))


async def wait_deep_inside() -> None:
    await asyncio.sleep(SECONDS)


@job
def waits_in_an_event_loop(context: Context) -> None:
    async def main() -> None:
        context.progress("runs")
        await asyncio.gather(asyncio.sleep(0), wait_deep_inside())

    loop = asyncio.new_event_loop()
    waiting = loop.create_task(main())
    threading.Thread(target=lambda: context.wait_cancelled() and loop.call_soon_threadsafe(waiting.cancel)).start()
    try:
        loop.run_until_complete(waiting)
    finally:
        loop.close()


@job
def asks_in_a_loop(context: Context) -> None:
    context.progress("runs")
    while not context.wait_cancelled(0):
        pass


@job
def says_that_it_hangs_in_c() -> int:
    print("hangs", flush=True)
    return hangs_in_c.function()


@job
def sleeps(file: str, seconds: float) -> str:
    record(file, os.getpid())
    time.sleep(seconds)
    return "slept"


@job
def segfaults() -> None:
    ctypes.string_at(0)


@job
def closes_all_files() -> None:
    os.closerange(0, 1000)
    time.sleep(SECONDS)


@job
def writes_to_all_files() -> None:
    for file in range(3, 100):
        with contextlib.suppress(OSError):
            os.write(file, b"\0\0\0\4what")
    time.sleep(SECONDS)


@job
def forks(file: str, how: str) -> str:
    """Forks, and returns from both; the fork as `how` says."""
    if os.fork() == 0:
        record(file, "fork")
        if how == "exit":
            sys.exit(5)
        if how == "raise":
            raise RuntimeError("in the fork")
        return "fork"
    _, status = os.wait()
    return f"exit code {os.waitstatus_to_exitcode(status)}"


class Unspeakable(Exception):
    """Its own code fails whatever it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __reduce__(self) -> str:
        raise RuntimeError("no pickle")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "unspeakable": Unspeakable,
    "huge": lambda: ValueError("x" * 50_000_000),
    "stop iteration": StopIteration,
    "generator exit": GeneratorExit,
    "keyboard interrupt": KeyboardInterrupt,
    "system exit": SystemExit,
    "cancelled": asyncio.CancelledError,
    "group": lambda: BaseExceptionGroup("several", [ValueError("one"), KeyboardInterrupt()]),
    "memory": MemoryError,
    "recursion": RecursionError,
}


@job
def raises_one(which: str) -> None:
    raise ERRORS[which]()


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@job
def sets_its_tenant(name: str) -> list[str]:
    before = tenant.get()
    tenant.set(name)
    return [before, tenant.get()]


@job
def handles_sigterm(file: str) -> None:
    """Records SIGTERM and the exception, and goes on."""
    signal.signal(signal.SIGTERM, lambda *_: record(file, "SIGTERM"))
    record(file, "ready")
    while True:
        try:
            time.sleep(SECONDS)
        except asyncio.CancelledError:
            record(file, "CancelledError")


@job
def knows_its_signals() -> list[list[str]]:
    """What a program that it starts has of signals: those blocked, and those ignored."""
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    lines = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn")))
    names = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
    return [sorted(each.name for each in names if int(lines[key], 16) >> (each - 1) & 1) for key in lines]


# Jobs with middleware, which runs in the process too.

seen: list[str] = []


@contextlib.contextmanager
def watch(context: Context) -> Iterator[None]:
    seen.append(f"{context.job} begins")
    try:
        yield
    finally:
        outcome = context.outcome
        assert outcome is not None
        seen.append(f"{context.job} {outcome.kind} {outcome.error!r} {outcome.will_retry}")


watched = App("postgresql://nowhere", middleware=[watch])


@watched.job(queue="q", executor="process")
def is_watched(fails: bool) -> str:
    context = current_context()
    assert context is not None
    if fails:
        raise ValueError("bad")
    return f"{context.id}"


@watched.job(queue="q", executor="process")
def what_was_seen() -> list[str]:
    return seen
