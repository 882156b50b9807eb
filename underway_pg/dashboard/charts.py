"""Charts as SVG, made on the server. Their colours are classes of the style sheet.

A chart has no fixed width. Its plot is a nested SVG that is stretched, with lines that keep their width; the labels are
outside, at percentages of the width, and are never stretched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

from .formats import NOTHING, duration, short_number

__all__ = ["Chart", "Series", "sparkline", "time_chart"]

_HEIGHT = 168  # pixels, of the whole chart
_TOP, _BOTTOM = 8, 22  # pixels above and below the plot
_PLOT = _HEIGHT - _TOP - _BOTTOM
_WIDTH = 1000  # of the plot, in its own unit

_Format = Callable[[float | None], str]

# Steps of the time axis in seconds, and how the times at these steps are written.
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    (_MINUTE, "%H:%M"), (5 * _MINUTE, "%H:%M"), (10 * _MINUTE, "%H:%M"), (30 * _MINUTE, "%H:%M"), (_HOUR, "%H:%M"),
    (3 * _HOUR, "%H:%M"), (4 * _HOUR, "%H:%M"), (6 * _HOUR, "%H:%M"), (12 * _HOUR, "%d %b %H:%M"), (_DAY, "%d %b"),
    (2 * _DAY, "%d %b"), (5 * _DAY, "%d %b"), (7 * _DAY, "%d %b"), (30 * _DAY, "%d %b"),
)  # fmt: skip

# Values of the axis of a duration, in seconds, beyond the decimal ones.
_DURATIONS = [
    30, *(m * _MINUTE for m in (1, 2, 5, 10, 15, 30)), *(h * _HOUR for h in (1, 2, 3, 6, 12)),
    *(d * _DAY for d in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
]  # fmt: skip


@dataclass(frozen=True)
class Series:
    """One line, or one colour of the bars. `colour` is 1 to 5; a None has no point."""

    name: str
    values: Sequence[float | None]
    colour: int
    kind: str = "line"  # or "bar": bars are stacked in the order of the series


@dataclass(frozen=True)
class Chart:
    """A chart: the drawing, and what its legend and its table need."""

    title: str
    unit: str
    svg: Markup
    series: Sequence[Series]
    rows: Sequence[tuple[str, Sequence[str]]]
    empty: bool


def time_chart(
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    *,
    unit: str = "",
    durations: bool = False,
) -> Chart:
    """A chart over time. `times` are the beginnings of equal steps; each series has a value for each.

    `unit` says what the values are, below the title. With `durations` the values are seconds.
    """
    write: _Format = duration if durations else short_number
    step = times[1] - times[0] if len(times) > 1 else timedelta(minutes=1)
    top, ticks = _value_axis(_highest(series), durations)
    plot = [
        *_bars([each for each in series if each.kind == "bar"], len(times), top),
        *(part for each in series if each.kind == "line" for part in _line(each, top)),
    ]
    known = [value for each in series for value in each.values if value is not None]
    empty = not any(known)
    rows = [
        (_time(at, step), [NOTHING if (value := each.values[i]) is None else write(value) for each in series])
        for i, at in enumerate(times)
    ]
    lines, labels = [], []
    for value in ticks:
        y = _TOP + _PLOT * (1 - value / top)
        lines.append(Markup('<line class="grid-line" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>').format(y))
        labels.append(
            Markup('<text class="tick" x="48" y="{:.1f}" text-anchor="end">{}</text>').format(y + 3.5, write(value))
        )
    svg = Markup(
        '<div class="chart-body"><svg class="chart-axis" width="54" height="{height}" aria-hidden="true">{labels}</svg>'
        '<svg class="chart-plot" height="{height}" role="img" aria-label="{label}">{lines}{times}'
        '<svg y="{top}" width="100%" height="{plot_height}" viewBox="0 0 {width} {plot_height}"'
        ' preserveAspectRatio="none">{plot}</svg>{hover}</svg></div>'
    ).format(
        height=_HEIGHT, label=_summary(title, series, write), labels=_join(labels), lines=_join(lines),
        times=_join(_time_labels(times, step)), top=_TOP, plot_height=_PLOT, width=_WIDTH, plot=_join(plot),
        hover=_join(_hover(rows, series)),
    )  # fmt: skip
    return Chart(title, unit, svg, series, rows, empty)


def _join(parts: Sequence[Markup]) -> Markup:
    return Markup("").join(parts)


def _highest(series: Sequence[Series]) -> float:
    bars = [each.values for each in series if each.kind == "bar"]
    stacked = [sum(value or 0 for value in values) for values in zip(*bars, strict=True)] if bars else []
    lines = [value or 0 for each in series if each.kind == "line" for value in each.values]
    return max([*stacked, *lines], default=0)


def _value_axis(highest: float, durations: bool) -> tuple[float, list[float]]:
    """The end of the value axis, and the values that are marked: two to five, at round numbers."""
    if highest <= 0:
        return 1.0, [0.0, 1.0]
    wanted = highest / 4
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= wanted * 0.999)
    if durations and step > 20:
        step = float(next((each for each in _DURATIONS if each >= wanted), step))
    if not durations:
        step = max(1.0, step)  # counts are whole
    number = math.ceil(highest / step - 1e-9)
    return step * number, [step * i for i in range(number + 1)]


def _x(index: float, number: int) -> float:
    return _WIDTH * index / number


def _y(value: float, top: float) -> float:
    return round(_PLOT * (1 - value / top), 2)


def _bars(series: Sequence[Series], number: int, top: float) -> list[Markup]:
    """Stacked bars, one path for each colour."""
    below = [0.0] * number
    width = _WIDTH / max(1, number) * (0.72 if number <= 80 else 0.85)
    drawn = []
    for each in series:
        path = []
        for i, value in enumerate(each.values):
            if value:
                x = _x(i + 0.5, number) - width / 2
                y, bottom = _y(below[i] + value, top), _y(below[i], top)
                path.append(f"M{x:.1f} {bottom:g}V{y:g}h{width:.1f}V{bottom:g}z")
                below[i] += value
        drawn.append(Markup('<path class="bar c{}" d="{}"/>').format(each.colour, "".join(path)))
    return drawn


def _line(series: Series, top: float) -> list[Markup]:
    """A line that is interrupted where there is no value. A lone value is a dot: a line without length."""
    number = len(series.values)
    line: list[str] = []
    dots: list[str] = []
    for known, group in itertools.groupby(enumerate(series.values), lambda pair: pair[1] is not None):
        if known:
            points = [f"{_x(i + 0.5, number):.1f} {_y(value or 0, top):g}" for i, value in group]
            (line if len(points) > 1 else dots).append("M" + "L".join(points) + ("h0.01" if len(points) == 1 else ""))
    return [
        Markup('<path class="{} c{}" d="{}"/>').format(kind, series.colour, "".join(path))
        for kind, path in (("line", line), ("line dot", dots))
        if path
    ]


def _hover(rows: Sequence[tuple[str, Sequence[str]]], series: Sequence[Series]) -> list[Markup]:
    """An area for each step that shows its values as a tooltip."""
    width = 100 / max(1, len(rows))
    texts = ("\n".join([at, *(f"{e.name}: {v}" for e, v in zip(series, values, strict=True))]) for at, values in rows)
    return [
        # Not Markup.format, which takes most of the time of a page with several charts.
        Markup(
            f'<rect class="hover" x="{i * width:.3f}%" y="{_TOP}" width="{width:.3f}%" height="{_PLOT}">'
            f"<title>{escape(text)}</title></rect>"
        )
        for i, text in enumerate(texts)
    ]


def _time(at: datetime, step: timedelta) -> str:
    """The time of a step in a table or tooltip."""
    at = at.astimezone(UTC)
    return f"{at:%d %b} UTC" if step >= timedelta(days=1) else f"{at:%d %b %H:%M} UTC"


def _time_labels(times: Sequence[datetime], step: timedelta) -> list[Markup]:
    """At most eight labels below the plot, at round times in UTC."""
    if not times:
        return []
    first, span = times[0].timestamp(), step.total_seconds() * len(times)
    each, pattern = next((pair for pair in _TIME_STEPS if span / pair[0] <= 8), _TIME_STEPS[-1])
    labels = []
    at = math.ceil(first / each) * each
    while at < first + span:
        place = 100 * (at - first) / span
        # The middle of a label that is near the edge would push the label out of the chart.
        if 4 <= place <= 96:
            labels.append(
                Markup('<text class="tick" x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(
                    place, _HEIGHT - 6, f"{datetime.fromtimestamp(at, UTC):{pattern}}"
                )
            )
        at += each
    return labels


def _summary(title: str, series: Sequence[Series], write: _Format) -> str:
    """The chart in one sentence, for screen readers; the table below it has the values."""
    parts = []
    for each in series:
        known = [value for value in each.values if value is not None]
        parts.append(
            f"{each.name} {write(known[-1])} at last, {write(max(known))} at most" if known else f"{each.name} no data"
        )
    return f"{title}: {'; '.join(parts)}"


def sparkline(values: Sequence[float | None], label: str, *, width: int = 96, height: int = 24) -> Markup:
    """A small line without axes, from 0 to the largest value. `label` says what it shows: ready, last hour."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="muted">{}</span>').format(NOTHING)
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
    ).format(
        w=width, h=height, area=area, line=line,
        label=f"{label}: {short_number(known[-1])} at last, {short_number(max(known))} at most",
    )  # fmt: skip
