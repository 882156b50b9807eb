"""Metrics as text, in the format that the one who asks prefers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["ByShard", "render"]

logger = logging.getLogger(__name__)


class _Families:
    """Several collectors as one. A name that two of them have is written once: Prometheus refuses a second."""

    def __init__(self, collectors: Iterable[Any]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        seen: set[str] = set()
        for collector in self._collectors:
            for family in collector.collect():
                if family.name not in seen:
                    seen.add(family.name)
                    yield family


class ByShard:
    """The collectors of several databases as one: each sample has the label `shard`, the name of its database."""

    def __init__(self, collectors: Mapping[str, Any]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        """The metrics of all databases as they are now."""
        families: dict[str, Metric] = {}
        for shard, collector in self._collectors.items():
            for found in collector.collect():
                if found.name not in families:
                    families[found.name] = copy.copy(found)
                    families[found.name].samples = []
                families[found.name].samples += [
                    sample._replace(labels={"shard": shard, **sample.labels}) for sample in found.samples
                ]
        yield from families.values()


def render(collectors: Iterable[Any], accept: str | None = None) -> tuple[str, bytes]:
    """The metrics of collectors. Returns the content type and the body.

    `accept` is the header of the request: OpenMetrics if it asks for that, else the text format of Prometheus.
    """
    from prometheus_client.exposition import choose_encoder

    try:
        encode, content_type = choose_encoder(accept or "")
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return content_type, encode(_Families(collectors))
