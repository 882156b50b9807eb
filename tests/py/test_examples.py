"""Every example runs and prints what it promises, and so does the demo."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests import forks
from underway_pg.embedded import wheel_binaries

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 120

# The system's, else that of the embedded PostgreSQL.
PSQL = shutil.which("psql") or shutil.which("psql", path=wheel_binaries())

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in ("demo.py", "stage.py"))


def promised_output(example: str) -> str:
    """The comment at the end of an example."""
    _, _, block = (EXAMPLES / example).read_text().partition("\n# Output:\n")
    return "".join(f"{line.removeprefix('# ')}\n" for line in block.splitlines())


def run(*command: str | Path, database: str | None) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, as its reader starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    environment.pop("DATABASE_URL", None)
    if database is not None:
        environment["DATABASE_URL"] = database
    return forks.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS)


def query(dsn: str, text: sql.SQL) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(text).fetchall()


def test_every_sql_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.sql")} == {"trigger.sql"}


@pytest.mark.parametrize("example", PROGRAMS)
def test_an_example_prints_the_output_at_its_end(example: str, database: str) -> None:
    ended = run(sys.executable, "-W", "error", EXAMPLES / example, database=database)
    assert (ended.stdout, ended.stderr, ended.returncode) == (promised_output(example), "", 0)


def test_the_quickstart_needs_no_database() -> None:
    ended = run(sys.executable, "-W", "error", EXAMPLES / "quickstart.py", database=None)
    assert (ended.stdout, ended.stderr, ended.returncode) == (promised_output("quickstart.py"), "", 0)


def test_an_example_without_a_database_says_what_to_set() -> None:
    ended = run(sys.executable, EXAMPLES / "async_app.py", database=None)
    assert ended.returncode == 1
    assert "ConfigurationError: no database is given: use App(dsn), or set DATABASE_URL=" in ended.stderr


def test_a_trigger_enqueues_and_plain_sql_works_the_queue(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute((EXAMPLES / "trigger.sql").read_bytes())
        answers = [(result.description[0].name, result.fetchall()) for result in cursor.results() if result.description]
    results = [rows for name, rows in answers if name not in ("create_queue", "complete", "fail")]
    assert results == [
        [("1", 1), ("2", 1)],
        [("1", "succeeded", {"parcel": "P-1"}, None), ("2", "failed", None, "no such street")],
        [("shipping-dead", True)],
    ]
    assert query(database, sql.SQL("select to_regclass('orders'), count(*) from underway.queue")) == [(None, 0)]


@pytest.mark.skipif(PSQL is None, reason="there is no psql")
def test_the_trigger_example_runs_in_psql(database: str) -> None:
    options = ("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", EXAMPLES / "trigger.sql")
    ended = run(str(PSQL), *options, database, database=database)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in ended.stdout.splitlines() if line] == [
        "1|1",
        "2|1",
        '1|succeeded|{"parcel": "P-1"}|',
        "2|failed||no such street",
        "shipping-dead|t",
    ]


def test_the_demo_ends_well_and_keeps_out_of_the_database_of_its_user(database: str) -> None:
    ended = run(sys.executable, EXAMPLES / "demo.py", database=database)
    assert (ended.stderr, ended.returncode) == ("", 0)
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    for expected in (
        "39 people are registered, each with a mail to send; 1 was rolled back.",
        "39 of 39 mails are done",
        "0 rolled back 0 Sofía Rojas Key (email)=(rosa@example.org) already exists.",
        "Checked: each mail arrived exactly once, and no other mail arrived.",
    ):
        assert expected in lines
    # On a busy machine a lease of two seconds may lapse, and cost an attempt more.
    for pattern in (
        r"1 sent [2-5] grace@example.net its worker died: lease lapsed; arrived [2-5] times, kept once",
        r"1 sent [3-5] priya@example.com .*451 mailbox busy, try again later.*",
        r"1 failed [1-5] yara@example.com .*550 no such mailbox",
    ):
        assert len([line for line in lines if re.fullmatch(pattern, line)]) == 1, pattern
    assert query(database, sql.SQL("select count(*), to_regnamespace('demo') from underway.task_list")) == [(0, None)]


def test_on_a_terminal_the_demo_ends_with_the_dashboard_until_ctrl_c() -> None:
    main_end, its_end = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "DEMO_PORT": "0", "TERM": "dumb"}
    command = [sys.executable, EXAMPLES / "demo.py"]
    with forks.Popen(command, env=environment, stdin=its_end, stdout=its_end, stderr=its_end) as demo:
        os.close(its_end)
        try:
            screen = ""
            while not (found := re.search(r"The dashboard is at (http://127.0.0.1:\d+/)", screen)):
                screen += os.read(main_end, 4096).decode(errors="replace")
            with urllib.request.urlopen(f"{found[1]}tasks", timeout=SECONDS) as response:
                assert "send_welcome_email" in response.read().decode()
            demo.send_signal(signal.SIGINT)
            assert demo.wait(SECONDS) == 0
        finally:
            demo.kill()
            os.close(main_end)
