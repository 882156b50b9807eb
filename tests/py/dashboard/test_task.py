"""The page of one task and its actions."""

import html
import json
import re
import shlex
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from underway_pg.cli import command as command_line
from underway_pg.dashboard import Dashboard
from underway_pg.dashboard.pages.task_actions import actions_of

HERE = {"Sec-Fetch-Site": "same-origin"}
ERROR = json.dumps({"type": "ValueError", "message": "no such address", "traceback": "Traceback: here"})


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('letters')")
        connection.execute("select underway.create_queue('mail', dead_letter_queue => 'letters')")
        yield connection


@pytest.fixture
def client(database: str) -> Iterator[TestClient]:
    dashboard = Dashboard(database, local=True)
    yield TestClient(dashboard, base_url="http://127.0.0.1", client=("127.0.0.1", 1), follow_redirects=False)
    dashboard.close()


def task_in(connection: psycopg.Connection[Any], state: str) -> int:
    """The id of a task of the queue mail in a state."""

    def value(sql: str, *parameters: Any) -> Any:
        return connection.execute(sql, parameters).fetchall()[0][0]  # type: ignore[call-overload]

    id = int(value("select underway.enqueue('mail', '{\"to\": \"ada\"}')"))
    if state == "waiting":
        return int(value("select underway.enqueue('mail', after => array[%s::bigint])", id))
    if state == "cancelled":
        value("select underway.cancel(%s)", id)
    if state in ("in_progress", "succeeded", "failed", "letter"):
        lease = value("select lease from underway.dequeue('mail', 1)")
        if state == "succeeded":
            connection.execute("select underway.complete(%s, %s, '{\"sent\": true}')", [id, lease])
        if state in ("failed", "letter"):
            connection.execute("select underway.fail(%s, %s, %s::jsonb, retryable => false)", [id, lease, ERROR])
    return int(value("select max(id) from underway.task_list where queue = 'letters'")) if state == "letter" else id


STATES = {
    "pending": ["Cancel", "Reschedule", "Change the priority", "Run again"],
    "in_progress": ["Cancel", "Run again"],
    "waiting": ["Cancel", "Run again"],
    "succeeded": ["Run again", "Delete"],
    "failed": ["Retry", "Run again", "Delete"],
    "cancelled": ["Retry", "Run again", "Delete"],
    "letter": ["Redrive", "Cancel", "Reschedule", "Change the priority", "Run again"],
}


@pytest.mark.parametrize("state", STATES)
def test_a_task_has_the_actions_of_its_state_and_their_sql_and_commands_work(
    client: TestClient, connection: psycopg.Connection[Any], state: str
) -> None:
    id = task_in(connection, state)
    page = client.get(f"/tasks/{id}").text
    commands = page[page.index('id="commands"') :]
    assert re.findall(r"<h3>(.*?)</h3>", commands) == STATES[state]
    for sql in re.findall(r'<code id="sql-\w+">(.*?)</code>', commands):
        with connection.transaction(force_rollback=True):
            connection.execute(html.unescape(sql))
    known = command_line().commands
    for command in re.findall(r'<code id="command-\w+">(.*?)</code>', commands):
        program, name, number, *_ = shlex.split(html.unescape(command))
        assert (program, name in known, int(number)) == ("underway", True, id)


def test_each_action_has_a_command() -> None:
    task = SimpleNamespace(id=1, state="pending", dead_letter="{}")
    assert all(each.command.startswith("underway ") for each in actions_of(task))


def csrf(client: TestClient, path: str) -> str:
    return re.findall(r'name="csrf" value="(\w+)"', client.get(path).text)[0]


@pytest.mark.parametrize(
    ("state", "action", "data", "check", "expected"),
    [
        ("failed", "retry", {}, "select state::text from underway.task_info(%s)", "pending"),
        ("pending", "cancel", {}, "select state::text from underway.task_info(%s)", "cancelled"),
        ("succeeded", "delete", {}, "select count(*) from underway.task_info(%s)", 0),
        ("letter", "redrive", {}, "select count(*) from underway.task_list where id = %s and queue = 'letters'", 0),
        ("pending", "reprioritize", {"priority": "7"}, "select priority from underway.task_info(%s)", 7),
        (
            "pending", "reschedule", {"run_at": "2040-01-31 09:00"},
            "select ready_at = '2040-01-31 09:00Z' from underway.task_info(%s)", True,
        ),
        (
            "pending", "reschedule", {"delay": "1h"},
            "select ready_at - now() between '59 min' and '61 min' from underway.task_info(%s)", True,
        ),
        ("succeeded", "again", {"input": '{"to": "grace"}'}, "select max(id) = %s + 1 from underway.task_list", True),
    ],
)  # fmt: skip
def test_an_action_does_what_it_says_and_is_recorded(
    client: TestClient, connection: psycopg.Connection[Any], state: str, action: str, data: dict[str, str], check: str,
    expected: Any,
) -> None:  # fmt: skip
    id = task_in(connection, state)
    form = {"csrf": csrf(client, f"/tasks/{id}"), "back": f"/tasks/{id}", **data}
    response = client.post(f"/tasks/{id}/{action}", data=form, headers=HERE)
    assert response.status_code == 303
    assert 'class="flash ok"' in client.get("/tasks").text
    assert connection.execute(check, [id]).fetchall()[0][0] == expected  # type: ignore[call-overload]
    records = connection.execute("select (details ->> 'id')::bigint from underway.audit_list").fetchall()
    assert records == [(id,)]


@pytest.mark.parametrize(
    ("state", "action", "data", "message"),
    [
        ("succeeded", "retry", {}, "succeeded"),
        ("pending", "reprioritize", {"priority": "1000"}, "1000"),
        ("pending", "reprioritize", {"priority": "high"}, "give a whole number"),
        ("pending", "reschedule", {"run_at": "tomorrow"}, "is not a time"),
        ("pending", "reschedule", {"delay": ""}, "no time was given"),
        ("pending", "redrive", {}, "was not moved"),
    ],
)
def test_an_action_that_is_refused_says_why_and_is_not_recorded(
    client: TestClient, connection: psycopg.Connection[Any], state: str, action: str, data: dict[str, str], message: str
) -> None:
    id = task_in(connection, state)
    form = {"csrf": csrf(client, f"/tasks/{id}"), **data}
    assert client.post(f"/tasks/{id}/{action}", data=form, headers=HERE).status_code == 303
    page = client.get("/tasks").text
    flash = re.findall(r'class="flash bad" role="alert">(.*?)</p>', page)
    assert flash
    assert message in html.unescape(flash[0])
    assert connection.execute("select count(*) from underway.audit_list").fetchall() == [(0,)]


def test_the_timeline_leads_from_the_enqueue_to_the_finish(
    client: TestClient, connection: psycopg.Connection[Any]
) -> None:
    id = task_in(connection, "failed")
    page = client.get(f"/tasks/{id}").text
    timeline = page[page.index('<ol class="timeline">') : page.index("</ol>")]
    events = re.findall(r"<li class=\"\w+\"><p>(.*?)</p>", timeline)
    assert events == ["Enqueued", "Attempt 1 started", "Attempt 1 failed: ValueError", "Failed permanently"]
    assert "Traceback: here" in page


def test_a_task_that_waits_shows_why_and_leads_to_the_other(
    client: TestClient, connection: psycopg.Connection[Any]
) -> None:
    id = task_in(connection, "waiting")
    page = client.get(f"/tasks/{id}").text
    assert "waits for tasks that are not final" in page
    assert f'href="/tasks/{id - 1}"' in page
    assert "this task waits for it" in page
