"""Temporary."""
from __future__ import annotations
from typing import Any
import json
from ..statements import Statement


def find_tasks(filter, before, max_tasks):
    return Statement(
        "select tasks, next_before from underway.find_tasks(%(filter)s::jsonb, %(before)s::bigint, %(max_tasks)s::integer)",
        {"filter": json.dumps(filter), "before": before, "max_tasks": max_tasks},
        lambda rows: (rows[0][0] or [], rows[0][1]),
    )


def count_tasks(filter):
    return Statement(
        "select count, capped from underway.count_tasks(%(filter)s::jsonb)", {"filter": json.dumps(filter)}, lambda rows: rows[0]
    )


def record_action(actor, source, action, details):
    return Statement(
        "select underway.record_action(%(actor)s, %(source)s, %(action)s, %(details)s::jsonb)",
        {"actor": actor, "source": source, "action": action, "details": json.dumps(details, default=str)},
        lambda rows: None,
    )


def _many(name):
    def statement(tasks):
        return Statement(
            f"select * from underway.{name}_many(%(tasks)s::bigint[])", {"tasks": tasks}, lambda rows: [row[0] for row in rows]
        )
    return statement


cancel_many, retry_many, delete_many, redrive_many = map(_many, ("cancel", "retry", "delete", "redrive"))


def run_again(task, input):
    return Statement(
        "select underway.run_again(%(task)s::bigint, %(input)s::jsonb)", {"task": task, "input": input}, lambda rows: rows[0][0]
    )


def export_tasks(tasks):
    return Statement(
        "select task::text from underway.export_tasks(%(tasks)s::bigint[]) as exported (task)", {"tasks": tasks},
        lambda rows: [row[0] for row in rows],
    )


def enqueue_objects(tasks):
    return Statement("select underway.enqueue_many(%(tasks)s::jsonb)", {"tasks": json.dumps(tasks)}, lambda rows: rows[0][0], enqueues=True)
