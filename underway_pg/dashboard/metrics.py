"""The metrics of the database for Prometheus, at /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import ConfigurationError
from ..metrics import metrics_response, shards_metrics_response
from ..statements import Statement
from .database import Database
from .page import dashboard_of

__all__ = ["routes"]


async def metrics(request: Request) -> Response:
    """The metrics in the format that the client asks for. With several databases they have the label `shard`."""
    databases = dashboard_of(request).databases

    def runner(database: Database) -> Callable[[Statement[Any]], Awaitable[Any]]:
        async def run(statement: Statement[Any]) -> Any:
            async with database.reading() as db:
                return await db.run(statement)

        return run

    runs = {name: runner(database) for name, database in databases.all.items()}
    accept = request.headers.get("accept")
    try:
        if databases.several:
            media_type, body = await shards_metrics_response(runs, accept)
        else:
            media_type, body = await metrics_response(next(iter(runs.values())), accept)
    except ConfigurationError as missing:
        raise HTTPException(404, f"There are no metrics here: {missing}.") from None
    return Response(body, headers={"Content-Type": media_type})


routes = [Route("/metrics", metrics, name="metrics")]
