"""The health of a worker, and where it is served."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..worker import Worker

__all__ = ["HealthAddress", "worker_health"]


@dataclass(frozen=True)
class HealthAddress:
    """Where health is served. Without a `host`: on all addresses of this machine, IPv4 and IPv6."""

    port: int
    host: str | None = None


def worker_health(worker: Worker) -> dict[str, Any]:
    """The health of a worker, for JSON. Call it on the loop of the worker."""
    return {"alive": True, **asdict(worker.health()), "counters": asdict(worker.stats())}
