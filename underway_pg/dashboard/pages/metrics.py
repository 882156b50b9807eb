"""The address /metrics: the metrics of the database for Prometheus, which sends the token as a bearer."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...metrics import MISSING, has_prometheus, metrics_response
from ...statements import Statement
from ..page import dashboard_of

__all__ = ["routes"]


async def metrics(request: Request) -> Response:
    """The metrics, in the format that the request asks for."""
    if not has_prometheus():
        return JSONResponse({"error": MISSING}, 501)
    database = dashboard_of(request).database

    async def run(statement: Statement[Any]) -> Any:
        async with database.reading() as db:
            return await db.run(statement)

    content_type, body = await metrics_response(run, request.headers.get("accept"))
    return Response(body, headers={"Content-Type": content_type})


routes = [Route("/metrics", metrics, name="metrics")]
