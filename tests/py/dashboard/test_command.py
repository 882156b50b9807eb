"""The command `underway dashboard`."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import forks
from underway_pg.cli import main

ROOT = Path(__file__).parents[3]
SECONDS = 60


@contextmanager
def served(dsn: str, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The first line that a dashboard on a free port has printed, and its process."""
    command = [sys.executable, "-m", "underway_pg", "dashboard", "--port", "0", "--dsn", dsn, *options]
    with forks.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            yield process.stdout.readline(), process
        finally:
            process.kill()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=SECONDS) as response:
        return str(response.read().decode())


def test_it_serves_this_machine_until_it_is_told_to_stop(database: str) -> None:
    with served(database) as (line, process):
        found = re.fullmatch(r"The dashboard is at (http://127\.0\.0\.1:\d+/) Stop it with Ctrl-C\.\n", line)
        assert found, line
        assert "Needs attention" in get(found[1])
        # A stream of live updates does not keep it from stopping.
        with urllib.request.urlopen(f"{found[1]}live", timeout=SECONDS) as stream:
            assert stream.readline() == b"retry: 5000\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_it_is_read_only_with_a_password_from_the_environment(database: str) -> None:
    with served(database, "--prefix", "/q", UNDERWAY_DASHBOARD_PASSWORD="tulip") as (line, _):
        assert re.search(r"at http://127\.0\.0\.1:\d+/q/ It is read-only\.", line)
    with served(database, "--allow-actions", "--host", "0.0.0.0", UNDERWAY_DASHBOARD_TOKEN="t0ken") as (line, _):
        assert "read-only" not in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example"])
def test_another_address_needs_a_token_or_a_password(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--host", host, "--dsn", "postgresql://127.0.0.1:1/none"]) == 2
    assert "needs --token or --password" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["dashboard", "--port", str(port), "--dsn", database]) == 2
    assert capsys.readouterr().err.startswith(
        f"underway: cannot listen on 127.0.0.1, port {port}: Address already in use"
    )


def test_a_rule_of_redaction_that_cannot_be_read_is_one_line(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--redact", "$card", "--dsn", database]) == 1
    assert "'$card' is not a path" in capsys.readouterr().err
