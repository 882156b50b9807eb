"""The page Audit: who changed what, from the dashboard and from the command line."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from .. import json_view
from ..database import Queries
from ..merging import merging
from ..page import dashboard_of, page, url

__all__ = ["routes"]

_PAGE = 50

_SELECT = """select id, at, actor, role, source, action, details::text as details from underway.audit_list
    where (%(before)s::bigint is null or id < %(before)s::bigint)
      and (%(actor)s::text is null or actor = %(actor)s)
      and (%(action)s::text is null or action = %(action)s)
    order by id desc limit %(limit)s"""


@page(
    "audit.html", title="Audit",
    merge=merging("rows", order=lambda row: row.at, reverse=True, most=_PAGE, older=None, newest=None),
)  # fmt: skip
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The page."""
    before = request.query_params.get("before") or None
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        raise HTTPException(400, "The parameter before is not the number of a record.")
    chosen = {name: request.query_params.get(name, "").strip() or None for name in ("actor", "action")}
    rows = await db.rows(_SELECT, {**chosen, "before": before, "limit": _PAGE + 1})
    redaction = dashboard_of(request).redaction
    for row in rows:
        value, whole = json_view.parse(row.details)
        row.details = redaction.apply(value) if whole else None
        row.tree = json_view.tree(row.details)
        row.summary = _summary(row.details)
    return {
        "rows": rows[:_PAGE],
        "chosen": chosen,
        "older": url(request, "audit", {**chosen, "before": rows[_PAGE - 1].id}) if len(rows) > _PAGE else None,
        "newest": url(request, "audit", chosen) if before else None,
    }


def _summary(details: Any) -> str:
    """The details in one line: names with short values, and how many there are of long lists."""
    if not isinstance(details, dict):
        return ""
    parts = []
    for name, value in details.items():
        if isinstance(value, list):
            text = ", ".join(map(str, value)) if len(value) <= 3 else f"{len(value):,}"
        elif isinstance(value, dict):
            text = " ".join(f"{key}={_plain(each)}" for key, each in value.items()) or "none"
        else:
            text = _plain(value)
        parts.append(f"{name}: {text}")
    return "; ".join(parts)


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


routes = [Route("/audit", show, name="audit")]
