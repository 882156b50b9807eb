"""The code in README and guides runs."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
WITH_PYTHON = {
    "README.md": "accounts: 1",
    "batches.md": "book 7: 50 of 50 pages",
    "enqueueing.md": "report of customer 0 for 2026-01",
    "limits.md": "customer 7 was pending, and has succeeded",
    "middleware.md": "price succeeded final True\nthe price is 0.40",
    "modules.md": "sent to ada",
    "retries.md": "['succeeded', 'failed', 'pending']\n1 task goes back",
    "schedules.md": "created: daily_report",
    "unique-tasks.md": "start: revision 5",
    "workers.md": "3.57 {'account': 7}\nprimes: 168",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def test_every_page_with_python_is_run() -> None:
    assert {page.name for page in PAGES if blocks(page, "python")} == set(WITH_PYTHON)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(database: str, page: Path, tmp_path: Path) -> None:
    script = "\n".join(blocks(page, "python"))
    program = tmp_path / "program.py"
    program.write_text(script)
    with subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "DATABASE_URL": database, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        deadline = threading.Timer(60, process.kill)  # a program that hangs prints nothing more
        deadline.start()
        said = ""
        while WITH_PYTHON[page.name] not in said and (line := process.stdout.readline()):
            said += line
        if "app.run()" in script:
            process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate()
        deadline.cancel()
    assert WITH_PYTHON[page.name] in said + rest, complaints
    assert process.returncode == 0, complaints


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sql")], ids=lambda page: page.name)
def test_the_sql_of_a_page_runs(database: str, page: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        # Pages speak of queues and tasks that their Python made.
        for queue in ("webhooks-dead", "email"):
            connection.execute("select underway.create_queue(%s)", [queue])
        for block in blocks(page, "sql"):
            if block.lstrip().startswith("underway."):
                continue  # a signature of the reference
            connection.execute(block.encode())


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_prose_has_at_most_120_characters_a_line() -> None:
    long = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in PAGES
        if page.parent.name not in ("reference", "benchmarks")  # generated
        for number, line in enumerate(page.read_text().splitlines(), start=1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert not long, "a long line makes a diff unreadable: " + ", ".join(long)


def test_operations_explains_each_reason_why_a_task_is_not_running(database: str) -> None:
    section = (ROOT / "docs/guides/operations.md").read_text().split("## Why is it not running?")[1].split("\n## ")[0]
    with psycopg.connect(database) as connection:
        # As tests/sql/80_view/why.sql finds them, which sees each of them returned.
        codes = connection.execute(
            r"""select distinct found.code[1]
            from pg_proc p, lateral regexp_matches(
                p.prosrc, '(?:row\(\s*|then |else )''([a-z_]+)''(?=,| else| end)', 'g'
            ) as found (code)
            where p.pronamespace = 'underway'::regnamespace
              and p.proname in ('why', '_why_pending', '_why_waiting')
              and found.code[1] <> 'in_progress'"""
        ).fetchall()
    assert sorted(re.findall(r"^\| ([a-z_]+) \|", section, re.M)[1:]) == sorted(code for (code,) in codes)
