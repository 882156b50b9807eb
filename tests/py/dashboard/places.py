"""The pages and actions of the dashboard, with parameters that fit the sample data."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.routing import Route

from underway_pg.dashboard import Dashboard

from .data import Shop

# Routes that are no pages, and sign-in, which a dashboard for this machine does not have.
NO_PAGES = {"live", "static", "login", "task_raw", "bulk", "metrics"}


def pages(shop: Shop) -> dict[str, list[str]]:
    """The paths of each page, by the names of their routes."""
    tasks, batches, workers = shop.tasks, shop.batches, shop.workers
    return {
        "overview": ["/", "/?span=24h&queue=payments"],
        "tasks": ["/tasks", "/tasks?state=failed&job=charge_card&error=declined", "/tasks?input=nonsense("],
        "task": [f"/tasks/{task}" for task in tasks.values()],
        "task_ask_cancel": [f"/tasks/{tasks['ready']}/cancel"],
        "task_ask_delete": [f"/tasks/{tasks['failed']}/delete"],
        "task_ask_again": [f"/tasks/{tasks['failed']}/again"],
        "bulk_preview": ["/tasks/act?all=retry&state=failed"],
        "failures": ["/failures", "/failures?span=1h&queue=mail"],
        "dead_letters": ["/dead-letters", "/dead-letters?queue=dead"],
        "queues": ["/queues"],
        "queue": ["/queues/one?name=payments", "/queues/one?name=webhooks", "/queues/one?name=reports"],
        "queue_edit": ["/queues/edit?name=payments"],
        "queue_ask_pause": ["/queues/pause?name=mail"],
        "jobs": ["/jobs"],
        "job": ["/jobs/one?name=charge_card", "/jobs/one?name=clean_up"],
        "workers": ["/workers"],
        "worker_ask_stop": [f"/workers/{workers['web-1:4021']}/stop"],
        "schedules": ["/schedules"],
        "schedule": [
            f"/schedules/one?{urlencode({'name': name})}" for name in ("reindex", "legacy export", "invoices")
        ],
        "batches": ["/batches"],
        "batch": [f"/batches/{batch}" for batch in batches.values()],
        "batch_ask_cancel": [f"/batches/{batches['half']}/cancel"],
        "database": ["/database"],
        "audit": ["/audit"],
    }


def routes(dashboard: Dashboard) -> list[Route]:
    """The routes of a dashboard."""
    return [route for route in dashboard.router.routes if isinstance(route, Route)]


def actions(dashboard: Dashboard, shop: Shop) -> dict[str, str]:
    """The path of each action, by the name of its route: all that a POST may change."""
    values = {"id": str(shop.tasks["ready"])}
    return {
        route.name: route.path.format(id=values["id"])
        if "{id}" in route.path
        else route.path.replace("{id:int}", values["id"])
        for route in routes(dashboard)
        if "POST" in (route.methods or ())
    }
