"""Whether something grows over time: the second quarter of its samples against the last one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

# By how much the last quarter may be above the second: a part of that, and so much besides.
ALLOWED = {
    "memory of a worker, MB": (0.1, 5.0),
    "connections": (0.0, 3.0),
    "dead rows": (0.5, 5000.0),
    "size of the live tables, MB": (0.3, 4.0),
    "p99 from enqueue to start, ms": (0.5, 25.0),
}


def grown(samples: Mapping[str, Sequence[float]]) -> list[str]:
    """A sentence for each of the series that has grown. The first quarter is that of warming up."""
    found = []
    for name, series in samples.items():
        quarter = len(series) // 4
        if quarter < 3:
            raise ValueError(f"{len(series)} samples are too few to see growth; take at least 12")
        before, after = statistics.median(series[quarter : 2 * quarter]), statistics.median(series[-quarter:])
        part, more = ALLOWED[name]
        if after > before * (1 + part) + more:
            found.append(f"{name} has grown from {before:,.1f} to {after:,.1f}")
    return found
