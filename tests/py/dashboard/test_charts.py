"""Charts: axes, gaps, titles, the table, and colours that can be told apart."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from underway_pg.dashboard import formats
from underway_pg.dashboard.charts import Chart, Series, sparkline, time_chart
from underway_pg.dashboard.formats import NOTHING

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
CSS = (Path(__file__).parents[3] / "underway_pg/dashboard/static/underway.css").read_text()


def times(count: int, step: timedelta = timedelta(minutes=1)) -> list[datetime]:
    return [NOON + step * i for i in range(count)]


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg)


def labels(root: ElementTree.Element, where: str) -> list[str]:
    found = next(each for each in root.iter("svg") if where in each.get("class", ""))
    return [text.text or "" for text in found.findall("text")]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (37, ["0", "10", "20", "30", "40"]),
        (100, ["0", "25", "50", "75", "100"]),
        (1234, ["0", "500", "1k", "1.5k"]),
        (2_500_000, ["0", "1M", "2M", "3M"]),
    ],
)
def test_the_axis_of_counts_has_few_round_numbers(highest: int, expected: list[str]) -> None:
    chart = time_chart("Throughput", times(3), [Series("succeeded", [0, highest, 0], 1, "bar")])
    assert labels(drawn(chart), "chart-axis") == expected


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0.0034, ["0 s", "1 ms", "2 ms", "3 ms", "4 ms"]),
        (0.9, ["0 s", "250 ms", "500 ms", "750 ms", "1 s"]),
        (100, ["0 s", "30 s", "1 min", "1 min 30 s", "2 min"]),
        (7200, ["0 s", "30 min", "1 h", "1 h 30 min", "2 h"]),
        (400_000, ["0 s", "2 d", "4 d", "6 d"]),
    ],
)
def test_the_axis_of_durations_has_units_that_people_use(highest: float, expected: list[str]) -> None:
    chart = time_chart("Run time", times(2), [Series("p95", [highest, 0], 1)], durations=True)
    found = labels(drawn(chart), "chart-axis")
    assert found == expected


@pytest.mark.parametrize(
    ("count", "step", "expected"),
    [
        (60, timedelta(minutes=1), ["12:10", "12:20", "12:30", "12:40", "12:50"]),
        (144, timedelta(minutes=10), ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00"]),
        (84, timedelta(hours=2), [f"{day:02} Feb" for day in range(1, 8)]),
    ],
)
def test_the_axis_of_time_is_marked_at_round_times(count: int, step: timedelta, expected: list[str]) -> None:
    chart = time_chart("Throughput", times(count, step), [Series("succeeded", [1] * count, 1, "bar")])
    assert labels(drawn(chart), "chart-plot") == expected


def test_a_line_is_interrupted_where_there_is_no_value_and_a_lone_value_is_a_dot() -> None:
    chart = time_chart("Run time", times(6), [Series("p50", [1, 2, None, 3, None, 1], 1)], durations=True)
    paths = {each.get("class"): each.get("d", "") for each in drawn(chart).iter("path")}
    assert paths["line c1"].count("M") == 1
    assert paths["line dot c1"].count("M") == 2


def test_bars_are_stacked_and_fill_the_height_exactly() -> None:
    chart = time_chart("Throughput", times(1), [Series("a", [30], 1, "bar"), Series("b", [10], 2, "bar")])
    lower, upper = [each.get("d", "") for each in drawn(chart).iter("path")]
    bottom, top = re.findall(r"M\S+ (\S+?)V(\S+?)h", lower)[0]
    bottom_of_next, top_of_next = re.findall(r"M\S+ (\S+?)V(\S+?)h", upper)[0]
    assert (float(top_of_next), bottom_of_next) == (0, top)
    assert float(bottom) / 4 * 1 == pytest.approx(float(top))


def test_each_step_has_a_title_and_a_row_of_the_table() -> None:
    chart = time_chart("Throughput", times(2), [Series("succeeded", [3, None], 1), Series("failed", [1, 12345], 2)])
    titles = [title.text for title in drawn(chart).iter("title")]
    assert titles == [
        "31 Jan 12:00 UTC\nsucceeded: 3\nfailed: 1",
        f"31 Jan 12:01 UTC\nsucceeded: {NOTHING}\nfailed: 12k",
    ]
    assert chart.rows[1] == ("31 Jan 12:01 UTC", [NOTHING, "12k"])
    label = next(each.get("aria-label") for each in drawn(chart).iter("svg") if each.get("role") == "img")
    assert label == "Throughput: succeeded 3 at last, 3 at most; failed 12k at last, 12k at most"


def test_a_chart_without_data_says_so_and_can_be_drawn() -> None:
    for number in (0, 1, 5):
        chart = time_chart("Run time", times(number), [Series("p50", [None] * number, 1)], durations=True)
        assert chart.empty
        drawn(chart)


def test_names_are_text() -> None:
    chart = time_chart("<b>&", times(1), [Series('"><script>', [1], 1)])
    assert "<script>" not in chart.svg
    assert "<b>" not in chart.svg
    drawn(chart)
    assert "<script>" not in sparkline([1, 2], '"><script>')


def test_a_sparkline_needs_two_values() -> None:
    assert "svg" not in sparkline([1], "ready")
    assert "svg" not in sparkline([None, 1], "ready")
    root = ElementTree.fromstring(sparkline([0, 5, None, 10], "ready"))
    assert root.get("aria-label") == "ready: 10 at last, 10 at most"


# Numbers and times


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, NOTHING), (0, "0 s"), (0.0000021, "2 µs"), (0.0042, "4.2 ms"), (0.35, "350 ms"), (0.9999, "1 s"),
        (4.25, "4.2 s"),
        (9.96, "10 s"), (59.6, "1 min"), (185, "3 min 5 s"), (3600, "1 h"), (7800, "2 h 10 min"), (40000, "11 h"),
        (400_000, "4 d 15 h"), (-90, "-1 min 30 s"), (timedelta(days=14), "14 d"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds: float | timedelta | None, expected: str) -> None:
    assert formats.duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(None, NOTHING), (0, "0"), (999, "999"), (1000, "1k"), (1234, "1.2k"), (9999, "10k"), (35_400, "35k"),
     (999_999, "1M"),
     (4_100_000, "4.1M"), (0.034, "0.034"), (3_000_000_000, "3G")],
)  # fmt: skip
def test_a_large_number_is_short(number: float | None, expected: str) -> None:
    assert formats.short_number(number) == expected


def test_a_capped_count_says_so() -> None:
    assert formats.count(12345) == "12,345"
    assert formats.count(10_000, True) == "10,000+"


def test_a_time_is_relative_with_the_exact_one_in_its_title() -> None:
    text = formats.when(NOON - timedelta(minutes=3), NOON)
    assert text == '<time datetime="2030-01-31T11:57:00+00:00" title="2030-01-31 11:57:00.000 UTC">3 min ago</time>'
    assert ">in 2 h<" in formats.when(NOON + timedelta(hours=2), NOON)
    assert formats.when(None, NOON) == NOTHING


# Colours: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio

COLOURS = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", CSS))
SCHEMES = ("light", "dark")
TEXTS = ("text", "text-2", "text-3", "accent", "ok", "info", "warn", "bad", "plain", "violet")


def colour(name: str, scheme: str) -> str:
    return COLOURS[name].split(", ")[SCHEMES.index(scheme)] if name in COLOURS else name


def luminance(value: str) -> float:
    parts = [int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str, scheme: str) -> float:
    lighter, darker = sorted((luminance(colour(each, scheme)) for each in (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def pairs() -> list[tuple[str, str, float]]:
    on_surfaces = [(text, surface, 4.5) for text in TEXTS for surface in ("page", "surface", "raised")]
    on_soft = [(kind, f"{kind}-soft", 4.5) for kind in ("accent", "ok", "info", "warn", "bad", "plain", "violet")]
    on_fill = [("#ffffff", fill, 4.5) for fill in ("accent-fill", "bad-fill")]
    drawn_with = ("line-strong", "ok-bar", "warn-bar", "bad-bar", *(f"series-{i}" for i in range(1, 6)))
    lines = [(name, surface, 3.0) for name in drawn_with for surface in ("page", "surface")]
    return on_surfaces + on_soft + on_fill + lines


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_and_lines_have_enough_contrast(scheme: str) -> None:
    found = {(one, other): round(contrast(one, other, scheme), 2) for one, other, _ in pairs()}
    assert [(pair, found[pair[:2]]) for pair in pairs() if found[pair[:2]] < pair[2]] == []


def test_the_page_about_the_design_has_the_contrasts() -> None:
    def both(one: str, other: str) -> str:
        return " / ".join(f"{contrast(one, other, scheme):.1f}" for scheme in SCHEMES)

    expected = [
        f"| `--{text}` | {' | '.join(both(text, each) for each in ('page', 'surface', 'raised'))} |" for text in TEXTS
    ]
    for one, other, _ in pairs():
        if other != "page" and one not in TEXTS:
            names = f"white on `--{other}`" if one == "#ffffff" else f"`--{one}` on `--{other}`"
            expected.append(f"| {names} | {both(one, other)} |")
    page = (Path(__file__).parents[3] / "docs/design.md").read_text()
    assert [line for line in expected if line not in page] == []


# How the eyes of people without one kind of cones see a colour (Machado, Oliveira and Fernandes 2009, severity 1).
CONES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def seen(value: str, kind: str) -> list[float]:
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in
              (int(value[i : i + 2], 16) / 255 for i in (1, 3, 5))]  # fmt: skip
    mixed = [min(1, max(0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in CONES[kind]]
    return [p * 12.92 if p <= 0.0031308 else 1.055 * p ** (1 / 2.4) - 0.055 for p in mixed]


# The colours that stand in one chart. Lines of the fifth are dashed, too.
TOGETHER = [(1, 2), (1, 3), (2, 3), (2, 4), (1, 5), (3, 5)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", CONES)
def test_the_colours_of_a_chart_differ_for_colour_blind_people(scheme: str, kind: str) -> None:
    def distance(one: int, other: int) -> float:
        a, b = (seen(colour(f"series-{i}", scheme), kind) for i in (one, other))
        return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)

    assert {pair: round(distance(*pair), 2) for pair in TOGETHER if distance(*pair) < 0.2} == {}


def test_every_colour_of_the_style_sheet_is_a_variable_with_two_values() -> None:
    rules = CSS[CSS.index("*, ::before") :]
    assert COLOURS
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*})", rules)) - {"#ffffff"} == set()
