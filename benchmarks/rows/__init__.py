"""The rows of the benchmark. A row is a function that yields lines of the table and curves of the plot.

Both sides of a comparison are measured in the same round, one after the other, in alternating order.
"""

from rows import backlog, claim, drain, enqueue, footprint, held, latency, start  # noqa: F401
from rows.bench import ROWS, SHORT, SHORT_SCALE, Bench, Scale

__all__ = ["ROWS", "SHORT", "SHORT_SCALE", "Bench", "Scale"]
