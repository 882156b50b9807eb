"""The page Dead letters: tasks that failed permanently, where they came from, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..page import dashboard_of, page
from ..redaction import redact_texts

__all__ = ["routes"]

_PAGE = 50

# The newest letters, which are counted by origin and error.
_COUNTED = 200


@page("dead_letters.html", title="Dead letters")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The queues that hold dead letters, and the newest letters of all or of one of them."""
    queue = request.query_params.get("queue") or None
    before = _number(request.query_params.get("before", ""))
    found = await db.row(
        "select tasks, next_before from underway.find_tasks(%(filter)s, %(before)s, %(limit)s)",
        {
            "filter": Jsonb(
                {"dead_letter": True, "state": ["pending", "in_progress", "waiting"]}
                | ({"queue": [queue]} if queue else {})
            ),
            "before": before,
            "limit": _COUNTED,
        },
    )
    letters = await db.rows(
        """select i.id, i.queue, i.job, i.state::text as state, i.enqueued_at,
            (i.dead_letter ->> 'task')::bigint as origin, i.dead_letter ->> 'queue' as origin_queue,
            (i.dead_letter ->> 'attempts')::integer as attempts, i.dead_letter -> 'error' ->> 'type' as error_type,
            left(i.dead_letter -> 'error' ->> 'message', 300) as message
        from unnest(%(tasks)s::bigint[]) with ordinality as found (id, number)
        cross join lateral underway.task_info(found.id) i
        where i.dead_letter is not null
        order by found.number""",
        {"tasks": found.tasks},
    )
    shown = letters[:_PAGE]
    await redact_texts(dashboard_of(request).redaction, db, shown, "message")
    return {
        "queues": await db.rows(
            "select queue, dead_letters, workers from underway.queue_stats where dead_letters > 0 order by queue"
        ),
        "sources": await db.rows(
            """select queue, dead_letter_queue from underway.queue_list
            where dead_letter_queue is not null order by queue"""
        ),
        "queue": queue,
        "letters": shown,
        "groups": Counter((each.origin_queue, each.job, each.error_type) for each in letters).most_common(8),
        "counted": len(letters),
        "older": shown[-1].id if len(letters) > _PAGE else found.next_before,
        "first": before is None,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


routes = [Route("/dead-letters", show, name="dead_letters")]
