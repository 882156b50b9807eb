"""The results of a run: lines of a table, each with our figure, the other system's figure, their ratio and its goal.

The figures of all rounds are kept. The table shows medians. A ratio is the median of the ratios within the rounds, so a
slow phase of the machine affects both sides equally.
"""

from __future__ import annotations

import json
import re
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from rich.console import Console
from rich.table import Table

NEWEST = re.compile(r"(?<=<!-- newest -->\n).*?(?=<!-- /newest -->)", re.DOTALL)


@dataclass(frozen=True)
class Goal:
    """The required value of a ratio, or of the figure itself if it is not compared with another."""

    relation: Literal[">=", "<="]
    limit: float

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.relation == ">=" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:,.4g}" if self.limit < 1000 else f"{self.relation} {self.limit:,.0f}"


def at_least(limit: float) -> Goal:
    return Goal(">=", limit)


def at_most(limit: float) -> Goal:
    return Goal("<=", limit)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    `row` is the name for `--only`, `workload` is what was measured, and `against` what it is compared with. `ours` and
    `theirs` hold one figure for each round; `theirs` is empty without a comparison.
    """

    row: str
    workload: str
    unit: str
    ours: Sequence[float]
    against: str = ""
    theirs: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """Return our figure divided by theirs, for each round."""
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)] if self.theirs else []

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.theirs else None

    @property
    def figure(self) -> float:
        return statistics.median(self.ours)

    @property
    def their_figure(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met, or None without a goal."""
        if self.goal is None:
            return None
        return self.goal.is_met(self.figure if self.ratio is None else self.ratio)

    @property
    def is_aside(self) -> bool:
        """Return whether the line compares with another queue without a goal."""
        return self.goal is None and self.against not in ("", RAW)

    def as_json(self) -> dict[str, Any]:
        derived = {"figure": self.figure, "their_figure": self.their_figure, "ratio": self.ratio, "met": self.met}
        return {**asdict(self), **derived}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        goal = given["goal"] and Goal(**given["goal"])
        names = ("row", "workload", "unit", "ours", "against", "theirs")
        return cls(**{name: given[name] for name in names}, goal=goal)

    def cells(self) -> list[str]:
        """Return the cells of the line in the order of HEADINGS."""
        ratio = ""
        if self.ratio is not None:
            ratio = f"{self.ratio:.2f}"
            if len(self.ratios) > 1:
                ratio += f" ({min(self.ratios):.2f} to {max(self.ratios):.2f})"
        theirs = "" if self.their_figure is None else _number(self.their_figure)
        met = {None: "", True: "yes", False: "no"}[self.met]
        return [
            self.workload,
            f"{_number(self.figure)} {self.unit}".strip(),
            self.against,
            theirs,
            ratio,
            str(self.goal or ""),
            met,
        ]


def row_of(missing: str) -> str:
    """Return the row of something that was not measured: ROW, or ROW: SYSTEM."""
    return missing.partition(":")[0]


RAW = "raw limit"

HEADINGS = ["workload", "ours", "beside", "theirs", "ratio", "goal", "met"]
_RIGHT = {"ours", "theirs", "ratio", "goal"}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.3g}"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a plot: the figures of all rounds at each x. An x may be a word."""

    panel: Literal["backlog", "snapshot"]
    name: str
    x: Sequence[float | str]
    rounds: Sequence[Sequence[float]]

    @property
    def medians(self) -> list[float]:
        return [statistics.median(figures) for figures in zip(*self.rounds, strict=True)]


@dataclass(kw_only=True)
class Report:
    """A run: its time and machine, the lines, the curves, and the rows that could not be measured."""

    taken_at: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, str]
    seconds: float = 0.0
    lines: list[Line] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def date(self) -> str:
        return self.taken_at[:10]

    def as_json(self) -> str:
        plain = {**self.__dict__, "lines": [line.as_json() for line in self.lines]}
        plain["curves"] = [asdict(curve) for curve in self.curves]
        return json.dumps(plain, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        given = json.loads(text)
        given["lines"] = [Line.from_json(line) for line in given["lines"]]
        given["curves"] = [Curve(**curve) for curve in given["curves"]]
        return cls(**given)

    def facts(self) -> list[tuple[str, str]]:
        """Return the facts that a reader of the figures needs."""
        return [
            ("taken", f"{self.taken_at}, in {self.seconds / 60:.1f} minutes"),
            ("machine", ", ".join(f"{value}" for value in self.machine.values())),
            ("versions", ", ".join(f"{name} {value}" for name, value in self.versions.items())),
            ("settings", ", ".join(f"{name} = {value}" for name, value in self.settings.items())),
        ]

    def tables(self) -> Iterator[tuple[str, list[Line]]]:
        """Yield the lines with goals and of the raw limit, then those of other queues, if any were measured."""
        yield f"Underway, {self.date}", [line for line in self.lines if not line.is_aside]
        if aside := [line for line in self.lines if line.is_aside]:
            yield "Beside other queues, without a goal", aside

    def as_markdown(self, picture: str | None = None) -> str:
        lines = [textwrap.fill(f"- {name}: {value}", 120, subsequent_indent="  ") for name, value in self.facts()]
        for title, content in self.tables():
            lines += ["", f"**{title}**", "", f"| {' | '.join(HEADINGS)} |"]
            lines += [f"|{'|'.join('---:' if name in _RIGHT else '---' for name in HEADINGS)}|"]
            lines += [f"| {' | '.join(line.cells())} |" for line in content]
        if self.missing:
            lines += ["", *(f"- not measured: {row}: {why}" for row, why in self.missing.items())]
        if picture:
            lines += ["", f"![Drain rate against backlog, and under a held snapshot]({picture})"]
        return "\n".join(lines) + "\n"

    def show(self, console: Console) -> None:
        for title, content in self.tables():
            table = Table(title=title, caption="Medians; in brackets the lowest and the highest ratio of a round.")
            for name in HEADINGS:
                table.add_column(name, justify="right" if name in _RIGHT else "left")
            for line in content:
                style = {None: None, True: "green", False: "yellow"}[line.met]
                table.add_row(*line.cells(), style=style)
            console.print(table)
        for name, value in self.facts():
            console.print(f"{name}: {value}", highlight=False)
        for row, why in self.missing.items():
            console.print(f"[red]not measured: {row}: {why}", highlight=False)

    def keep(self, earlier: Report, order: Sequence[str]) -> None:
        """Add the rows of a run of the same day and versions that were not measured again."""
        same_versions = {**earlier.versions, **self.versions} == {**self.versions, **earlier.versions}
        if not same_versions or earlier.settings != self.settings:
            return
        self.versions = {**earlier.versions, **self.versions}
        again = {line.row for line in self.lines} | {row_of(name) for name in self.missing}
        self.lines += [line for line in earlier.lines if line.row not in again]
        self.lines.sort(key=lambda line: order.index(line.row))
        panels = {curve.panel for curve in self.curves}
        self.curves += [curve for curve in earlier.curves if curve.panel not in panels]
        self.missing |= {name: why for name, why in earlier.missing.items() if row_of(name) not in again}
        self.seconds += earlier.seconds

    def write(self, directory: Path, order: Sequence[str] = ()) -> list[Path]:
        """Write the run as DATE.json, DATE.md and DATE.png, and show it on the page beside the directory.

        With the order of all rows, those of an earlier run of the day are kept.
        """
        directory.mkdir(parents=True, exist_ok=True)
        written = [directory / f"{self.date}.json", directory / f"{self.date}.md"]
        if order and written[0].exists():
            self.keep(Report.from_json(written[0].read_text()), order)
        written[0].write_text(self.as_json())
        picture = None
        if self.curves:
            from plot import draw  # imports matplotlib, which nothing else needs

            written.append(directory / f"{self.date}.png")
            draw(self, written[-1])
            picture = written[-1].name
        # Sphinx warns of pages that no table of contents lists, unless they say that they know.
        orphan = "---\norphan: true\n---\n\n"
        written[1].write_text(f"{orphan}# Benchmark of {self.date}\n\n{self.as_markdown(picture)}")
        page = directory.with_suffix(".md")
        if page.is_file():
            newest = self.as_markdown(picture and f"{directory.name}/{picture}")
            page.write_text(NEWEST.sub(lambda _: f"\n{newest}\n", page.read_text()))
            written.append(page)
        return written
