"""The guard: each request passes it before it reaches a page, and each response gets its headers."""

from __future__ import annotations

import getpass
import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import security
from .settings import User

if TYPE_CHECKING:
    from .application import Dashboard

__all__ = ["Guard"]


class Guard:
    """Finds out who makes a request."""

    def __init__(self, app: ASGIApp, dashboard: Dashboard) -> None:
        self.app = app
        self.dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root = scope.get("root_path", "").rstrip("/")
        # A router without an application answers unknown addresses by itself.
        scope = {**scope, "app": scope.get("app", self.dashboard), "underway_dashboard": self.dashboard}
        request = Request(scope, receive)
        session = request.cookies.get("underway_session") or secrets.token_urlsafe(24)
        request.state.session = session
        request.state.csrf = security.sign(self.dashboard.key, "csrf", session)
        request.state.user = User(getpass.getuser(), may_act=True)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in security.HEADERS.items():
                    headers.setdefault(name, value)
                if "underway_session" not in request.cookies:
                    headers.append("Set-Cookie", f"underway_session={session}; Path={root}/; HttpOnly; SameSite=Strict")
            await send(message)

        await self.app(scope, receive, send_with_headers)
