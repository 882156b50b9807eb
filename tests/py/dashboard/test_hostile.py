"""Whatever a task, a name or an address contains is shown as text, harms nobody, and is found again by its link."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from playwright.sync_api import Page
from starlette.testclient import TestClient

from underway_pg.dashboard import Dashboard

from . import hostile
from .conftest import CopyShop, Watched, served
from .data import Shop

# What a page must not contain: elements that only the data could have made, scripts, handlers, and addresses that run.
HARM = """() => {
    const found = [];
    if (window.hacked !== undefined) found.push(`ran ${window.hacked}`);
    for (const each of document.querySelectorAll("*")) {
        for (const {name, value} of each.attributes) {
            if (name.startsWith("on") || name === "style") found.push(`${each.tagName} ${name}`);
            const leads = ["href", "src", "action", "formaction"].includes(name);
            if (leads && !/^(https?:|\\/|#|\\?)/.test(value)) found.push(value);
        }
        if (each.tagName === "SCRIPT" && !each.src.includes("/static/")) found.push("script");
        if (["IMG", "B", "IFRAME", "OBJECT", "EMBED", "STYLE"].includes(each.tagName)) found.push(each.tagName);
    }
    const page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) found.push("wider than the window");
    return found.slice(0, 5);
}"""

LISTS = [
    "/", "/tasks", "/failures", "/dead-letters", "/queues", "/jobs", "/workers", "/schedules", "/batches", "/audit",
    "/queues/one?name=hostile", "/jobs/one?name=hostile", "/tasks?queue=hostile&state=pending",
]  # fmt: skip


class Hostile:
    """A shop with hostile data."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.tasks = hostile.fill(shop.dsn)

    def paths(self) -> list[str]:
        """The pages that show it."""
        found = list(LISTS)
        shown = ("texts", "deep", "long", "only markup", "address", "fails", "fails in colour")
        found += [f"/batches/{self.tasks['batch']}", *(f"/tasks/{self.tasks[name]}" for name in shown)]
        found += [f"/tasks/{self.tasks[name]}/again" for name in ("texts", "deep")]
        found += [f"/queues/{page}?name={quote(hostile.ADDRESS)}" for page in ("one", "edit", "pause")]
        return [*found, *(f"/{kind}/one?name={quote('<b>bold</b>')}" for kind in ("queues", "jobs", "schedules"))]


@pytest.fixture(scope="module")
def bad(copy_shop: CopyShop) -> Iterator[Hostile]:
    with copy_shop() as shop:
        yield Hostile(shop)


@pytest.fixture(scope="module")
def bad_dashboard(bad: Hostile) -> Iterator[str]:
    with served(Dashboard(bad.shop.dsn, local=True)) as address:
        yield address


def test_hostile_data_is_shown_as_text(page: Page, pages: Watched, bad: Hostile, bad_dashboard: str) -> None:
    page = pages.open(viewport={"width": 390, "height": 844})
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    offenders = []
    for path in bad.paths():
        response = page.goto(bad_dashboard + path)
        assert response
        if response.status != 200:
            offenders.append(f"{path[:100]}: {response.status} {page.inner_text('main')[:200]}")
        elif harm := page.evaluate(HARM):
            offenders.append(f"{path[:100]}: {harm}")
    assert offenders == []
    assert dialogs == []


def test_a_hostile_text_can_be_read(page: Page, bad: Hostile, bad_dashboard: str) -> None:
    page.goto(f"{bad_dashboard}/tasks/{bad.tasks['only markup']}")
    assert hostile.MARKUP in page.inner_text("#value-input")
    page.goto(f"{bad_dashboard}/tasks/{bad.tasks['fails']}")
    assert hostile.MARKUP in page.inner_text("#attempts pre")
    assert page.title().startswith("Task ")


@pytest.fixture
def client(bad: Hostile) -> Iterator[TestClient]:
    dashboard = Dashboard(bad.shop.dsn, local=True)
    with TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000), follow_redirects=False) as client:
        yield client


def test_enormous_values_make_no_enormous_pages(client: TestClient, bad: Hostile) -> None:
    for name, task in bad.tasks.items():
        if name != "batch":
            answer = client.get(f"/tasks/{task}")
            assert (name, answer.status_code) == (name, 200)
            assert len(answer.content) < 600_000, name


def test_a_download_is_a_file_and_the_whole_value(client: TestClient, bad: Hostile) -> None:
    for name in ("texts", "deep", "one word", "only markup"):
        answer = client.get(f"/tasks/{bad.tasks[name]}/raw/input")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["content-disposition"].startswith("attachment")
    assert len(client.get(f"/tasks/{bad.tasks['one word']}/raw/input").text) > 1_000_000


def test_every_queue_is_reached_by_its_link_and_paused_by_its_button(client: TestClient, bad: Hostile) -> None:
    page = client.get("/queues").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    for name in hostile.NAMES:
        for kind in ("queues", "jobs", "schedules"):
            answer = client.get(f"/{kind}/one", params={"name": name})
            assert (kind, name, answer.status_code) == (kind, name, 200)
            assert "<b>bold" not in answer.text
        assert client.post("/queues/pause", data={"csrf": csrf, "name": name}).status_code == 303
    with psycopg.connect(bad.shop.dsn) as connection:
        rows = connection.execute(
            "select queue from underway.queue_stats where paused_at is not null and queue <> 'reports'"
        )
        assert {row[0] for row in rows} == set(hostile.NAMES)


ADDRESSES = [
    "/tasks?state=" + quote(hostile.MARKUP),
    "/tasks?queue=" + quote(hostile.MARKUP) + "&job=" + quote(hostile.END),
    "/tasks?error=%00", "/tasks?error=%ff%fe", "/tasks?error=" + "x" * 5000, "/tasks?error=%25_%5C",
    "/tasks?input=" + quote("$" + ".a" * 3000), "/tasks?input=" + quote("$ ? (@ like_regex \"(a+)+$\")"),
    "/tasks?input=%00", "/tasks?before=-1", "/tasks?before=9999999999999999999999", "/tasks?before=x",
    "/tasks?worker=9999999999999999999999", "/tasks?ids=" + "1," * 5000, "/tasks?ids=x", "/tasks?enqueued_after=soon",
    "/tasks?enqueued_after=0001-01-01", "/tasks?finished_before=9999-12-31T23:59:59-23:59",
    "/failures?span=never", "/failures?queue=%00", "/failures?queue=" + quote(hostile.MARKUP),
    "/dead-letters?queue=%00", "/dead-letters?before=x", "/dead-letters?before=" + "9" * 30,
    "/queues/one?name=%00", "/queues/one?name=%ff", "/queues/one", "/queues/edit?name=%00",
    "/queues/one?name=mail&span=x",
    "/jobs/one?name=%00", "/jobs/one", "/schedules/one?name=%00", "/batches?before=" + "9" * 40, "/batches?before=%00",
    "/batches/" + "9" * 40, "/workers/" + "9" * 40 + "/stop", "/tasks/" + "9" * 40, "/tasks/1/raw/nothing",
    "/tasks/act?all=nothing", "/tasks/act?selected=retry&task=x", "/tasks/act/progress/nothing", "/audit?before=x",
    "/static/..%2f..%2fpage.py", "/static/../page.py", "/" + "a" * 5000, "/%00", "/queues/%2e%2e",
]  # fmt: skip


def test_hostile_addresses_are_answered(client: TestClient) -> None:
    offenders = []
    for address in ADDRESSES:
        answer = client.get(address)
        if answer.status_code not in (200, 303, 400, 404) or "<script>window" in answer.text:
            offenders.append((address[:80], answer.status_code))
    assert offenders == []


FORMS = [
    ("/queues/pause", "name=%00"), ("/queues/pause", "name=%ff"), ("/queues/pause", "name=" + "x" * 100_000),
    ("/queues/pause-key", "name=mail&key=%00"), ("/queues/edit", "name=mail&max_running=%F9&was_max_running="),
    ("/queues/edit", "name=mail&timeout=1e999+d&was_timeout="), ("/queues/edit", "name=mail&factor=nan&was_factor=2"),
    ("/queues/edit", "name=mail&jitter=inf&was_jitter=0"), ("/queues/edit", "name=%00&jitter=1&was_jitter=0"),
    ("/queues/edit", "name=mail&dead_letter_queue=mail&was_dead_letter_queue="),
    ("/queues/edit", "name=mail&dead_letter_queue=%00&was_dead_letter_queue="),
    ("/queues/edit", "name=mail&timeout=" + "9" * 400 + "+d&was_timeout="), ("/schedules/run", "name=nothing"),
    ("/schedules/run", "name=%00"), ("/workers/99999999999999999999/stop", ""),
    ("/tasks/99999999999999999999/retry", ""),
    ("/batches/99999999999999999999/cancel", ""), ("/tasks/act/retry", "filter=%5B%5D&before=1&total=1"),
    ("/tasks/act/retry", "filter=" + "%5B" * 20_000 + "&before=1&total=1"), ("/theme", "theme=%00&back=%00"),
    ("/tasks/act/delete", "filter=%7B%7D&before=1&total=1"),
    ("/tasks/act/delete", "filter=%7B%22state%22%3A%5B%22x%22%5D%7D&before=1&total=1"),
]  # fmt: skip


def test_hostile_forms_are_answered(client: TestClient) -> None:
    csrf = client.get("/queues").text.partition('name="csrf" value="')[2].partition('"')[0]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    offenders = []
    for path, body in FORMS:
        answer = client.post(path, content=f"csrf={csrf}&{body}", headers=headers)
        if answer.status_code not in (303, 400, 404, 413, 422):
            offenders.append((path, body[:60], answer.status_code))
    assert offenders == []
