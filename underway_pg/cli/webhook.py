"""Sending events to a webhook: signed requests, repeated while the receiver is unavailable.

Body, headers and signature are those of Standard Webhooks (https://www.standardwebhooks.com), so that receivers can
check them with a library. A receiver may get an event twice, when an answer was lost: `webhook-id` is the same then.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .. import __version__
from ..models import Event
from .errors import WrongUsage

__all__ = ["NotDelivered", "Webhook", "event_object"]

# Seconds for each step of a request.
_TIMEOUT = 10.0

# Attempts to deliver an event, and the seconds between two of them: at first and at most. Two minutes in all.
_TRIES = 8
_FIRST_PAUSE = 1.0
_MAX_PAUSE = 60.0

# Answers after which the same request may succeed later, besides those from 500 on.
_RETRIED = (408, 425, 429)

# Bytes of an answer that are read.
_MAX_ANSWER = 65536


class NotDelivered(Exception):
    """An event could not be delivered. The message says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send a POST as a GET, or the event to another host: it is an error."""

    def redirect_request(self, *args: Any) -> None:
        return None


def event_object(event: Event) -> dict[str, Any]:
    """An event as JSON, for lines and for the data of a webhook."""
    return {**vars(event), "at": event.at.isoformat()}


def _key(secret: str) -> bytes:
    """The key of a secret: text, or base64 after `whsec_`."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise WrongUsage("--secret: what follows whsec_ is not base64") from None


@dataclass(frozen=True)
class _Failure:
    """Why an attempt failed, whether another may succeed, and how many seconds the receiver wants to wait."""

    reason: str
    may_succeed: bool = True
    retry_after: float = 0.0


class Webhook:
    """Delivers events to a URL with POST. With a `secret` each request is signed with HMAC-SHA256.

    Raises WrongUsage for a URL that is not http or https, or that has a user name or a password.
    """

    def __init__(self, url: str, secret: str | None = None, *, pause: Callable[[float], object] = time.sleep) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise WrongUsage(f"--webhook: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongUsage(f"--webhook {url!r}: give a URL that begins with https:// or http://")
        if parts.username or parts.password:
            raise WrongUsage("--webhook: the URL has a user name or a password, which would not be sent; use --secret")
        # The path may be secret, as with the webhooks of Slack.
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
        self._url = url
        self._key = None if secret is None else _key(secret)
        self._pause = pause
        self._opener = urllib.request.build_opener(_NoRedirect)

    def deliver(self, event: Event) -> None:
        """Deliver an event, in several attempts if need be. Raises NotDelivered."""
        pause = _FIRST_PAUSE
        for number in range(1, _TRIES + 1):
            failure = self._post(event)
            if failure is None:
                return
            if number == _TRIES or not failure.may_succeed:
                raise NotDelivered(f"{failure.reason} (attempt {number})")
            self._pause(max(pause * random.uniform(0.5, 1), failure.retry_after))
            pause = min(2 * pause, _MAX_PAUSE)

    def _post(self, event: Event) -> _Failure | None:
        try:
            with self._opener.open(self._request(event), timeout=_TIMEOUT) as answer:
                answer.read(_MAX_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                may_succeed = error.code >= 500 or error.code in _RETRIED
                return _Failure(f"the answer is {error.code} {error.reason}", may_succeed, _retry_after(error))
        except urllib.error.URLError as error:
            return _Failure(str(error.reason))
        except (OSError, http.client.HTTPException) as error:
            return _Failure(str(error) or type(error).__name__)
        return None

    def _request(self, event: Event) -> urllib.request.Request:
        data = event_object(event)
        body = json.dumps({"type": event.kind, "timestamp": data["at"], "data": data}).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"underway/{__version__}",
            "webhook-id": f"underway-{event.id}",
            "webhook-timestamp": str(int(time.time())),
        }
        if self._key is not None:
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            signature = base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()
            headers["webhook-signature"] = f"v1,{signature}"
        return urllib.request.Request(self._url, body, headers, method="POST")


def _retry_after(error: urllib.error.HTTPError) -> float:
    """The seconds of the header Retry-After, at most five minutes; a date counts as none."""
    text = error.headers.get("Retry-After", "")
    return min(float(text), 300.0) if text.isascii() and text.isdecimal() else 0.0
