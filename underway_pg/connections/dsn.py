"""Where the database is: which forms of a dsn are understood, and what the environment says."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..errors import ConfigurationError

__all__ = [
    "DEFAULTS",
    "Dsn",
    "ShardDsn",
    "conninfo",
    "dsn_of_environment",
    "dsn_of_pool",
    "number_of_hosts",
    "read_dsn",
]

Dsn = str | Callable[[], str]
"""A URI or a conninfo string, or a function that returns one and is called for each new connection."""


class ShardDsn:
    """The dsn of one of several databases of an application, which has it under the name `shard`."""

    def __init__(self, shard: str, dsn: Dsn) -> None:
        self.shard = shard
        self._dsn = dsn

    def __call__(self) -> str:
        """The dsn now."""
        return read_dsn(self._dsn)


# Seconds, except tcp_user_timeout, which is in milliseconds. The operating system would wait for minutes or hours.
DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20000,
}

# Defaults for a DSN with several hosts: connect to the primary, and give each host 3 seconds to answer.
_SEVERAL_HOSTS = {"connect_timeout": 3, "target_session_attrs": "read-write"}

# Text is UTF-8 here, and the server converts it. A database that has no encoding (SQL_ASCII) stores it as it is.
_ENCODING = {"client_encoding": "UTF8"}

# The environment variables of libpq that say which database is meant.
_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")

# SQLAlchemy writes the driver into the scheme: postgresql+psycopg://.
_SCHEME = re.compile(r"(?:postgres|postgresql)(?:\+\w+)?://", re.ASCII)

# What libpq takes as options of a connection that psycopg takes as keywords of its own.
_NOT_LIBPQ = frozenset({"autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory"})


def dsn_of_environment() -> str | None:
    """The dsn in DATABASE_URL; else an empty one, which libpq fills, if PGHOST, PGSERVICE or PGDATABASE is set."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    return "" if any(os.environ.get(name) for name in _LIBPQ_VARIABLES) else None


def dsn_of_pool(pool: Any) -> Dsn:
    """The dsn that a pool of psycopg_pool connects with."""

    def dsn() -> str:
        given, options = pool.conninfo, pool.kwargs or {}  # both may be functions
        options = options() if callable(options) else options
        return make_conninfo(read_dsn(given), **{k: v for k, v in options.items() if k not in _NOT_LIBPQ})

    return dsn


def read_dsn(dsn: Dsn) -> str:
    """The dsn as libpq takes it. Raises ConfigurationError if libpq cannot read it; the error does not show it."""
    text = dsn() if callable(dsn) else dsn
    if not isinstance(text, str):
        raise ConfigurationError(
            f"the dsn is of type {type(text).__name__}; give a string, or a function that returns one"
        )
    text = _SCHEME.sub("postgresql://", text, count=1) if _SCHEME.match(text) else text
    problem = _problem(text)
    if problem is not None:
        # Neither the dsn nor the words of libpq, which repeat it: it holds a password.
        raise ConfigurationError(
            f"{problem}; write the dsn as postgresql://user:password@host:port/database, with @ : / ? # and % in the"
            " password written as %40 %3A %2F %3F %23 and %25, and with libpq's parameters (sslmode, not ssl)"
        )
    return text


def _problem(text: str) -> str | None:
    scheme, found, rest = text.partition("://")
    if found and scheme.isidentifier() and scheme != "postgresql":
        return "the dsn is not one of PostgreSQL"
    # libpq takes what follows the first @, or precedes a /, for the host and the port, and shows these in messages.
    user, at, host = rest.partition("@")
    if scheme == "postgresql" and at:
        if "/" not in user and "@" in host.partition("?")[0]:
            return "the dsn has more than one @"
        if "/" in user and "?" not in user:
            return "the dsn has an @ after a /"
    try:
        hosts = str(conninfo_to_dict(text).get("host") or "")
    except (psycopg.Error, UnicodeError):
        return "libpq cannot read the dsn"
    if not all(_is_host(host) for host in hosts.split(",")):
        return "the host of the dsn is not a host name"
    return None


def _is_host(name: str) -> bool:
    """Whether Python can look a host up. The directory of a socket begins with / or @."""
    try:
        name.encode("idna")
    except UnicodeError:
        return name.startswith(("/", "@"))
    return True


def conninfo(dsn: Dsn, application_name: str, timeout: float | None = None) -> str:
    """What to connect with: the dsn, and what it does not say itself.

    `timeout` shortens its connect_timeout: the hosts, which are tried one after the other, share it.
    """
    given = conninfo_to_dict(read_dsn(dsn))
    hosts = number_of_hosts(given)
    options: dict[str, Any] = {**DEFAULTS, **(_SEVERAL_HOSTS if hosts > 1 else {})}
    if "PGTARGETSESSIONATTRS" in os.environ:
        options.pop("target_session_attrs", None)
    options |= {"fallback_application_name": application_name, **given}
    if timeout is not None:
        share = math.ceil(timeout / hosts)
        # libpq takes whole seconds, and 0 for none at all.
        options["connect_timeout"] = max(1, min(share, int(options["connect_timeout"]) or share))
    return make_conninfo("", **{**options, **_ENCODING})


def number_of_hosts(options: Mapping[str, Any]) -> int:
    """How many hosts the parameters of a connection name, or else the environment."""
    given = (options.get(name) or os.environ.get(f"PG{name.upper()}") for name in ("hostaddr", "host"))
    return str(next(filter(None, given), "")).count(",") + 1
