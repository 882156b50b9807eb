"""A dashboard of several databases: all in one, one of them, actions at their home, and one that is away."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.py.support import wait_until
from tests.servers import Server
from underway_pg import ConfigurationError
from underway_pg.connections import AsyncPool
from underway_pg.dashboard import Dashboard

# Where no server listens.
AWAY = "postgresql://somebody@127.0.0.1:1/app"

FIRST_OF_US = (1 << 44) + 1

LISTS = ("/", "/tasks", "/queues", "/jobs", "/workers", "/schedules", "/batches", "/audit")
SECTIONS = ("/failures", "/dead-letters", "/database", "/queues/one?name=mail", "/jobs/one?name=send",
            "/schedules/one?name=daily")  # fmt: skip

# Two ready tasks, one that succeeded and one that failed.
FILL = """
    select underway.create_queue('dead');
    select underway.create_queue('mail', dead_letter_queue => 'dead');
    select underway.register_job('send', 'mail');
    select underway.register_worker('worker', array['mail'], 4);
    select underway.schedule('daily', 'mail', '@daily');
    select underway.enqueue('mail', job => 'send') from generate_series(1, 3);
    select underway.complete(d.id, d.lease) from underway.dequeue('mail', 1) d;
    select underway.fail(d.id, d.lease, '{"type": "Bounced", "message": "no such user"}', false)
    from underway.dequeue('mail', 1) d;
    select underway.enqueue_batch('[{"queue": "mail"}]');
    select underway.record_action('ada', 'cli', 'pause_queue');
    select underway.maintain(null, true);
"""


@contextmanager
def filled(server: Server) -> Iterator[dict[str, str]]:
    with server.database() as eu, server.database() as us:
        for number, dsn in enumerate((eu, us)):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("select underway.set_shard(%s)", [number])
                for statement in FILL.split(";"):
                    connection.execute(statement.encode())
        yield {"eu": eu, "us": us}


@pytest.fixture(scope="module")
def dsns(server: Server) -> Iterator[dict[str, str]]:
    with filled(server) as dsns:
        yield dsns


@pytest.fixture
def own_dsns(server: Server) -> Iterator[dict[str, str]]:
    """The databases for a test that changes them."""
    with filled(server) as dsns:
        yield dsns


def opened(dsns: dict[str, str], **options: Any) -> TestClient:
    dashboard = Dashboard(dsns=dsns, **({"local": True} | options))
    return TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False)


@pytest.fixture
def both(dsns: dict[str, str]) -> Iterator[TestClient]:
    with opened(dsns) as client:
        yield client


@pytest.fixture
def without_us(dsns: dict[str, str]) -> Iterator[TestClient]:
    with opened({"eu": dsns["eu"], "us": AWAY}) as client:
        yield client


def links(text: str) -> list[str]:
    main = text.partition("<main")[2]
    return [link.replace("&amp;", "&") for link in re.findall(r'(?:href|action)="(/[^"]*)"', main)]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_the_rows_of_all_databases_with_the_name_of_each(both: TestClient, path: str) -> None:
    text = both.get(path).text
    assert "<th>Database</th>" in text
    for shard in ("eu", "us"):
        assert f'<td class="nowrap"><a href="/?shard={shard}">{shard}</a></td>' in text


@pytest.mark.parametrize("path", LISTS)
def test_one_of_several_is_shown_as_if_it_were_the_only_one(both: TestClient, path: str) -> None:
    text = both.get(path, params={"shard": "us"}).text
    assert "<th>Database</th>" not in text
    assert 'aria-current="true">us</a>' in text


@pytest.mark.parametrize("path", SECTIONS)
def test_other_pages_have_a_section_for_each_database(both: TestClient, path: str) -> None:
    answer = both.get(path)
    assert answer.status_code == 200
    assert re.findall(r'<section class="shard" aria-label="(\w+)">', answer.text) == ["eu", "us"]


def test_figures_are_added(both: TestClient) -> None:
    def ready(text: str) -> str:
        return re.findall(r"<dt>Ready</dt><dd><a [^>]*>([\d,]+)</a>", text)[0]

    assert [ready(both.get(path).text) for path in ("/?shard=eu", "/?shard=us", "/")] == ["2", "2", "4"]
    assert "<strong>10</strong> tasks" in both.get("/tasks").text
    assert "<dt>Alive</dt><dd>2</dd>" in both.get("/workers").text


@pytest.mark.parametrize("path", [*LISTS, *SECTIONS])
def test_each_link_stays_at_the_chosen_database(both: TestClient, path: str) -> None:
    text = both.get(path, params={**dict(re.findall(r"(\w+)=(\w+)", path)), "shard": "us"}).text
    elsewhere = re.compile(r"/(static|theme|logout)|[?&]shard=(us|eu)|/(tasks|workers|batches)/\d")
    choices = {"/", path.partition("?")[0], path}
    assert [link for link in links(text) if not elsewhere.search(link) and link not in choices] == []
    for form in re.findall(r'<form method="get".*?</form>', text, re.S):
        assert '<input type="hidden" name="shard" value="us">' in form


def test_an_id_leads_to_its_database(both: TestClient) -> None:
    for id, shard in ((1, "eu"), (FIRST_OF_US, "us")):
        answer = both.get(f"/tasks/{id}")
        assert answer.status_code == 200
        assert f'aria-current="true">{shard}</a>' in answer.text
    assert both.get(f"/tasks/{FIRST_OF_US}?shard=eu").status_code == 404  # as for a task that was moved to eu
    assert both.get(f"/tasks/{FIRST_OF_US}/raw/input").text == "{}"
    assert both.get(f"/tasks/{5 << 44}").status_code == 404
    assert "no database has the number 5" in both.get(f"/tasks/{5 << 44}").text


def post(client: TestClient, path: str, **fields: str) -> int:
    csrf = client.get("/queues").text.partition('name="csrf" value="')[2].partition('"')[0]
    return client.post(path, data={"csrf": csrf, "back": "/queues", **fields}).status_code


def value(dsn: str, sql: str) -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute(sql.encode()).fetchall()[0][0]


def test_an_action_goes_to_the_database_of_its_id_or_to_the_named_one(own_dsns: dict[str, str]) -> None:
    pending = "select id from underway.task_list where state = 'pending' and queue = 'mail' order by id limit 1"
    paused = "select paused_at is not null from underway.queue_stats where queue = 'mail'"
    with opened(own_dsns) as client:
        id = value(own_dsns["us"], pending)
        assert post(client, f"/tasks/{id}/cancel") == 303
        assert value(own_dsns["us"], f"select state from underway.task_info({id})") == "cancelled"
        assert post(client, "/queues/pause?shard=us", name="mail") == 303
        assert [value(dsn, paused) for dsn in own_dsns.values()] == [False, True]


def test_an_action_that_names_no_database_is_refused(both: TestClient, dsns: dict[str, str]) -> None:
    assert post(both, "/queues/pause", name="mail") == 400
    assert both.get("/queues/pause?name=mail").status_code == 400
    paused = "select count(paused_at) from underway.queue_stats"
    assert [value(dsn, paused) for dsn in dsns.values()] == [0, 0]


def test_many_tasks_are_changed_in_one_database(own_dsns: dict[str, str]) -> None:
    with opened(own_dsns) as client:
        assert 'name="all"' not in client.get("/tasks?state=failed").text
        assert 'name="all"' in client.get("/tasks?state=failed&shard=us").text
        preview = client.get("/tasks/act?all=retry&state=failed&shard=us").text
        form = preview.partition('action="/tasks/act/retry?shard=us"')[2]
        fields = {
            name: html.unescape(value)
            for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
        }
        started = client.post("/tasks/act/retry?shard=us", data=fields)
        assert started.status_code == 303
        failed = "select count(*) from underway.task_list where state = 'failed'"
        wait_until(lambda: value(own_dsns["us"], failed) == 0, "the failed task of us is retried")
        assert value(own_dsns["eu"], failed) == 1
        assert client.get(started.headers["location"]).status_code == 200


def test_an_unknown_database_is_not_found(both: TestClient) -> None:
    answer = both.get("/queues?shard=mars")
    assert answer.status_code == 404
    assert "There is no database mars. Use one of eu, us." in answer.text


def test_the_metrics_have_the_name_of_the_database(both: TestClient, dsns: dict[str, str]) -> None:
    text = both.get("/metrics").text
    for shard in ("eu", "us"):
        assert f'underway_queue_tasks{{queue="mail",shard="{shard}",state="ready"}} 2.0' in text
        assert f'underway_database_up{{shard="{shard}"}} 1.0' in text
    assert text.count("# TYPE underway_queue_tasks gauge") == 1
    with opened({"eu": dsns["eu"]}) as one:
        assert 'underway_queue_tasks{queue="mail",state="ready"} 2.0' in one.get("/metrics").text


# A database that is away


@pytest.mark.parametrize("path", [*LISTS, *SECTIONS])
def test_a_database_that_is_away_is_named_and_the_others_are_shown(without_us: TestClient, path: str) -> None:
    answer = without_us.get(path)
    assert answer.status_code == 200
    assert "us is missing on this page: it cannot be reached." in answer.text
    assert "127.0.0.1:1" not in answer.text
    assert "eu" in answer.text.partition("</nav>")[2]


def test_a_page_of_the_database_that_is_away_says_so(without_us: TestClient) -> None:
    for path in ("/queues?shard=us", f"/tasks/{FIRST_OF_US}"):
        answer = without_us.get(path)
        assert answer.status_code == 503
        assert "The dashboard cannot reach the database of this page." in answer.text
        assert "/?shard=eu" in answer.text or "/queues?shard=eu" in answer.text
    assert without_us.get("/tasks/1").status_code == 200


def test_where_no_database_answers_the_page_says_so() -> None:
    with opened({"eu": AWAY, "us": AWAY}) as client:
        assert client.get("/").status_code == 503


def test_a_database_that_is_away_does_not_delay_each_page(
    dsns: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    pool = AsyncPool.connection

    def connection(self: AsyncPool, timeout: float | None = None) -> Any:
        tried.append(self)
        return pool(self, timeout)

    monkeypatch.setattr(AsyncPool, "connection", connection)
    with opened({"eu": dsns["eu"], "us": AWAY}) as client:
        for _ in range(3):
            assert "us is missing on this page" in client.get("/workers").text
        away = client.app.databases.all["us"]  # type: ignore[attr-defined]
        assert tried.count(away._pool) == 1


def test_its_metrics_say_that_it_is_down(without_us: TestClient) -> None:
    text = without_us.get("/metrics").text
    assert 'underway_database_up{shard="us"} 0.0' in text
    assert 'underway_database_up{shard="eu"} 1.0' in text


@pytest.mark.parametrize("given", [{}, {"app_or_dsn": AWAY, "dsns": {"eu": AWAY}}, {"dsns": {}}])
def test_a_dashboard_needs_one_dsn_or_several(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="needs an App or a dsn, or else dsns"):
        Dashboard(local=True, **given)
