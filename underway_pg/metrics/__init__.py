"""Prometheus: the metrics of a worker and of a database."""

from .application import require_prometheus
from .counts import WorkerCounts, WorkerSample
from .database import database_metrics, database_sample, metrics_response
from .render import render
from .worker import WorkerCollector, WorkerMetrics

__all__ = [
    "WorkerCollector",
    "WorkerCounts",
    "WorkerMetrics",
    "WorkerSample",
    "database_metrics",
    "database_sample",
    "metrics_response",
    "render",
    "require_prometheus",
]
