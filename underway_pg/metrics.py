"""Prometheus: the metrics of a worker and of a database."""
