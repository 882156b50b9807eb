"""Rolling upgrades: workers of one version on the schema of another."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest

from tests.py.support import SECONDS, Session, beside
from underway_pg import App, SchemaMissing, SchemaNewer, SchemaTooOld, schema

ROOT = Path(__file__).resolve().parents[2]
KNOWN = schema.migrations()[-1].version

MIGRATION = """
alter table underway.task add column note text default 'new';
alter type underway.claimed_task add attribute note text;
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """The package and the schema that come next: another column of tasks, which a claim returns as well."""
    root = tmp_path / "next"
    for name in ("underway_pg", "sql"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / f"sql/migrations/{KNOWN + 1:04}_next.sql").write_text(MIGRATION)
    claim = root / "sql/functions/48_claim/dequeue.sql"
    text, changed = re.subn(r"(\n +returning\b[^;]*);", r"\1, t.note;", claim.read_text())
    assert changed == 1
    claim.write_text(text)
    return root


def require_package(root: Path, version: int) -> None:
    """Let the schema of the next version work with packages from a migration on."""
    file = root / "sql/functions/80_view/schema_version.sql"
    text, changed = re.subn(r"(oldest_package) := \d+;", rf"\1 := {version};", file.read_text())
    assert changed == 1
    file.write_text(text)


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of another version."""
    return subprocess.run(
        [sys.executable, "-m", "underway_pg", *arguments],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=root, capture_output=True, text=True, timeout=4 * SECONDS,
    )  # fmt: skip


def migrate(root: Path, dsn: str) -> None:
    done = run(root, "migrate", "--dsn", dsn)
    assert f"applied: migration {KNOWN + 1:04}_next" in done.stdout, done.stderr


def test_a_worker_goes_on_while_the_schema_becomes_newer_and_loses_nothing(
    database: str, next_version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    with App(database) as app, Session(database) as session:

        @app.job(queue="held", timeout=60)
        def held(n: int) -> int:
            assert go_on.wait(SECONDS)
            return n

        @app.job(queue="quick", timeout=60)
        async def quick(n: int) -> int:
            return n

        quick.enqueue_many([{"n": n} for n in range(20)])
        held.enqueue_many([{"n": n} for n in range(20)])
        with beside(app.worker(concurrency=5, queues={"held": 4, "quick": 4})) as worker:
            worker.until(lambda: worker.worker.stats().succeeded == 20, "the worker has run tasks of the old schema")
            worker.until(lambda: worker.worker.stats().running == 4, "it holds tasks")

            migrate(next_version, database)
            assert session.value("select (underway.schema_version()).version") == KNOWN + 1

            # Its claims, settlements, leases and enqueues go on, with the tasks that it held and with others.
            quick.enqueue_many([{"n": n} for n in range(20)])
            worker.until(lambda: worker.worker.stats().succeeded == 40, "it runs tasks of the new schema")
            go_on.set()
            worker.until(lambda: worker.worker.stats().succeeded == 60, "it finishes those that it held")
            assert worker.worker.stats().failed == worker.worker.stats().retried == 0
        assert session.rows("select state::text, max(attempt), count(*)::int from underway.task_list group by 1") == [
            ("succeeded", 1, 60)
        ]
        assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == []

        # At its next start it says so, and works.
        task = quick.enqueue(n=7)
        with beside(app.worker(name="w")) as again:
            again.until(lambda: session.state(task) == "succeeded", "the task has run")
    assert caplog.messages == [
        f"worker w: the schema is newer than this package: it has migration {KNOWN + 1}. They work together; upgrade"
        " underway-pg soon"
    ]


def test_a_worker_does_not_start_on_a_schema_that_no_longer_works_with_it(database: str, next_version: Path) -> None:
    require_package(next_version, KNOWN + 1)
    migrate(next_version, database)
    with App(database) as app:
        app.job(name="job")(lambda: None)
        with pytest.raises(SchemaNewer, match=f"works with packages that know migration {KNOWN + 1}; this one knows"):
            app.worker()


def test_a_worker_that_is_newer_than_the_schema_asks_for_the_migration(database: str, next_version: Path) -> None:
    (next_version / "tasks.py").write_text("from underway_pg import App\n\napp = App()\n\n@app.job\ndef job(): ...\n")
    done = run(next_version, "worker", "tasks", "--dsn", database)
    assert done.returncode == 1
    assert done.stderr == (
        f"underway: the schema underway has migration {KNOWN}, and this package needs migration {KNOWN + 1}: run"
        " `underway migrate`\n"
    )
    with App(database) as app:
        assert app.client.queues() == []  # nothing was written


@pytest.mark.parametrize(("version", "oldest"), [(KNOWN, 1), (KNOWN, KNOWN), (KNOWN + 5, KNOWN), (KNOWN + 5, 1)])
def test_a_package_works_with_schemas_inside_of_the_window(version: int, oldest: int) -> None:
    assert schema.check_version(version, oldest) is (version == KNOWN)


def test_a_package_refuses_schemas_outside_of_the_window() -> None:
    with pytest.raises(SchemaTooOld):
        schema.check_version(KNOWN - 1, 1)
    with pytest.raises(SchemaNewer):
        schema.check_version(KNOWN + 2, KNOWN + 1)


def test_a_missing_schema_is_told_in_one_traceback(empty_database: str) -> None:
    with (
        App(empty_database) as app,
        pytest.raises(SchemaMissing, match="install the schema with `underway migrate`") as e,
    ):
        app.job(name="job")(lambda: None).enqueue()
    assert "The above exception" not in "".join(traceback.format_exception(e.value))
