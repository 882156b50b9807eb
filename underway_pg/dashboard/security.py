"""Sessions, sign-in, cross-site requests and headers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from .application import Dashboard

__all__ = ["HEADERS", "Message", "check_csrf", "forget_message", "keep_message", "read_message", "theme"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Message(NamedTuple):
    """What an action tells on the next page."""

    text: str
    failed: bool


def sign(key: bytes, purpose: str, text: str) -> str:
    """A signature of a text for one purpose."""
    return hmac.new(key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def _key(request: Request) -> bytes:
    dashboard: Dashboard = request.scope["underway_dashboard"]
    return dashboard.key


def check_csrf(request: Request, token: str) -> None:
    """Raise HTTPException 403 unless a request comes from a page of this dashboard and this session."""
    if not hmac.compare_digest(token.encode(), request.state.csrf.encode()):
        raise HTTPException(403, "This form belongs to another session. Go back, reload the page and try again.")


def keep_message(request: Request, response: Response, text: str, *, failed: bool) -> None:
    """Keep a message in a signed cookie until the next page."""
    payload = base64.urlsafe_b64encode(json.dumps([text[:1000], failed]).encode()).decode()
    value = f"{payload}.{sign(_key(request), 'message', payload)}"
    set_cookie(request, response, "underway_message", value, max_age=60)


def read_message(request: Request) -> Message | None:
    """The message of the action before, if there was one."""
    payload, _, signature = request.cookies.get("underway_message", "").rpartition(".")
    if not payload or not hmac.compare_digest(signature.encode(), sign(_key(request), "message", payload).encode()):
        return None
    return Message(*json.loads(base64.urlsafe_b64decode(payload)))


def forget_message(request: Request, response: Response) -> None:
    """Show a message only once."""
    set_cookie(request, response, "underway_message", "", max_age=0)


def theme(request: Request) -> str:
    """The chosen colour scheme: light, dark, or system."""
    chosen = request.cookies.get("underway_theme", "")
    return chosen if chosen in ("light", "dark") else "system"


def set_cookie(request: Request, response: Response, name: str, value: str, **options: Any) -> None:
    """Set a cookie of the dashboard, which only the server reads."""
    response.set_cookie(
        name, value, path=str(request.scope.get("root_path", "")).rstrip("/") + "/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https", **options,
    )  # fmt: skip


def new_session() -> str:
    """A random name for a session."""
    return secrets.token_urlsafe(24)
