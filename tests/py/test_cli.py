"""The command line: what each command does, its JSON, and the one line and the exit code of each mistake."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests import forks
from tests.py.support import wait_until
from underway_pg import App, JobPolicy, RetryPolicy, __version__, schema, statements
from underway_pg.cli import main
from underway_pg.cli.errors import WrongUsage
from underway_pg.cli.worker import parse_queues
from underway_pg.client import execute

ROOT = Path(__file__).resolve().parents[2]

# Where no server listens; a command that does not come so far never notices.
NOWHERE = "postgresql://somebody:secret@127.0.0.1:1/app"

TASKS = """
import os, time
from pathlib import Path
from underway_pg import App, Context

app = App()
other = App("postgresql://nobody@nowhere.invalid/nothing")
not_an_app = 1

@app.job(queue="mail")
def send(to: str) -> str:
    return f"sent to {to}"

@app.schedule("0 9 * * mon-fri[Europe/Berlin]", name="morning", arguments={"to": "all"})
@app.job(queue="mail", name="send_all")
def send_all(to: str) -> None: ...

@app.job(queue="slow")
def wait(context: Context) -> None:
    context.wait_cancelled(60)

@other.job(queue="mail", name="send")
def send_elsewhere(to: str) -> str:
    return f"elsewhere to {to}"
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def cells(self) -> list[list[str]]:
        """The rows of a table, without its head."""
        return [re.split(r"\s{2,}", line.rstrip()) for line in self.out.splitlines()[1:]]


Underway = Callable[..., Answer]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Underway:
    """The command line in this process, with no database in its environment."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*arguments: object) -> Answer:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def underway(bare: Underway, monkeypatch: pytest.MonkeyPatch, database: str) -> Underway:
    """The command line in this process, with a fresh database in its environment."""
    monkeypatch.setenv("DATABASE_URL", database)
    return bare


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def mail(underway: Underway) -> Underway:
    """The command line, and a queue mail whose tasks are tried once and whose dead letters go to dead."""
    assert underway("queue", "create", "dead").code == 0
    assert underway("queue", "create", "mail", "--dead-letter-queue", "dead", "--max-attempts", 1).code == 0
    return underway


def fail_next(connection: psycopg.Connection[Any], queue: str = "mail") -> int:
    (held,) = execute(connection, statements.dequeue([queue], 1))
    assert held.lease is not None
    error = json.dumps({"type": "ValueError", "message": "no such address", "traceback": "Traceback\n  line 7\n"})
    execute(connection, statements.fail_many([held.id], [held.lease], [error], [True], [None]))
    return held.id


def complete_next(connection: psycopg.Connection[Any], output: Any, queue: str = "mail") -> int:
    (held,) = execute(connection, statements.dequeue([queue], 1))
    assert held.lease is not None
    execute(connection, statements.complete(held.id, held.lease, output))
    return held.id


def assert_refused(answer: Answer, code: int, *parts: str) -> None:
    """It ended with this code, and with one line on stderr that holds these parts."""
    assert answer.out == ""
    assert answer.code == code
    assert answer.err.startswith("underway: ")
    assert answer.err.count("\n") == 1
    for part in parts:
        assert part in answer.err


# The schema


def test_migrate_installs_and_run_again_changes_nothing(
    bare: Underway, monkeypatch: pytest.MonkeyPatch, empty_database: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    names = [migration.name for migration in schema.migrations()]

    assert bare("migrate", "--plan", "--json").json == {
        "migrations": names,
        "functions": True,
        "version": schema.migrations()[-1].version,
        "shard": None,
    }
    plan = bare("migrate", "--plan")
    assert plan.code == 0
    assert plan.out.splitlines() == [*(f"to apply: migration {name}" for name in names), "to install: the functions"]

    first = bare("migrate")
    assert first.code == 0
    assert first.out.splitlines() == [*(f"applied: migration {name}" for name in names), "installed: the functions"]

    assert bare("migrate").out == "the schema is up to date\n"
    assert bare("migrate", "--plan").out == "the schema is up to date\n"
    nothing = {"migrations": [], "functions": False, "version": schema.migrations()[-1].version, "shard": None}
    assert bare("migrate", "--plan", "--json").json == nothing
    assert bare("migrate", "--json").json == nothing


def test_migrate_sql_prints_the_script_without_a_database(bare: Underway) -> None:
    answer = bare("migrate", "--sql")
    assert answer == Answer(0, schema.script(), "")


def test_migrate_does_not_take_plan_and_sql_together(bare: Underway) -> None:
    assert_refused(bare("migrate", "--plan", "--sql"), 2, "--plan")


def test_migrate_runs_in_its_own_transaction_unless_it_prints_the_sql(bare: Underway) -> None:
    assert_refused(bare("migrate", "--no-transaction"), 2, "--no-transaction")
    printed = bare("migrate", "--sql", "--no-transaction").out
    assert printed in schema.script()
    assert "\ncommit;" not in printed


def test_migrate_testing_marks_a_database_as_one_for_tests(
    underway: Underway, connection: psycopg.Connection[Any]
) -> None:
    marked = "select to_regnamespace('underway_test') is not null"
    for _ in range(2):
        assert underway("migrate", "--testing").out == (
            "the schema is up to date\ninstalled: the schema underway_test; the database is now one for tests\n"
        )
    assert connection.execute(marked).fetchone() == (True,)
    connection.execute("select underway_test.stop_clock('2030-01-01 12:00Z')")
    assert underway("migrate", "--no-testing").out.endswith("removed: the schema underway_test\n")
    assert connection.execute(marked).fetchone() == (False,)
    assert connection.execute("select underway._clock() < '2030-01-01'").fetchone() == (True,)
    assert underway("migrate", "--no-testing").out == "the schema is up to date\n"
    connection.execute("create schema underway_test")
    refused = underway("migrate", "--testing")
    assert (refused.code, "belongs to something else" in refused.err) == (1, True)
    assert "create schema underway_test;" in underway("migrate", "--sql", "--testing").out
    assert_refused(underway("migrate", "--plan", "--testing"), 2, "--testing")


def test_migrate_refuses_a_database_that_is_newer(underway: Underway, connection: psycopg.Connection[Any]) -> None:
    connection.execute("insert into underway.migration (version, name, checksum) values (9999, '9999_later', '')")
    assert_refused(underway("migrate"), 1, "migration 9999")
    assert_refused(underway("migrate", "--plan"), 1, "migration 9999")


# Enqueueing


def test_enqueue_prints_the_id_of_a_task_with_all_its_options(mail: Underway) -> None:
    before = datetime.now(UTC)
    answer = mail(
        "enqueue", "mail", '{"to": "ö@example.org", "n": [1, null]}', "--job", "send", "--delay", "2h",
        "--priority", -3, "--retention", "1d", "--timeout", "1.5", "--header", "trace=a=b", "--header", "tenant=7",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.out.strip().isdigit()

    task = mail("task", answer.out.strip(), "--json").json
    assert task["id"] == int(answer.out)
    assert task["input"] == {"to": "ö@example.org", "n": [1, None]}
    assert task["job"] == "send"
    assert task["priority"] == -3
    assert task["headers"] == {"trace": "a=b", "tenant": "7"}
    assert task["state"] == "pending"
    delay = datetime.fromisoformat(task["ready_at"]) - datetime.fromisoformat(task["enqueued_at"])
    assert delay == timedelta(hours=2)
    assert abs(datetime.fromisoformat(task["enqueued_at"]) - before) < timedelta(minutes=1)


def test_enqueue_keeps_timeout_and_ttl(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    id = mail("enqueue", "mail", "--timeout", "1.5", "--retention", "1d", "--json").json["id"]
    row = connection.execute("select timeout, retention from underway.task where id = %s", [id]).fetchone()
    assert row == (timedelta(seconds=1.5), timedelta(days=1))


def test_enqueue_with_a_unique_key_prints_the_id_of_the_task_that_has_it(mail: Underway) -> None:
    keys = ["--unique-key", "order 7", "--unique-for", "1h", "--concurrency-key", "customer"]
    id = mail("enqueue", "mail", "1", *keys).out.strip()
    assert mail("enqueue", "mail", "2", *keys).out.strip() == id
    task = mail("task", id, "--json").json
    assert (task["input"], task["unique_key"], task["concurrency_key"]) == (1, "order 7", "customer")
    shown = mail("task", id).out
    assert re.search(r"^unique key +order 7$", shown, re.M)
    assert re.search(r"^concurrency +customer$", shown, re.M)

    assert mail("enqueue", "mail", "3", *keys, "--on-conflict", "replace").out.strip() == id
    assert mail("task", id, "--json").json["input"] == 3
    assert_refused(mail("enqueue", "mail", *keys, "--on-conflict", "error"), 1, "'order 7'", f"task {id}")
    assert_refused(mail("enqueue", "mail", *keys, "--on-conflict", "skip"), 2, "--on-conflict", "replace")


def test_enqueue_with_unique_until_start_holds_the_key_until_the_task_begins(
    mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    keys = ["--unique-key", "page", "--unique-until", "start"]
    first = mail("enqueue", "mail", *keys).out
    assert mail("enqueue", "mail", *keys).out == first
    connection.execute("select underway.dequeue('mail')")
    assert mail("enqueue", "mail", *keys).out != first


def test_enqueue_of_a_job_goes_to_its_queue_with_its_policy(mail: Underway) -> None:
    with App(os.environ["DATABASE_URL"]) as app:
        app.client.register_job(JobPolicy(name="send", queue="mail", priority=7))
    for arguments in (["{}"], [], ["mail"], ["mail", "{}"]):
        task = mail("task", mail("enqueue", *arguments, "--job", "send").out.strip(), "--json").json
        assert (task["queue"], task["job"], task["input"], task["priority"]) == ("mail", "send", {}, 7)
    task = mail("task", mail("enqueue", "[1]", "--job", "send", "--priority", "0").out.strip(), "--json").json
    assert (task["input"], task["priority"]) == ([1], 0)
    assert_refused(mail("enqueue", "--job", "nobody"), 1, "job 'nobody' is not registered", "Register it")
    assert_refused(mail("enqueue"), 2, "give the QUEUE, or --job")
    assert mail("jobs", "--json").json[0]["priority"] == 7


def test_jobs_lists_what_each_job_sets_itself(mail: Underway) -> None:
    assert mail("jobs").out.startswith("no jobs; a worker registers")
    with App(os.environ["DATABASE_URL"], name="shop") as app:
        retry = RetryPolicy(max_attempts=3)
        app.job(name="send", queue="mail", retry=retry, timeout=90, dead_letter_queue="dead")(lambda: None)
        app.job(name="plain", queue="mail")(lambda: None)
        app.sync()
    listed = [line.split("  ") for line in mail("jobs").out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in listed]
    assert cells == [
        ["job", "queue", "settings", "started", "succeeded", "failed", "retried", "run p50 / p95 / p99",
         "wait p50 / p95 / p99", "application", "updated"],
        ["plain", "mail", "0", "0", "0", "0", "shop", "0 s ago"],
        ["send", "mail", "3 attempts, timeout 0:01:30, dead_letter_queue dead", "0", "0", "0", "0", "shop", "0 s ago"],
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("2h", 7200), ("2060-01-31T09:00:00+02:00", None)])
def test_enqueue_takes_an_expiry(mail: Underway, text: str, seconds: int | None) -> None:
    id = mail("enqueue", "mail", "--expires", text).out.strip()
    task = mail("task", id, "--json").json
    expires_at = datetime.fromisoformat(task["expires_at"])
    if seconds is None:
        assert expires_at == datetime.fromisoformat(text)
    else:
        assert round((expires_at - datetime.fromisoformat(task["enqueued_at"])).total_seconds()) == seconds
    assert "expires" in mail("task", id).out
    assert_refused(mail("enqueue", "mail", "--expires", "soon"), 2, "--expires", "'soon' is neither")


def test_enqueue_takes_an_empty_object_for_a_missing_input(mail: Underway) -> None:
    id = mail("enqueue", "mail").out.strip()
    assert mail("task", id, "--json").json["input"] == {}


def test_enqueue_reads_the_input_from_stdin(mail: Underway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('\n["from stdin"]\n'))
    id = mail("enqueue", "mail", "-").out.strip()
    assert mail("task", id, "--json").json["input"] == ["from stdin"]


def test_enqueue_takes_a_time_with_a_zone(mail: Underway) -> None:
    id = mail("enqueue", "mail", "--run-at", "2060-01-31T09:00:00+02:00").out.strip()
    ready_at = datetime.fromisoformat(mail("task", id, "--json").json["ready_at"])
    assert ready_at == datetime(2060, 1, 31, 7, 0, tzinfo=UTC)


def test_durations_are_seconds_or_have_a_unit(mail: Underway) -> None:
    durations = {"90": 90, "1.5": 1.5, "10s": 10, "5m": 300, "2h": 7200, "1d": 86400, "0": 0}
    for text, seconds in durations.items():
        task = mail("task", mail("enqueue", "mail", "--delay", text).out.strip(), "--json").json
        delay = datetime.fromisoformat(task["ready_at"]) - datetime.fromisoformat(task["enqueued_at"])
        assert delay.total_seconds() == pytest.approx(seconds, abs=0.1)  # the two times are read one after the other


@pytest.mark.parametrize("text", ["", "10x", "-5", "1h30m", "\u0661", "1e3", "9" * 400, "nan"])
def test_what_is_no_duration_is_refused_with_the_forms_there_are(bare: Underway, text: str) -> None:
    assert_refused(bare("enqueue", "mail", "--delay", text, "--dsn", NOWHERE), 2, "--delay", "10s, 5m, 2h or 1d")


@pytest.mark.parametrize(
    ("text", "place"),
    [('{"a": 1,', "line 1 column 9"), ("[1,\n 2,\n x]", "line 3 column 2"), ("", "line 1 column 1")],
)
def test_bad_json_is_refused_with_its_place(
    bare: Underway, monkeypatch: pytest.MonkeyPatch, text: str, place: str
) -> None:
    assert_refused(bare("enqueue", "mail", text, "--dsn", NOWHERE), 2, "JSON", place)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert_refused(bare("enqueue", "mail", "-", "--dsn", NOWHERE), 2, "JSON", place)


@pytest.mark.parametrize(("text", "code"), [("NaN", 1), ('"\\u0000"', 1), ("[" * 100_000, 2), ("1" * 5000, 2)])
def test_json_that_can_not_be_kept_is_refused(bare: Underway, text: str, code: int) -> None:
    assert_refused(bare("enqueue", "mail", text, "--dsn", NOWHERE), code, "JSON")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--run-at", "2060-01-31T09:00:00"], ["--run-at", "time zone"]),
        (["--run-at", "tomorrow"], ["--run-at", "2030-01-31T09:00:00Z"]),
        (["--header", "novalue"], ["'novalue'", "name=value"]),
        (["--priority", "101"], ["--priority", "less than or equal to 100"]),
        (["--priority", "high"], ["--priority"]),
        (["--nope"], ["--nope", "underway enqueue --help"]),
    ],
)
def test_an_option_that_makes_no_sense_is_wrong_usage(bare: Underway, options: list[str], parts: list[str]) -> None:
    assert_refused(bare("enqueue", "mail", "{}", *options, "--dsn", NOWHERE), 2, *parts)


def test_what_the_database_refuses_is_told_with_its_hint(mail: Underway) -> None:
    assert_refused(mail("enqueue", "nope"), 1, "queue 'nope' does not exist", "Create it first")
    assert_refused(
        mail("enqueue", "mail", "--delay", "5", "--run-at", "2060-01-01T00:00:00Z"), 1, "both delay", "Give one of them"
    )


# Tasks


def test_tasks_lists_the_newest_first_and_filters(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    mail("queue", "create", "other")
    first, second, third = (mail("enqueue", queue, "--json").json["id"] for queue in ("mail", "other", "mail"))
    complete_next(connection, "done")

    assert [task["id"] for task in mail("tasks", "--json").json] == [third, second, first]
    assert [task["id"] for task in mail("tasks", "--json", "--limit", 1).json] == [third]
    assert [task["id"] for task in mail("tasks", "--json", "--queue", "other").json] == [second]
    assert [task["id"] for task in mail("tasks", "--json", "--state", "succeeded").json] == [first]
    assert mail("tasks", "--queue", "other", "--state", "failed").out == "no tasks\n"
    assert [row[0] for row in mail("tasks").cells()] == [str(third), str(second), str(first)]


def test_times_in_a_table_are_relative(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    for delay in ("30s", "10m", "2h", "3d"):
        mail("enqueue", "mail", "--delay", delay)
    complete = mail("enqueue", "mail", "--json").json["id"]
    complete_next(connection, None)
    connection.execute("update underway.task_history set enqueued_at = enqueued_at - interval '3 hours'")

    rows = mail("tasks").cells()
    assert rows[0][0] == str(complete)
    assert rows[0][5] == "3 h ago"
    assert re.fullmatch(r"\d+ s ago", rows[0][-1])
    due = [row[-1] for row in rows[1:]]
    assert due[:3] == ["in 3 d", "in 2 h", "in 10 min"]
    assert re.fullmatch(r"in \d+ s", due[3])
    assert re.fullmatch(r"\d+ s ago", rows[1][5])


def test_an_unknown_state_is_refused_with_the_states_there_are(bare: Underway) -> None:
    assert_refused(
        bare("tasks", "--state", "running", "--dsn", NOWHERE), 2,
        "'running'", "pending", "in_progress", "waiting", "succeeded", "failed", "cancelled",
    )  # fmt: skip


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_a_positive_number(bare: Underway, limit: str) -> None:
    assert_refused(bare("tasks", "--limit", limit, "--dsn", NOWHERE), 2, "--limit")
    assert_refused(bare("redrive", "mail", "--max", limit, "--dsn", NOWHERE), 2, "--max")


def test_a_table_that_is_no_terminals_is_not_cut(mail: Underway) -> None:
    names = ["x" * 300, "two words", "[/markup] [red]:smile:"]
    for name in names:
        mail("enqueue", "mail", "--job", name)
    out = mail("tasks").out
    assert len(out.splitlines()) == 1 + len(names)
    for name in names:
        assert name in out
    assert "\x1b" not in out


def test_what_a_task_brings_along_does_not_steer_the_terminal(mail: Underway) -> None:
    id = mail("enqueue", "mail", '"a\\u009b2J"', "--job", "\x1b[2J\rjob", "--json").json["id"]
    shown = mail("tasks").out + mail("task", id).out
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown) is None
    assert r"\x1b[2J\x0djob" in shown


def test_on_a_narrow_terminal_ids_stay_whole_and_states_have_colour(database: str, mail: Underway) -> None:
    with psycopg.connect(database) as connection:
        largest = "9007199254740991"  # of the last shard
        connection.execute(f"alter table underway.task alter column id set maxvalue {largest} restart with {largest}")
    id = mail("enqueue", "mail", "--job", "a-job-with-a-name-that-is-far-too-long-for-it", "--json").json["id"]
    mail("cancel", id)
    shown = on_terminal("tasks", database=database)
    assert "\x1b[" in shown
    assert str(id) == largest
    assert str(id) in shown
    assert "…" not in shown


def on_terminal(*arguments: str, database: str, errors: bool = False) -> str:
    """What a command prints on a terminal of 60 columns: its output, or what it says on stderr."""
    ours, its = pty.openpty()
    environment = {**environment_for(database), "TERM": "xterm", "COLUMNS": "60"}
    environment.pop("NO_COLOR", None)
    with forks.Popen(
        [sys.executable, "-m", "underway_pg", *arguments],
        stdin=its, stdout=subprocess.DEVNULL if errors else its, stderr=its if errors else subprocess.PIPE,
        env=environment,
    ) as process:  # fmt: skip
        os.close(its)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(ours)
        assert process.wait(30) == 0
    return shown.decode()


def test_task_shows_a_finished_task_whole(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    id = mail("enqueue", "mail", '{"to": "ö"}', "--job", "send", "--header", "trace=t1", "--json").json["id"]
    complete_next(connection, {"sent": True})
    answer = mail("task", id)
    assert answer.code == 0
    for line in (
        f"task         {id}", "queue        mail", "job          send", "state        succeeded",
        "attempt      1 of 1", '  "to": "ö"', '  "sent": true', '  "trace": "t1"',
    ):  # fmt: skip
        assert line in answer.out
    assert re.search(r"^finished +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \(\d+ s ago\)$", answer.out, re.M)
    assert re.search(r"^kept until .* \(in 14 d\)$", answer.out, re.M)


def test_task_shows_errors_with_their_traceback_and_the_link_of_a_dead_letter(
    mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    id = mail("enqueue", "mail", "--json").json["id"]
    assert fail_next(connection) == id
    (letter,) = mail("tasks", "--queue", "dead", "--json").json
    assert letter["dead_letter_of"] == id

    shown = mail("task", id).out
    assert "state        failed" in shown
    assert re.search(r"^error attempt 1, .*\n  ValueError: no such address\n  Traceback\n    line 7$", shown, re.M)

    shown = mail("task", letter["id"]).out
    assert f"dead letter  of task {id} of queue mail\n" in shown
    assert re.search(rf"^error of task {id}, attempt 1, .*\n  ValueError: no such address\n  Traceback", shown, re.M)

    assert mail("task", id, "--json").json["errors"][0]["message"] == "no such address"
    assert mail("task", letter["id"], "--json").json["dead_letter"]["task"] == id


def test_task_shows_the_progress_of_a_running_task(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    id = mail("enqueue", "mail", "--json").json["id"]
    (held,) = execute(connection, statements.dequeue(["mail"], 1))
    connection.execute(
        'select underway.report_progress(id, lease, \'{"percent": 40, "message": "half"}\') from underway.task'
    )
    assert held.id == id
    assert '\nprogress\n  {\n    "message": "half",\n    "percent": 40\n  }' in mail("task", id).out
    assert mail("task", id, "--json").json["progress"] == {"percent": 40, "message": "half"}


def test_why_says_each_reason(mail: Underway) -> None:
    id = mail("enqueue", "mail", "--delay", "1h", "--json").json["id"]
    mail("queue", "pause", "mail")
    answer = mail("why", id)
    assert answer.code == 0
    assert answer.out.splitlines()[0].split() == ["code", "reason"]
    codes, reasons = zip(*answer.cells(), strict=True)
    assert codes == ("not_due", "queue_paused", "no_worker")
    assert re.fullmatch(r"due at .*, in 00:5\d:.*", reasons[0])
    assert reasons[1].startswith("queue 'mail' has been paused since ")
    assert reasons[2] == "no live worker serves queue 'mail'"


def test_why_as_json_has_the_numbers(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    first, second = (mail("enqueue", "mail", "--concurrency-key", "c", "--json").json["id"] for _ in range(2))
    execute(connection, statements.dequeue(["mail"], 1))
    taken, nobody = mail("why", second, "--json").json
    assert taken == {
        "code": "key_full",
        "reason": f"concurrency key 'c' is full: 1 running, max_running_per_key is 1: tasks {first}",
        "details": {"concurrency_key": "c", "running": [first], "max_running_per_key": 1},
    }
    assert (nobody["code"], nobody["details"]) == ("no_worker", {"queue": "mail"})
    assert [reason["code"] for reason in mail("why", first, "--json").json] == ["running"]


def test_wait_shows_how_tasks_ended_and_fails_unless_all_succeeded(
    mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    good, bad, off = (mail("enqueue", "mail", "--job", "send", "--json").json["id"] for _ in range(3))
    complete_next(connection, {"sent": True})
    fail_next(connection)
    mail("cancel", off)

    answer = mail("wait", good)
    assert (answer.code, answer.err) == (0, "")
    assert answer.cells() == [[str(good), "mail", "send", "succeeded", "1", '{"sent": true}']]

    answer = mail("wait", off, bad, good, bad)
    assert (answer.code, answer.err) == (1, "")
    assert answer.cells() == [
        [str(off), "mail", "send", "cancelled", "0"],
        [str(bad), "mail", "send", "failed", "1", "ValueError: no such address"],
        [str(good), "mail", "send", "succeeded", "1", '{"sent": true}'],
    ]

    answer = mail("wait", good, bad, "--json")
    assert answer.code == 1
    assert [(task["id"], task["state"]) for task in answer.json] == [(good, "succeeded"), (bad, "failed")]
    assert (answer.json[0]["output"], answer.json[1]["errors"][0]["type"]) == ({"sent": True}, "ValueError")


def test_an_operator_can_wait_and_observers_and_operators_can_ask_why(
    database: str, mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    id = mail("enqueue", "mail", "--json").json["id"]
    complete_next(connection, None)
    for command, role in (("wait", "operator"), ("why", "observer"), ("why", "operator")):
        answer = mail(command, id, "--dsn", make_conninfo(database, options=f"-c role=underway_{role}"))
        assert (answer.code, answer.err) == (0, "")


def test_wait_ends_after_its_time(mail: Underway) -> None:
    id, other = (mail("enqueue", "mail", "--json").json["id"] for _ in range(2))
    assert_refused(mail("wait", id, "--timeout", "0.2s"), 1, f"task {id} was not final after 0.2 s")
    mail("cancel", other)
    for form in ([], ["--json"]):
        assert_refused(mail("wait", id, other, "--timeout", "0", *form), 1, f"1 of 2 tasks ({id})")


def test_wait_shows_how_far_it_is_on_a_terminal_and_takes_that_away_again(
    database: str, mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    ids = [mail("enqueue", "mail", "--json").json["id"] for _ in range(2)]
    for _ in ids:
        complete_next(connection, None)
    shown = on_terminal("wait", *map(str, ids), database=database, errors=True)
    assert "2/2" in shown
    assert shown.endswith("\x1b[2K")  # the line is cleared


def test_a_task_that_does_not_exist_is_refused(underway: Underway) -> None:
    for arguments in (["task", "99"], ["task", "99", "--json"], ["retry", "99"], ["cancel", "99"], ["why", "99"],
                      ["wait", "99"], ["wait", "99", "--json"]):  # fmt: skip
        answer = underway(*arguments)
        assert_refused(answer, 1, "task 99 does not exist")


@pytest.mark.parametrize("command", ["task", "why", "wait", "retry", "cancel"])
@pytest.mark.parametrize("id", ["0", "abc", "99999999999999999999"])
def test_what_is_no_id_is_wrong_usage(bare: Underway, command: str, id: str) -> None:
    assert_refused(bare(command, id, "--dsn", NOWHERE), 2, "ID")


def test_cancel_cancels_and_says_which_could_not_be(mail: Underway) -> None:
    first, second = (mail("enqueue", "mail", "--json").json["id"] for _ in range(2))
    assert mail("cancel", first).out == f"task {first}: cancelled\n"

    answer = mail("cancel", first, second, 99)
    assert answer.code == 1
    assert answer.out == f"task {second}: cancelled\n"
    assert answer.err.splitlines() == [
        f"underway: task {first} is cancelled. Only a live task can be cancelled.",
        "underway: task 99 does not exist. It was deleted, its retention is over, its transaction was rolled back,"
        " or its transaction is not committed yet.",
    ]
    assert mail("task", second, "--json").json["state"] == "cancelled"


def test_cancel_as_json(mail: Underway) -> None:
    id = mail("enqueue", "mail", "--json").json["id"]
    assert mail("cancel", id, "--json").json == {"cancelled": [id], "refused": []}
    answer = mail("cancel", id, "--json")
    assert answer.code == 1
    assert answer.json["cancelled"] == []
    assert answer.json["refused"][0]["id"] == id


def test_retry_makes_tasks_pending_again(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    failed, cancelled, live = (mail("enqueue", "mail", "--json").json["id"] for _ in range(3))
    assert fail_next(connection) == failed
    mail("cancel", cancelled)

    answer = mail("retry", failed, live, cancelled)
    assert answer.code == 1
    assert answer.out.splitlines() == [f"task {failed}: retried", f"task {cancelled}: retried"]
    assert answer.err.startswith(f"underway: task {live} is pending. Only a task that is failed or cancelled")
    assert {task["state"] for task in mail("tasks", "--queue", "mail", "--json").json} == {"pending"}

    mail("cancel", failed)
    assert mail("retry", failed, "--json").json == {"retried": [failed], "refused": []}


def test_redrive_moves_dead_letters_back(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    id = int(mail("enqueue", "mail", '{"n": 1}').out)
    fail_next(connection)
    (letter,) = mail("tasks", "--queue", "dead", "--json").json
    assert letter["dead_letter_of"] == id
    answer = mail("redrive", letter["id"], "--json")
    assert (answer.code, answer.json) == (0, {"redriven": [letter["id"]], "refused": []})
    assert mail("task", id, "--json").json["state"] == "pending"
    again = mail("redrive", id)
    assert_refused(again, 1, f"task {id} is pending", "dead letter")


# Queues, workers, the whole


def test_queues_lists_what_lies_in_them(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    mail("enqueue", "mail")
    mail("enqueue", "mail")
    mail("enqueue", "mail", "--delay", "1h")
    fail_next(connection)
    dead, live = mail("queues", "--json").json
    assert (dead["queue"], dead["ready"], dead["dead_letters"]) == ("dead", 1, 1)
    assert (live["queue"], live["ready"], live["scheduled"], live["dead_letter_queue"]) == ("mail", 1, 1, "dead")
    assert (live["timeout"], live["heartbeat"], live["retention"]) == (900, 30, 14 * 86400)
    assert datetime.fromisoformat(live["oldest_ready_at"]).tzinfo is not None

    table = mail("queues").cells()
    assert [row[:3] for row in table] == [["dead", "active", "1"], ["mail", "active", "1"]]
    assert table[1][-1] == "dead"


def test_queue_create_sets_what_is_given_and_keeps_the_rest(
    underway: Underway, connection: psycopg.Connection[Any]
) -> None:
    def settings() -> Any:
        return connection.execute(
            "select (retry_policy).*, timeout, heartbeat, retention, keep_history, dead_letter_queue"
            " from underway.queue where name = 'q'"
        ).fetchone()

    underway("queue", "create", "dead")
    answer = underway(
        "queue", "create", "q", "--max-attempts", 7, "--initial-interval", "2s", "--max-interval", "1m", "--factor", 3,
        "--jitter", 0.25, "--timeout", "1h", "--heartbeat", "10s", "--retention", "2d", "--dead-letter-queue", "dead",
        "--no-keep-history",
    )  # fmt: skip
    assert answer == Answer(0, "queue q: created or updated\n", "")
    times = (timedelta(hours=1), timedelta(seconds=10), timedelta(days=2))
    assert settings() == (7, timedelta(seconds=2), timedelta(minutes=1), 3.0, 0.25, *times, False, "dead")

    underway("queue", "create", "q", "--dead-letter-queue", "")
    assert settings() == (7, timedelta(seconds=2), timedelta(minutes=1), 3.0, 0.25, *times, False, None)

    underway("queue", "create", "q", "--jitter", 0, "--keep-history")
    assert settings() == (5, timedelta(seconds=1), timedelta(minutes=1), 2.0, 0.0, *times, True, None)


def test_queue_create_sets_limits_and_0_takes_one_away(underway: Underway) -> None:
    def limits() -> list[object]:
        (found,) = underway("queues", "--json").json
        names = ("max_running", "max_running_per_key", "rate_limit", "rate_period", "max_length")
        return [found[name] for name in names]

    underway("queue", "create", "q")
    assert limits() == [None, 1, None, 1, None]
    answer = underway(
        "queue", "create", "q", "--max-running", 20, "--max-running-per-key", 2, "--rate-limit", 100,
        "--rate-period", "1m", "--max-length", 5000,
    )  # fmt: skip
    assert answer == Answer(0, "queue q: created or updated\n", "")
    assert limits() == [20, 2, 100, 60, 5000]
    assert "20 running, 2 running per key, 100 per 60 s, max length 5000" in underway("queues").cells()[0]

    underway("queue", "create", "q", "--max-running", 0, "--rate-limit", 0, "--max-length", 0)
    assert limits() == [None, 2, None, 60, None]
    assert "2 running per key" in underway("queues").cells()[0]

    assert_refused(underway("queue", "create", "q", "--max-running-per-key", 0), 2, "--max-running-per-key")
    assert_refused(underway("queue", "create", "q", "--max-running", -1), 2, "--max-running")
    assert_refused(underway("queue", "create", "q", "--rate-period", 0), 1, "rate_period is 00:00:00")


def test_queue_create_makes_a_queue_fair_and_unfair_again(underway: Underway) -> None:
    def fair() -> object:
        (found,) = underway("queues", "--json").json
        return found["fair"]

    underway("queue", "create", "q")
    assert fair() is False
    assert underway("queue", "create", "q", "--fair") == Answer(0, "queue q: created or updated\n", "")
    assert fair() is True
    assert "fair" in underway("queues").cells()[0]
    underway("queue", "create", "q", "--max-running", 3)
    assert fair() is True
    underway("queue", "create", "q", "--no-fair")
    assert fair() is False


def test_queue_create_refuses_what_makes_no_sense(underway: Underway) -> None:
    assert_refused(underway("queue", "create", "q", "--jitter", 2), 1, "jitter must lie between 0 and 1")
    assert_refused(underway("queue", "create", " q"), 1, "cannot be the name of a queue")
    assert_refused(underway("queue", "create", "q", "--dead-letter-queue", "nope"), 1, "queue 'nope' does not exist")
    assert_refused(underway("queue", "create"), 2, "QUEUE")
    assert_refused(underway("queue"), 2, "underway queue --help")


def test_queue_pause_and_resume(mail: Underway) -> None:
    assert mail("queue", "pause", "mail").out == "queue mail: paused\n"
    assert mail("queue", "pause", "mail").out == "queue mail: already paused\n"
    assert [row[:2] for row in mail("queues").cells()] == [["dead", "active"], ["mail", "paused"]]
    assert mail("queue", "resume", "mail").out == "queue mail: resumed\n"
    assert mail("queue", "resume", "mail").out == "queue mail: was not paused\n"
    assert mail("queues", "--json").json[1]["paused_at"] is None
    assert_refused(mail("queue", "pause", "nope"), 1, "queue 'nope' does not exist")


def test_queue_pause_and_resume_of_a_key(mail: Underway) -> None:
    assert mail("queue", "pause", "mail", "--key", "a").out == "queue mail, key a: paused\n"
    assert mail("queue", "pause", "mail", "--key", "a").out == "queue mail, key a: already paused\n"
    assert [queue["paused_keys"] for queue in mail("queues", "--json").json] == [[], ["a"]]
    assert [row[1] for row in mail("queues").cells()] == ["active", "active"]
    assert "a" in mail("queues").cells()[1]
    for key in "bcde":
        mail("queue", "pause", "mail", "--key", key)
    assert "a, b, c and 2 more" in mail("queues").cells()[1]
    assert mail("queue", "resume", "mail", "--key", "a").out == "queue mail, key a: resumed\n"
    assert mail("queue", "resume", "mail", "--key", "a").out == "queue mail, key a: was not paused\n"
    assert mail("queues", "--json").json[1]["paused_keys"] == ["b", "c", "d", "e"]
    for command in ("pause", "resume"):
        assert_refused(mail("queue", command, "nope", "--key", "a"), 1, "queue 'nope' does not exist")
    assert_refused(mail("queue", "pause", "mail", "--key", ""), 1, "concurrency_key is ''")


def test_queues_tells_parked_tasks_from_ready_ones(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        mail("enqueue", "mail")
    connection.execute("update underway.task set concurrency_key = 'a'")
    connection.execute("update underway.queue set has_keys = true")
    execute(connection, statements.dequeue(["mail"], 2))  # it finds one only, and parks the others
    _, live = mail("queues", "--json").json
    assert (live["ready"], live["parked"], live["in_progress"], live["oldest_ready_at"]) == (0, 2, 1, None)
    assert mail("queues").cells()[1][2:6] == ["0", "2", "0", "1"]  # ready, parked, scheduled, running
    assert {task["concurrency_key"] for task in mail("tasks", "--json").json} == {"a"}
    assert mail("stats", "--json").json["parked"] == 2


def test_queue_drop_refuses_live_tasks_unless_forced(mail: Underway) -> None:
    id = mail("enqueue", "mail", "--json").json["id"]
    assert_refused(mail("queue", "drop", "mail"), 1, "queue 'mail' still has live tasks", "force")
    assert mail("queue", "drop", "mail", "--force").out == "queue mail: dropped\n"
    assert mail("task", id, "--json").json["state"] == "cancelled"
    assert [queue["queue"] for queue in mail("queues", "--json").json] == ["dead"]


def test_schedule_add_pause_run_resume_remove(mail: Underway) -> None:
    added = mail(
        "schedule", "add", "yearly", "mail", "0 0 1 1 *", '{"to": "all"}', "--time-zone", "Asia/Tokyo", "--job", "send"
    )
    assert (added.code, added.err) == (0, "")
    assert re.fullmatch(r"schedule yearly: next at \d{4}-12-31 15:00:00.000\+00:00 \(in .*\)\n", added.out)
    assert mail("schedule", "pause", "yearly").out == "schedule yearly: paused\n"
    assert mail("schedule", "pause", "yearly").out == "schedule yearly: already paused\n"
    id = mail("schedule", "run", "yearly").out.strip()
    assert mail("task", id, "--json").json["headers"]["schedule"] == "yearly"
    assert mail("task", mail("schedule", "run", "yearly", "--json").json["id"], "--json").json["job"] == "send"
    assert mail("schedule", "resume", "yearly").out == "schedule yearly: resumed\n"
    assert mail("schedule", "resume", "yearly").out == "schedule yearly: was not paused\n"
    assert mail("schedule", "remove", "yearly").out == "schedule yearly: removed\n"
    for command in ("remove", "pause", "resume", "run"):
        assert_refused(mail("schedule", command, "yearly"), 1, "schedule 'yearly' does not exist")


def test_schedule_add_keeps_all_its_options(mail: Underway) -> None:
    options = ["--catch-up", "all", "--catch-up-limit", 3, "--overlap", "skip", "--jitter", "5m", "--priority", 2]
    period = ["--starts-at", "2030-01-01T00:00:00Z", "--ends-at", "2031-01-01T00:00:00Z"]
    answer = mail("schedule", "add", "s", "mail", "@daily", *options, *period, "--header", "tenant=a", "--json")
    assert answer.json == {"schedule": "s", "next_at": "2030-01-01T00:00:00+00:00"}
    (found,) = mail("schedules", "--json").json
    assert (found["catch_up"], found["catch_up_limit"], found["overlap"], found["jitter"]) == ("all", 3, "skip", 300)
    assert (found["starts_at"], found["ends_at"]) == ("2030-01-01T00:00:00+00:00", "2031-01-01T00:00:00+00:00")
    task = mail("task", mail("schedule", "run", "s").out.strip(), "--json").json
    assert (task["priority"], task["headers"]["tenant"]) == (2, "a")


def test_schedules_are_listed_in_plain_words(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    mail("schedule", "add", "a", "mail", "0 9 * 1 mon-fri", "--time-zone", "Europe/Berlin")
    mail("schedule", "add", "b", "mail", "@yearly")
    mail("schedule", "add", "c", "mail", "0 0 1 1 *")
    mail("schedule", "pause", "b")
    mail("schedule", "add", "d", "dead", "* * * * * *")
    connection.execute("select underway.drop_queue('mail', true); select underway.drop_queue('dead', true)")
    wait_until(
        lambda: (
            connection.execute(
                "select next_at < clock_timestamp() from underway.schedule_stats where schedule = 'd'"
            ).fetchall()
            == [(True,)]
        ),
        "it is due",
    )
    connection.execute("select underway.run_schedules()")

    a, b, c, d = mail("schedules").cells()
    assert a[:6] == [
        "a", "mail", "0 9 * 1 mon-fri", "At 09:00, Monday through Friday, only in January",
        "Europe/Berlin", "active",
    ]  # fmt: skip
    assert b == ["b", "mail", "@yearly", "At 00:00, on day 1 of the month, only in January", "UTC", "paused"]
    assert c[3:6] == ["At 00:00, on day 1 of the month, only in January", "UTC", "active"]
    assert d[5] == "failing"
    assert d[-1] == "queue 'dead' does not exist"


def test_a_schedule_that_can_not_be_is_refused(mail: Underway) -> None:
    assert_refused(mail("schedule", "add", "s", "mail", "0 0 30 2 *"), 1, "'0 0 30 2 *'", "matches no time after")
    assert_refused(mail("schedule", "add", "s", "mail", "0 0 * * funday"), 1, "the day of week is 'funday'", "sun-sat")
    assert_refused(mail("schedule", "add", "s", "mail", "@daily", "--time-zone", "Mars/Olympus"), 1, "'Mars/Olympus'")
    assert_refused(mail("schedule", "add", "s", "post", "@daily"), 1, "queue 'post' does not exist")
    assert_refused(mail("schedule", "add", "s", "mail", "@daily", "--catch-up", "some"), 2, "some", "skip")
    assert mail("schedules", "--json").json == []


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 0 * * fri#2", "At 00:00, on the second Friday of the month"),
        ("0 0 0 LW * ?", "At 00:00, on the last weekday of the month"),
        ("0 0 13 * fri", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 1 * mon-fri", None),  # the library says "and"
        ("0 0 1,15W * *", None),
        ("0 0 * * mon,fri#2", None),
        ("0 0 15w,l * *", None),
        ("0 0 *,15 * *", None),
        ("0 0 15w * *", "At 00:00, on the weekday nearest day 15 of the month"),
        ("0 0 l * *", "At 00:00, on the last day of the month"),
        ("@Daily", "At 00:00"),
        ("@hourly[Asia/Tokyo]", "Every hour"),
        ("@every 90 minutes", "Every 90 minutes"),
        ("@Every 1h30m [Asia/Tokyo]", "Every 1h30m"),
        ("@weekly", "At 00:00, only on Sunday"),
    ],
)
def test_words_that_would_be_wrong_are_left_out(underway: Underway, cron: str, words: str | None) -> None:
    assert underway("cron", cron, "--json").json["in_words"] == words


def test_cron_previews_on_the_clocks_of_the_zone(underway: Underway) -> None:
    arguments = ["cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--after", "2026-03-28T00:00:00Z", "-n", 3]
    assert underway(*arguments).out.splitlines() == [
        "At 02:30",
        "Sat 2026-03-28 02:30:00 +0100",
        "Sun 2026-03-29 03:00:00 +0200",
        "Mon 2026-03-30 02:30:00 +0200",
    ]
    as_json = underway(*arguments, "--json").json
    assert as_json["in_words"] == "At 02:30"
    assert [datetime.fromisoformat(at) for at in as_json["next"]][1] == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert underway("cron", "0 0 30 2 *").out.splitlines()[-1] == "no more times"
    assert_refused(underway("cron", "0 24 * * *"), 1, "the hour is '24'", "0-23")


def test_cron_needs_no_database_of_ones_own(bare: Underway) -> None:
    arguments = ["cron", "@daily[Asia/Tokyo]", "--after", "2026-01-01T00:00:00Z", "-n", 1]
    assert_refused(bare(*arguments), 2, "--dsn", "DATABASE_URL")
    answer = bare(*arguments, "--embedded")
    assert (answer.code, answer.out) == (0, "At 00:00\nFri 2026-01-02 00:00:00 +0900\n")


def test_workers_lists_them(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    id = execute(connection, statements.register_worker("host:1", ["mail", "dead"], 4))
    mail("enqueue", "mail")
    execute(connection, statements.dequeue(["mail"], 1, id))
    (worker,) = mail("workers", "--json").json
    assert (worker["id"], worker["name"], worker["queues"]) == (id, "host:1", ["mail", "dead"])
    assert (worker["concurrency"], worker["in_progress"], worker["lost"]) == (4, 1, False)
    assert mail("workers").cells()[0][:6] == [str(id), "host:1", "mail, dead", "busy", "1", "4"]

    connection.execute("update underway.worker set seen_at = seen_at - interval '2 minutes'")
    assert mail("workers").cells()[0][3] == "lost"


def test_stats_are_numbers(mail: Underway) -> None:
    mail("enqueue", "mail")
    numbers = mail("stats", "--json").json
    assert (numbers["queues"], numbers["ready"], numbers["workers"]) == (2, 1, 0)
    assert ["dead letters", "0"] in mail("stats").cells()


def test_with_nothing_there_a_list_says_so(underway: Underway) -> None:
    for command in ("tasks", "queues", "workers", "schedules"):
        answer = underway(command)
        assert answer.code == 0
        assert answer.out.startswith(f"no {command}")
        assert underway(command, "--json").json == []


# The command line as such

COMMANDS = [
    ["migrate"], ["migrate", "--plan"], ["enqueue", "mail"], ["tasks"], ["task", "1"], ["why", "1"], ["wait", "1"],
    ["queues"], ["workers"], ["stats"], ["retry", "1"], ["cancel", "1"], ["redrive", "1"], ["delete", "1"],
    ["run-again", "1"], ["reschedule", "1", "0"], ["reprioritize", "1", "5"],
    ["export", "--all"], ["import", os.devnull], ["jobs"], ["top"], ["doctor"],
    ["queue", "create", "mail"], ["queue", "pause", "mail"], ["queue", "resume", "mail"], ["queue", "drop", "mail"],
    ["schedules"], ["schedule", "add", "s", "mail", "@daily"], ["schedule", "remove", "s"], ["schedule", "pause", "s"],
    ["schedule", "resume", "s"], ["schedule", "run", "s"],
]  # fmt: skip


def named(arguments: list[str]) -> str:
    return " ".join(arguments)


@pytest.mark.parametrize("arguments", COMMANDS, ids=named)
def test_without_a_database_a_command_asks_for_one(bare: Underway, arguments: list[str]) -> None:
    assert_refused(bare(*arguments), 2, "--dsn", "DATABASE_URL")


@pytest.mark.parametrize("arguments", COMMANDS, ids=named)
def test_a_database_that_can_not_be_reached_is_named(bare: Underway, arguments: list[str]) -> None:
    answer = bare(*arguments, "--dsn", NOWHERE)
    assert_refused(answer, 1, "127.0.0.1", "port 1", "refused", "--dsn")
    assert "secret" not in answer.err


@pytest.mark.parametrize("arguments", COMMANDS, ids=named)
def test_a_dsn_that_is_none_is_wrong_usage_and_its_password_not_told(bare: Underway, arguments: list[str]) -> None:
    answer = bare(*arguments, "--dsn", "postgres//somebody:secret@host/app")
    assert_refused(answer, 2, "postgresql://user:password@host:port/database")
    assert "secret" not in answer.err


def test_without_the_schema_a_command_says_how_to_install_it(bare: Underway, empty_database: str) -> None:
    for arguments in COMMANDS:
        if arguments[0] not in ("migrate", "import", "doctor"):
            assert_refused(bare(*arguments, "--dsn", empty_database), 1, "`underway migrate`")


def test_a_role_that_may_not_is_refused_in_one_line(bare: Underway, database: str) -> None:
    dsn = make_conninfo(database, options="-c role=underway_producer")
    for arguments in (["queues"], ["cancel", "1"], ["queue", "create", "mail"], ["task", "1"]):
        assert_refused(bare(*arguments, "--dsn", dsn), 1, "permission denied")


def test_the_option_wins_over_the_environment(bare: Underway, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    assert bare("queues", "--dsn", database).code == 0


def test_an_argument_that_is_no_utf8_is_wrong_usage(underway: Underway) -> None:
    assert_refused(underway("queue", "pause", "\udcff"), 2, "UTF-8")


def test_what_is_no_command_is_wrong_usage(bare: Underway) -> None:
    assert_refused(bare("nope"), 2, "'nope'", "underway --help")
    assert_refused(bare(), 2, "underway --help")


def test_version_is_printed(bare: Underway) -> None:
    answer = bare("--version")
    assert answer.code == 0
    assert answer.out == f"underway {__version__}\n"


def test_every_command_explains_itself(bare: Underway) -> None:
    for command in ([], ["migrate"], ["worker"], ["enqueue"], ["tasks"], ["task"], ["why"], ["wait"],
                    ["queues"], ["workers"], ["stats"], ["retry"], ["cancel"], ["redrive"], ["queue"],
                    ["queue", "create"]):  # fmt: skip
        answer = bare(*command, "--help")
        assert answer.code == 0
        assert "Usage: " in answer.out


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_the_command_line_says_what_to_install(package: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from underway_pg.cli import main"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert_refused(Answer(ended.returncode, ended.stdout, ended.stderr), 1, package, "pip install 'underway-pg[cli]'")


# In a process of its own


def environment_for(database: str | None) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DATABASE_URL", None)
    return environment if database is None else {**environment, "DATABASE_URL": database}


@dataclass(frozen=True)
class Project:
    """A directory with a module tasks, where a user calls the command line."""

    directory: Path
    database: str

    def start(self, *arguments: object, database: str | None = "") -> subprocess.Popen[str]:
        return forks.Popen(
            [sys.executable, "-m", "underway_pg", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=environment_for(self.database if database == "" else database),
        )

    def run(self, *arguments: object, database: str | None = "") -> Answer:
        """Run a command to its end; without a database in its environment where it is None."""
        return ended(self.start(*arguments, database=database))


def ended(process: subprocess.Popen[str], *, seconds: float = 60) -> Answer:
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return Answer(process.returncode, out, err)


@pytest.fixture
def project_nowhere(tmp_path: Path) -> Project:
    (tmp_path / "tasks.py").write_text(TASKS)
    return Project(tmp_path, NOWHERE)


@pytest.fixture
def project(project_nowhere: Project, database: str) -> Project:
    return Project(project_nowhere.directory, database)


def test_from_an_empty_database_to_a_result(project_nowhere: Project, empty_database: str) -> None:
    fresh = Project(project_nowhere.directory, empty_database)
    assert fresh.run("migrate").code == 0
    assert fresh.run("queue", "create", "mail") == Answer(0, "queue mail: created or updated\n", "")
    id = fresh.run("enqueue", "mail", '{"to": "you"}', "--job", "send").out.strip()

    worked = fresh.run("worker", "tasks", "--drain")
    assert (worked.code, worked.out) == (0, "")
    assert "serves mail, slow" in worked.err

    task = fresh.run("task", id, "--json").json
    assert (task["state"], task["output"]) == ("succeeded", "sent to you")
    assert fresh.run("workers", "--json").json == []


def test_the_log_level_is_kept(project: Project) -> None:
    assert project.run("worker", "tasks:app", "--drain", "--log-level", "error") == Answer(0, "", "")


def test_wait_ends_when_the_last_task_is_done(project: Project, underway: Underway) -> None:
    assert project.run("worker", "tasks:app", "--drain").code == 0  # its queues are there now
    ids = [underway("enqueue", "mail", '{"to": "a"}', "--job", "send", "--json").json["id"] for _ in range(3)]
    waits = project.start("wait", *ids, "--json")
    assert project.run("worker", "tasks:app", "--drain").code == 0
    answer = ended(waits)
    assert (answer.code, answer.err) == (0, "")
    assert [(task["id"], task["output"]) for task in answer.json] == [(id, "sent to a") for id in ids]


def test_a_worker_serves_the_queues_that_it_is_given(project: Project, mail: Underway) -> None:
    mail("queue", "create", "more")
    ids = {
        queue: mail("enqueue", queue, '{"to": "x"}', "--job", "send").out.strip() for queue in ("mail", "dead", "more")
    }
    assert project.run("worker", "tasks", "--queue", "more", "--queue", "dead", "--drain").code == 0
    states = {queue: mail("task", id, "--json").json["state"] for queue, id in ids.items()}
    assert states == {"mail": "pending", "dead": "succeeded", "more": "succeeded"}


@pytest.mark.parametrize(
    ("options", "state"),
    [([], "pending"), (["--unknown-jobs", "skip"], "pending"), (["--unknown-jobs", "fail"], "failed")],
)
def test_a_worker_skips_tasks_of_unknown_jobs_or_fails_them(
    project: Project, mail: Underway, options: list[str], state: str
) -> None:
    id = mail("enqueue", "mail", "--job", "unknown").out.strip()
    assert project.run("worker", "tasks", "--drain", *options).code == 0
    assert mail("task", id, "--json").json["state"] == state


PROCESSES = """
import logging, os
from underway_pg import App

app = App("postgresql://nobody@nowhere.invalid/nothing")

@app.job(queue="mail", executor="process")
def pid() -> int:
    return os.getpid()

@app.job(queue="mail", executor="process")
def enqueue_another() -> int:
    return pid.enqueue()

@app.job(queue="mail", executor="process")
def log() -> None:
    logging.getLogger("mine").warning("said in a process")
"""


@pytest.mark.parametrize(
    ("option", "differ"),
    [
        ((), False),
        (("--max-tasks-per-process", 1), True),
        (("--max-memory-per-process", "1kB"), True),
        (("--max-memory-per-process", "2GB"), False),
    ],
)
def test_the_processes_of_a_worker_have_its_database_and_its_limits(
    project: Project, mail: Underway, option: tuple[object, ...], differ: bool
) -> None:
    (project.directory / "processes.py").write_text(PROCESSES)
    for job in ("enqueue_another", "pid"):
        mail("enqueue", "mail", "--job", job)
    answer = project.run(
        "worker", "processes", "--drain", "--concurrency", 1, "--dsn", project.database, *option, database=None
    )
    assert answer.code == 0, answer.err
    done = mail("tasks", "--json").json
    assert [task["state"] for task in done] == ["succeeded"] * 3
    pids = [mail("task", str(task["id"]), "--json").json["output"] for task in done if task["job"] == "pid"]
    assert (pids[0] != pids[1]) == differ


def test_what_handlers_in_processes_log_is_json_too_when_asked(project: Project, mail: Underway) -> None:
    (project.directory / "processes.py").write_text(PROCESSES)
    mail("enqueue", "mail", "--job", "log")
    answer = project.run("worker", "processes", "--drain", "--log-format", "json", "--dsn", project.database)
    lines = [json.loads(line) for line in answer.err.splitlines()]
    assert [line["level"] for line in lines if line["message"] == "said in a process"] == ["WARNING"]


@pytest.mark.parametrize("text", ["", "lots", "-1", "1.5GB", "5 m b"])
def test_what_is_no_size_is_refused_with_the_forms_there_are(bare: Underway, text: str) -> None:
    answer = bare("worker", "tasks:app", "--max-memory-per-process", text)
    assert_refused(answer, 2, "--max-memory-per-process", "512MB or 2GB")


@pytest.mark.parametrize("application", ["tasks:app", "tasks:other"])
@pytest.mark.parametrize("elsewhere", [None, NOWHERE], ids=["nothing", "elsewhere"])
def test_the_dsn_of_the_option_wins_over_that_of_the_application(
    project: Project, mail: Underway, application: str, elsewhere: str | None
) -> None:
    id = mail("enqueue", "mail", '{"to": "x"}', "--job", "send").out.strip()
    answer = project.run("worker", application, "--drain", "--dsn", project.database, database=elsewhere)
    assert answer.code == 0, answer.err
    assert mail("task", id, "--json").json["state"] == "succeeded"


def test_the_dsn_of_the_option_is_that_of_a_module_that_connects_while_it_is_imported(
    project: Project, underway: Underway
) -> None:
    (project.directory / "eager.py").write_text(TASKS + "\nid = send.enqueue('early')\n")
    answer = project.run("worker", "eager", "--drain", "--dsn", project.database, database=None)
    assert answer.code == 0, answer.err
    assert [task["state"] for task in underway("tasks", "--json").json] == ["succeeded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_cleanly_at_a_signal(project: Project, underway: Underway, number: signal.Signals) -> None:
    worker = project.start("worker", "tasks", "--concurrency", 3, "--name", "mine")
    try:
        wait_until(lambda: underway("workers", "--json").json, "the worker is known")
        (known,) = underway("workers", "--json").json
        assert (known["name"], known["concurrency"], known["queues"]) == ("mine", 3, ["mail", "slow"])
        worker.send_signal(number)
        answer = ended(worker)
    finally:
        worker.kill()
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    assert underway("workers", "--json").json == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_cleanly_at_a_signal_while_it_imports_its_application(
    project: Project, number: signal.Signals
) -> None:
    # As process 1 of a container it would not even hear a signal that it does not handle.
    begun = project.directory / "begun"
    (project.directory / "long.py").write_text(
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)"
    )
    worker = project.start("worker", "long")
    try:
        wait_until(begun.exists, "it imports")
        worker.send_signal(number)
        assert ended(worker, seconds=20) == Answer(0, "", "")
    finally:
        worker.kill()


def test_a_worker_listens_where_it_is_told(
    project: Project, underway: Underway, connection: psycopg.Connection[Any]
) -> None:
    ears = make_conninfo(project.database, application_name="ears")
    worker = project.start("worker", "tasks", "--listen-dsn", ears)
    listening = "select query from pg_stat_activity where application_name = 'ears' and query like 'listen %'"
    try:
        wait_until(lambda: connection.execute(listening).fetchall(), "it listens there")
        worker.send_signal(signal.SIGTERM)
        assert ended(worker).code == 0
    finally:
        worker.kill()


def test_a_worker_gives_running_tasks_back_when_its_grace_is_over(project: Project, underway: Underway) -> None:
    underway("queue", "create", "slow")
    id = underway("enqueue", "slow", "--job", "wait").out.strip()
    worker = project.start("worker", "tasks", "--shutdown-timeout", "0")
    try:
        wait_until(lambda: underway("task", id, "--json").json["state"] == "in_progress", "the task runs")
        worker.send_signal(signal.SIGTERM)
        answer = ended(worker, seconds=20)  # the default shutdown_timeout is 30
    finally:
        worker.kill()
    assert answer.code == 0, answer.err
    task = underway("task", id, "--json").json
    assert (task["state"], task["attempt"]) == ("pending", 0)


@pytest.mark.parametrize(
    ("application", "parts"),
    [
        ("nothing", ["module 'nothing'"]),
        ("tasks.nothing:app", ["module 'tasks.nothing'"]),
        ("tasks:nothing", ["'nothing' in module 'tasks' is not an App", "tasks:app, tasks:other"]),
        ("tasks:not_an_app", ["'not_an_app' in module 'tasks' is not an App", "tasks:app"]),
        ("empty", ["'app' in module 'empty' is not an App", "the module has none"]),
        ("tasks/app.py", ["MODULE:APP"]),
        (":app", ["MODULE:APP"]),
    ],
)
def test_an_application_that_is_not_there_is_wrong_usage(
    project_nowhere: Project, application: str, parts: list[str]
) -> None:
    (project_nowhere.directory / "empty.py").touch()
    assert_refused(project_nowhere.run("worker", application), 2, *parts)


def test_the_installed_script_finds_modules_in_the_current_directory(project_nowhere: Project) -> None:
    # What an installation writes into bin: run as a file, Python looks for modules beside it, not here.
    script = project_nowhere.directory / "bin" / "underway"
    script.parent.mkdir()
    script.write_text("import sys\nfrom underway_pg.cli import main\nsys.exit(main())\n")
    ended = forks.run(
        [sys.executable, script, "worker", "tasks:nothing"],
        capture_output=True, text=True, timeout=60, cwd=project_nowhere.directory, env=environment_for(None),
    )  # fmt: skip
    assert_refused(Answer(ended.returncode, ended.stdout, ended.stderr), 2, "'nothing' in module 'tasks' is not an App")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 1\ny = 1 / 0\n", ["importing broken failed", "ZeroDivisionError", "broken.py:2"]),
        ("x = 1\nimport nothing_at_all\n", ["importing broken failed", "nothing_at_all", "broken.py:2"]),
        ("x = (\n", ["importing broken failed", "SyntaxError", "broken.py, line 1"]),
    ],
)
def test_a_module_that_fails_is_told_with_its_place(project_nowhere: Project, text: str, parts: list[str]) -> None:
    (project_nowhere.directory / "broken.py").write_text(text)
    answer = project_nowhere.run("worker", "broken")
    assert_refused(answer, 1, *parts, "python -c 'import broken'")


def test_sync_writes_what_an_application_declares(project: Project, underway: Underway) -> None:
    def sync(*options: str) -> set[str]:
        return set(project.run("sync", "tasks", *options).out.splitlines())

    first = {"created: queue mail", "created: queue slow", "created: schedule morning"}
    assert sync("--plan") >= first
    assert underway("queues", "--json").json == []
    assert sync() >= first
    assert sync() == {"the database is as the application declares it"}
    (project.directory / "tasks.py").write_text(TASKS.replace('name="morning"', 'name="in the evening"'))
    assert sync() == {"created: schedule in the evening", "vanished: schedule morning"}
    synced = project.run("sync", "tasks", "--prune", "--json").json["schedules"]
    assert synced == {
        "created": [],
        "updated": [],
        "unchanged": ["in the evening"],
        "vanished": [],
        "removed": ["morning"],
    }
    assert [each["schedule"] for each in underway("schedules", "--json").json] == ["in the evening"]


def test_a_wrong_schedule_is_told_with_its_place(project: Project) -> None:
    (project.directory / "tasks.py").write_text(TASKS.replace("mon-fri[", "mon-fry["))
    line = 1 + TASKS[: TASKS.index("@app.schedule")].count("\n")
    answer = project.run("sync", "tasks")
    assert_refused(answer, 1, f"tasks.py:{line}: ", "the day of week is 'mon-fry'")


def test_a_worker_without_a_database_asks_for_one(project_nowhere: Project) -> None:
    assert_refused(project_nowhere.run("worker", "tasks", database=None), 2, "--dsn", "DATABASE_URL", "App")


def test_a_worker_names_the_database_that_it_can_not_reach(project_nowhere: Project) -> None:
    assert_refused(project_nowhere.run("worker", "tasks"), 1, "127.0.0.1", "port 1", "refused")


def test_a_worker_without_the_schema_says_how_to_install_it(project_nowhere: Project, empty_database: str) -> None:
    assert_refused(project_nowhere.run("worker", "tasks", "--dsn", empty_database), 1, "`underway migrate`")


@pytest.mark.parametrize("options", [["--concurrency", "0"], ["--shutdown-timeout", "soon"], ["--log-level", "loud"]])
def test_settings_that_no_worker_can_have_are_wrong_usage(bare: Underway, options: list[str]) -> None:
    assert_refused(bare("worker", "tasks", *options), 2, options[0])


@pytest.mark.parametrize("option", [("--log-level", "debug"), ("--log-format", "json")], ids=" ".join)
def test_options_of_a_log_that_is_not_configured_are_wrong_usage(bare: Underway, option: tuple[str, str]) -> None:
    assert_refused(bare("worker", "tasks", "--no-log-config", *option), 2, option[0], "--no-log-config")


def test_a_health_host_without_a_port_is_wrong_usage(bare: Underway) -> None:
    assert_refused(bare("worker", "tasks", "--health-host", "127.0.0.1"), 2, "--health-port")


def test_a_queue_has_a_concurrency_of_its_own_where_one_is_given() -> None:
    assert parse_queues(["email", "reports"], 10) == ["email", "reports"]
    assert parse_queues(["email:20", "reports"], 10) == {"email": 20, "reports": 10}
    assert parse_queues(["a:b"], 10) == ["a:b"]
    assert parse_queues(["a:5:20"], 10) == {"a:5": 20}
    with pytest.raises(WrongUsage, match="at least 1"):
        parse_queues(["email:0"], 10)


def test_options_can_be_set_in_the_environment(
    project: Project, underway: Underway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "UNDERWAY_WORKER_CONCURRENCY" in underway("worker", "--help").out
    monkeypatch.setenv("UNDERWAY_VERSION", "1.0")  # an image may well be tagged so
    monkeypatch.setenv("UNDERWAY_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("UNDERWAY_WORKER_NAME", "of the environment")
    monkeypatch.setenv("UNDERWAY_WORKER_SHUTDOWN_TIMOUT", "5")
    monkeypatch.setenv("UNDERWAY_WORKER_XYZ", "5")
    for name in ("PORT", "PORT_80_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP"):
        monkeypatch.setenv(f"UNDERWAY_WORKER_{name}", "of a Service of Kubernetes")
    monkeypatch.setenv("UNDERWAY_WORKER_QUEUE", "mail slow")
    worker = project.start("worker", "tasks", "--name", "of the option")
    try:
        wait_until(lambda: underway("workers", "--json").json, "the worker is registered")
        (known,) = underway("workers", "--json").json
        assert (known["name"], known["concurrency"]) == ("of the option", 3)
        assert known["queues"] == ["mail", "slow"]
        worker.send_signal(signal.SIGTERM)
        answer = ended(worker)
        assert answer.code == 0
    finally:
        worker.kill()
    near = "; did you mean UNDERWAY_WORKER_SHUTDOWN_TIMEOUT?"
    warning = "underway: warning: no option has the environment variable UNDERWAY_WORKER_"
    assert [line.removeprefix(warning) for line in answer.err.splitlines() if line.startswith("underway: ")] == [
        f"SHUTDOWN_TIMOUT{near}", "XYZ; see underway worker --help",
    ]  # fmt: skip
    monkeypatch.setenv("UNDERWAY_WORKER_CONCURRENCY", "many")
    assert_refused(underway("worker", "tasks"), 2, "--concurrency")


def test_a_reader_that_has_had_enough_is_no_error(project_nowhere: Project) -> None:
    with project_nowhere.start("migrate", "--sql") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) in (0, 1)


def test_stop_asks_workers_to_stop(mail: Underway, connection: psycopg.Connection[Any]) -> None:
    connection.execute("select underway.register_worker(name, '{mail}') from unnest('{a,b}'::text[]) name")
    assert mail("stop", "--worker", 1).out == "1 worker asked to stop\n"
    assert [row[3] for row in mail("workers").cells()] == ["stopping", "busy"]
    assert mail("stop", "--queue", "mail", "--json").json == {"asked": 1}
    assert mail("stop", "--all").out == "0 workers asked to stop\n"
    assert_refused(mail("stop"), 2, "--worker ID, --queue NAME and --all")
    assert_refused(mail("stop", "--all", "--queue", "mail"), 2, "--worker ID, --queue NAME and --all")


# Batches


def test_batches_lists_how_far_they_are_and_cancel_ends_one(
    mail: Underway, connection: psycopg.Connection[Any]
) -> None:
    assert mail("batches").out.strip() == "no batches"
    connection.execute(
        """select underway.enqueue_batch('[{"queue": "mail"}, {"queue": "mail"}, {"queue": "mail"}]', name => 'letters',
            on_success => '{"queue": "mail"}')"""
    )
    complete_next(connection, None)
    (row,) = mail("batches").cells()
    assert row[:7] == ["1", "letters", "live", "33 %", "3", "2", "1"]
    (batch,) = mail("batches", "--json").json
    assert (batch["batch"], batch["succeeded"], batch["on_success"]) == (1, 1, 4)
    assert mail("batch", "cancel", 1).out == "batch 1: 2 tasks cancelled\n"
    assert mail("batch", "cancel", 1, "--json").json == {"cancelled": 0}
    assert mail("batches").cells()[0][2:4] == ["failed", "100 %"]
    assert_refused(mail("batch", "cancel", 7), 1, "batch 7 does not exist")


def test_enqueue_after_other_tasks(mail: Underway) -> None:
    mail("enqueue", "mail")
    mail("enqueue", "mail")
    assert mail("enqueue", "mail", "--after", 1, "--after", 2, "--after-failure", "fail").out == "3\n"
    assert mail("task", 3, "--json").json["state"] == "waiting"
    mail("cancel", 2)
    assert mail("task", 3, "--json").json["state"] == "failed"
