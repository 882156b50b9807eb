"""The page Database: what the server says about its health, and what it means for the queues."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..health import assess, bloated
from ..page import page

__all__ = ["routes"]


@page("database.html", title="Database")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """The facts, each with its meaning, and the sizes of the tables."""
    health = await db.value("select underway.database_health()")
    for table in health["tables"]:
        for name in ("last_autovacuum", "last_autoanalyze"):
            table[name] = datetime.fromisoformat(table[name]) if table[name] else None
    tables = sorted(health["tables"], key=lambda table: -(table["bytes"] + (table["index_bytes"] or 0)))
    return {"health": health, "facts": assess(health), "tables": tables, "bloated": bloated}


routes = [Route("/database", show, name="database")]
