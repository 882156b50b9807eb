"""The page Tasks."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..page import page

__all__ = ["routes"]


@page("empty.html", title="Tasks")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """Nothing yet."""
    return {}


routes = [Route("/tasks", show, name="tasks")]
