"""No other site can change anything: each action needs the token of its session and its origin; no GET changes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from starlette.testclient import TestClient

from underway_pg.dashboard import Dashboard

from . import places
from .data import Shop

# What any change would leave behind.
TRACES = """
    select
        (select count(*) from underway.audit),
        (select md5(string_agg(t::text, ',' order by t.id)) from underway.task t),
        (select md5(string_agg(q::text, ',' order by q.name)) from underway.queue q),
        (select md5(string_agg(s::text, ',' order by s.name)) from underway.schedule s),
        (select string_agg(w.stop_asked_at::text, ',' order by w.id) from underway.worker w)
"""


def traces(shop: Shop) -> object:
    with psycopg.connect(shop.dsn) as connection:
        return connection.execute(TRACES).fetchone()


@pytest.fixture
def client(shop: Shop) -> Iterator[TestClient]:
    dashboard = Dashboard(shop.dsn, local=True)
    with TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False) as client:
        yield client


def csrf_of(client: TestClient) -> str:
    """The token of the session of a client, as its pages have it."""
    token = client.get("/queues").text.partition('name="csrf" value="')[2].partition('"')[0]
    assert len(token) > 20
    return token


REQUESTS = {
    "without a token": ({}, {}),
    "with an empty token": ({"csrf": ""}, {}),
    "with a wrong token": ({"csrf": "0" * 64}, {}),
    "with characters that are not ASCII": ({"csrf": "ä" * 64}, {}),
    "with the token of another session": ({"csrf": "another"}, {}),
    "from another origin": ({"csrf": "right"}, {"origin": "https://evil.example"}),
    "from no origin, such as a sandboxed frame": ({"csrf": "right"}, {"origin": "null"}),
    "from another port": ({"csrf": "right"}, {"origin": "http://127.0.0.1:81"}),
    "from another site": ({"csrf": "right"}, {"sec-fetch-site": "cross-site"}),
    "from a neighbour of the site": ({"csrf": "right"}, {"sec-fetch-site": "same-site"}),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_forged_request_is_refused_by_every_action(client: TestClient, shop: Shop, request_: str) -> None:
    form, headers = REQUESTS[request_]
    right = csrf_of(client)
    tokens = {"right": right}
    if form.get("csrf") == "another":
        with TestClient(client.app, "http://127.0.0.1", client=("127.0.0.1", 5000)) as other:
            tokens["another"] = csrf_of(other)
        assert tokens["another"] != right
    data = {"name": "mail", "key": "k", **{name: tokens.get(text, text) for name, text in form.items()}}
    before = traces(shop)
    answers = {
        name: client.post(path, data=data, headers=headers).status_code
        for name, path in places.actions(client.app, shop).items()  # type: ignore[arg-type]
        if name != "login"
    }
    assert {name: status for name, status in answers.items() if status != 403} == {}
    assert traces(shop) == before


def test_the_same_request_with_the_right_token_is_accepted(client: TestClient, shop: Shop) -> None:
    token = csrf_of(client)
    for headers in (
        {},
        {"origin": "http://127.0.0.1"},
        {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"},
    ):
        assert client.post("/theme", data={"csrf": token, "theme": "dark"}, headers=headers).status_code == 303


def test_no_get_changes_anything(client: TestClient, shop: Shop) -> None:
    token = csrf_of(client)
    before = traces(shop)
    for path in places.actions(client.app, shop).values():  # type: ignore[arg-type]
        answer = client.get(path, params={"csrf": token, "name": "mail", "key": "k"})
        assert answer.status_code in (200, 400, 404, 405), path
    for paths in places.pages(shop).values():
        for path in paths:
            client.get(path)
            client.head(path)
    assert traces(shop) == before


def test_other_methods_are_refused(client: TestClient, shop: Shop) -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        assert client.request(method, "/queues/pause", headers={"origin": "http://127.0.0.1"}).status_code in (403, 405)


def test_another_name_of_this_machine_is_refused(client: TestClient) -> None:
    """A page elsewhere could let its own name lead here (DNS rebinding)."""
    for host in ("evil.example", "127.0.0.1.evil.example", "[::2]", "", "localhost.evil"):
        assert client.get("/", headers={"host": host}).status_code == 403
    for host in ("localhost", "127.0.0.1:8420", "[::1]:8420"):
        assert client.get("/", headers={"host": host}).status_code == 200


def test_an_action_leads_back_to_the_dashboard_only(own_shop: Shop) -> None:
    dashboard = Dashboard(own_shop.dsn, local=True)
    with TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False) as client:
        token = csrf_of(client)
        for back in (
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "javascript:alert(1)",
            "/\tx",
            "\\\\evil",
        ):
            answer = client.post("/queues/pause", data={"csrf": token, "name": "mail", "back": back})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
        answer = client.post("/queues/resume", data={"csrf": token, "name": "mail", "back": "/queues?x=1"})
        assert answer.headers["location"] == "/queues?x=1"


def test_every_response_forbids_frames_inline_scripts_and_guessing(client: TestClient) -> None:
    for path in ("/", "/tasks", "/nowhere", "/static/underway.js", "/static/nothing"):
        headers = client.get(path).headers
        policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
