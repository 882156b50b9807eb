"""/metrics of the dashboard: for those who may see the dashboard, and for nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.py.observing.metrics_support import OPENMETRICS, Samples
from underway_pg.dashboard import Dashboard


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def made(stack: ExitStack, database: str, *, mounted: bool = False, **settings: Any) -> TestClient:
    dashboard = Dashboard(database, **settings)
    stack.callback(dashboard.close)
    app = Starlette(routes=[Mount("/admin", dashboard)]) if mounted else dashboard
    return TestClient(app, base_url="http://127.0.0.1:8420", client=("127.0.0.1", 50000), follow_redirects=False)


@pytest.mark.parametrize("accept", [OPENMETRICS, "*/*"])
@pytest.mark.parametrize("mounted", [False, True])
def test_prometheus_sends_the_token_as_a_bearer(stack: ExitStack, database: str, accept: str, mounted: bool) -> None:
    client = made(stack, database, token="hunter2", mounted=mounted)
    path = "/admin/metrics" if mounted else "/metrics"
    answer = client.get(path, headers={"Authorization": "Bearer hunter2", "Accept": accept})
    assert answer.status_code == 200
    found = Samples(answer.text, answer.headers["content-type"])
    assert found.value("underway_database_up") == 1
    assert found.value("underway_workers", state="alive") == 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic aHVudGVyMg=="}])
def test_others_are_refused(stack: ExitStack, database: str, headers: dict[str, str]) -> None:
    answer = made(stack, database, token="hunter2").get("/metrics", headers=headers)
    assert answer.status_code in (401, 403)
    assert "underway_" not in answer.text


def test_a_local_dashboard_serves_them_to_this_machine(stack: ExitStack, database: str) -> None:
    assert made(stack, database, local=True).get("/metrics").status_code == 200


def test_a_database_that_is_away_gives_an_answer(stack: ExitStack) -> None:
    answer = made(stack, "postgresql://localhost:1/none", local=True).get("/metrics")
    assert (answer.status_code, answer.text.splitlines()[-1]) == (200, "underway_database_up 0.0")


def test_without_prometheus_client_the_answer_says_what_to_install(
    stack: ExitStack, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = made(stack, database, local=True).get("/metrics")
    assert answer.status_code == 404
    assert "prometheus-client is not installed: pip install &#39;underway-pg[metrics]&#39;" in answer.text
