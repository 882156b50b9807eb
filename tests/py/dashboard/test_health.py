"""What the page Database says about facts, good and bad."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from underway_pg.dashboard.health import Assessment, assess


@pytest.fixture(scope="module")
def healthy() -> dict[str, Any]:
    return {
        "tables": [{"name": "task", "bytes": 8192, "index_bytes": 8192, "live_rows": 90_000, "dead_rows": 80_000}],
        "oldest_snapshot": None, "prepared_transactions": 0, "replication_slots": [], "notification_queue_usage": 0.0,
        "missing_indexes": [], "invalid_indexes": [],
        "autovacuum": {"enabled": True, "naptime_seconds": 60, "workers": 3},
        "connections": {"used": 12, "max": 100}, "clock_ahead_seconds": 0,
        "settings": {"jit": "on", "track_counts": "on"},
    }  # fmt: skip


def found(facts: dict[str, Any], name: str) -> Assessment:
    return next(fact for fact in assess(facts) if fact.name.startswith(name))


def test_a_healthy_database_needs_no_remedy(healthy: dict[str, Any]) -> None:
    assert {(fact.kind, fact.remedy) for fact in assess(healthy)} == {("ok", "")}


@pytest.mark.parametrize(
    ("name", "kind", "fault", "remedy"),
    [
        ("Oldest transaction", "warn",
         {"oldest_snapshot": {"pid": 42, "age_seconds": 400, "state": "idle"}}, "pg_terminate_backend(42)"),
        ("Oldest transaction", "bad",
         {"oldest_snapshot": {"pid": 42, "age_seconds": 7200}}, "pg_terminate_backend(42)"),
        ("Dead rows", "bad",
         {"tables": [{"name": "task", "live_rows": 10, "dead_rows": 200_000}]}, "vacuum underway.task"),
        ("Autovacuum", "bad", {"autovacuum": {"enabled": False}}, "autovacuum = on"),
        ("Autovacuum", "bad", {"settings": {"track_counts": "off"}}, "track_counts = on"),
        ("Autovacuum", "warn",
         {"autovacuum": {"enabled": True, "naptime_seconds": 600, "workers": 3}}, "autovacuum_naptime"),
        ("Prepared", "warn", {"prepared_transactions": 2}, "rollback prepared"),
        ("Replication slot old", "bad",
         {"replication_slots": [{"name": "old", "active": False, "retained_bytes": 2**40}]}, "pg_drop_replication"),
        ("Indexes", "bad", {"missing_indexes": ["task_to_dequeue"]}, "Create them again"),
        ("Indexes", "bad", {"invalid_indexes": ["task_unique"]}, "reindex index concurrently underway.task_unique"),
        ("Notification queue", "bad", {"notification_queue_usage": 0.7}, "pg_stat_activity"),
        ("Connections", "warn", {"connections": {"used": 85, "max": 100}}, "pooler"),
        ("Clock", "warn", {"clock_ahead_seconds": 90}, "time service"),
    ],
)  # fmt: skip
def test_a_fault_is_rated_and_has_a_remedy(
    healthy: dict[str, Any], name: str, kind: str, fault: dict[str, Any], remedy: str
) -> None:
    fact = found(healthy | fault, name)
    assert (fact.kind, remedy in fact.remedy) == (kind, True)
    assert assess(healthy | fault)[0] == fact  # the worst comes first


def test_a_young_transaction_and_an_active_slot_are_no_faults(healthy: dict[str, Any]) -> None:
    fault = {
        "oldest_snapshot": {"pid": 42, "age_seconds": 3, "application_name": "shop"},
        "replication_slots": [{"name": "standby", "active": True, "retained_bytes": 2**40}],
    }
    assert {fact.kind for fact in assess(healthy | fault)} == {"ok"}


def test_the_facts_of_a_real_server_are_understood(database: str) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute("select underway.database_health()").fetchone()
    assert row
    assert {fact.kind for fact in assess(row[0])} <= {"ok", "warn", "bad"}
    assert len(assess(row[0])) >= 8
