"""The settings of a dashboard, and who uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from ..connections import Dsn

__all__ = ["Authenticate", "Settings", "User"]


@dataclass(frozen=True)
class User:
    """Who makes a request: the name that the audit log shows, and whether this user may change anything."""

    name: str
    may_act: bool = False


Authenticate = Callable[[Request], "User | Awaitable[User | None] | None"]
"""A function that returns the user of a request, or None if the application does not know one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a dashboard is told when it is made; see `Dashboard`."""

    dsns: Mapping[str, Dsn]
    read_only: bool
    authenticate: Authenticate | None = None
    token: str | None = None
    password: str | None = None
    local: bool = False
    redact: Sequence[str] = ()
    prefix: str = ""
