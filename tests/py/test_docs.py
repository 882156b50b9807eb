"""The code in README and in the pages of docs runs, and links lead somewhere."""

import json
import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import yaml

from tests import forks
from tests.py.pages import SECONDS, blocks, own_place, run_page
from tests.servers import Server

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
LANGUAGES = {"", "console", "dockerfile", "html", "ini", "javascript", "json", "python", "sql", "text", "toml", "yaml"}
GENERATED = ("cli.md", "errors.md", "sql.md")

# Roles belong to the server, and not to the database of a page: they are dropped before and after.
DROP_ROLES = "drop role if exists dashboard, shop_web, shop_worker, shop_deploy, shop_metrics"

# What a page takes for granted before its first block.
PREPARE = {
    "docs/guides/batches.md": "select underway.create_queue('book')",
    "docs/guides/dashboard.md": DROP_ROLES,
    "docs/guides/operations.md": """
        select underway.create_queue('email');
        select underway.create_queue('default');
        alter table underway.task alter id restart with 42;
        select underway.enqueue('email');
    """,
    "docs/guides/roles.md": DROP_ROLES,
}

# The blocks that do not run: each of them has its reason in its fence, `not-run: reason`.
NOT_RUN = {
    "docs/benchmarks.md": ["measures for minutes"],
    "docs/guides/dashboard.md": ["listens on a fixed port"] * 3,
    "docs/guides/failover.md": ["starts servers on fixed ports"] * 3,
    "docs/guides/middleware.md": ["needs structlog"],
    "docs/guides/moving.md": ["needs two databases"] * 3,
    "docs/guides/operations.md": ["needs two servers"],
    "docs/guides/routers.md": [
        "needs PgDog",
        "needs SPQR",
        "needs two servers",
        "needs Citus",
        "needs PL/Proxy",
        "needs PL/Proxy",
    ],
    "docs/guides/scaling.md": ["needs two databases", "needs two databases"],
    "docs/guides/observability.md": [
        "serves until it is stopped",
        "does not end",
        "needs a receiver",
        "needs a project of Sentry",
    ],
    "docs/reference/other-languages.md": ["needs node and the package pg"],
    "docs/scaling.md": ["measures for minutes"],
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runs(page: Path) -> bool:
    return page.name not in GENERATED and any(block.language in ("python", "sql", "console") for block in blocks(page))


def groups(number: int) -> list[list[Path]]:
    """The pages to run, in groups of about the same size: each group is a process, and they may run beside another."""
    pages = sorted((page for page in PAGES if runs(page)), key=lambda page: page.stat().st_size)
    return [pages[first::number] for first in range(number)]


def run_pages(given: list[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
    """Run pages in a process. Returns the results, and what the process has written to stderr."""
    ended = forks.run(
        [sys.executable, "-W", "error", str(ROOT / "tests/py/pages.py")],
        input=json.dumps(given),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=len(given) * SECONDS,
    )
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"page"')], ended.stderr


@pytest.mark.parametrize("group", groups(3), ids=["one", "two", "three"])
def test_the_code_of_the_pages_runs(server: Server, group: list[Path]) -> None:
    with ExitStack() as databases:
        given = [
            {
                "page": str(page),
                "dsn": databases.enter_context(server.database()),
                "prepare": PREPARE.get(name(page), ""),
            }
            for page in group
        ]
        results, stderr = run_pages(given)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(DROP_ROLES)
    failed = [result for result in results if result["error"]]
    assert not failed, "\n".join(f"{result['page']}: {result['error']}" for result in failed) + stderr
    assert [result["page"] for result in results] == [str(page) for page in group], stderr


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text output\n3\n```", "expected:\n3\n\nprinted:\n2"),
        ("```python\nimport no_such_module\n```", "No module named 'no_such_module'"),
        ("```sql\nselect no_such_column\n```", 'column "no_such_column" does not exist'),
        ("```console\n$ underway no-such-command\n```", "No such command 'no-such-command'"),
        ("```console\n$ underway worker my_package:app --no-such-option\n```", "No such option: --no-such-option"),
        ("```console\n$ underway queues\nsome queues\n```", "expected:\nsome queues"),
        ('```console\n$ pip install "underway-pg[no-such-extra]"\n```', "has no extras {'no-such-extra'}"),
        ("```console\n$ make no-such-target\n```", "make knows no target no-such-target"),
        ("```json\n{'a': 1}\n```", "Expecting property name"),
    ],
)
def test_a_block_that_is_wrong_fails_with_its_line(database: str, tmp_path: Path, block: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{block}\n")
    where = f"(?s){re.escape(problem)}.*{re.escape(str(page))}, line \\d"
    with pytest.raises(BaseException, match=where), own_place(database) as directory:
        run_page(page, database, "", directory)


def test_every_block_has_a_language_that_is_known_here() -> None:
    wrong = [
        f"{name(page)}:{block.line}: {block.language}"
        for page in PAGES
        for block in blocks(page)
        if block.language not in LANGUAGES or (block.note and block.note != "output" and not block.reason_not_to_run)
    ]
    assert not wrong, wrong


def test_the_blocks_that_do_not_run_say_why() -> None:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.reason_not_to_run:
                found.setdefault(name(page), []).append(block.reason_not_to_run)
    assert found == NOT_RUN


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and code forges make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    headings = (re.sub(r"\]\([^)]*\)", "", heading) for heading in re.findall(r"^#+ (.*)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    wrong = []
    for page in [*PAGES, ROOT / "sql/functions/README.md"]:
        for path, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", page.read_text()):
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                wrong.append(f"{name(page)} links to {path}#{anchor}")
    assert not wrong, wrong


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


def test_the_issue_forms_are_complete() -> None:
    forms = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))]
    assert [form["name"] for form in forms] == ["Something is wrong", "Something is missing"]
    for form in forms:
        asked = [part for part in form["body"] if part["type"] != "markdown"]
        assert len({part["id"] for part in asked}) == len(asked)
        assert all(part["attributes"]["label"] for part in asked)
