"""Python processes that start in milliseconds: forks of a process that has imported the package.

`Popen` and `run` are those of subprocess. Where a command runs this Python, or a script of its environment, the process
is a fork. It has its own pid, directory, environment, descriptors, signals and exit status; only its modules have been
imported. Any other command is executed as usual.

A test of how something starts from nothing uses subprocess itself.

    test process: Popen -- server: serve, one for each test process
                             `-- keeper, which tells Popen the pid and the exit status of
                                   `-- the program

Where the environment of a program has `FORK_CHILDREN`, the processes that it starts with a new session are forked too,
by a server that the program has started. The keeper of such a process ends at once. Linux then makes the program the
parent, because it has asked for orphaned processes (PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRELOADED = (
    "asyncio", "croniter", "logging.config", "psycopg", "psycopg_pool", "pydantic.main", "rich.table", "typer.main",
    "underway_pg.cli", "underway_pg.worker.executors.child",
)  # fmt: skip
MESSAGE_BYTES = 150_000
SIGNATURE = inspect.signature(subprocess.Popen._execute_child)
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
# More descriptors than the server has.
DESCRIPTORS = 100

# In the environment of a program whose own processes are to be forks.
CHILDREN = "FORK_CHILDREN"
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
SERVER_NAME = "fork server"

# For what imports subprocess.
DEVNULL, PIPE, TimeoutExpired = subprocess.DEVNULL, subprocess.PIPE, subprocess.TimeoutExpired


def arguments_of_python(command: list[str], path: str | None) -> list[str] | None:
    """What this Python gets as arguments when a command is executed; None if another program or an option is."""
    program = shutil.which(command[0], path=path)
    if program is None or Path(program).parent != Path(sys.executable).parent:
        return None
    arguments = command[1:]
    if not Path(program).name.startswith("python"):
        return [program, *arguments] if is_script(program) else None
    first = next((word for number, word in enumerate(arguments) if number % 2 or word != "-W"), "-")
    return None if first.startswith("-") and first not in ("-c", "-m") else arguments


@functools.cache
def is_script(program: str) -> bool:
    with Path(program).open("rb") as file:
        return file.readline().strip() == f"#!{sys.executable}".encode()


def connected() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in pair:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
    return pair


@functools.cache
def server() -> socket.socket:
    """The connection to the server, which ends with this process."""
    ours, theirs = connected()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PG"))}
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=kept, start_new_session=True
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def is_child(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


class Popen(subprocess.Popen[Any]):
    """A process, which is a fork if it can be one."""

    _keeper: socket.socket | None = None
    own_server: socket.socket | None = None  # of a program with FORK_CHILDREN

    def _execute_child(self, *values: Any) -> None:
        given = SIGNATURE.bind(self, *values).arguments
        env = os.environ if given["env"] is None else given["env"]
        command = [] if isinstance(given["args"], str) else [os.fspath(word) for word in given["args"]]
        arguments = arguments_of_python(command, env.get("PATH")) if command else None
        if arguments is None or given["preexec_fn"] or (self.own_server and not given["start_new_session"]):
            return super()._execute_child(*values)
        wanted = (given["p2cread"], given["c2pwrite"], given["errwrite"])
        stdio = [fd if asked == -1 else asked for fd, asked in enumerate(wanted)]
        request = {
            "arguments": arguments,
            "directory": str(Path(given["cwd"] or ".").absolute()),
            "environment": dict(env),
            "mask": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "new_session": given["start_new_session"],
            "group": given["process_group"],
            "pass_fds": list(given["pass_fds"]),
            "adopt": self.own_server is not None,
        }
        self._keeper, keeper = socket.socketpair()
        with keeper:
            fds = [keeper.fileno(), *stdio, *given["pass_fds"]]
            socket.send_fds(self.own_server or server(), [json.dumps(request).encode(errors="surrogateescape")], fds)
        self._close_pipe_fds(*(given[name] for name in PIPES))
        self.pid = self._receive()
        self._child_created = True
        if request["adopt"]:
            self._keeper.close()
            self._keeper = None
            while not is_child(self.pid):
                os.sched_yield()
        return None

    def _receive(self) -> int:
        assert self._keeper is not None
        message = self._keeper.recv(4)
        assert len(message) == 4, "the server of tests/forks.py has died"
        return int.from_bytes(message, "little")

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._keeper is None:
            return super()._try_wait(wait_flags)
        self._keeper.setblocking(not wait_flags & os.WNOHANG)
        try:
            status = self._receive()
        except BlockingIOError:
            return 0, 0
        self._keeper.close()
        return self.pid, status

    def _internal_poll(self, *values: Any, **more: Any) -> int | None:
        if self._keeper is None:
            return super()._internal_poll(*values, **more)
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                pid, status = (0, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def run(command: Any, *, input: Any = None, capture_output: bool = False, timeout: float | None = None,
        check: bool = False, **options: Any) -> subprocess.CompletedProcess[Any]:  # fmt: skip
    """Run a process to its end, as subprocess.run does."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


# In the server


def serve(requests: socket.socket) -> Callable[[], None]:
    """Fork for each request, until the test process has ended. Returns in the forks, the program to run."""
    while True:
        message, fds, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, 64)
        if not message:
            sys.exit()
        keeper = os.fork()
        if keeper == 0:
            requests.close()
            return keep(json.loads(message.decode(errors="surrogateescape")), *fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def keep(request: dict[str, Any], report: int, *fds: int) -> Callable[[], None]:
    """Fork the program and report its pid and its exit status. Returns in the program only."""
    started, starting = os.pipe()
    pid = os.fork()
    if pid == 0:
        become(request, fds)  # which closes all other descriptors
        return functools.partial(execute, request["arguments"], request["directory"])
    for fd in (starting, *fds):
        os.close(fd)
    os.read(started, 1)
    with contextlib.suppress(OSError):  # nobody waits for it
        os.write(report, pid.to_bytes(4, "little"))
        if request["adopt"]:
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        os.write(report, status.to_bytes(4, "little"))
    os._exit(0)


def become(request: dict[str, Any], fds: tuple[int, ...]) -> None:
    """Take on what a process has of its own."""
    if request["adopt"]:
        prctl(PR_SET_NAME, b"python")
    if request["new_session"]:
        os.setsid()
    if request["group"] not in (None, -1):
        os.setpgid(0, request["group"])
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.pthread_sigmask(signal.SIG_SETMASK, request["mask"])
    numbers = [0, 1, 2, *request["pass_fds"]]
    free = max(DESCRIPTORS, *numbers) + 1
    # First out of the way, so that none is overwritten.
    moved = [os.dup2(fd, free + number) for number, fd in enumerate(fds)]
    os.closerange(0, free)
    for fd, number in zip(moved, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    through = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for number, name in (1, "stdout"), (2, "stderr"):
        buffering = 1 if number == 2 or os.isatty(number) else -1
        errors = "backslashreplace" if number == 2 else "strict"
        stream = open(number, "w", buffering, "utf-8", errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(write_through=through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def prctl(option: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def fork_children() -> Callable[[], None] | None:
    """Start a server of the processes that this one starts. Returns in those, the program to run."""
    ours, theirs = connected()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.fork() == 0:
        prctl(PR_SET_NAME, SERVER_NAME.encode())
        os.setsid()  # signals to the group of the program are not for it
        requests = os.dup2(theirs.fileno(), DESCRIPTORS)
        os.closerange(3, requests)
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123
            for number in range(3):
                os.dup2(nothing.fileno(), number)
        return serve(socket.socket(fileno=requests))
    theirs.close()
    Popen.own_server = ours
    subprocess.Popen = Popen  # type: ignore[misc]
    return None


def execute(arguments: list[str], directory: str) -> None:
    """Do what the interpreter does with its arguments."""
    while arguments[0] == "-W":
        sys.warnoptions.append(arguments[1])
        arguments = arguments[2:]
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    if os.environ.pop(CHILDREN, None) and sys.platform == "linux":
        program = fork_children()
        if program is not None:
            program()
            return
    kind, *rest = arguments
    paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = ["" if kind == "-c" else directory if kind == "-m" else str(Path(kind).resolve().parent), *paths]
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-c":
        file, source, sys.argv = "<string>", rest[0], ["-c", *rest[1:]]
    else:
        file, source, sys.argv = os.path.join(directory, kind), Path(kind).read_bytes(), arguments  # noqa: PTH118
        main.__file__ = file
    exec(compile(source, file, "exec"), vars(main))


def end(program: Callable[[], None]) -> None:
    """Run a program to its end. It does not free what it has imported, which takes longer than most programs."""
    code = 0
    try:
        program()
    except SystemExit as exit:
        if not isinstance(exit.code, int | None):
            raise
        code = exit.code or 0
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls first
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def preload() -> None:
    sys.path.append(str(Path(__file__).parents[1]))
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("underway_pg.cli").command()
    importlib.import_module("tests.clusters").copy_instead_of_initdb()
    sys.path.pop()
    sys.path.pop(0)  # the directory of this file
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    preload()
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    end(program)
