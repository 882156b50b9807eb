"""Charts as SVG, made on the server. Their colours are classes of the style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["sparkline"]


def sparkline(values: Sequence[float | None], label: str, *, width: int = 96, height: int = 24) -> Markup:
    """A small line without axes, from 0 to the largest value. `label` is read by screen readers: ready, last hour."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="muted">-</span>')
    top = max(known) or 1
    step = width / max(1, len(values) - 1)
    points = [
        (round(index * step, 1), round(height - 2 - (height - 4) * value / top, 1))
        for index, value in enumerate(values)
        if value is not None
    ]
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    area = f"{points[0][0]:g},{height} {line} {points[-1][0]:g},{height}"
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{label}">'
        '<title>{label}</title><polygon class="area" points="{area}"/><polyline class="line" points="{line}"/></svg>'
    ).format(w=width, h=height, label=f"{label}: last {known[-1]:g}, highest {max(known):g}", area=area, line=line)
