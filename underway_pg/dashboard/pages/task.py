"""The page of one task."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from ..database import Queries
from ..page import page

__all__ = ["routes"]


@page("empty.html")
async def show(request: Request, db: Queries) -> dict[str, Any]:
    """Nothing yet."""
    return {"title": f"Task {request.path_params['id']}"}


routes = [Route("/tasks/{id:int}", show, name="task")]
