"""The dashboard as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from psycopg.conninfo import conninfo_to_dict
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..connections import Dsn, read_dsn
from ..errors import ConfigurationError, DatabaseUnavailable, MissingPrivilege, SchemaMissing
from . import charts, formats, live, metrics, pages, security, session
from .bulk import Bulk
from .databases import Databases
from .guard import Guard
from .page import dashboard_of, render
from .redaction import Redaction
from .settings import Authenticate, Settings, User

__all__ = ["Dashboard"]

logger = logging.getLogger(__name__)

_HERE = Path(__file__).parent

# The navigation: the name of the route, its title, and the letter that follows g on the keyboard; None is a gap.
NAVIGATION = (
    ("overview", "Overview", "o"),
    ("tasks", "Tasks", "t"),
    ("failures", "Failures", "f"),
    ("dead_letters", "Dead letters", "l"),
    None,
    ("queues", "Queues", "q"),
    ("jobs", "Jobs", "j"),
    ("workers", "Workers", "w"),
    ("schedules", "Schedules", "s"),
    ("batches", "Batches", "b"),
    None,
    ("database", "Database", "d"),
    ("audit", "Audit", "a"),
)


class Dashboard:
    """The dashboard of one database or of several, as an ASGI application.

    `app_or_dsn` is an `App` or the dsn of its database; `dsns` instead are several databases by their names. Who may
    see it is decided by one of: `authenticate`, a function that takes the request and returns a `User`, or None for a
    visitor who is not known, and may be async; `token` and `password`, with which visitors sign in; or `local=True`,
    which serves everybody on this machine, and refuses requests that do not come from there.

    `read_only` hides and refuses all actions. By default it is true with a token or password alone, and false with
    `authenticate`, whose users say themselves whether they may act, and with `local`. `redact` is a list of keys, such
    as `password`, and paths, such as `$.card.number`, whose values are not shown. `prefix` is the path under which a
    proxy publishes the dashboard; an application that mounts it says so itself.

    Raises ConfigurationError when nothing decides who may see it.
    """

    def __init__(
        self,
        app_or_dsn: Any = None,
        *,
        dsns: Mapping[str, Dsn] | None = None,
        read_only: bool | None = None,
        authenticate: Authenticate | None = None,
        token: str | None = None,
        password: str | None = None,
        local: bool = False,
        redact: Sequence[str] = (),
        prefix: str = "",
    ) -> None:
        if not (authenticate or token or password or local):
            raise ConfigurationError(
                "the dashboard has no authenticate, token or password: give one of them, or local=True to serve"
                " everybody on this machine"
            )
        if (app_or_dsn is None) == (not dsns):
            raise ConfigurationError("the dashboard needs an App or a dsn, or else dsns, several databases by name")
        dsn: Dsn = (lambda: app_or_dsn.dsn) if hasattr(app_or_dsn, "dsn") else app_or_dsn
        if read_only is None:
            read_only = not (authenticate or local)
        self.settings = Settings(
            dsns=dsns or {"": dsn}, read_only=read_only, authenticate=authenticate, token=token, password=password,
            local=local, redact=tuple(redact), prefix="/" + prefix.strip("/") if prefix.strip("/") else "",
        )  # fmt: skip
        self.databases = Databases(self.settings.dsns)
        self.ticker = live.Ticker(*self.settings.dsns.values())
        self.redaction = Redaction(self.settings.redact)
        self.bulk = Bulk(self.ticker.nudge)
        self.attempts = security.Attempts()
        self._key: bytes | None = None
        self.templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, enable_async=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self.templates.globals.update(navigation=NAVIGATION, version=__version__, sparkline=charts.sparkline)
        self.templates.filters.update(
            count=formats.count, short=formats.short_number, duration=formats.duration, bytes=formats.bytes_,
            percent=formats.percent, when=formats.when,
        )  # fmt: skip
        self.router = Router(self._routes())
        self._guarded = Guard(ExceptionMiddleware(self.router, handlers=_HANDLERS), self)

    def _routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [Mount("/static", StaticFiles(directory=_HERE / "static"), name="static")]
        routes += [*live.routes, *metrics.routes, *session.routes]
        for module in pages.MODULES:
            routes += module.routes
        for route in routes:
            # A route that changes something without `action` would have no protection.
            unsafe = (route.methods or set()) - {"GET", "HEAD"} if isinstance(route, Route) else set()
            if isinstance(route, Route) and unsafe and not getattr(route.endpoint, "is_action", False):
                raise TypeError(f"the route {route.name} takes {route.methods} and is no action")
        return routes

    @property
    def key(self) -> bytes:
        """The key of signatures. It is the same in all processes that serve this dashboard."""
        if self._key is None:
            chosen = self.settings
            # Without the password of the database, which may change. So without a token and a password of the dashboard
            # the key can be guessed. Then it signs nothing that opens a door: there is no sign-in, and a change needs
            # the cookie of its session and the right origin, too.
            places = [{**conninfo_to_dict(read_dsn(dsn)), "password": None} for dsn in chosen.dsns.values()]
            words = " ".join(repr(sorted(place.items())) for place in places)
            self._key = security.derive_key(words, chosen.token or "", chosen.password or "")
        return self._key

    def refusal(self, user: User | None, name: str, privileges: frozenset[str]) -> str | None:
        """Why this user may not call the SQL function of this name; None if he may."""
        if self.settings.read_only:
            return "This dashboard is read-only. Start it with --allow-actions, or make it with read_only=False."
        if user is None or not user.may_act:
            return "Your account may look at this dashboard and change nothing."
        if name not in privileges:
            return f"The database role of this dashboard may not call underway.{name}. Grant it underway_operator."
        return None

    async def error(
        self, request: Request, status: int, title: str, text: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """A page that says what went wrong."""
        response = await render(request, "error.html", status=status, title=title, text=text, code=status)
        response.headers.update(headers or {})
        return response

    def close(self) -> None:
        """End the streams of live updates, and close the connections to the database."""
        self.ticker.close()
        self.databases.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "http":
            root = scope.get("root_path", "").rstrip("/") + self.settings.prefix
            path = scope["path"]
            # The path of a request contains the root path, also where a proxy has taken it away.
            scope = {**scope, "root_path": root, "path": path if f"{path}/".startswith(f"{root}/") else root + path}
        await self._guarded(scope, receive, send)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    titles = {403: "Not allowed", 404: "Not found", 405: "Not allowed", 400: "Bad request", 429: "Too many attempts"}
    text = error.detail
    if error.status_code == 404 and text == "Not Found":
        text = "There is no page at this address."
    return await dashboard_of(request).error(
        request, error.status_code, titles.get(error.status_code, "Error"), text, error.headers
    )


async def _database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, DatabaseUnavailable):
        logger.warning("dashboard: %s", error)
        text = "The dashboard cannot reach its database. It tries again when you reload this page."
        if dashboard_of(request).databases.several:
            text = "The dashboard cannot reach the database of this page. The others are in the list above."
        return await dashboard_of(request).error(request, 503, "The database is away", text)
    return await dashboard_of(request).error(request, 503, "The database is not ready for this page", f"{error}.")


async def _too_slow(request: Request, error: Exception) -> Response:
    text = "The database needed more than five seconds for this page, so the query was cancelled. Narrow it down."
    return await dashboard_of(request).error(request, 503, "This takes too long", text)


async def _not_storable(request: Request, error: Exception) -> Response:
    text = f"The database cannot read a value of this request: {str(error).splitlines()[0]}."
    return await dashboard_of(request).error(request, 400, "Bad request", text)


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("dashboard: %s %s failed", request.method, request.url.path, exc_info=error)
    return await dashboard_of(request).error(
        request, 500, "Something went wrong", "The log of the dashboard has the details."
    )


_HANDLERS: dict[Any, Any] = {
    HTTPException: _http_error,
    DatabaseUnavailable: _database_error,
    SchemaMissing: _database_error,
    MissingPrivilege: _database_error,
    psycopg.errors.QueryCanceled: _too_slow,
    psycopg.DataError: _not_storable,
    psycopg.errors.StatementTooComplex: _not_storable,
    Exception: _unexpected,
}
