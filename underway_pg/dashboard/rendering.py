"""Making a page from a template: what every template gets, the links, and the database that a request is about."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..errors import UnderwayError
from . import security
from .database import Database

if TYPE_CHECKING:
    from .application import Dashboard

__all__ = [
    "about",
    "base_path",
    "confirm",
    "dashboard_of",
    "database_of",
    "render",
    "shard_of",
    "text_of",
    "url",
]

# Pages that are about no database.
_OF_NO_SHARD = frozenset({"login", "logout", "static", "theme"})


def dashboard_of(request: Request) -> Dashboard:
    """The dashboard that serves a request."""
    found: Dashboard = request.scope["underway_dashboard"]
    return found


def base_path(request: Request) -> str:
    """The path below which the dashboard is mounted, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def url(request: Request, name: str, query: Mapping[str, Any] | None = None, /, **path: Any) -> str:
    """The path of the route of this name, with its parameters and a query. Values of None are left out.

    With several databases it stays at the one that was chosen, unless the query names another.
    """
    found = base_path(request) + str(dashboard_of(request).router.url_path_for(name, **path))
    query = {"shard": shard_of(request), **(query or {})} if name not in _OF_NO_SHARD else query
    pairs = [(key, value) for key, value in (query or {}).items() if value is not None and value != []]
    return f"{found}?{urlencode(pairs, doseq=True)}" if pairs else found


def shard_of(request: Request) -> str | None:
    """The name of the database that this request is about; None with one database, and where all are shown."""
    found: str | None = request.scope.get("underway_shard")
    return found


def database_of(request: Request) -> Database:
    """The database that this request is about, in the function of a page or an action."""
    databases = dashboard_of(request).databases.all
    return databases[shard_of(request) or next(iter(databases))]


def about(request: Request, database: Database) -> Request:
    """The request as one about this database."""
    return Request({**request.scope, "underway_shard": database.name or None}, request.receive)


async def render(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page from a template."""
    flash = None if "x-underway-live" in request.headers else security.read_flash(request)
    response = HTMLResponse(await text_of(request, template, status, {"flash": flash, **context}), status_code=status)
    if flash is not None:
        security.forget_flash(request, response)
    return response


async def text_of(request: Request, template: str, status: int, context: Mapping[str, Any]) -> str:
    """A template as text, with what every template gets."""
    dashboard = dashboard_of(request)
    user = request.state.user
    privileges: frozenset[str] = frozenset()
    unreachable = context.get("unreachable", {})
    if user is not None and status < 500:
        asked = database_of(request)
        if asked.name in unreachable:
            asked = next(each for name, each in dashboard.databases.all.items() if name not in unreachable)
        # An error is shown even if the database is away.
        with contextlib.suppress(*([UnderwayError, psycopg.Error] if status >= 400 else [])):
            privileges = await asked.privileges()
    values = {
        "layout": "base.html",
        "several": dashboard.databases.several,
        "shards": _choices(request),
        "shard": shard_of(request),
        "unreachable": unreachable,
        "request": request,
        "user": user,
        "base": base_path(request),
        "url": functools.partial(url, request),
        "may": lambda name: dashboard.refusal(user, name, privileges) is None,
        "why_not": lambda name: dashboard.refusal(user, name, privileges),
        "csrf": request.state.csrf,
        "theme": security.theme(request),
        "may_sign_out": request.state.session.user is not None and user is not None,
        "read_only": dashboard.settings.read_only or not (user and user.may_act),
        "now": datetime.now(UTC),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "flash": None,
        "live": False,
        **context,
    }
    return await dashboard.templates.get_template(template).render_async(values)


def _choices(request: Request) -> list[tuple[str, str, bool]]:
    """What a visitor may choose between: all databases, or one; each with its link, and whether it is chosen."""
    databases = dashboard_of(request).databases
    if not databases.several:
        return []
    if "id" in request.path_params or request.method not in ("GET", "HEAD"):
        path, query = url(request, "overview", {"shard": None}), []
    else:  # ids of one database, such as the place in a list, say nothing in another
        path = request.url.path
        query = [pair for pair in request.query_params.multi_items() if pair[0] not in ("shard", "before")]
    chosen = shard_of(request)
    links = [(name, f"{path}?{urlencode([*query, ('shard', name)])}", name == chosen) for name in databases.all]
    return [("All", f"{path}?{urlencode(query)}" if query else path, chosen is None), *links]


async def confirm(
    request: Request,
    *,
    title: str,
    text: str,
    action: str,
    name: str,
    button: str,
    fields: Mapping[str, Any] | None = None,
    details: list[tuple[str, Any]] | None = None,
    back: str | None = None,
    danger: bool = True,
) -> Response:
    """A page that asks before an action is done. `action` is the path of its POST, `name` its SQL function."""
    return await render(
        request, "confirm.html", title=title, text=text, action=action, name=name, button=button, fields=fields or {},
        details=details or [], back=back or base_path(request) + "/", danger=danger,
    )  # fmt: skip
