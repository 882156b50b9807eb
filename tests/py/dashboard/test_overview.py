"""The overview: what needs attention, and its figures."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.py.support import wait_until
from underway_pg.dashboard import Dashboard


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('letters')")
        connection.execute("select underway.create_queue('mail', dead_letter_queue => 'letters')")
        yield connection


@pytest.fixture
def client(database: str) -> Iterator[TestClient]:
    dashboard = Dashboard(database, local=True)
    yield TestClient(dashboard, base_url="http://127.0.0.1", client=("127.0.0.1", 1))
    dashboard.close()


def findings(client: TestClient) -> dict[str, str]:
    """The titles of what needs attention, with their links."""
    page = client.get("/").text
    part = page[page.index('aria-label="Needs attention"') : page.index('<div class="grid charts">')]
    return dict(re.findall(r"<strong>(.*?)</strong>.*?<a href=\"(.*?)\"", part, re.S))


def test_all_is_well_without_a_reason_to_worry(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    assert findings(client) == {}
    assert "Nothing. Queues move" in client.get("/").text


def test_a_queue_without_a_worker_and_a_paused_one_are_found_while_they_have_work(
    client: TestClient, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("select underway.enqueue('mail')")
    assert findings(client) == {"No worker serves queue mail": "/workers"}
    connection.execute("select underway.pause_queue('mail')")
    assert findings(client) == {"Queue mail is paused": "/queues/one?name=mail"}


def test_a_queue_that_is_behind_is_found(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    connection.execute("select underway.enqueue('mail')")
    connection.execute("update underway.task set ready_at = ready_at - interval '10 minutes'")
    connection.execute("select underway.register_worker('w', array['mail'], 4)")
    assert findings(client) == {"Queue mail is behind": "/tasks?queue=mail&amp;state=pending"}


def test_dead_letters_are_found_and_are_no_backlog(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    connection.execute("select underway.enqueue('mail')")
    connection.execute(
        """select underway.fail(d.id, d.lease, '{"type": "E"}', retryable => false)
        from underway.dequeue('mail', 1) d"""
    )
    assert findings(client) == {"Dead letters": "/dead-letters"}
    ready = re.search(r"<dt>Ready</dt><dd>\s*<a[^>]*>(\d+)", client.get("/").text)
    assert ready
    assert ready[1] == "0"


def test_a_lost_worker_is_found(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    connection.execute("select underway.register_worker('w', array['mail'], 4)")
    connection.execute("update underway.worker set seen_at = seen_at - interval '5 minutes'")
    assert findings(client) == {"Worker w is lost": "/workers"}


def test_a_failing_schedule_is_found(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    connection.execute("select underway.create_queue('old')")
    connection.execute("select underway.schedule('report', 'old', '* * * * * *')")
    connection.execute("select underway.drop_queue('old')")

    def has_failed() -> Any:
        connection.execute("select underway.run_schedules()")
        return connection.execute(
            "select last_error from underway.schedule_stats where last_error is not null"
        ).fetchone()

    wait_until(has_failed, "the schedule has failed")
    assert findings(client) == {"Schedule report fails": "/schedules/one?name=report"}


def test_an_unknown_queue_is_not_found(client: TestClient, connection: psycopg.Connection[Any]) -> None:
    response = client.get("/", params={"queue": "<b>"})
    assert response.status_code == 404
    assert "There is no queue named &lt;b&gt;." in response.text


@pytest.mark.parametrize("span", ["1h", "6h", "24h", "7d", "30d"])
def test_each_span_has_its_charts(client: TestClient, connection: psycopg.Connection[Any], span: str) -> None:
    page = client.get("/", params={"span": span, "queue": "mail"}).text
    titles = re.findall(r'<figcaption class="chart-head"><h2>(.*?)</h2>', page)
    assert titles == ["Throughput", "Failures", "Run time", "Waiting time", "Backlog", "Oldest ready task"]
    assert f'aria-current="true">{span}</a>' in page
