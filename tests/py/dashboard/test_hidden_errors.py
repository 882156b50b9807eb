"""What is hidden in the input of a task is hidden in its error on every page that shows errors."""

from __future__ import annotations

import json

import psycopg
from starlette.testclient import TestClient

from underway_pg.dashboard import Dashboard

SECRET = "correcthorse"
PAGES = ["/failures", "/dead-letters", "/jobs/one?name=leak", "/batches/1", "/schedules/one?name=often", "/tasks"]


def fail_with_a_secret(dsn: str) -> None:
    """A task of a batch, of a schedule and of a job fails, and its error has a value of its input."""
    error = json.dumps({"type": "ValueError", "message": f"cannot sign in with {SECRET}"})
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select underway.create_queue('dead')")
        connection.execute("select underway.create_queue('mail', dead_letter_queue => 'dead')")
        connection.execute("select underway.register_job('leak', 'mail')")
        connection.execute(
            """select underway.schedule('often', 'mail', '0 0 1 1 *', job => 'leak',
                input => jsonb_build_object('password', %s::text))""",
            [SECRET],
        )
        connection.execute("select underway.run_schedule_now('often')")
        tasks = [{"queue": "mail", "job": "leak", "input": {"password": SECRET}}]
        connection.execute("select underway.enqueue_batch(%s::jsonb)", [json.dumps(tasks)])
        connection.execute(
            "select underway.fail(id, lease, %s::jsonb, false) from underway.dequeue('mail', 10)", [error]
        )


def test_errors_hide_what_inputs_hide(database: str) -> None:
    fail_with_a_secret(database)
    for redact in ([], ["password"]):
        dashboard = Dashboard(database, local=True, redact=redact)
        with TestClient(dashboard, "http://127.0.0.1", client=("127.0.0.1", 5000)) as client:
            for path in PAGES:
                text = client.get(path).text
                assert "cannot sign in with" in text, path
                assert (SECRET in text) is not bool(redact), path
