"""Acting on many tasks: the preview, transactions of bounded size, progress, and stopping."""

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.py.support import wait_until
from underway_pg.dashboard import Dashboard
from underway_pg.dashboard import bulk as bulk_module

HERE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('mail')")
        yield connection


@pytest.fixture
def client(database: str) -> Iterator[TestClient]:
    dashboard = Dashboard(database, local=True)
    client = TestClient(dashboard, base_url="http://127.0.0.1", client=("127.0.0.1", 1), follow_redirects=False)
    with client:
        yield client
    dashboard.close()


def enqueue(connection: psycopg.Connection[Any], count: int) -> None:
    connection.execute("select underway.enqueue_many('mail', array_fill('{}'::jsonb, array[%s]))", [count])


def states(connection: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(connection.execute("select state::text, count(*) from underway.task_list group by state").fetchall())


def fields(page: str) -> dict[str, str]:
    form = page[page.index('<form method="post" action="/tasks/act') :]
    return {
        name: value.replace("&#34;", '"').replace("&quot;", '"')
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    }


def start(client: TestClient, operation: str, **query: Any) -> str:
    page = client.get("/tasks/act", params={"all": operation, **query}).text
    response = client.post(f"/tasks/act/{operation}", data=fields(page), headers=HERE)
    assert response.status_code == 303
    return str(response.headers["location"])


def finished(client: TestClient, progress: str) -> str:
    """The page of an operation when that has ended."""

    def page() -> str:
        text = client.get(progress).text
        return "" if "Tasks are being" in text else text

    return wait_until(page, "the operation has ended")


def test_all_that_match_are_changed_in_transactions_of_500_and_recorded(
    client: TestClient, connection: psycopg.Connection[Any]
) -> None:
    enqueue(connection, 1201)
    connection.execute("select underway.enqueue('mail', '{}', job => 'other')")
    page = client.get("/tasks/act", params={"all": "cancel", "queue": "mail"}).text
    assert "Cancel 1,202 tasks?" in page
    progress = start(client, "cancel", queue="mail")
    page = finished(client, progress)
    assert "1,202 tasks cancelled" in page
    assert "1,202 of 1,202 cancelled" in page
    assert states(connection) == {"cancelled": 1202}
    records = connection.execute("select action, details from underway.audit_list order by id").fetchall()
    assert {action for action, _ in records} == {"cancel_many"}
    assert sorted(len(details.get("tasks", [])) for _, details in records) == [0, 202, 500, 500]
    assert len({task for _, details in records for task in details.get("tasks", [])}) == 1202


def test_a_task_that_is_enqueued_after_the_preview_is_left_alone(
    client: TestClient, connection: psycopg.Connection[Any]
) -> None:
    enqueue(connection, 3)
    page = client.get("/tasks/act", params={"all": "cancel"}).text
    enqueue(connection, 2)
    response = client.post("/tasks/act/cancel", data=fields(page), headers=HERE)
    finished(client, response.headers["location"])
    assert states(connection) == {"cancelled": 3, "pending": 2}


def test_only_the_selected_tasks_are_changed(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    enqueue(connection, 5)
    page = client.get("/tasks/act", params={"selected": "cancel", "task": ["1", "4"], "queue": "mail"}).text
    assert "Cancel 2 tasks?" in page
    response = client.post("/tasks/act/cancel", data=fields(page), headers=HERE)
    finished(client, response.headers["location"])
    cancelled = connection.execute("select array_agg(id order by id) from underway.task_list where state = 'cancelled'")
    assert cancelled.fetchall() == [([1, 4],)]


@pytest.mark.parametrize("operation", ["retry", "delete"])
def test_an_operation_changes_only_tasks_in_its_states(
    client: TestClient, connection: psycopg.Connection[Any], operation: str
) -> None:
    enqueue(connection, 4)
    connection.execute("select underway.cancel(1), underway.cancel(2)")
    progress = start(client, operation)
    assert "2 of 2" in finished(client, progress)
    assert states(connection) == ({"pending": 4} if operation == "retry" else {"pending": 2})


def test_nothing_to_do_is_said_before(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    enqueue(connection, 1)
    assert "Nothing to retry" in client.get("/tasks/act", params={"all": "retry"}).text
    assert "Nothing to retry" in client.get("/tasks/act", params={"all": "retry", "state": "pending"}).text
    assert client.get("/tasks/act", params={"selected": "retry"}).status_code == 400


def test_an_operation_can_be_stopped(
    client: TestClient, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_module, "_CHUNK", 1)
    enqueue(connection, 500)
    progress = start(client, "cancel")
    page = client.get(progress).text
    token = re.findall(r'name="csrf" value="(\w+)"', page)[0]
    assert client.post(f"/tasks/act/cancel/{progress.rsplit('/', 1)[1]}/stop", data={"csrf": token}, headers=HERE)
    assert "Stopped:" in finished(client, progress)
    assert states(connection)["pending"] > 0


def test_an_operation_that_fails_says_why(
    client: TestClient, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(connection, 2)
    page = client.get("/tasks/act", params={"all": "cancel"}).text
    data = {**fields(page), "filter": json.dumps({"state": ["pending"], "colour": "red"})}
    response = client.post("/tasks/act/cancel", data=data, headers=HERE)
    page = finished(client, response.headers["location"])
    assert "Failed: 0 tasks cancelled" in page
    assert "colour" in page


def test_an_operation_that_another_process_runs_is_not_found(client: TestClient) -> None:
    response = client.get("/tasks/act/progress/abc")
    assert response.status_code == 404
    assert "Audit" in response.text
