"""What the facts of database_health() mean: each in words, how good or bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .formats import bytes_, duration, percent

__all__ = ["Assessment", "assess", "bloated"]

# From which values on a fact is worth a warning, and from which it is bad. Times are in seconds.
_SNAPSHOT = (300, 3600)
_RETAINED = (1 << 30, 10 << 30)
_NOTIFICATIONS = (0.1, 0.5)
_CONNECTIONS = (0.8, 0.95)
_CLOCK = 1.0
_NAPTIME = 60
# Dead rows of a table, when they are also more than its live ones.
_DEAD_ROWS = 100_000


class Assessment(NamedTuple):
    """A fact: its name, its value in words, ok, warn or bad, why it matters, and the remedy where it is not ok."""

    name: str
    value: str
    kind: str
    why: str
    remedy: str = ""


def _kind(value: float, bounds: tuple[float, float]) -> str:
    return "bad" if value >= bounds[1] else "warn" if value >= bounds[0] else "ok"


def bloated(table: Mapping[str, Any]) -> bool:
    """Whether a table has many dead rows, and more of them than live ones."""
    return bool(table["dead_rows"] >= _DEAD_ROWS and table["dead_rows"] > table["live_rows"])


def assess(health: Mapping[str, Any]) -> list[Assessment]:
    """All facts, the bad ones first."""
    order = {"bad": 0, "warn": 1, "ok": 2}
    return sorted(_facts(health), key=lambda fact: order[fact.kind])


def _facts(health: Mapping[str, Any]) -> Iterator[Assessment]:
    yield _snapshot(health["oldest_snapshot"])
    yield _dead_rows(health["tables"])
    yield _autovacuum(health["autovacuum"] or {}, health["settings"] or {})
    yield _prepared(health["prepared_transactions"])
    yield from map(_slot, health["replication_slots"] or [])
    yield _indexes(health["missing_indexes"] or [], health["invalid_indexes"] or [])
    yield _notifications(health["notification_queue_usage"] or 0)
    yield _connections(health["connections"] or {})
    yield _clock(health["clock_ahead_seconds"] or 0)
    jit = (health["settings"] or {}).get("jit")
    if jit is not None:
        yield Assessment(
            "JIT compiler", str(jit), "ok",
            "Functions of Underway switch it off where it would cost more than it gives.",
        )  # fmt: skip


def _snapshot(snapshot: Mapping[str, Any] | None) -> Assessment:
    why = "Dead rows that a transaction may still see cannot be removed, so each claim has to read past them."
    if snapshot is None:
        return Assessment("Oldest transaction", "none that matters", "ok", why)
    age = float(snapshot["age_seconds"] or 0)
    value = (
        f"{duration(age)}, session {snapshot['pid']}"
        + (f" of {snapshot['application_name']}" if snapshot.get("application_name") else "")
        + (f", {snapshot['state']}" if snapshot.get("state") else "")
    )
    return Assessment(
        "Oldest transaction", value, _kind(age, _SNAPSHOT), why,
        f"Let the program commit more often, or end the session: select pg_terminate_backend({snapshot['pid']});"
        if age >= _SNAPSHOT[0] else "",
    )  # fmt: skip


def _dead_rows(tables: list[Mapping[str, Any]]) -> Assessment:
    why = "Each finished task leaves dead rows, which autovacuum removes. Claims are slow while many remain."
    dead = sum(table["dead_rows"] for table in tables)
    worst = [table["name"] for table in tables if bloated(table)]
    if not worst:
        return Assessment("Dead rows", f"{dead:,}", "ok", why)
    return Assessment(
        "Dead rows", f"{dead:,}, mostly in {', '.join(worst[:3])}", "bad", why,
        "Find out what keeps autovacuum from removing them (oldest transaction, replication slots), then: vacuum "
        + ", ".join(f"underway.{name}" for name in worst[:3]) + ";",
    )  # fmt: skip


def _autovacuum(autovacuum: Mapping[str, Any], settings: Mapping[str, Any]) -> Assessment:
    why = "It removes dead rows and keeps statistics for the planner up to date."
    if not autovacuum.get("enabled", True):
        return Assessment(
            "Autovacuum", "off", "bad", why, "alter system set autovacuum = on; select pg_reload_conf();"
        )  # fmt: skip
    if settings.get("track_counts") in (False, "off"):
        return Assessment(
            "Autovacuum", "on, but track_counts is off, so that it does nothing", "bad", why,
            "alter system set track_counts = on; select pg_reload_conf();",
        )  # fmt: skip
    naptime = float(autovacuum.get("naptime_seconds") or 0)
    value = f"on, {autovacuum.get('workers', '?')} processes, every {duration(naptime)}"
    if naptime > _NAPTIME:
        remedy = "alter system set autovacuum_naptime = '15s'; select pg_reload_conf();"
        return Assessment("Autovacuum", value, "warn", why + " A busy queue needs it several times a minute.", remedy)
    return Assessment("Autovacuum", value, "ok", why)


def _prepared(count: Any) -> Assessment:
    number = len(count) if isinstance(count, list) else int(count or 0)
    why = "A prepared transaction that nobody finishes holds dead rows and locks for ever, across restarts too."
    return Assessment(
        "Prepared transactions", str(number), "warn" if number else "ok", why,
        "See pg_prepared_xacts, then: commit prepared '...'; or rollback prepared '...';" if number else "",
    )  # fmt: skip


def _slot(slot: Mapping[str, Any]) -> Assessment:
    retained = float(slot["retained_bytes"] or 0)
    kind = "ok" if slot["active"] else _kind(retained, _RETAINED)
    why = "A slot that nobody reads keeps the write-ahead log, and may keep dead rows."
    return Assessment(
        f"Replication slot {slot['name']}",
        f"{'active' if slot['active'] else 'not active'}, retains {bytes_(retained)} of the write-ahead log", kind, why,
        "Start its reader, or remove the slot: select pg_drop_replication_slot(...);" if kind != "ok" else "",
    )  # fmt: skip


def _indexes(missing: list[Any], invalid: list[Any]) -> Assessment:
    why = "Without one of its indexes a claim reads whole tables."
    if not missing and not invalid:
        return Assessment("Indexes", "all there and valid", "ok", why)
    parts = [
        f"{word}: {', '.join(map(str, names))}" for word, names in (("missing", missing), ("invalid", invalid)) if names
    ]
    remedy = "Create them again as in sql/migrations" if missing else ""
    if invalid:
        remedy = "; ".join(
            filter(None, [remedy, *(f"reindex index concurrently underway.{name};" for name in invalid)])
        )
    return Assessment("Indexes", "; ".join(parts), "bad", why, remedy)


def _notifications(usage: float) -> Assessment:
    kind = _kind(usage, _NOTIFICATIONS)
    return Assessment(
        "Notification queue", f"{percent(usage)} used", kind,
        "When it is full, every transaction that enqueues fails at its commit.",
        "End the session that listens and stays in a transaction: see pg_stat_activity for the oldest xact_start."
        if kind != "ok" else "",
    )  # fmt: skip


def _connections(connections: Mapping[str, Any]) -> Assessment:
    used, most = int(connections.get("used") or 0), int(connections.get("max") or 0)
    kind = _kind(used / most if most else 0, _CONNECTIONS)
    return Assessment(
        "Connections", f"{used} of {most}", kind, "Workers cannot reconnect when none is free.",
        "Use a pooler for the application, lower the concurrency of workers, or raise max_connections."
        if kind != "ok" else "",
    )  # fmt: skip


def _clock(ahead: float) -> Assessment:
    kind = "warn" if ahead >= _CLOCK else "ok"
    return Assessment(
        "Clock", f"{duration(ahead)} behind times that were stored" if ahead > 0 else "right", kind,
        "Tasks become due and leases lapse by the clock of the database server.",
        "Check the time service of the server. maintain() moves tasks whose times are too far ahead."
        if kind != "ok" else "",
    )  # fmt: skip
