"""Underway in Django: the project in tests/django runs its own tests, and the commands run as processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests import forks
from tests.py.support import wait_until

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "django"
SECONDS = 120


def environment(database: str) -> dict[str, str]:
    """The environment in which a project finds the database, as libpq does."""
    options = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    found = conninfo_to_dict(database)
    known = {name: str(found[key]) for name, key in options.items() if found.get(key)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "DATABASE_URL", "DJANGO"))}
    return {**kept, **known, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", forks.CHILDREN: "1"}


def manage(database: str, project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a project."""
    return forks.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        env={**environment(database), **variables}, cwd=project, capture_output=True, encoding="utf-8", timeout=SECONDS,
    )  # fmt: skip


def run_tests(database: str, project: Path, *arguments: str, **variables: str) -> int:
    """Run the tests of a project. Returns how many there were."""
    ended = manage(database, project, "test", "--noinput", *arguments, **variables)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.search(r"^Ran (\d+) tests? in .*\n\nOK$", ended.stderr, re.M)
    assert found, ended.stderr
    return int(found[1])


@contextmanager
def worker(database: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of the project, which a SIGTERM ends after the block."""
    with forks.Popen(
        [sys.executable, "-W", "error", PROJECT / "manage.py", "underway_worker", *arguments],
        env=environment(database), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, said


def test_the_tests_of_a_project_pass(database: str) -> None:
    assert run_tests(database, PROJECT, "--pattern", "*_suite.py") > 70


def test_the_tests_of_the_example_pass(database: str) -> None:
    assert run_tests(database, ROOT / "examples" / "django_shop", DATABASE_URL=database) == 4


def test_a_worker_of_several_processes_finds_the_project_from_any_directory(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection, worker(database, "--processes", "2"):
        count = "select count(*) from underway.worker_stats"
        wait_until(lambda: connection.execute(count).fetchone() == (2,), "two workers", seconds=SECONDS)
        enqueue = "select underway.enqueue('quick', '{}', job => 'session') from generate_series(1, 9)"
        tasks = [task for (task,) in connection.execute(enqueue)]
        done = "select count(*) from underway.task_list where id = any (%s) and state = 'succeeded'"
        wait_until(lambda: connection.execute(done, [tasks]).fetchone() == (9,), "nine tasks", seconds=SECONDS)


def test_the_command_has_the_options_of_the_worker(database: str) -> None:
    help = manage(database, PROJECT, "underway_worker", "--help")
    assert "--settings" in help.stdout
    assert "--concurrency" in help.stdout
    wrong = manage(database, PROJECT, "underway_worker", "--concurency", "3")
    assert (wrong.returncode, "No such option: --concurency" in wrong.stderr) == (2, True)


def test_other_commands_find_the_application(database: str) -> None:
    command = [sys.executable, "-m", "underway_pg", "sync", "underway_pg.django.setup:app", "--plan"]
    ended = forks.run(
        command, env={**environment(database), "DJANGO_SETTINGS_MODULE": "config"}, cwd=PROJECT,
        capture_output=True, encoding="utf-8", timeout=SECONDS,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "close_library" in ended.stdout


def test_a_wrong_setting_keeps_the_worker_from_starting(database: str) -> None:
    ended = manage(database, PROJECT, "underway_worker", TEST_UNDERWAY='{"QUEUS": []}')
    assert ended.returncode == 1
    assert "UNDERWAY has the key 'QUEUS', which is unknown" in ended.stderr
    assert "HINT: Did you mean 'QUEUES'?" in ended.stderr
