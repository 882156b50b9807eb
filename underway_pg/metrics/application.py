"""Metrics of the application itself, which it has made with prometheus-client."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from typing import Any

from ..errors import ConfigurationError

__all__ = ["MISSING", "application_collectors", "forget_process", "has_prometheus", "require_prometheus"]

MISSING = "prometheus-client is not installed: pip install 'underway-pg[metrics]'"

_SHARED = "PROMETHEUS_MULTIPROC_DIR"


def has_prometheus() -> bool:
    """Whether prometheus-client is installed."""
    return find_spec("prometheus_client") is not None


def require_prometheus() -> None:
    """Raise ConfigurationError, which says what to install, if prometheus-client is missing."""
    if not has_prometheus():
        raise ConfigurationError(MISSING)


def application_collectors(*, one_process: bool) -> list[Any]:
    """The registries with the metrics of the application.

    With PROMETHEUS_MULTIPROC_DIR all processes write them into this directory, and any process can read them. Without
    it they are in the memory of each process: then they are served where there is only one. Raises ConfigurationError
    if the directory does not exist.
    """
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if os.environ.get(_SHARED):
        registry = CollectorRegistry()
        try:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise ConfigurationError(f"{_SHARED}: {error}; create an empty directory before the start") from error
        return [registry]
    return [REGISTRY] if one_process else []


def forget_process(pid: int) -> None:
    """Remove the gauges that a process which has ended left in PROMETHEUS_MULTIPROC_DIR."""
    if os.environ.get(_SHARED) and has_prometheus():
        from prometheus_client.multiprocess import mark_process_dead

        with contextlib.suppress(OSError):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
