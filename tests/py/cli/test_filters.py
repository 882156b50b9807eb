"""The filters of `underway tasks`, and the commands that act on the tasks that a filter selects."""

import signal
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests import forks
from tests.py.support import wait_until
from tests.py.test_cli import Underway, assert_refused, complete_next, environment_for, fail_next
from underway_pg.cli.filters import TaskFilter

Connection = psycopg.Connection[Any]


def ids(underway: Underway, *options: object) -> list[int]:
    answer = underway("tasks", *options, "--json")
    assert answer.code == 0, answer.err
    return [task["id"] for task in answer.json]


def enqueue(underway: Underway, *arguments: object) -> int:
    return int(underway("enqueue", *arguments).out)


@pytest.fixture
def several(mail: Underway, connection: Connection) -> dict[str, int]:
    """Tasks of all kinds, by names."""
    failed = enqueue(mail, "mail", '{"customer": 7}', "--job", "send", "--concurrency-key", "acme")
    fail_next(connection)
    succeeded = enqueue(mail, "mail", '{"customer": 8}', "--unique-key", "order 1")
    complete_next(connection, None)
    cancelled = enqueue(mail, "mail")
    mail("cancel", cancelled)
    mail("queue", "create", "slow")
    running = enqueue(mail, "slow", '{"vip": true}', "--job", "crunch")
    worker = connection.execute("select underway.register_worker('w', '{slow}', 1)").fetchall()[0][0]
    connection.execute("select underway.dequeue('slow', 1, %s)", [worker])
    pending = enqueue(mail, "slow", '{"vip": false}')
    (letter,) = ids(mail, "--dead-letters")
    return {
        "failed": failed, "letter": letter, "succeeded": succeeded, "cancelled": cancelled, "running": running,
        "pending": pending, "worker": worker,
    }  # fmt: skip


ALL = {"failed", "letter", "succeeded", "cancelled", "running", "pending"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ALL),
        (["--state", "failed", "--state", "cancelled"], {"failed", "cancelled"}),
        (["--queue", "slow"], {"running", "pending"}),
        (["--queue", "slow", "--queue", "dead"], {"running", "pending", "letter"}),
        (["--job", "crunch"], {"running"}),
        (["--key", "acme"], {"failed", "letter"}),
        (["--key", "order 1"], {"succeeded"}),
        (["--enqueued-after", "1h"], ALL),
        (["--enqueued-before", "1h"], set()),
        (["--finished-after", "1h"], {"failed", "succeeded", "cancelled"}),
        (["--finished-before", "2100-01-01T00:00:00Z", "--state", "failed"], {"failed"}),
        (["--error", "NO SUCH"], {"failed"}),
        (["--input", "$.customer ? (@ == 7)"], {"failed", "letter"}),
        (["--input", "$.vip"], {"running"}),
        (["--dead-letters"], {"letter"}),
        (["--queue", "mail", "--limit", "1"], {"cancelled"}),
        (["--limit", "1", "--all"], ALL),
    ],
    ids=lambda value: " ".join(value) or "everything" if isinstance(value, list) else "",
)
def test_tasks_lists_those_that_match(
    mail: Underway, several: dict[str, int], options: list[str], names: set[str]
) -> None:
    expected = sorted((several[name] for name in names), reverse=True)
    found = ids(mail, *options)
    if "--key" in options and "acme" in options:  # whether the letter keeps the key is not the filter's concern
        found = [id for id in found if id != several["letter"]]
        expected = [id for id in expected if id != several["letter"]]
    assert found == expected


def test_tasks_of_a_worker_are_listed(mail: Underway, several: dict[str, int]) -> None:
    assert ids(mail, "--worker", several["worker"]) == [several["running"]]


def test_a_table_of_tasks_shows_the_last_error(mail: Underway, several: dict[str, int]) -> None:
    assert "ValueError: no such address" in mail("tasks", "--state", "failed").out


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--state", "broken"], ["--state", "'failed'"]),
        (["--enqueued-after", "yesterday"], ["--enqueued-after", "'yesterday' is neither"]),
        (["--finished-before", "2030-01-01T00:00:00"], ["--finished-before", "neither a duration nor a time"]),
        (["--worker", "0"], ["--worker"]),
    ],
)
def test_a_filter_that_makes_no_sense_is_wrong_usage(bare: Underway, options: list[str], parts: list[str]) -> None:
    for command in ("tasks", "retry", "export"):
        assert_refused(bare(command, *options), 2, *parts)


def test_a_path_that_is_none_is_refused_with_an_example(mail: Underway) -> None:
    assert_refused(mail("tasks", "--input", "$.("), 1, "$.customer ? (@ == 7)")


def test_each_option_of_the_filter_is_in_the_help_of_each_command_that_selects(bare: Underway) -> None:
    for command in ("tasks", "cancel", "retry", "redrive", "delete", "export"):
        text = bare(command, "--help").out
        missing = [field.name for field in fields(TaskFilter) if f"--{field.name.replace('_', '-')}" not in text]
        assert missing == [], command


def test_a_filter_is_written_as_the_options_that_make_it() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    filter = TaskFilter(queue=["mail"], enqueued_after=timedelta(hours=2), finished_before=at, dead_letters=True)
    words = "--queue mail --enqueued-after 7200s --finished-before 2030-01-01T00:00:00+00:00 --dead-letters"
    assert str(filter) == words
    assert filter.conditions(at) == {
        "queue": ["mail"],
        "enqueued_after": "2029-12-31T22:00:00+00:00",
        "finished_before": "2030-01-01T00:00:00+00:00",
        "dead_letter": True,
    }


# Acting on what a filter selects


def states(connection: Connection) -> dict[str, int]:
    rows = connection.execute("select state::text, count(*) from underway.task_list group by 1").fetchall()
    return dict(rows)


def test_cancel_with_a_filter_cancels_what_matches(mail: Underway, connection: Connection) -> None:
    connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, '{1201}'))")
    enqueue(mail, "mail", '{"customer": 7}')
    answer = mail("cancel", "--queue", "mail", "--input", "$ ? (!exists(@.customer))", "--yes", "--json")
    done = {"changed": 1201, "unchanged": 0, "interrupted": False}
    assert (answer.code, answer.json) == (0, {"matched": 1201, "capped": False, **done})
    assert states(connection) == {"cancelled": 1201, "pending": 1}


@pytest.mark.parametrize(
    ("command", "options", "left"),
    [
        ("cancel", ["--queue", "mail"], {"cancelled": 4, "failed": 2, "succeeded": 1}),
        ("retry", ["--state", "failed"], {"pending": 5, "cancelled": 1, "succeeded": 1}),
        ("retry", ["--all"], {"pending": 6, "succeeded": 1}),
        ("delete", ["--state", "succeeded"], {"pending": 3, "cancelled": 1, "failed": 2}),
        ("delete", ["--all"], {"pending": 3}),
        ("delete", ["--queue", "mail", "--limit", "2"], {"pending": 3, "failed": 2}),
    ],
)
def test_an_action_changes_only_tasks_that_it_is_for(
    mail: Underway, connection: Connection, command: str, options: list[str], left: dict[str, int]
) -> None:
    connection.execute("select underway.create_queue('mail', dead_letter_queue => '')")
    for _ in range(2):
        enqueue(mail, "mail")
        fail_next(connection)
    enqueue(mail, "mail")
    complete_next(connection, None)
    mail("cancel", enqueue(mail, "mail"))
    for _ in range(3):
        enqueue(mail, "mail")
    # The three newest are pending, then a cancelled one, a succeeded one and two failed ones.
    answer = mail(command, *options, "--yes")
    assert answer.code == 0
    assert " not " not in answer.err  # no task was tried that cannot be changed
    assert states(connection) == left


def test_redrive_with_a_filter_moves_dead_letters_back(mail: Underway, connection: Connection) -> None:
    for job in ("send", "send", "other"):
        enqueue(mail, "mail", "--job", job)
        fail_next(connection)
    answer = mail("redrive", "--queue", "dead", "--job", "send", "--yes")
    assert (answer.code, answer.out) == (0, "2 tasks redriven\n")
    assert len(ids(mail, "--queue", "mail", "--state", "pending")) == 2
    assert len(ids(mail, "--queue", "dead", "--state", "pending")) == 1
    assert mail("redrive", "--all", "--yes").out == "1 task redriven\n"


def test_an_action_previews_and_asks_on_a_terminal(
    mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, '{7}'))")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers: list[tuple[str, bool]] = []

    def confirm(text: str, err: bool) -> bool:
        answers.append((text, err))
        return len(answers) > 1

    monkeypatch.setattr("typer.confirm", confirm)
    refused = mail("cancel", "--queue", "mail")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("7 tasks to be cancelled: --queue mail\n")
    assert refused.err.count(" mail ") == 5  # tasks
    assert states(connection) == {"pending": 7}
    assert mail("cancel", "--queue", "mail").out == "7 tasks cancelled\n"
    assert answers == [("cancel 7 tasks?", True)] * 2


def test_without_a_terminal_an_action_with_filters_needs_yes(bare: Underway) -> None:
    assert_refused(bare("retry", "--queue", "mail"), 2, "--yes", "--dry-run")


def test_tasks_that_are_enqueued_after_the_question_are_not_changed(
    mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(mail, "mail")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def confirm(text: str, err: bool) -> bool:
        connection.execute("select underway.enqueue('mail')")
        return True

    monkeypatch.setattr("typer.confirm", confirm)
    assert mail("cancel", "--queue", "mail").out == "1 task cancelled\n"
    assert states(connection) == {"pending": 1, "cancelled": 1}


def test_a_dry_run_shows_which_tasks_and_changes_nothing(mail: Underway, connection: Connection) -> None:
    (id,) = connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, '{1}'))").fetchall()[0][0]
    answer = mail("cancel", "--queue", "mail", "--dry-run")
    assert answer.out.startswith("1 task to be cancelled: --queue mail\n")
    assert str(id) in answer.out
    assert mail("cancel", id, "--dry-run").out.startswith(f"1 task to be cancelled: {id}\n")
    found = mail("cancel", "--queue", "mail", "--dry-run", "--json").json
    none = {"changed": 0, "unchanged": 0, "interrupted": False}
    assert found == {"matched": 1, "capped": False, **none, "first": [id]}
    assert states(connection) == {"pending": 1}


def test_an_error_in_the_middle_says_what_was_done_before(mail: Underway, connection: Connection) -> None:
    connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, '{700}'))")
    connection.execute("""
        create function refuse() returns trigger language plpgsql as
            $$ begin
                if exists (select from underway.audit where action = 'cancel') then raise 'full'; end if;
                return new;
            end $$;
        create trigger refuse before insert on underway.audit for each row execute function refuse()""")
    answer = mail("cancel", "--queue", "mail", "--yes")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines()[-2:] == [
        "underway: 500 tasks cancelled before this error:", "underway: the database reported an error: full",
    ]  # fmt: skip
    assert states(connection) == {"cancelled": 500, "pending": 200}


def test_no_task_that_matches_is_no_error(mail: Underway) -> None:
    answer = mail("cancel", "--queue", "mail", "--yes")
    assert (answer.code, answer.out, answer.err) == (0, "", "no task: --queue mail\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["which tasks?", "--all"]),
        (["--limit", "5"], ["which tasks?", "--all"]),
        (["1", "--queue", "mail"], ["not both", "1", "--queue mail"]),
        (["1", "--all"], ["not both", "--all"]),
        (["1", "--limit", "1"], ["not both", "--limit"]),
        (["--all", "--queue", "mail"], ["--all means all tasks"]),
    ],
)
def test_ids_and_filters_are_not_given_together_and_one_of_them_is(
    bare: Underway, arguments: list[str], parts: list[str]
) -> None:
    for command in ("cancel", "retry", "redrive", "delete"):
        assert_refused(bare(command, *arguments, "--yes"), 2, *parts)


def test_a_state_that_the_action_is_not_for_is_wrong_usage(bare: Underway) -> None:
    assert_refused(bare("cancel", "--state", "failed", "--yes"), 2, "pending", "in progress", "waiting", "--state")
    assert_refused(bare("retry", "--state", "succeeded", "--yes"), 2, "failed or cancelled")


def test_delete_by_ids_refuses_live_tasks(mail: Underway, connection: Connection) -> None:
    done, live = enqueue(mail, "mail"), enqueue(mail, "mail")
    complete_next(connection, None)
    answer = mail("delete", done, live)
    assert (answer.code, answer.out) == (1, f"task {done}: deleted\n")
    assert f"task {live} is pending" in answer.err
    assert_refused(mail("task", done), 1, f"task {done} does not exist")


def audit(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("select actor, source, action, details from underway.audit_list order by id").fetchall()


def test_who_changed_what_is_recorded(mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "alice")
    connection.execute("delete from underway.audit")
    id = enqueue(mail, "mail")
    mail("cancel", id)
    mail("retry", "--queue", "mail", "--yes")
    mail("reprioritize", id, -3)
    mail("queue", "pause", "mail")
    mail("cancel", 999_999)  # changes nothing
    found = audit(connection)
    assert [row[:3] for row in found] == [
        ("alice", "cli", "cancel"), ("alice", "cli", "retry"), ("alice", "cli", "reprioritize"),
        ("alice", "cli", "pause_queue"),
    ]  # fmt: skip
    assert found[0][3] == {"tasks": [id]}
    assert found[1][3] == {"tasks": [id], "filter": {"queue": ["mail"], "state": ["failed", "cancelled"]}}


def test_a_user_without_a_name_is_recorded_as_that_of_the_database(
    mail: Underway, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    mail("cancel", enqueue(mail, "mail"))
    assert audit(connection)[-1][:3] == (connection.info.user, "cli", "cancel")


# Interruptions, in a process of their own


def started(database: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "underway_pg", *map(str, arguments)]
    return forks.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_for(database)
    )


@pytest.mark.parametrize(("presses", "done"), [(1, 1500), (2, 1000)])
def test_ctrl_c_ends_an_action_after_its_transaction_and_a_second_one_at_once(
    database: str, mail: Underway, connection: Connection, presses: int, done: int
) -> None:
    connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, '{1700}'))")
    # The third chunk waits for this lock, and Ctrl-C arrives meanwhile.
    with psycopg.connect(database) as other:
        third = "select id from underway.task order by id desc offset 1200 limit 1"
        other.execute(f"select from underway.task where id = ({third}) for update".encode())
        process = started(database, "cancel", "--queue", "mail", "--yes")
        waiting = "select from pg_locks l join pg_stat_activity a using (pid) where not l.granted"
        wait_until(lambda: connection.execute(waiting).fetchall(), "the third chunk waits")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping after these tasks" not in process.stderr.readline():
            assert process.poll() is None
        if presses == 2:
            process.send_signal(signal.SIGINT)
            wait_until(lambda: not connection.execute(waiting).fetchall(), "the third chunk does not wait any more")
        other.rollback()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, f"{done:,} tasks cancelled\n")
    assert f"stopped by Ctrl-C: {done:,} tasks cancelled, the rest is unchanged" in err
    assert states(connection) == {"cancelled": done, "pending": 1700 - done}
