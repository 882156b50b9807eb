"""The picture of a run: drain rate against backlog, and against time under a held snapshot. And that of the model."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from results import Curve, Report


def draw(report: Report, path: Path) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    _backlog(left, [curve for curve in report.curves if curve.panel == "backlog"])
    _snapshot(right, [curve for curve in report.curves if curve.panel == "snapshot"])
    machine = ", ".join(report.machine.values())
    figure.suptitle(f"Underway {report.versions.get('underway', '')}, {report.date}: {machine}", fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _backlog(axes: Axes, curves: list[Curve]) -> None:
    """Draw a point for each kind of backlog: the median, with a bar from the slowest round to the fastest."""
    for curve in curves:
        places = range(len(curve.x))
        by_place = list(zip(*curve.rounds, strict=True))
        lowest = [median - min(figures) for median, figures in zip(curve.medians, by_place, strict=True)]
        highest = [max(figures) - median for median, figures in zip(curve.medians, by_place, strict=True)]
        axes.errorbar(places, curve.medians, yerr=[lowest, highest], fmt="o", capsize=4, label=curve.name)
        axes.axhline(curve.medians[0], linestyle=":", linewidth=1, color="grey")
        axes.set_xticks(places, [fill(str(x), 12) for x in curve.x], fontsize=8)
    _rates(axes, "Drain rate against backlog")


def _snapshot(axes: Axes, curves: list[Curve]) -> None:
    """Draw a line for each system: the rate of each round over the number of tasks so far."""
    for curve in curves:
        axes.plot(curve.x, curve.medians, marker="o", label=curve.name)
    axes.set_xlabel("tasks since the snapshot was taken")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:,.0f}k"))
    _rates(axes, "Drain rate while a snapshot is held open")


def _rates(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_ylabel("tasks/s")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", alpha=0.3)
    if axes.has_data():
        axes.legend(fontsize=8)


def draw_model(rates: list[float], servers_by_part: list[dict[str, float]], title: str, path: Path) -> None:
    """Draw how many servers each part of a server requires over the rate, and the number of servers."""
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for part in servers_by_part[0]:
        axes.plot(rates, [parts[part] for parts in servers_by_part], label=part)
    axes.plot(rates, [max(1, math.ceil(max(parts.values()))) for parts in servers_by_part], "k:", label="servers")
    axes.set(xscale="log", yscale="log", xlabel="tasks/s", ylabel="servers", title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
