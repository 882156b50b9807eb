"""Checks of the server: its settings, autovacuum, old transactions, connections, the clock and notifications."""

from __future__ import annotations

from collections.abc import Iterator

from ._check import Finding, Limits, problem, warning
from ._facts import Facts

__all__ = [
    "check_autovacuum",
    "check_clock",
    "check_connections",
    "check_notifications",
    "check_publications",
    "check_server",
    "check_settings",
    "check_snapshots",
    "check_transaction_ids",
]

# What a worker process holds, besides at most one connection of each running handler.
_CONNECTIONS_OF_WORKER = 3

_TIMEOUTS = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")


def check_server(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The server takes writes."""
    if facts.standby:
        yield problem("the server is a standby, where no task can be enqueued or run", True, "use the primary")


def check_settings(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """No setting loses data, spoils plans or ends the transactions of workers."""
    for setting in facts.settings:
        of = f" ({setting.of})" if setting.of else ""
        what = f"{setting.name} is {setting.value}{of}"
        if setting.name in ("fsync", "full_page_writes") and setting.value == "off":
            yield problem(f"{what}: a crash of the server may destroy the database", "off", setting.remedy("on"))
        elif setting.name == "synchronous_commit" and setting.value == "off":
            yield warning(
                f"{what}: a crash of the server forgets what was settled or enqueued in its last moments", "off",
                setting.remedy("on"),
            )  # fmt: skip
        elif setting.name == "default_transaction_read_only" and setting.value == "on":
            yield problem(f"{what}: no task can be enqueued or run", "on", setting.remedy("off"))
        elif setting.name.startswith("enable_") and setting.value == "off" and setting.boot_value == "on":
            yield warning(f"{what}: statements may read whole tables", "off", setting.remedy("on"))
        elif setting.name == "default_transaction_isolation" and setting.value != "read committed":
            yield warning(
                f"{what}: calls over connections that are not of this package are refused or fail", setting.value,
                setting.remedy("read committed"),
            )  # fmt: skip
        elif setting.name in _TIMEOUTS and 0 < setting.milliseconds < 1000 * limits.shortest_timeout:
            yield warning(
                f"{what}{' ms' if setting.value.isdigit() else ''}: the server ends the work of workers and handlers"
                " that takes longer",
                setting.milliseconds,
                f"set it for the role of the web processes only; {setting.remedy('0')}",
            )
        elif setting.name == "jit_above_cost" and _jit_is_eager(facts, setting.value, setting.boot_value):
            yield warning(
                f"{what}: cheap statements wait for the JIT compiler", setting.value,
                setting.remedy(setting.boot_value),
            )  # fmt: skip


def _jit_is_eager(facts: Facts, cost: str, default: str) -> bool:
    return 0 <= float(cost) < float(default) and facts.setting("jit").value == "on" and facts.jit_available


def check_autovacuum(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Autovacuum runs, often enough, and removes the dead rows."""
    autovacuum = facts.health["autovacuum"]
    if not autovacuum["enabled"] or facts.setting("track_counts").value == "off":
        name = "track_counts" if autovacuum["enabled"] else "autovacuum"
        yield problem(
            f"{name} is off: dead rows are never removed, and each claim gets slower", "off",
            f"alter system set {name} = 'on'; select pg_reload_conf()",
        )  # fmt: skip
    for row in facts.table_options:
        yield problem(
            f"autovacuum is off for the table {row['name']}", row["name"],
            f"alter table underway.{row['name']} reset (autovacuum_enabled)",
        )  # fmt: skip
    naptime = autovacuum["naptime_seconds"]
    load = 0 if facts.workers_vacuum else facts.starts_per_second
    if naptime > limits.naptime or (load >= limits.load and naptime > limits.naptime_under_load):
        rate = f" at {load:,.0f} tasks a second, and workers may not vacuum" if load >= limits.load else ""
        yield warning(
            f"autovacuum_naptime is {naptime:g} s{rate}: dead rows pile up between two runs", naptime,
            f"alter system set autovacuum_naptime = '{limits.naptime_under_load:g}s'; select pg_reload_conf()",
        )  # fmt: skip
    for table in facts.health["tables"]:
        dead, live = table["dead_rows"] or 0, table["live_rows"] or 0
        if dead >= limits.dead_rows and dead > live and _is_old(facts, table["last_autovacuum"], limits.vacuum_age):
            yield warning(
                f"table {table['name']} has {dead:,} dead rows and {live:,} live ones; last autovacuum:"
                f" {table['last_autovacuum'] or 'never'}", dead,
                f"end old transactions, then: vacuum (verbose) underway.{table['name']}",
            )  # fmt: skip


def _is_old(facts: Facts, at: str | None, seconds: float) -> bool:
    from datetime import datetime

    return at is None or (facts.database_now - datetime.fromisoformat(at)).total_seconds() > seconds


def check_snapshots(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """No old transaction, prepared transaction or replication slot keeps dead rows from being removed."""
    oldest = facts.health["oldest_snapshot"]
    if oldest is not None and oldest["age_seconds"] >= limits.snapshot_age:
        age = oldest["age_seconds"]
        find = problem if age >= limits.snapshot_age_problem else warning
        who = f" ({oldest['application_name']})" if oldest["application_name"] else ""
        yield find(
            f"session {oldest['pid']}{who} is {oldest['state']} in a transaction that is {age:,.0f} s old: dead rows"
            " cannot be removed, and claims get slower", age, f"select pg_terminate_backend({oldest['pid']})",
        )  # fmt: skip
    for row in facts.prepared_transactions:
        if row["age"] >= limits.snapshot_age:
            yield problem(
                f"the prepared transaction {row['gid']!r} is {row['age']:,.0f} s old: it keeps its locks and dead rows",
                row["age"], f"rollback prepared '{row['gid']}', or commit prepared",
            )  # fmt: skip
    for slot in facts.health["replication_slots"]:
        retained = slot["retained_bytes"] or 0
        if not slot["active"] and (retained >= limits.retained_bytes or slot["xmin_age"] is not None):
            yield warning(
                f"the replication slot {slot['name']!r} is not in use, and keeps {retained / (1 << 20):,.0f} MiB of the"
                " write-ahead log" + ("" if slot["xmin_age"] is None else " and dead rows"), retained,
                f"start its subscriber, or: select pg_drop_replication_slot('{slot['name']}')",
            )  # fmt: skip


def check_connections(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The server has enough connections for all workers with all their tasks."""
    used, maximum = facts.health["connections"]["used"], facts.health["connections"]["max"]
    maximum -= int(facts.setting("superuser_reserved_connections").value)
    needed = sum(_CONNECTIONS_OF_WORKER + (worker.concurrency or 0) for worker in facts.workers)
    if used >= limits.connections * maximum:
        yield warning(
            f"{used} of {maximum} connections are in use", used,
            "end sessions that are idle, use a pooler, or: alter system set max_connections = ..., and restart",
        )  # fmt: skip
    elif needed > maximum:
        yield warning(
            f"the {len(facts.workers)} workers may need {needed} connections ({_CONNECTIONS_OF_WORKER} each, and one"
            f" for each running task that uses the database), and the server has {maximum}", needed,
            "lower --concurrency, use a pooler, or: alter system set max_connections = ..., and restart",
        )  # fmt: skip


def check_clock(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The clocks of the server and of this machine agree, and no time was written by a clock that was ahead."""
    offset = facts.clock_offset
    if abs(offset) > limits.clock_offset:
        direction = "ahead of" if offset > 0 else "behind"
        yield warning(
            f"the clock of the server is {abs(offset):,.1f} s {direction} that of this machine", offset,
            "synchronize both clocks (chronyc tracking); only that of the server counts for tasks",
        )  # fmt: skip
    ahead = facts.health["clock_ahead_seconds"] or 0
    if ahead > limits.clock_ahead:
        yield warning(
            f"times were written that are {ahead:,.0f} s ahead of the clock of the server, which was put back", ahead,
            "select underway.maintain(), which repairs them; then synchronize the clock",
        )  # fmt: skip


def check_notifications(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Notifications arrive, and their queue is not filling up."""
    usage = facts.health["notification_queue_usage"]
    if usage > limits.notification_queue:
        yield problem(
            f"the queue of notifications is {usage:.0%} full: when it is, enqueueing fails", usage,
            "end the session that listens in an open transaction: select pid, state, xact_start from pg_stat_activity"
            " order by xact_start",
        )  # fmt: skip
    if facts.standby:
        return
    if facts.pooled:
        yield warning(
            "this connection goes through a pooler, which does not deliver notifications: workers poll every second",
            True, "underway worker --listen-dsn with the address of the server itself",
        )  # fmt: skip
    elif facts.round_trip is None:
        yield warning(
            "a notification did not arrive: workers poll every second", None,
            "underway worker --listen-dsn with the address of the server itself, not that of a pooler",
        )  # fmt: skip
    elif facts.round_trip > limits.round_trip:
        yield warning(
            f"a notification took {facts.round_trip:.1f} s", facts.round_trip,
            "look for sessions that wait: select * from pg_stat_activity where wait_event is not null",
        )  # fmt: skip


def check_publications(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Subscribers can identify the rows of published tables; otherwise updates and deletes are refused."""
    for row in facts.unidentified_tables:
        yield problem(
            f"the publication {row['publication']!r} has the table {row['table']}, which has no replica identity:"
            " its updates are refused", row["table"], f"alter table underway.{row['table']} replica identity full",
        )  # fmt: skip


def check_transaction_ids(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """Transaction ids are not running out."""
    age, maximum = facts.transaction_id_age, int(facts.setting("autovacuum_freeze_max_age").value)
    if age > limits.transaction_id_age * maximum:
        find = problem if age > 1_000_000_000 else warning
        yield find(
            f"the oldest transaction id of the database is {age:,} transactions old; at 2 billion the server stops",
            age,
            "end old transactions, then: vacuum (freeze) the tables with the oldest relfrozenxid",
        )  # fmt: skip
