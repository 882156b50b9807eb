"""`underway export` and `underway import`: tasks as JSON lines, and back."""

import io
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.py.test_cli import Underway, assert_refused, complete_next, fail_next

Connection = psycopg.Connection[Any]

OPTIONS = (
    "queue, job, input, headers, priority, unique_key, unique_until_start, concurrency_key, ready_at, expires_at,"
    " retry_policy::text, timeout, heartbeat, retention"
)


def rows(connection: Connection, where: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"select {OPTIONS} from underway.task where {where} order by id".encode()).fetchall()


@pytest.fixture
def full(mail: Underway) -> int:
    """A task with all its options."""
    answer = mail(
        "enqueue", "mail", '{"to": "ö", "n": null}', "--job", "send", "--run-at", "2060-01-01T00:00:00Z", "--expires",
        "2061-01-01T00:00:00Z", "--priority", -3, "--timeout", "90", "--retention", "2d", "--header", "trace=x",
        "--unique-key", "order 7", "--unique-until", "start", "--concurrency-key", "acme",
    )  # fmt: skip
    return int(answer.out)


def test_a_live_task_comes_back_with_all_its_options(
    mail: Underway, connection: Connection, full: int, tmp_path: Path
) -> None:
    connection.execute(
        "update underway.task set heartbeat = '20 s', retry_policy = underway.retry_policy(max_attempts => 2)"
    )
    before = rows(connection, "true")
    file, mapping = tmp_path / "tasks.jsonl", tmp_path / "ids.jsonl"
    assert mail("export", "--all", "--output", file).out == f"1 task written to {file}\n"
    mail("cancel", full)
    answer = mail("import", file, "--ids", mapping)
    assert (answer.code, answer.out) == (0, "1 task enqueued\n")
    assert rows(connection, "true") == before
    (line,) = map(json.loads, mapping.read_text().splitlines())
    (new,) = (row[0] for row in connection.execute("select id from underway.task").fetchall())
    assert line == {"line": 1, "id": full, "new_id": new}


def test_an_export_has_the_oldest_first_and_what_has_become_of_them(mail: Underway, connection: Connection) -> None:
    first = int(mail("enqueue", "mail", "[1]").out)
    fail_next(connection)
    second = int(mail("enqueue", "mail", "null").out)
    complete_next(connection, {"sent": True})
    answer = mail("export", "--queue", "mail")
    assert answer.code == 0
    one, two = map(json.loads, answer.out.splitlines())
    assert (one["id"], one["state"], one["input"], one["errors"][0]["message"]) == (
        first, "failed", [1], "no such address",
    )  # fmt: skip
    assert (two["id"], two["state"], two["input"], two["output"]) == (second, "succeeded", None, {"sent": True})
    assert mail("export", "--state", "failed", "--limit", "1").out.count("\n") == 1


def test_more_tasks_than_a_chunk_keep_their_order(mail: Underway, connection: Connection, tmp_path: Path) -> None:
    connection.execute(
        "select underway.enqueue_many('mail', array(select to_jsonb(n) from generate_series(1, 1203) n))"
    )
    file = tmp_path / "tasks.jsonl"
    assert mail("export", "--all", "-o", file, "--json").json == {"exported": 1203}
    mail("cancel", "--all", "--yes")
    assert mail("import", file, "--json").json == {
        "enqueued": 1203, "finished": 0, "waiting": 0, "bad": [], "next_line": None,
    }  # fmt: skip
    claimed = connection.execute("select input::int from underway.dequeue('mail', 2000)").fetchall()
    assert claimed == [(n,) for n in range(1, 1204)]


def test_finished_tasks_are_skipped_unless_again(mail: Underway, connection: Connection, tmp_path: Path) -> None:
    first = mail("enqueue", "mail").out.strip()
    complete_next(connection, None)
    second = mail("enqueue", "mail", "--after", mail("enqueue", "mail").out.strip()).out.strip()
    file = tmp_path / "tasks.jsonl"
    mail("export", "--all", "-o", file)
    answer = mail("import", file)
    assert answer.out == "1 task enqueued\nskipped: 1 finished, 1 waiting; --again enqueues them, too\n"
    assert mail("import", file, "--again").out == "3 tasks enqueued\n"
    assert {first, second} <= {str(json.loads(line)["id"]) for line in file.read_text().splitlines()}


def test_bad_lines_are_named_and_the_others_are_enqueued(
    mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        '{"queue": "mail", "input": 1}', "not json", "[]", '{"queue": "nope"}', "", '{"input": 2}',
        '{"queue": "mail", "colour": "red"}', '{"queue": "mail", "input": "\\u0000"}',
        '{"queue": "mail", "retention": "soon"}', '{"queue": "mail", "input": 3}',
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    answer = mail("import", "-")
    assert (answer.code, answer.out) == (1, "2 tasks enqueued\n")
    expected = {
        2: "not JSON", 3: "not an object", 4: "queue 'nope' does not exist", 6: "", 7: "unknown option 'colour'", 8: "",
        9: "'soon'",
    }  # fmt: skip
    errors = answer.err.splitlines()
    assert len(errors) == len(expected) + 1
    for error, (line, text) in zip(errors, expected.items(), strict=False):
        assert error.startswith(f"underway: line {line}: ")
        assert text in error.replace('"', "'")
    assert errors[-1] == "underway: 7 lines refused"
    assert connection.execute("select input from underway.task order by id").fetchall() == [(1,), (3,)]


def test_a_dry_run_checks_each_line_and_enqueues_nothing(
    mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"queue": "mail"}\n{"queue": "nope"}\n'))
    answer = mail("import", "-", "--dry-run")
    assert (answer.code, answer.out) == (1, "1 task would be enqueued\n")
    assert "line 2: " in answer.err
    assert connection.execute("select from underway.task").fetchall() == []


def test_an_import_begins_at_the_line_that_it_is_given(mail: Underway, connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("broken\n" + '{"queue": "mail"}\n' * 3)
    assert mail("import", file, "--from-line", 3).out == "2 tasks enqueued\n"


def test_a_task_whose_unique_key_is_taken_is_not_enqueued_again(
    mail: Underway, connection: Connection, full: int, tmp_path: Path
) -> None:
    file, mapping = tmp_path / "tasks.jsonl", tmp_path / "ids.jsonl"
    mail("export", "--all", "-o", file)
    mail("import", file, "--ids", mapping)
    assert connection.execute("select id from underway.task").fetchall() == [(full,)]
    assert json.loads(mapping.read_text())["new_id"] == full


def test_an_export_to_stdout_and_json_do_not_go_together(bare: Underway) -> None:
    assert_refused(bare("export", "--all", "--json"), 2, "--json needs --output")
    assert_refused(bare("export"), 2, "which tasks?", "--all")


@pytest.mark.parametrize("path", ["", "missing.jsonl", "directory/tasks.jsonl"])
def test_a_file_that_cannot_be_opened_is_wrong_usage(mail: Underway, tmp_path: Path, path: str) -> None:
    assert_refused(mail("import", tmp_path / path), 2, str(tmp_path / path))
    if path != "missing.jsonl":
        assert_refused(mail("export", "--all", "-o", tmp_path / path), 2, str(tmp_path / path))


def test_durations_survive_any_intervalstyle(mail: Underway, connection: Connection, full: int, tmp_path: Path) -> None:
    connection.execute("update underway.task set retention = '3 days 04:05:06.789'")
    name = connection.info.dbname
    connection.execute(f'alter database "{name}" set intervalstyle = sql_standard'.encode())
    file = tmp_path / "tasks.jsonl"
    mail("export", "--all", "-o", file)
    connection.execute(f'alter database "{name}" set intervalstyle = postgres_verbose'.encode())
    mail("cancel", full)
    mail("import", file)
    connection.execute("set intervalstyle = postgres")
    kept = connection.execute("select retention from underway.task").fetchone()
    assert kept == (timedelta(days=3, hours=4, minutes=5, seconds=6, milliseconds=789),)
