"""`underway top`: what it shows, on terminals of any size, without one, and when the database goes away."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from tests import forks
from tests.py.support import SECONDS
from tests.py.test_cli import Underway, assert_refused, complete_next, environment_for, fail_next
from underway_pg.cli.screen import screen
from underway_pg.cli.snapshot import Snapshot

Connection = psycopg.Connection[Any]

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[78=>]|\r")


SECTIONS = ["queue", "worker", "running", "failed"]


@pytest.fixture
def busy(mail: Underway, connection: Connection) -> Underway:
    """A failed task, a succeeded one, a running one, and three that are ready."""
    mail("enqueue", "mail", "--job", "send")
    fail_next(connection)
    mail("enqueue", "mail", "--job", "send")
    complete_next(connection, None)
    worker = connection.execute("select underway.register_worker('host:1', '{mail}', 4)").fetchall()[0][0]
    mail("enqueue", "mail", "--job", "crunch")
    connection.execute("select underway.dequeue('mail', 1, %s)", [worker])
    for _ in range(3):
        mail("enqueue", "mail")
    connection.execute("select underway.maintain()")
    return mail


def test_without_a_terminal_it_prints_once(busy: Underway) -> None:
    answer = busy("top")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert re.match(r"\d\d:\d\d:\d\d  4 ready  1 running  0 scheduled  \S+ started  \S+ failed  1 workers$", lines[0])
    text = re.sub(r" +", " ", answer.out)
    assert re.search(r"^mail active 3 1 \d+ s ago \S+ \S+ 1 0 0 0 ?$", text, re.M)
    assert re.search(r"^host:1 busy 1 of 4 ", text, re.M)
    assert re.search(r"^\d+ mail crunch \d+ s ago 1 ?$", text, re.M)
    assert re.search(r"^\d+ mail send \d+ s ago 1 ValueError: no such address", text, re.M)


def test_json_is_one_object(busy: Underway) -> None:
    found = busy("top", "--json").json
    assert set(found) == {"at", "totals", "queues", "seconds", "rates", "workers", "running", "failures"}
    assert (found["totals"]["ready"], found["workers"][0]["name"]) == (4, "host:1")
    assert [task["job"] for task in found["running"]] == ["crunch"]
    assert [task["error"] for task in found["failures"]] == ["ValueError: no such address"]
    (rates,) = (each for each in found["rates"] if each["queue"] == "mail")
    assert (rates["succeeded"], rates["failed"]) == (1, 1)
    assert 60 <= found["seconds"] < 120


def test_without_anything_it_is_one_line(underway: Underway) -> None:
    assert len(underway("top", "--once").out.splitlines()) == 1


def test_what_a_task_brings_along_does_not_steer_the_terminal(mail: Underway, connection: Connection) -> None:
    mail("enqueue", "mail", "--job", "\x1b[2Jclear")
    fail_next(connection)
    out = mail("top").out
    assert "\x1b" not in out
    assert "\\x1b[2Jclear" in out


@pytest.mark.parametrize("interval", ["0", "0.1", "soon"])
def test_an_interval_that_is_too_short_is_wrong_usage(bare: Underway, interval: str) -> None:
    assert_refused(bare("top", "--interval", interval), 2, "interval")


class Terminal:
    """`underway top` on a terminal of its own."""

    def __init__(self, database: str, *options: str, columns: int = 100, lines: int = 30) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**environment_for(database), "TERM": "xterm-256color"}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.process = forks.Popen(
            [sys.executable, "-m", "underway_pg", "top", *options],
            stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str) -> str:
        """Read until what is shown from now on matches; gives it without escape sequences."""
        until = time.monotonic() + 2 * SECONDS
        seen = ""
        while not re.search(pattern, seen):
            assert time.monotonic() < until, seen
            if select.select([self._master], [], [], 1)[0]:
                with contextlib.suppress(OSError):
                    self.text += (data := os.read(self._master, 65536).decode(errors="replace"))
                    seen += ESCAPE.sub("", data)
        return seen

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def end(self) -> int:
        """Wait until it has ended; gives the exit code."""
        until = time.monotonic() + 2 * SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until, "it has not ended"
            if select.select([self._master], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    os.read(self._master, 65536)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self._master)


@contextlib.contextmanager
def terminal(database: str, *options: str, **size: int) -> Iterator[Terminal]:
    with contextlib.closing(Terminal(database, "--interval", "0.2", *options, **size)) as shown:
        yield shown


def test_on_a_terminal_it_goes_on_until_a_key_is_pressed(busy: Underway, database: str) -> None:
    with terminal(database) as shown:
        shown.read_until(r"4 ready")
        busy("enqueue", "mail")
        shown.read_until(r"5 ready")
        shown.press(b"x")  # no key of it
        shown.read_until(r"5 ready")
        shown.press(b"q")
        assert shown.end() == 0
        assert "\x1b[?1049h" in shown.text  # a screen of its own, so that the one before comes back


def test_ctrl_c_ends_it(busy: Underway, database: str) -> None:
    with terminal(database) as shown:
        shown.read_until(r"4 ready")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0
        assert shown.process.stderr is not None
        assert shown.process.stderr.read() == b""


@pytest.mark.parametrize(("columns", "lines"), [(30, 6), (20, 2), (200, 60), (80, 12)])
def test_the_screen_fits_into_terminals_of_any_size(busy: Underway, database: str, columns: int, lines: int) -> None:
    with terminal(database, columns=columns, lines=lines) as shown:
        shown.read_until(r"ready|…")
        shown.read_until(r"ready|…")
        frame = shown.text.split("\x1b[H")[-1]
        rows = ESCAPE.sub("", frame).split("\n")
        assert len(rows) <= lines
        assert max(map(len, rows)) <= columns
        shown.press(b"q")
        assert shown.end() == 0


def test_of_each_section_as_much_is_shown_as_fits(busy: Underway, connection: Connection) -> None:
    for number in range(12):
        busy("queue", "create", f"queue-{number:02}")
    snapshot = Snapshot.read(connection)
    for height in range(2, 40):
        console = Console(width=60, file=io.StringIO())
        with console.capture() as capture:
            console.print(screen(snapshot, width=60, height=height))
        lines = capture.get().splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= 60
        if height >= 13:  # the head, and of four sections a blank line, the columns and a row
            heads = [line.split(" ")[0] for line in lines]
            assert [word for word in heads if word in SECTIONS] == SECTIONS
        shown = sum(line.startswith(("mail ", "dead ", "queue-")) for line in lines)
        hidden = re.search(r"^and (\d+) more", capture.get(), re.M)
        assert shown + int(hidden[1] if hidden else 14 - shown) == 14 or shown <= 1


def test_it_goes_on_when_the_database_comes_back(busy: Underway, database: str) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with (
        terminal(database, columns=150) as shown,
        psycopg.connect(make_conninfo(database, dbname="postgres"), autocommit=True) as server,
    ):
        shown.read_until(r"4 ready")
        server.execute(f'alter database "{name}" allow_connections false'.encode())
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'underway top'")
        shown.read_until(r"no answer from the database; trying again")
        server.execute(f'alter database "{name}" allow_connections true'.encode())
        busy("enqueue", "mail")
        shown.read_until(r"5 ready")
        shown.press(b"q")
        assert shown.end() == 0
