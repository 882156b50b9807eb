"""Each page in a browser: it loads without errors, and fits its window."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from underway_pg.dashboard import Dashboard

from . import places
from .conftest import Watched
from .data import Shop

WINDOWS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
# How many pixels the page is wider than its window, and the elements that are to blame.
TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= wide) return "";
    return [...document.querySelectorAll("main *")]
        .filter((each) => each.getBoundingClientRect().right > wide + 1 && !each.closest(".table-wrap, pre, .tabs"))
        .slice(0, 3).map((each) => each.outerHTML.slice(0, 120)).join(" ") || "something";
}"""


def test_every_page_is_tried(shop: Shop) -> None:
    routes = places.routes(Dashboard(shop.dsn, local=True))
    shown = {route.name for route in routes if "GET" in (route.methods or ())} - places.NO_PAGES
    assert shown == places.pages(shop).keys()


@pytest.mark.parametrize(
    "window", [pytest.param(window, marks=[] if window == "phone" else pytest.mark.thorough) for window in WINDOWS]
)
def test_pages_load_without_errors_and_fit_the_window(
    page: Page, pages: Watched, dashboard: str, shop: Shop, window: str
) -> None:
    page = pages.open(**WINDOWS[window])
    offenders = []
    for paths in places.pages(shop).values():
        for path in paths if window == "light" else paths[:1]:
            response = page.goto(dashboard + path)
            expected = 400 if "nonsense" in path else 200
            assert response
            if response.status != expected:
                offenders.append(f"{path}: {response.status}")
            elif wide := page.evaluate(TOO_WIDE):
                offenders.append(f"{path}: wider than the window: {wide}")
            elif page.locator("h1").count() != 1:
                offenders.append(f"{path}: {page.locator('h1').count()} main headings")
    pages.problems[:] = [problem for problem in pages.problems if "400 (Bad Request)" not in problem]
    assert offenders == []


def test_a_page_that_does_not_exist_says_so(page: Page, pages: Watched, dashboard: str) -> None:
    for path, text in (
        ("/nowhere", "There is no page at this address."),
        ("/tasks/4711000", "There is no task 4711000"),
        ("/queues/one?name=nowhere", "There is no queue named nowhere."),
        ("/jobs/one?name=nobody", "No job named nobody is registered"),
        ("/schedules/one?name=never", "There is no schedule named never."),
        ("/batches/4711", "There is no batch 4711."),
        ("/workers/4711/stop", "There is no worker with the id 4711."),
        ("/tasks/99999999999999999999999", "There is no task"),
        ("/batches/99999999999999999999999", "There is no batch"),
        ("/workers/99999999999999999999999/stop", "There is no worker"),
    ):
        response = page.goto(dashboard + path)
        assert response
        assert (response.status, path) == (404, path)
        assert text in page.inner_text("main")
    pages.problems[:] = [problem for problem in pages.problems if "404 (Not Found)" not in problem]


def test_the_navigation_reaches_every_main_page_by_keyboard(page: Page, dashboard: str) -> None:
    page.goto(dashboard + "/")
    for key, heading in zip("tflqjwsbda", (
        "Tasks", "Failures", "Dead letters", "Queues", "Jobs", "Workers", "Schedules", "Batches", "Database", "Audit",
    ), strict=True):  # fmt: skip
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.locator("h1")).to_have_text(heading)
        page.wait_for_load_state()  # the script of the new page


def test_the_rows_of_a_list_are_reached_by_keyboard(page: Page, dashboard: str) -> None:
    page.goto(dashboard + "/queues")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queues/one?name=images")
