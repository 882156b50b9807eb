"""What each role of the contract may see and do: the database decides, and the pages say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from starlette.testclient import TestClient

from underway_pg.dashboard import Dashboard, User

from . import places
from .data import Shop

LINK = re.compile(r'<(?:form method="post" action|a class="button[^"]*" href)="([^"]*)"')
# Links and forms that everybody has.
FOR_ALL = {"/theme", "/tasks"}


@contextmanager
def opened(shop: Shop, role: str, **options: object) -> Iterator[TestClient]:
    """A client of a dashboard whose database role is this one."""
    dsn = f"{shop.dsn}&options={quote(f'-c role={role}')}"
    dashboard = Dashboard(dsn, **({"local": True} | options))  # type: ignore[arg-type]
    with TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False) as client:
        yield client


def dashboard_of(client: TestClient) -> Dashboard:
    assert isinstance(client.app, Dashboard)
    return client.app


def csrf_of(client: TestClient) -> str:
    return client.get("/queues").text.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.mark.parametrize("role", ["underway_producer", "underway_worker"])
def test_a_role_that_may_not_look_gets_a_page_that_says_so(shop: Shop, role: str) -> None:
    with opened(shop, role) as client:
        offenders = []
        for name, (path, *_) in places.pages(shop).items():
            answer = client.get(path)
            if answer.status_code != 503 or "permission denied" not in answer.text:
                offenders.append((name, answer.status_code))
            assert "Traceback" not in answer.text
        assert offenders == []


def test_an_observer_sees_every_page_and_no_action(shop: Shop) -> None:
    with opened(shop, "underway_observer") as client:
        offenders = []
        for name, paths in places.pages(shop).items():
            for path in paths:
                answer = client.get(path)
                actions = {link.partition("?")[0] for link in LINK.findall(answer.text)} - FOR_ALL
                changing = actions & set(places.actions(dashboard_of(client), shop).values())
                if answer.status_code not in (200, 400) or (
                    changing and "_ask_" not in name and name not in ("queue_edit", "bulk_preview")
                ):
                    offenders.append((path, answer.status_code, changing))
                if "_ask_" in name or name in ("queue_edit", "bulk_preview"):
                    assert "may not call underway." in answer.text, path
        assert offenders == []


def test_an_observer_can_call_no_action(shop: Shop) -> None:
    with opened(shop, "underway_observer") as client:
        form = {"csrf": csrf_of(client), "name": "mail", "key": "k"}
        for name, path in places.actions(dashboard_of(client), shop).items():
            if name in ("login", "theme", "logout"):
                continue
            answer = client.post(path, data=form)
            assert (name, answer.status_code) == (name, 403)
            assert "Grant it underway_operator." in answer.text


def test_an_operator_acts_and_is_recorded(own_shop: Shop) -> None:
    with opened(own_shop, "underway_operator") as client:
        for paths in places.pages(own_shop).values():
            for path in paths:
                assert client.get(path).status_code in (200, 400), path
        form = {"csrf": csrf_of(client)}
        batch, worker = own_shop.batches["half"], own_shop.workers["web-1:4021"]
        calls = [
            ("/queues/pause", {"name": "mail"}, "pause_queue"),
            ("/queues/resume", {"name": "mail"}, "resume_queue"),
            ("/queues/pause-key", {"name": "mail", "key": "k"}, "pause_key"),
            ("/queues/resume-key", {"name": "mail", "key": "k"}, "resume_key"),
            ("/queues/edit", {"name": "mail", "max_running": "3", "was_max_running": ""}, "create_queue"),
            ("/schedules/pause", {"name": "reindex"}, "pause_schedule"),
            ("/schedules/resume", {"name": "reindex"}, "resume_schedule"),
            ("/schedules/run", {"name": "reindex"}, "run_schedule_now"),
            (f"/workers/{worker}/stop", {}, "stop_workers"),
            (f"/batches/{batch}/cancel", {}, "cancel_batch"),
            (f"/tasks/{own_shop.tasks['failed']}/retry", {}, "retry"),
            (f"/tasks/{own_shop.tasks['ready']}/cancel", {}, "cancel"),
        ]
        for path, fields, _ in calls:
            answer = client.post(path, data=form | fields)
            assert (path, answer.status_code) == (path, 303), answer.text
    with psycopg.connect(own_shop.dsn) as connection:
        rows = connection.execute("select action, source from underway.audit_list order by id").fetchall()
    assert rows == [(action, "dashboard") for _, _, action in calls]


def test_a_read_only_dashboard_refuses_actions_whatever_its_role_may_do(shop: Shop) -> None:
    with opened(shop, "underway_operator", read_only=True) as client:
        assert "queue_pause" not in client.get("/queues").text
        answer = client.post("/queues/pause", data={"csrf": csrf_of(client), "name": "mail"})
        assert answer.status_code == 403
        assert "read-only" in answer.text


def test_users_of_an_application_act_only_if_it_says_so(shop: Shop) -> None:
    users = {"eve": None, "reader": User("reader"), "boss": User("boss", may_act=True)}

    def authenticate(request: object) -> User | None:
        return users[request.headers["x-user"]]  # type: ignore[attr-defined]

    with opened(shop, "underway_operator", local=False, authenticate=authenticate) as client:
        assert client.get("/queues", headers={"x-user": "eve"}).status_code == 401
        for name, shown, status in (("reader", False, 403), ("boss", True, 303)):
            client.headers["x-user"] = name
            text = client.get("/queues").text
            assert ("/queues/pause?" in text) is shown
            form = {"csrf": csrf_of(client), "theme": "dark", "name": "reports"}
            assert client.post("/queues/pause", data=form).status_code == status
