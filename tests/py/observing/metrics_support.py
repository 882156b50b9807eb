"""What the tests of metrics share: metrics parsed by prometheus-client's own parser."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from underway_pg.metrics import render

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.7,text/plain;version=0.0.4;q=0.3"


class Samples:
    """The samples of metrics, by name and labels."""

    def __init__(self, text: str, content_type: str) -> None:
        parse = parse_openmetrics if content_type.startswith("application/openmetrics-text") else parse_text
        self.families = list(parse(text))  # type: ignore[no-untyped-call]
        self.samples = [sample for family in self.families for sample in family.samples]

    @classmethod
    def of(cls, *collectors: Any, accept: str | None = OPENMETRICS) -> Samples:
        content_type, body = render(collectors, accept)
        return cls(body.decode(), content_type)

    @classmethod
    def at(cls, port: int, accept: str | None = OPENMETRICS) -> Samples:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept or "*/*"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return cls(answer.read().decode(), answer.headers["Content-Type"])

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have these labels, perhaps among others; 0 without any."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def by_job(self, name: str) -> Mapping[tuple[str, str], float]:
        """The samples of a name by queue and job, without zeros."""
        return {(s.labels["queue"], s.labels["job"]): s.value for s in self.samples if s.name == name and s.value}

    def labels(self) -> dict[str, set[str]]:
        """The labels of each sample's name."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        return found
