"""Prometheus: the metrics of a worker and of a database."""

from .application import MISSING, application_collectors, forget_process, has_prometheus, require_prometheus
from .counts import WorkerCounts, WorkerSample
from .database import (
    DatabaseCollector,
    database_metrics,
    database_sample,
    metrics_response,
    shards_metrics_response,
)
from .exposition import render
from .worker import MergedWorkers, WorkerCollector, WorkerMetrics

__all__ = [
    "MISSING",
    "DatabaseCollector",
    "MergedWorkers",
    "WorkerCollector",
    "WorkerCounts",
    "WorkerMetrics",
    "WorkerSample",
    "application_collectors",
    "database_metrics",
    "database_sample",
    "forget_process",
    "has_prometheus",
    "metrics_response",
    "render",
    "require_prometheus",
    "shards_metrics_response",
]
