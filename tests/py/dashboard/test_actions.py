"""Actions in a browser: filters, selections, operations on many tasks, settings, and all of it without JavaScript."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from .conftest import Watched
from .data import Shop


def value(shop: Shop, sql: str, *parameters: Any) -> Any:
    """The first value of a query."""
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        row = connection.execute(sql.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def audited(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    """The actions in the audit log, the oldest first."""
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        return connection.execute("select action, details from underway.audit_list order by id").fetchall()


def test_filters_narrow_the_tasks_and_can_be_shared(page: Page, dashboard: str, shop: Shop) -> None:
    page.goto(dashboard + "/tasks")
    page.get_by_label("Queue", exact=True).select_option("payments")
    page.get_by_label("Error contains").fill("DECLINED")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("navigation", name="State").get_by_role("link", name="Failed").click()
    page.wait_for_url(re.compile("state=failed"))
    filter = {"queue": ["payments"], "error": "declined", "state": ["failed"]}
    expected = value(shop, "select count from underway.count_tasks(%s)", json.dumps(filter))
    assert expected > 3
    expect(page.locator("#task-list tbody tr")).to_have_count(expected)
    for row in page.locator("#task-list tbody tr").all():
        assert "CardDeclined" in row.inner_text()
    shared = page.url
    page.goto(dashboard + "/")
    page.goto(shared)
    expect(page.locator("#task-list tbody tr")).to_have_count(expected)
    page.goto(dashboard + "/tasks?input=%24.order%20%3F%20(%40%20%3D%3D%204701)")
    expect(page.locator("#task-list tbody tr")).not_to_have_count(0)
    assert "charge_card" in page.inner_text("#task-list")


def test_selected_tasks_are_counted_and_retried(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    page.goto(own_dashboard + "/tasks?state=failed&queue=payments")
    rows = page.locator("#task-list tbody tr")
    chosen = [int(rows.nth(n).locator("a.id").inner_text()) for n in range(2)]
    for n in range(2):
        rows.nth(n).get_by_role("checkbox").check()
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Retry selected").click()
    expect(page.locator("h1")).to_have_text("Retry 2 tasks?")
    page.get_by_role("button", name="Retry 2").click()
    expect(page.locator("h1")).to_have_text("2 tasks made pending again")
    states = [value(own_shop, "select state::text from underway.task_info(%s)", task) for task in chosen]
    assert states == ["pending", "pending"]
    assert [action for action, _ in audited(own_shop)] == [
        "retry_many",
        "retry_many",
    ]  # the start, and what was changed


@pytest.mark.thorough
def test_all_dead_letters_of_a_queue_are_redriven_with_their_number_before(
    page: Page, own_dashboard: str, own_shop: Shop
) -> None:
    letters = value(own_shop, "select dead_letters from underway.queue_stats where queue = 'dead'")
    page.goto(own_dashboard + "/dead-letters")
    page.get_by_role("link", name="Redrive all").click()
    expect(page.locator("h1")).to_have_text(f"Redrive {letters} tasks?")
    page.get_by_role("button", name=f"Redrive {letters}").click()
    expect(page.locator("h1")).to_have_text(f"{letters} tasks moved back")
    assert value(own_shop, "select dead_letters from underway.queue_stats where queue = 'dead'") == 0
    page.goto(own_dashboard + "/dead-letters")
    expect(page.locator("main")).to_contain_text("No dead letters")


@pytest.mark.thorough
def test_a_group_of_failures_leads_to_its_tasks_and_retries_them(
    page: Page, own_dashboard: str, own_shop: Shop
) -> None:
    page.goto(own_dashboard + "/failures")
    row = page.locator("tbody tr", has_text="CardDeclined")
    row.get_by_role("link", name="Retry all").click()
    title = page.locator("h1").inner_text()
    filter = {"queue": ["payments"], "error": "was declined: insufficient_funds", "state": ["failed"]}
    tasks = value(own_shop, "select count from underway.count_tasks(%s)", json.dumps(filter))
    assert title == f"Retry {tasks} tasks?"
    page.get_by_role("link", name="Go back").click()
    expect(page.locator("#task-list tbody tr")).to_have_count(tasks)


def test_the_settings_of_a_queue_are_changed_and_others_kept(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    before = value(own_shop, "select to_jsonb(q) from underway.queue_list q where queue = 'payments'")
    page.goto(own_dashboard + "/queues/one?name=payments")
    page.get_by_role("link", name="Edit settings").click()
    page.get_by_label("Running at once", exact=True).fill("7")
    page.get_by_label("Longest attempt").fill("1 h 30 min")
    page.get_by_label("Dead-letter queue").select_option("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("The settings of queue payments are changed.")
    after = value(own_shop, "select to_jsonb(q) from underway.queue_list q where queue = 'payments'")
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed == {"max_running": 7, "timeout": "01:30:00", "dead_letter_queue": None}
    ((action, details),) = audited(own_shop)
    assert action == "create_queue"
    assert details == {
        "queue": "payments", "settings": {"max_running": "7", "timeout": "1 h 30 min", "dead_letter_queue": ""}
    }  # fmt: skip


def test_wrong_settings_are_explained_at_their_fields(
    page: Page, pages: Watched, own_dashboard: str, own_shop: Shop
) -> None:
    page.goto(own_dashboard + "/queues/edit?name=payments")
    page.get_by_label("Running at once", exact=True).fill("many")
    page.get_by_label("Longest attempt").fill("soon")
    page.get_by_role("button", name="Save").click()
    field = page.get_by_label("Running at once", exact=True)
    assert field.get_attribute("aria-invalid") == "true"
    expect(field).to_have_value("many")  # what was typed is still there
    expect(page.locator("#error-max_running")).to_contain_text("'many' is not a whole number")
    expect(page.locator("#error-timeout")).to_contain_text("Write it as 30 s")
    # What only the database knows to be wrong is shown at its field as well.
    field.fill("4")
    page.get_by_label("Longest attempt").fill("2 min")
    page.get_by_label("Random share of a delay").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#error-jitter")).to_contain_text("jitter")
    pages.problems[:] = [problem for problem in pages.problems if "422" not in problem]
    assert audited(own_shop) == []


def test_a_queue_and_a_key_are_paused_and_resumed(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    def paused() -> bool:
        return bool(value(own_shop, "select paused_at is not null from underway.queue_stats where queue = 'mail'"))

    page.goto(own_dashboard + "/queues")
    page.locator("tr", has_text="mail").get_by_role("link", name="Pause").click()
    expect(page.locator("h1")).to_have_text("Pause queue mail?")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Queue mail is paused.")
    assert paused()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_have_text("Queue mail is resumed.")
    assert not paused()

    page.goto(own_dashboard + "/queues/one?name=webhooks")
    page.get_by_label("Pause another key").fill("customer-3")
    page.locator("#pause-key").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Key customer-3 of queue webhooks is paused.")
    page.locator("li", has_text="customer-2").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_have_text("Key customer-2 of queue webhooks is resumed.")
    assert value(own_shop, "select paused_keys from underway.queue_stats where queue = 'webhooks'") == ["customer-3"]
    assert [action for action, _ in audited(own_shop)] == ["pause_queue", "resume_queue", "pause_key", "resume_key"]


def test_a_task_is_run_again_with_another_input(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    failed = own_shop.tasks["failed"]
    page.goto(f"{own_dashboard}/tasks/{failed}")
    page.get_by_role("link", name="Run again").click()
    page.locator("textarea").fill('{"order": 1, "note": "Größe L"}')
    page.locator("main form").get_by_role("button", name=re.compile("Run|Enqueue")).click()
    expect(page.get_by_role("status")).to_be_visible()
    new = int(re.findall(r"/tasks/(\d+)", page.url)[0])
    assert new != failed
    assert value(own_shop, "select input from underway.task_info(%s)", new) == {"order": 1, "note": "Größe L"}
    assert value(own_shop, "select state::text from underway.task_info(%s)", failed) == "failed"


@pytest.mark.thorough
def test_a_schedule_is_run_paused_and_resumed(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    page.goto(own_dashboard + "/schedules")
    row = page.locator("tr", has_text="weekday digest")
    row.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Schedule weekday digest is paused.")
    row.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_have_text("Schedule weekday digest is resumed.")
    row.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_contain_text("of schedule weekday digest is enqueued.")
    task = int(re.findall(r"/tasks/(\d+)", page.url)[0])
    assert value(own_shop, "select headers ->> 'schedule' from underway.task_info(%s)", task) == "weekday digest"
    page.goto(own_dashboard + "/schedules/one?name=weekday+digest")
    expect(page.locator("main")).to_contain_text("Its tasks")
    assert page.locator(f"a[href$='/tasks/{task}']").count() == 1
    assert page.locator(".times li").count() == 10


@pytest.mark.thorough
def test_a_worker_is_asked_to_stop_and_a_batch_is_cancelled(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    worker, batch = own_shop.workers["web-1:4021"], own_shop.batches["half"]
    page.goto(own_dashboard + "/workers")
    page.locator("tr", has_text="web-1:4021").get_by_role("link", name="Stop").click()
    page.get_by_role("button", name="Ask it to stop").click()
    expect(page.get_by_role("status")).to_have_text("Worker web-1:4021 was asked to stop.")
    assert value(own_shop, "select stop_asked_at is not null from underway.worker_stats where id = %s", worker)
    page.goto(f"{own_dashboard}/batches/{batch}")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel 11 live tasks").click()
    expect(page.get_by_role("status")).to_have_text(f"Tasks of batch {batch} cancelled: 11.")
    assert value(own_shop, "select live from underway.batch_stats where batch = %s", batch) == 0


def test_everything_works_without_javascript(page: Page, pages: Watched, own_dashboard: str, own_shop: Shop) -> None:
    page = pages.open(java_script_enabled=False)
    page.goto(own_dashboard + "/")
    page.get_by_role("link", name="Tasks", exact=True).click()
    page.get_by_label("Queue", exact=True).select_option("mail")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("navigation", name="State").get_by_role("link", name="Failed").click()
    page.locator("#task-list tbody tr").first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry selected").click()
    page.get_by_role("button", name="Retry 1").click()
    expect(page.locator("h1")).to_have_text("1 task made pending again")  # the page reloads itself meanwhile
    page.get_by_role("link", name="Queues", exact=True).click()
    page.locator("tr", has_text="search").get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Queue search is paused.")
    page.goto(own_dashboard + "/failures")
    page.get_by_label("Queue", exact=True).select_option("payments")
    page.get_by_role("button", name="Show").click()
    assert "send_mail" not in page.inner_text("main table")
    page.goto(own_dashboard + "/dead-letters")
    page.locator("#letters tbody tr").first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Redrive selected").click()
    expect(page.locator("h1")).to_have_text("Redrive 1 task?")
    assert value(own_shop, "select paused_at is not null from underway.queue_stats where queue = 'search'")


def test_a_page_updates_itself_and_not_while_somebody_selects(page: Page, own_dashboard: str, own_shop: Shop) -> None:
    page.goto(own_dashboard + "/queues")
    row = page.locator("tr", has_text="search")
    expect(row.get_by_text("paused")).to_have_count(0)
    value(own_shop, "select underway.pause_queue('search')")
    expect(row.get_by_text("paused")).to_be_visible(timeout=15_000)
