"""Who may see the dashboard, who may change something, and what other sites can do: nothing."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import underway_pg as underway
from underway_pg.dashboard import Dashboard, User, security
from underway_pg.dashboard.security import _ATTEMPTS

HOST = "http://127.0.0.1:8420"
HERE = {"Sec-Fetch-Site": "same-origin"}

Make = Callable[..., TestClient]


@pytest.fixture
def queue(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select underway.create_queue('mail')")
        yield connection


@pytest.fixture
def make(database: str, queue: psycopg.Connection[Any]) -> Iterator[Make]:
    """A client of a dashboard with these settings. `at` is the address that it asks, `client` where it is."""
    made: list[Dashboard] = []

    def make(*, at: str = HOST, client: str = "127.0.0.1", wrap: Any = None, **settings: Any) -> TestClient:
        made.append(Dashboard(settings.pop("dsn", database), **settings))
        app = wrap(made[-1]) if wrap else made[-1]
        return TestClient(app, base_url=at, client=(client, 50000), follow_redirects=False)

    yield make
    for dashboard in made:
        dashboard.close()


def csrf(client: TestClient, path: str = "/queues") -> str:
    found = re.search(r'name="csrf" value="(\w+)"', client.get(path).text)
    assert found
    return found[1]


def pause(client: TestClient, token: str | None = None, **headers: str) -> Any:
    token = csrf(client) if token is None else token
    return client.post("/queues/pause", data={"csrf": token, "back": "/queues", "name": "mail"}, headers=headers)


def is_paused(queue: psycopg.Connection[Any]) -> bool:
    row = queue.execute("select paused_at is not null from underway.queue_stats where queue = 'mail'").fetchone()
    assert row
    return bool(row[0])


def sign_in(client: TestClient, secret: str, **more: str) -> Any:
    return client.post("/login", data={"csrf": csrf(client, "/login"), "secret": secret, **more}, headers=HERE)


def test_a_dashboard_needs_something_that_decides_who_may_see_it(database: str) -> None:
    with pytest.raises(underway.ConfigurationError, match="authenticate, token or password"):
        Dashboard(database)


# This machine alone


def test_a_local_dashboard_serves_this_machine_and_records_who_acted(
    make: Make, queue: psycopg.Connection[Any]
) -> None:
    client = make(local=True)
    response = pause(client, **HERE)
    assert (response.status_code, response.headers["location"]) == (303, "/queues")
    assert "Queue mail is paused" in client.get("/queues").text
    assert is_paused(queue)
    row = queue.execute("select source, action, details ->> 'queue' from underway.audit_list").fetchall()
    assert row == [("dashboard", "pause_queue", "mail")]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "localhost.evil", "[::2]", ""]
)
def test_a_name_that_was_made_to_point_to_this_machine_is_refused(make: Make, host: str) -> None:
    response = make(local=True).get("/", headers={"Host": host})
    assert response.status_code == 403
    assert "this machine alone" in response.text
    assert "Needs attention" not in response.text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8420", "127.0.0.1:8420", "127.8.8.8", "[::1]:8420", "shop.localhost"]
)
def test_the_names_of_this_machine_are_served(make: Make, host: str) -> None:
    assert make(local=True).get("/queues", headers={"Host": host}).status_code == 200


def test_a_request_from_another_machine_or_through_a_proxy_is_refused_by_a_local_dashboard(make: Make) -> None:
    assert make(local=True, client="10.0.0.7").get("/").status_code == 403
    assert make(local=True).get("/", headers={"X-Forwarded-For": "10.0.0.7"}).status_code == 403
    assert make(local=True).get("/", headers={"Forwarded": "for=10.0.0.7"}).status_code == 403


# Tokens, passwords and sessions


@pytest.mark.parametrize("path", ["/", "/tasks", "/tasks/1", "/queues", "/audit", "/database", "/tasks/1/raw/input"])
def test_a_visitor_signs_in_before_any_page(make: Make, path: str) -> None:
    response = make(password="tulip").get(path)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/login?next=%2F")


def test_a_password_signs_in_and_leads_back_to_the_page(make: Make) -> None:
    client = make(password="tulip", at="http://dashboard.example")
    response = sign_in(client, "tulip", next="/queues?x=1", name="  Ada \n Lovelace ")
    assert (response.status_code, response.headers["location"]) == (303, "/queues?x=1")
    page = client.get("/queues")
    assert "Ada Lovelace" in page.text
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "tulip" not in cookie
    assert "secure" not in cookie
    client.post("/logout", data={"csrf": csrf(client)}, headers=HERE)
    assert client.get("/queues").status_code == 303


def test_a_cookie_is_secure_where_the_page_is(make: Make) -> None:
    response = make(password="tulip", at="https://dashboard.example").get("/login")
    assert "secure" in response.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"]
)
def test_signing_in_leads_to_no_other_site(make: Make, target: str) -> None:
    assert sign_in(make(password="tulip"), "tulip", next=target).headers["location"] == "/"


def test_a_wrong_password_is_refused_and_tries_are_limited(make: Make) -> None:
    client = make(password="tulip", token="t0ken")
    for _ in range(_ATTEMPTS):
        response = sign_in(client, "rose")
        assert response.status_code == 401
        assert "underway_session" not in response.headers.get("set-cookie", "")
    for response in (sign_in(client, "tulip"), client.get("/", headers={"Authorization": "Bearer t0ken"})):
        assert response.status_code == 429
        assert "Too many wrong attempts" in response.text
    assert client.get("/queues").status_code == 303


def test_a_token_opens_pages_for_programs_and_never_from_the_address(
    make: Make, queue: psycopg.Connection[Any]
) -> None:
    client = make(token="t0ken", read_only=False)
    assert client.get("/queues", headers={"Authorization": "Bearer t0ken"}).status_code == 200
    assert client.get("/queues", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/queues?token=t0ken").status_code == 303
    # No browser adds this header by itself, so no token of a form is needed.
    assert (
        client.post("/queues/pause", data={"name": "mail"}, headers={"Authorization": "Bearer t0ken"}).status_code
        == 303
    )
    assert is_paused(queue)


def test_a_password_is_no_token_and_an_empty_secret_opens_nothing(make: Make) -> None:
    client = make(password="tulip")
    assert client.get("/", headers={"Authorization": "Bearer tulip"}).status_code == 401
    assert client.get("/", headers={"Authorization": "Bearer "}).status_code == 401
    assert sign_in(client, "").status_code == 401


def test_a_session_that_was_changed_or_signed_for_another_password_is_no_session(make: Make) -> None:
    client, other = make(password="tulip"), make(password="rose")
    sign_in(client, "tulip")
    cookie = client.cookies["underway_session"]
    assert client.get("/queues").status_code == 200
    for forged in (cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), "x" + cookie, cookie.split(".")[0], "", "."):
        client.cookies.set("underway_session", forged, domain="127.0.0.1.local", path="/")
        response = make(password="tulip").get("/queues", headers={"Cookie": f"underway_session={forged}"})
        assert response.status_code == 303
    assert other.get("/queues", headers={"Cookie": f"underway_session={cookie}"}).status_code == 303
    # Another process with the same secrets knows it.
    assert make(password="tulip").get("/queues", headers={"Cookie": f"underway_session={cookie}"}).status_code == 200


def test_a_session_ends(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make(password="tulip")
    sign_in(client, "tulip")
    cookie = client.cookies["underway_session"]
    monkeypatch.setattr("underway_pg.dashboard.security.time.time", lambda: 4_000_000_000.0)
    assert client.get("/queues", headers={"Cookie": f"underway_session={cookie}"}).status_code == 303


def test_signing_in_gives_a_new_session(make: Make) -> None:
    client = make(password="tulip")
    before = csrf(client, "/login")
    sign_in(client, "tulip")
    assert csrf(client) != before


def test_another_site_cannot_sign_a_visitor_in(make: Make) -> None:
    client = make(password="tulip")
    data = {"csrf": csrf(client, "/login"), "secret": "tulip"}
    assert client.post("/login", data=data, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/login", data={**data, "csrf": "0" * 64}, headers=HERE).status_code == 403


def test_live_updates_need_a_session_too(make: Make) -> None:
    client = make(password="tulip")
    assert client.get("/live").status_code == 401
    assert client.get("/queues", headers={"X-Underway-Live": "1"}).status_code == 401


def test_metrics_are_for_those_who_have_the_token(make: Make) -> None:
    client = make(token="t0ken")
    assert client.get("/metrics").status_code == 401
    response = client.get("/metrics", headers={"Authorization": "Bearer t0ken"})
    families = {family.name for family in text_string_to_metric_families(response.text)}
    assert "underway_database_up" in families


# Changes


def test_a_dashboard_with_a_password_is_read_only_unless_told_otherwise(
    make: Make, queue: psycopg.Connection[Any]
) -> None:
    client = make(password="tulip")
    sign_in(client, "tulip")
    page = client.get("/queues").text
    assert "/queues/pause" not in page
    response = pause(client, csrf(client, "/"), **HERE)
    assert response.status_code == 403
    assert "read-only" in response.text
    assert not is_paused(queue)
    client = make(password="tulip", read_only=False)
    sign_in(client, "tulip")
    assert pause(client, **HERE).status_code == 303
    assert is_paused(queue)


def test_every_route_that_changes_something_refuses_a_form_without_the_token(make: Make) -> None:
    client = make(local=True)
    dashboard: Any = client.app
    # The sign-in is another test: a local dashboard has none.
    paths = [
        re.sub(r"\{(\w+)(:\w+)?\}", "1", route.path)
        for route in dashboard.router.routes
        if isinstance(route, Route) and "POST" in (route.methods or set()) and route.path != "/login"
    ]
    assert len(paths) > 10
    assert {path: client.post(path, headers=HERE).status_code for path in paths} == dict.fromkeys(paths, 403)


def test_no_route_changes_anything_by_get(make: Make) -> None:
    client = make(local=True)
    assert client.get("/queues/resume").status_code in (404, 405)
    assert client.get("/tasks/1/retry").status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_a_change_that_another_site_requests_is_refused(
    make: Make, queue: psycopg.Connection[Any], headers: dict[str, str]
) -> None:
    client = make(local=True)
    response = pause(client, **headers)
    assert response.status_code == 403
    assert "another site" in response.text
    assert not is_paused(queue)


def test_the_token_of_another_session_does_not_fit(make: Make, queue: psycopg.Connection[Any]) -> None:
    mine, theirs = make(local=True), make(local=True)
    response = pause(mine, csrf(theirs), **HERE)
    assert response.status_code == 403
    assert "another session" in response.text
    assert not is_paused(queue)


def test_an_action_leads_to_no_other_site(make: Make) -> None:
    client = make(local=True)
    for back in ("https://evil.example", "//evil.example", "/\\evil.example"):
        response = client.post("/queues/pause", data={"csrf": csrf(client), "back": back, "name": "mail"}, headers=HERE)
        assert response.headers["location"] == "/"


def test_a_body_that_is_too_large_is_refused(make: Make) -> None:
    client = make(local=True)
    response = client.post(
        "/queues/pause", data={"csrf": csrf(client), "name": "mail", "x": "a" * 5_000_000}, headers=HERE
    )
    assert response.status_code == 413


def test_a_database_role_without_the_right_sees_and_changes_nothing(
    make: Make, queue: psycopg.Connection[Any], database: str
) -> None:
    queue.execute("create role watcher login in role underway_observer")
    try:
        dsn = psycopg.conninfo.make_conninfo(database, user="watcher")
        client = make(dsn=dsn, local=True)
        page = client.get("/queues")
        assert page.status_code == 200
        assert "/queues/pause" not in page.text
        response = pause(client, csrf(client, "/"), **HERE)
        assert response.status_code == 403
        assert "underway_operator" in response.text
        assert not is_paused(queue)
    finally:
        queue.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'watcher'")
        queue.execute("drop role watcher")


# Mounted in an application


def only_staff(request: Request) -> User | None:
    name = request.headers.get("x-user")
    return None if name is None else User(name, may_act=name == "grace")


def test_a_mounted_dashboard_asks_the_application_and_links_stay_below_its_path(
    make: Make, queue: psycopg.Connection[Any]
) -> None:
    def wrap(dashboard: Dashboard) -> FastAPI:
        app = FastAPI()
        app.mount("/ops/underway", dashboard)
        return app

    client = make(authenticate=only_staff, wrap=wrap, at="https://shop.example")
    base = "/ops/underway"
    assert client.get(f"{base}/queues").status_code == 401
    assert "does not know you" in client.get(f"{base}/queues").text
    page = client.get(f"{base}/queues", headers={"X-User": "ada"}).text
    links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page))
    assert links
    assert [link for link in links if not link.startswith(f"{base}/")] == []
    assert f"{base}/queues/pause" not in links
    token = re.search(r'name="csrf" value="(\w+)"', page)
    assert token
    for name, expected in (("ada", 403), ("grace", 303)):
        headers = {"X-User": name, **HERE}
        data = {"csrf": token[1], "back": f"{base}/queues", "name": "mail"}
        assert client.post(f"{base}/queues/pause", data=data, headers=headers).status_code == expected
    assert is_paused(queue)
    assert queue.execute("select actor from underway.audit_list").fetchall() == [("grace",)]


def test_an_async_function_may_decide_and_the_application_may_forbid_actions(make: Make) -> None:
    async def everybody(request: Request) -> User:
        assert isinstance(request.app, Starlette)
        return User("ada", may_act=True)

    def wrap(dashboard: Dashboard) -> Starlette:
        return Starlette(routes=[Mount("/q", dashboard)])

    client = make(authenticate=everybody, wrap=wrap, read_only=True)
    page = client.get("/q/queues")
    assert page.status_code == 200
    assert "/pause" not in page.text


def test_a_prefix_is_for_a_proxy_that_strips_it_and_for_one_that_does_not(make: Make) -> None:
    client = make(password="tulip", prefix="/queue-dashboard/")
    for path in ("/queues", "/queue-dashboard/queues"):
        assert client.get(path).headers["location"] == "/queue-dashboard/login?next=%2Fqueue-dashboard%2Fqueues"
        assert "/queue-dashboard/static/underway.css" in client.get("/queue-dashboard/login").text


def test_a_forged_session_opens_nothing_where_the_application_decides(make: Make, database: str) -> None:
    client = make(authenticate=lambda request: None)
    dashboard: Any = client.app
    # Anybody who knows the dsn can compute the key.
    request = Request({"type": "http", "underway_dashboard": dashboard})
    cookie = security._seal(request, "session", ["x", "grace", 4_000_000_000])
    assert security._open(request, "session", cookie)
    assert client.get("/queues", headers={"Cookie": f"underway_session={cookie}"}).status_code == 401


# What is sent


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/underway.css", "/tasks?state=nonsense", "/login"])
def test_every_response_has_the_headers_that_protect_it(make: Make, path: str) -> None:
    response = make(local=True).get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "same-origin"


def test_errors_are_readable_and_tell_nothing_about_the_inside(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make(local=True)
    for path, status, text in (
        ("/nowhere", 404, "There is no page at this address."),
        ("/tasks/123", 404, "There is no task 123."),
        ("/tasks?state=nonsense", 400, "is not a state of a task"),
        ("/?span=2y", 400, "There is no time span"),
        ("/tasks?before=x", 400, "not the number of a task"),
    ):
        response = client.get(path)
        assert (response.status_code, text in response.text) == (status, True), path
    away = make(dsn="postgresql://nobody@127.0.0.1:1/none?connect_timeout=2", local=True).get("/queues")
    assert away.status_code == 503
    assert "cannot reach its database" in away.text
    assert "127.0.0.1:1" not in away.text
    monkeypatch.setattr("underway_pg.dashboard.pages.overview.span_of", lambda _: 1 / 0)
    broken = client.get("/")
    assert broken.status_code == 500
    assert "ZeroDivisionError" not in broken.text
