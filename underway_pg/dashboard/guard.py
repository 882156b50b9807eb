"""The guard: each request passes it before it reaches a page, and each response gets its headers.

It finds out who makes the request, and refuses what is not allowed to reach a page at all: requests from elsewhere to a
dashboard that is for this machine alone, visitors who have not signed in, and changes that another site requests.
"""

from __future__ import annotations

import getpass
import inspect
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import security
from .page import base_path, url
from .security import Session
from .settings import User

if TYPE_CHECKING:
    from .application import Dashboard

__all__ = ["Guard"]

# Bytes of a request: an input that is edited, and some room.
_MAX_BODY = 4 * 1024 * 1024

# Addresses that no browser shows as a page, so that nobody is led from there to the sign-in.
_FOR_PROGRAMS = frozenset({"/live", "/metrics"})

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """An ASGI application around the one that has the pages."""

    def __init__(self, app: ASGIApp, dashboard: Dashboard) -> None:
        self.app = app
        self.dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # `authenticate` sees the application in which the dashboard is mounted.
        outer = Request(scope, receive)
        # A router without an application answers unknown addresses by itself.
        scope = {**scope, "app": scope.get("app", self.dashboard), "underway_dashboard": self.dashboard}
        scope["state"] = dict(scope.get("state") or {})
        request = Request(scope, receive)
        session = security.read_session(request)
        is_new = session is None
        session = session or Session.new()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in security.HEADERS.items():
                    if name != "Cache-Control" or name not in headers:
                        headers[name] = value
                if is_new and "underway_session=" not in str(headers.getlist("set-cookie")) and not _is_static(request):
                    response = Response()
                    security.keep_session(request, response, session)
                    headers.append("set-cookie", response.headers["set-cookie"])
            await send(message)

        request.state.session = session
        request.state.user = None
        request.state.csrf = security.csrf_token(request)
        request.state.by_token = False
        answer = await self._refuse(request, outer, session)
        if answer is not None:
            await answer(scope, receive, send_with_headers)
        else:
            await self.app(scope, _limited(receive), send_with_headers)

    async def _refuse(self, request: Request, outer: Request, session: Session) -> Response | None:
        """The response to a request that may not reach a page; None if it may."""
        if _is_static(request):
            return None
        try:
            if self.dashboard.settings.local:
                _check_local(request)
            request.state.user = await self._user(request, outer, session)
            if request.method not in _SAFE and not request.state.by_token:
                security.check_origin(request)
        except HTTPException as error:
            return await self.dashboard.error(
                request, error.status_code, "Not allowed", str(error.detail), error.headers
            )
        if request.state.user is not None or _route(request) == "/login":
            return None
        return await self._ask_to_sign_in(request)

    async def _user(self, request: Request, outer: Request, session: Session) -> User | None:
        chosen = self.dashboard.settings
        if chosen.authenticate is not None:
            found = chosen.authenticate(outer)
            user = await found if inspect.isawaitable(found) else found
            if user is not None and not isinstance(user, User):
                raise TypeError(f"authenticate returned {user!r}; return a User or None")
            if user is not None:
                return user
        if chosen.local:
            return User(getpass.getuser(), may_act=True)
        if security.has_bearer(request):
            security.check_bearer(request)
            request.state.by_token = True
            return User("token", may_act=True)
        # Without a token or password there is no sign-in, and the key of the cookies may be easy to guess.
        signed_in = session.user is not None and bool(chosen.token or chosen.password)
        return User(str(session.user), may_act=True) if signed_in else None

    async def _ask_to_sign_in(self, request: Request) -> Response:
        chosen = self.dashboard.settings
        if not (chosen.token or chosen.password):
            text = "The application of this dashboard does not know you. Sign in there, then reload this page."
            return await self.dashboard.error(request, 401, "Sign in first", text)
        if (
            request.method in _SAFE
            and "x-underway-live" not in request.headers
            and _route(request) not in _FOR_PROGRAMS
        ):
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(url(request, "login", {"next": here}), status_code=303)
        return await self.dashboard.error(request, 401, "Sign in first", "Your session has ended. Sign in again.")


def _route(request: Request) -> str:
    path: str = request.scope["path"]
    return path.removeprefix(base_path(request))


def _is_static(request: Request) -> bool:
    return _route(request).startswith("/static/")


def _limited(receive: Receive) -> Receive:
    """The body of a request, which ends in an error if it is too long."""
    size = 0

    async def read() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _MAX_BODY:
            raise HTTPException(413, f"The request is larger than {_MAX_BODY // 1024**2} MiB.")
        return message

    return read


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_local(request: Request) -> None:
    """Raise HTTPException 403 for a request that does not come from this machine, or names another host.

    A page elsewhere could let its own name point to this machine (DNS rebinding), so the name counts too.
    """
    try:
        name = (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if not _is_loopback(name):
        raise HTTPException(
            403,
            "This dashboard is for this machine alone: open it as http://localhost with its port.",
        )
    client = request.client
    if client is not None and not _is_loopback(client.host):
        raise HTTPException(403, "This dashboard is for this machine alone, and your request comes from another one.")
    if "forwarded" in request.headers or "x-forwarded-for" in request.headers:
        raise HTTPException(
            403, "This dashboard is for this machine alone, and your request came through a proxy. Start it with a"
            " token or a password, which it asks visitors for.",
        )  # fmt: skip
