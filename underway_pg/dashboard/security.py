"""Sessions, signatures, sign-in and the headers of responses. `guard` applies them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from .application import Dashboard

__all__ = ["HEADERS", "Attempts", "Flash", "Session"]

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

# Seconds for which a sign-in, and a session without one, last.
_SESSION_LASTS = 12 * 3600

# Wrong tokens and passwords that one address may try in so many seconds.
_ATTEMPTS, _ATTEMPTS_IN = 10, 300.0


@dataclass(frozen=True)
class Session:
    """What a browser keeps in a signed cookie: a random name, and the user if somebody has signed in."""

    id: str
    user: str | None
    ends_at: float

    @classmethod
    def new(cls, user: str | None = None) -> Session:
        """A session with a name that nobody knows."""
        return cls(secrets.token_urlsafe(24), user, time.time() + _SESSION_LASTS)


class Flash(NamedTuple):
    """What an action tells on the next page."""

    text: str
    failed: bool


def derive_key(*parts: str) -> bytes:
    """A key from secrets. It takes a while, so that nobody finds a short password by trying it on a signed cookie."""
    return hashlib.scrypt("\0".join(parts).encode(), salt=b"underway dashboard", n=2**14, r=8, p=1)


def _key(request: Request) -> bytes:
    dashboard: Dashboard = request.scope["underway_dashboard"]
    return dashboard.key


def _sign(request: Request, purpose: str, text: str) -> str:
    return hmac.new(_key(request), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


def _seal(request: Request, purpose: str, value: Any) -> str:
    """A JSON value as signed text for a cookie."""
    payload = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    return f"{payload}.{_sign(request, purpose, payload)}"


def _open(request: Request, purpose: str, text: str) -> Any:
    """The value of a signed text; None if it was not signed here, for this purpose."""
    payload, _, signature = text.rpartition(".")
    if not payload or not hmac.compare_digest(signature.encode(), _sign(request, purpose, payload).encode()):
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(payload))
    except (ValueError, binascii.Error):
        return None


def set_cookie(request: Request, response: Response, name: str, value: str, **options: Any) -> None:
    """Set a cookie of the dashboard, which no script reads and no other site causes to be sent."""
    response.set_cookie(
        name, value, path=str(request.scope.get("root_path", "")).rstrip("/") + "/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https", **options,
    )  # fmt: skip


def read_session(request: Request) -> Session | None:
    """The session of a browser, if it has not ended."""
    value = _open(request, "session", request.cookies.get("underway_session", ""))
    session = None if value is None else Session(*value)
    return session if session is not None and session.ends_at > time.time() else None


def keep_session(request: Request, response: Response, session: Session) -> None:
    """Give the browser a session."""
    value = _seal(request, "session", [session.id, session.user, session.ends_at])
    set_cookie(request, response, "underway_session", value, max_age=_SESSION_LASTS)


def end_session(request: Request, response: Response) -> None:
    """Take the session from the browser."""
    set_cookie(request, response, "underway_session", "", max_age=0)


def csrf_token(request: Request) -> str:
    """The token of the forms of a session. Another site cannot read it, and that of another session does not fit."""
    return _sign(request, "csrf", request.state.session.id)


def check_csrf(request: Request, token: str) -> None:
    """Raise HTTPException 403 unless a form was made for this session."""
    if request.state.by_token:  # a browser does not send the header by itself
        return
    if not hmac.compare_digest(token.encode(), request.state.csrf.encode()):
        raise HTTPException(403, "This form belongs to another session. Go back, reload the page and try again.")


def check_origin(request: Request) -> None:
    """Raise HTTPException 403 for a change that a page of another site requests."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        allowed = site in ("same-origin", "none")
    elif origin is not None:
        allowed = urlsplit(origin).netloc == request.headers.get("host", "")
    else:
        allowed = True  # no browser; the token of the form is checked
    if not allowed:
        raise HTTPException(403, "This change was requested by a page of another site, so it was not made.")


class Attempts:
    """Counts wrong tokens and passwords of each address, in this process."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raise HTTPException 429 for an address that has failed too often."""
        now = time.monotonic()
        failures = self._failures.get(address, deque())
        while failures and failures[0] <= now - _ATTEMPTS_IN:
            failures.popleft()
        if len(failures) >= _ATTEMPTS:
            wait = max(1, round(failures[0] + _ATTEMPTS_IN - now))
            raise HTTPException(
                429,
                f"Too many wrong attempts from your address. Try again in {wait} seconds.",
                {"Retry-After": str(wait)},
            )

    def failed(self, address: str) -> None:
        """Count a failure."""
        if len(self._failures) >= 10_000 and address not in self._failures:
            self._failures.clear()  # rather forget than grow without bound
        self._failures.setdefault(address, deque(maxlen=_ATTEMPTS)).append(time.monotonic())

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _same(given: str, wanted: str | None) -> bool:
    """Whether a secret is right, in a time that does not depend on where it differs."""
    return hmac.compare_digest(given.encode(), (wanted or secrets.token_hex()).encode()) and bool(wanted)


def has_bearer(request: Request) -> bool:
    """Whether a request has the header of a token, as programs send it."""
    return request.headers.get("authorization", "").lower().startswith("bearer ")


def check_bearer(request: Request) -> None:
    """Raise HTTPException 401 unless the token in the header is right."""
    _check(request, (request.headers["authorization"].split(None, 1)[1:] or [""])[0].strip(), with_password=False)


def check_secret(request: Request, given: str) -> None:
    """Raise HTTPException 401 unless this is the token or the password."""
    _check(request, given, with_password=True)


def _check(request: Request, given: str, *, with_password: bool) -> None:
    dashboard: Dashboard = request.scope["underway_dashboard"]
    chosen, address = dashboard.settings, _address(request)
    dashboard.attempts.check(address)
    right = _same(given, chosen.token) | (_same(given, chosen.password) and with_password)
    if not right:
        dashboard.attempts.failed(address)
        raise HTTPException(401, "The token is wrong." if not with_password else "The password or token is wrong.")
    dashboard.attempts.succeeded(address)


def keep_flash(request: Request, response: Response, text: str, *, failed: bool) -> None:
    """Keep a message in a signed cookie until the next page."""
    set_cookie(request, response, "underway_message", _seal(request, "message", [text[:1000], failed]), max_age=60)


def read_flash(request: Request) -> Flash | None:
    """The message of the action before, if there was one."""
    value = _open(request, "message", request.cookies.get("underway_message", ""))
    return None if value is None else Flash(*value)


def forget_flash(request: Request, response: Response) -> None:
    """Show a message only once."""
    set_cookie(request, response, "underway_message", "", max_age=0)


def theme(request: Request) -> str:
    """The chosen colour scheme: light, dark, or system."""
    chosen = request.cookies.get("underway_theme", "")
    return chosen if chosen in ("light", "dark") else "system"
