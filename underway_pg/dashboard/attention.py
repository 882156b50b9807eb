"""What needs attention: findings with a link to where something can be done about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from ..models import QueueStats
from .database import Queries
from .formats import count, duration, percent
from .page import url

__all__ = ["Finding", "findings"]

# A ready task that nobody has started for this long is a finding, as it is for the event queue_blocked.
_BLOCKED_AFTER = timedelta(minutes=5)

# Seconds. A snapshot that is older keeps dead rows of the queue from being removed.
_OLD_SNAPSHOT = 600

# Permanent failures in the last hour: at least this many, and at least this part of what ended.
_FAILURES = 10
_FAILURE_RATE = 0.05


@dataclass(frozen=True)
class Finding:
    """Something that needs attention. `kind` is bad or warn; `text` says what is so, `advice` what to do."""

    kind: str
    title: str
    text: str
    advice: str
    link: str


async def findings(request: Request, db: Queries, queues: Sequence[QueueStats]) -> list[Finding]:
    """All that needs attention now, the worst first."""
    now = datetime.now(UTC)
    found = [
        *_queues(request, queues, now),
        *await _schedules(request, db),
        *await _workers(request, db, now),
        *await _failures(request, db, now),
        *_dead_letters(request, queues),
        *await _database(request, db),
    ]
    return sorted(found, key=lambda finding: finding.kind != "bad")


def _queues(request: Request, queues: Sequence[QueueStats], now: datetime) -> list[Finding]:
    found = []
    letters = {queue.dead_letter_queue for queue in queues}
    for queue in queues:
        if not queue.ready or queue.queue in letters:
            continue
        age = now - (queue.oldest_ready_at or now)
        ready = f"{count(queue.ready)} ready, the oldest for {duration(age)}"
        link = url(request, "tasks", {"queue": queue.queue, "state": "pending"})
        if queue.paused_at is not None:
            found.append(
                Finding(
                    "warn",
                    f"Queue {queue.queue} is paused",
                    ready,
                    "Resume it.",
                    url(request, "queue", {"name": queue.queue}),
                )
            )
        elif queue.workers == 0:
            found.append(
                Finding(
                    "bad",
                    f"No worker serves queue {queue.queue}",
                    ready,
                    "Start a worker.",
                    url(request, "workers"),
                )
            )
        elif age > _BLOCKED_AFTER:
            found.append(
                Finding(
                    "bad",
                    f"Queue {queue.queue} is behind",
                    ready,
                    "Look at why its first task does not run, or add workers.",
                    link,
                )
            )
    return found


def _dead_letters(request: Request, queues: Sequence[QueueStats]) -> list[Finding]:
    letters = sum(queue.dead_letters for queue in queues)
    if not letters:
        return []
    text = f"{count(letters)} in {', '.join(queue.queue for queue in queues if queue.dead_letters)}"
    return [Finding("warn", "Dead letters", text, "Redrive or delete them.", url(request, "dead_letters"))]


async def _schedules(request: Request, db: Queries) -> list[Finding]:
    rows = await db.rows(
        """select schedule, last_error ->> 'message' as message from underway.schedule_stats
        where last_error is not null and paused_at is null order by last_error_at desc limit 5"""
    )
    return [
        Finding(
            "bad",
            f"Schedule {row.schedule} fails",
            str(row.message)[:200],
            "Correct or pause it.",
            url(request, "schedule", {"name": row.schedule}),
        )
        for row in rows
    ]


async def _workers(request: Request, db: Queries, now: datetime) -> list[Finding]:
    rows = await db.rows(
        "select name, seen_at, in_progress from underway.worker_stats where lost order by seen_at desc"
    )
    if not rows:
        return []
    held = sum(row.in_progress for row in rows)
    title = f"Worker {rows[0].name} is lost" if len(rows) == 1 else f"{len(rows)} workers are lost"
    text = f"not seen for {duration(now - rows[0].seen_at)}"
    if held:
        text += f", with {count(held)} tasks, which are taken back when their leases lapse"
    return [Finding("bad" if held else "warn", title, text, "Look at the workers.", url(request, "workers"))]


async def _failures(request: Request, db: Queries, now: datetime) -> list[Finding]:
    rows = await db.cached_rows(
        5.0,
        None,
        """select queue, failed, succeeded from underway.stats_by_queue(%(since)s, %(until)s)
        where failed >= %(failures)s and failed >= %(rate)s * (failed + succeeded) order by failed desc limit 5""",
        {"since": now - timedelta(hours=1), "until": now, "failures": _FAILURES, "rate": _FAILURE_RATE},
    )
    return [
        Finding(
            "bad",
            f"Many tasks of queue {row.queue} fail",
            f"{count(row.failed)} in the last hour, {percent(row.failed / (row.failed + row.succeeded))} of what ended",
            "See which errors.",
            url(request, "failures", {"queue": row.queue}),
        )
        for row in rows
    ]


async def _database(request: Request, db: Queries) -> list[Finding]:
    rows = await db.cached_rows(15.0, None, "select underway.database_health() as health", {})
    health = rows[0].health or {}
    link, found = url(request, "database"), []
    snapshot = health.get("oldest_snapshot") or {}
    if (snapshot.get("age_seconds") or 0) > _OLD_SNAPSHOT:
        found.append(
            Finding(
                "warn",
                "An old snapshot keeps dead rows",
                f"session {snapshot.get('pid')} ({snapshot.get('application_name') or 'no name'}) holds it for"
                f" {duration(snapshot['age_seconds'])}",
                "End that transaction; claims get slower meanwhile.",
                link,
            )
        )
    if prepared := health.get("prepared_transactions"):
        found.append(
            Finding("warn", "Prepared transactions are open", str(prepared), "Commit or roll them back.", link)
        )
    found += [
        Finding("bad", title, ", ".join(map(str, health[name])), "Run underway migrate.", link)
        for name, title in (("missing_indexes", "Indexes are missing"), ("invalid_indexes", "Indexes are invalid"))
        if health.get(name)
    ]
    return found
