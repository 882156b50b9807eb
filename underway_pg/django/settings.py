"""The setting UNDERWAY: what it may hold, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from ..checks import check_each, check_kind
from ..errors import ConfigurationError
from ..settings import Queue
from ..worker import Middleware

__all__ = ["Problem", "UnderwaySettings", "read_settings"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the setting. `id` is that of the system check."""

    id: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class UnderwaySettings:
    """The keys of UNDERWAY, in capitals there.

    DATABASE    the alias of the database that has the queues; "default" by default
    NAME        distinguishes the jobs and schedules of this project from others in the same database; "django" by
                default
    QUEUES      a list of `underway_pg.Queue`: queues with settings. A queue that only a job names has the defaults
    MIDDLEWARE  a list of paths such as "shop.jobs.measured", functions that wrap each attempt; the first is outermost
    LIFESPAN    the path of a function that returns the async context manager around the work of a worker
    """

    database: str = "default"
    name: str = "django"
    queues: tuple[Queue, ...] = ()
    middleware: tuple[str, ...] = ()
    lifespan: str | None = None
    problems: tuple[Problem, ...] = ()

    def load_middleware(self) -> list[Middleware]:
        """Import the middleware. Raises ConfigurationError."""
        return [_import("MIDDLEWARE", path) for path in self.middleware]

    def load_lifespan(self) -> Any:
        """Import the lifespan. Raises ConfigurationError."""
        return None if self.lifespan is None else _import("LIFESPAN", self.lifespan)


def _import(key: str, path: str) -> Any:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"UNDERWAY[{key!r}]: {path!r} cannot be imported: {error}") from error
    check_kind(f"UNDERWAY[{key!r}]: {path}", found, Callable, "a function")
    return found


def _database(alias: Any) -> str:
    databases = settings.DATABASES
    if alias not in databases:
        raise ConfigurationError(
            f"{alias!r} is not in DATABASES, which has {', '.join(sorted(databases)) or 'nothing'}"
        )
    return str(alias)


def _name(name: Any) -> str:
    check_kind("it", name, str, "a string")
    return str(name)


def _queues(queues: Any) -> tuple[Queue, ...]:
    found = tuple(check_each("it", queues, Queue, "Queue(name=...) of underway_pg"))
    names = [queue.name for queue in found]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"it has queues {names}; give each name once")
    return found


def _paths(paths: Any) -> tuple[str, ...]:
    return tuple(check_each("it", paths, str, 'paths, such as "shop.jobs.measured"'))


def _path(path: Any) -> str | None:
    if path is not None:
        check_kind("it", path, str, 'a path, such as "shop.jobs.lifespan"')
    return path


_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "DATABASE": _database,
    "NAME": _name,
    "QUEUES": _queues,
    "MIDDLEWARE": _paths,
    "LIFESPAN": _path,
}


def read_settings() -> UnderwaySettings:
    """Read UNDERWAY. What is wrong is left out and listed in `problems`, so that the system checks can report all."""
    given = getattr(settings, "UNDERWAY", {})
    if not isinstance(given, Mapping):
        return UnderwaySettings(problems=(Problem("E001", f"UNDERWAY is {given!r}", "Give a dict, such as {}."),))
    values: dict[str, Any] = {}
    problems = list(_unknown(given))
    for key, read in _KEYS.items():
        if key in given:
            try:
                values[key.lower()] = read(given[key])
            except ConfigurationError as error:
                problems.append(Problem("E003", f"UNDERWAY[{key!r}]: {error}"))
    return UnderwaySettings(**values, problems=tuple(problems))


def _unknown(given: Mapping[Any, Any]) -> Iterable[Problem]:
    for key in given:
        if key not in _KEYS:
            close = get_close_matches(str(key).upper(), _KEYS, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(_KEYS)}."
            yield Problem("E002", f"UNDERWAY has the key {key!r}, which is unknown", hint)
