"""The systems that are measured, and their workers. Each system is a program in `peers`.

A program has the commands of `peers/benchlib.py`: create its objects in an empty database, enqueue, and run a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
from server import Failure, Server, process_cpu_seconds

HERE = Path(__file__).resolve().parent / "peers"

# Seconds after which a step has failed.
PATIENCE = 120.0


@dataclass(frozen=True)
class Adapter:
    """A system in `peers`: the program that runs it, the file that the program is given, if any, and its settings.

    `variant` holds the best settings that were found; the first lines of the file explain them. `tasks` limits the
    number of tasks of a slow system, so that a drain takes seconds.
    """

    program: str
    file: str | None = None
    variant: str = ""
    tasks: int | None = None


ADAPTERS = {
    "raw": Adapter("python", "adapters/raw.py", "del:500"),
    "underway": Adapter("python", "adapters/underway_.py", "500"),
    "graphile-worker": Adapter("node", "node_adapters/graphile.mjs", "24:500:0"),
    "pgqueuer": Adapter("python", "adapters/pgqueuer_.py", "apg:1:500", tasks=50_000),
    "pg-boss": Adapter("node", "node_adapters/pgboss.mjs"),
    "awa": Adapter("python", "adapters/awa_.py", tasks=50_000),
    "river": Adapter("river", variant="500:1"),
    "oban": Adapter("python3.12", "adapters/oban_.py", tasks=5_000),
    "procrastinate": Adapter("python", "adapters/procrastinate_.py", tasks=4_000),
    "underway-crate": Adapter("underway-crate", tasks=1_000),
}


class System:
    """An adapter with a variant, on a server. Its databases are copies of a template that it has set up."""

    def __init__(self, server: Server, name: str, variant: str | None = None, peers: Path | None = None) -> None:
        adapter = ADAPTERS[name]
        self.server = server
        self.name = name
        self.variant = adapter.variant if variant is None else variant
        self.most_tasks = adapter.tasks
        self._program = adapter.program
        self.input_bytes = 0  # of text that bulk enqueues add to each input
        self.worker_cpu_seconds = 0.0  # of the last drain
        self.barrier: threading.Barrier | None = None  # for the workers of several servers to begin together
        # The programs of the peers are those that `install` put there.
        self._command = [
            sys.executable if adapter.program == "python" else str((peers or HERE) / "bin" / adapter.program)
        ]
        self._command += [str(HERE / adapter.file)] if adapter.file else []
        self._peers = peers
        # Every variant uses the same template.
        self._template = "bench_" + "".join(letter if letter.isalnum() else "_" for letter in name)
        self.database = self._template + "_1"
        meta = self.call("meta")
        self.version: str = meta["version"]
        self.settings: dict[str, Any] = meta["settings"]
        self._pending = meta["pending_sql"].encode()

    def environment(self) -> dict[str, str]:
        given = {
            "BENCH_DSN": self.server.uri(self.database),
            "BENCH_VARIANT": self.variant,
            "BENCH_INPUT_BYTES": str(self.input_bytes),
            "NO_LOG_SUCCESS": "1",  # graphile-worker: log errors only
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self._peers:
            given |= {"BENCH_NODE_ROOT": str(self._peers / "node"), "PYTHONPATH": str(self._peers / self._program)}
        return {**os.environ, **given}

    def call(self, *arguments: object) -> Any:
        """Run a command of the program, and return the JSON that it prints."""
        command = [*self._command, *map(str, arguments)]
        try:
            ran = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE)
        except FileNotFoundError:
            raise Failure(f"{self._command[0]} is not installed") from None
        if ran.returncode != 0 or not ran.stdout.strip():
            raise Failure(f"{self.name} {' '.join(map(str, arguments))}: {_last_line(ran.stderr)}")
        return json.loads(ran.stdout.splitlines()[-1])

    def start(self, database: str | None = None) -> Self:
        """Create a database with the system's objects and no tasks."""
        if self._template not in self.server._templates:
            self.server.create(self._template)
            self.database = self._template
            self.call("setup")
            self.server._templates.add(self._template)
        self.database = database or self._template + "_1"
        self.server.create(self.database, self._template)
        return self

    def connect(self) -> psycopg.Connection[Any]:
        connection = self.server.connect(self.database)
        connection.prepare_threshold = None
        return connection

    def enqueue_one_by_one(self, connections: int, seconds: float) -> float:
        """Return the number of tasks a second, each committed on its own."""
        answer = self.call("one", "--conns", connections, "--seconds", seconds)
        return float(answer["jobs"] / answer["seconds"])

    def enqueue_in_bulk(self, tasks: int) -> float:
        """Return the number of tasks a second."""
        answer = self.call("bulk", "--n", tasks)
        return float(answer["jobs"] / answer["seconds"])

    def settle(self) -> None:
        """Analyze and checkpoint, so that each measurement starts in the same state."""
        with self.connect() as connection:
            connection.execute("analyze")
            connection.execute("checkpoint")

    def drain(self, tasks: int, workers: int = 1) -> float:
        """Drain a filled queue. Returns tasks a second, from the first handler until no task is left."""
        with self.connect() as connection, contextlib.ExitStack() as stop:
            running = self.work(workers, stop)
            wait_until_begun(running, tasks)
            # Query the table only now: earlier queries would slow the workers down.
            deadline = time.monotonic() + PATIENCE
            while connection.execute(self._pending).fetchone() != (0,):
                if time.monotonic() > deadline:
                    raise Failure(f"{self.name}: no worker claims the tasks that are left")
                time.sleep(0.002)
            ended = time.time()
            self.worker_cpu_seconds = sum(worker.cpu_seconds() for worker in running)
            return tasks / (ended - min(worker.first for worker in running))

    def drain_some(self, tasks: int) -> float:
        """Return tasks a second, from the first handler until `tasks` have started, by the worker's own clock."""
        with contextlib.ExitStack() as stop:
            (worker,) = self.work(1, stop)
            wait_until_begun([worker], tasks)
            return worker.begun / (worker.seen - worker.first)

    def latencies(self, rate: float, seconds: float, connections: int) -> list[float]:
        """Return milliseconds from just before the enqueue to the start of the handler, without the first twenty."""
        with contextlib.ExitStack() as stop:
            (worker,) = self.work(1, stop)
            time.sleep(1.0)
            sent = self.call("paced", "--rate", rate, "--seconds", seconds, "--conns", connections)["jobs"]
            wait_until_begun([worker], sent)
            taken = worker.stop()
        return taken[20:]

    def work(self, workers: int, stop: contextlib.ExitStack) -> list[Worker]:
        """Start worker processes that begin to work at the same moment."""
        running = []
        for _ in range(workers):
            running.append(Worker(self._command, self.environment()))
            stop.callback(running[-1].stop)
        for worker in running:
            worker.wait_until_ready()
        if self.barrier:
            self.barrier.wait()
        for worker in running:
            worker.go()
        return running


def _last_line(said: str) -> str:
    """Return the last line of a traceback that is not indented: the error."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1] if lines else "no message"


def wait_until_begun(workers: Sequence[Worker], tasks: int) -> None:
    """Wait until the workers have started this number of tasks."""
    deadline = time.monotonic() + PATIENCE
    while sum(worker.begun for worker in workers) < tasks:
        for worker in workers:
            worker.check()
        if time.monotonic() > deadline:
            raise Failure(
                f"after {PATIENCE:g} s, {sum(worker.begun for worker in workers)} of {tasks} tasks had started"
            )
        time.sleep(0.004)


class Worker:
    """A worker process. `begun` is the number of handlers started until `seen`; `first` is when the first started."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.begun = 0
        self.first = self.seen = 0.0
        self._cpu_before = 0.0
        self._latencies: list[float] = []
        self._complaints: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [*command, "work"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._listen)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line) if line.startswith("{") else {}
            if "ready" in said:
                self._ready.set()
            if "now" in said:
                self.first, self.seen = said["first"] / 1e9, said["now"] / 1e9
                self.begun = said["n"]
            self._latencies = said.get("lat", self._latencies)
        self._ready.set()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints.put(line)

    def wait_until_ready(self) -> None:
        if not self._ready.wait(PATIENCE):
            raise Failure("a worker did not start")
        self.check()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process since it began to work."""
        return process_cpu_seconds(self._process.pid) - self._cpu_before

    def go(self) -> None:
        self._cpu_before = process_cpu_seconds(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """Raise Failure, with its error, if the process has ended."""
        if self._process.poll() is not None:
            said = "".join(self._complaints.get() for _ in range(self._complaints.qsize()))
            raise Failure(f"a worker exited: {_last_line(said)}")

    def stop(self) -> list[float]:
        """Stop the process. Returns the latencies of its tasks, if these carried their time of enqueue."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self._latencies
