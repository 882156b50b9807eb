"""The benchmark: its arithmetic, its table, and a tiny run."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.servers import Server

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # The files of the benchmark are programs beside each other, not a package.
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import results

    return results


@pytest.fixture
def report(results: ModuleType) -> Any:
    lines = [
        results.Line(
            row="drain-1",
            workload="drain",
            unit="tasks/s",
            ours=[50_000.0, 20_000.0, 60_000.0],
            against="raw limit",
            theirs=[100_000.0, 80_000.0, 60_000.0],
            goal=results.at_least(0.5),
        ),
        results.Line(row="wal", workload="WAL", unit="bytes", ours=[1300.0], goal=results.at_most(1200)),
    ]
    return results.Report(
        taken_at="2026-01-02 03:04 UTC",
        machine={"cpu": "A CPU", "cores": "2 cores"},
        versions={"underway": "0.1.0"},
        settings={"fsync": "on"},
        lines=lines,
        missing={"idle": "pg_stat_statements is not preloaded"},
    )


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds(report: Any) -> None:
    drain = report.lines[0]
    assert drain.ratios == [0.5, 0.25, 1.0]
    assert (drain.ratio, drain.figure, drain.their_figure) == (0.5, 50_000, 80_000)
    assert drain.met


def test_a_figure_with_nothing_beside_it_is_held_to_its_goal_itself(report: Any) -> None:
    wal = report.lines[1]
    assert wal.ratio is None
    assert wal.met is False


def test_sides_with_different_numbers_of_rounds_are_refused(results: ModuleType) -> None:
    line = results.Line(row="x", workload="x", unit="", ours=[1.0, 2.0], theirs=[1.0])
    with pytest.raises(ValueError, match="shorter"):
        _ = line.ratio


@pytest.mark.parametrize(("relation", "value", "met"), [(">=", 1.2, True), (">=", 1.1, False), ("<=", 1.2, True)])
def test_a_goal_is_met_at_its_limit(results: ModuleType, relation: str, value: float, met: bool) -> None:
    assert results.Goal(relation, 1.2).is_met(value) is met


def test_the_table_tells_ratio_spread_goal_and_whether_it_is_met(report: Any) -> None:
    table = report.as_markdown("picture.png")
    assert "| drain | 50,000 tasks/s | raw limit | 80,000 | 0.50 (0.25 to 1.00) | >= 0.5 | yes |" in table
    assert "| WAL | 1,300 bytes |  |  |  | <= 1,200 | no |" in table
    assert "- not measured: idle: pg_stat_statements is not preloaded" in table
    assert "](picture.png)" in table


def test_a_run_is_read_again_from_its_json(results: ModuleType, report: Any) -> None:
    report.curves = [results.Curve(panel="snapshot", name="ours", x=[1, 2], rounds=[[3.0, 4.0], [5.0, 8.0]])]
    again = results.Report.from_json(report.as_json())
    assert again.as_json() == report.as_json()
    assert again.curves[0].medians == [4.0, 6.0]


def test_a_run_is_written_with_its_date_and_shown_on_the_page(tmp_path: Path, report: Any) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- newest -->\nolder\n<!-- /newest -->\nafter\n")
    for _ in range(2):
        report.write(tmp_path / "benchmarks")
    assert sorted(path.name for path in (tmp_path / "benchmarks").iterdir()) == ["2026-01-02.json", "2026-01-02.md"]
    text = page.read_text()
    assert text.startswith("before\n<!-- newest -->\n\n- taken: 2026-01-02")
    assert text.endswith("\n<!-- /newest -->\nafter\n")
    assert "older" not in text
    assert text.count("| WAL |") == 1


def test_a_peer_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rows import SHORT_SCALE, Bench
    from server import Failure

    def fail() -> float:
        raise Failure("no worker claims the tasks that are left")

    bench = Bench(None, SHORT_SCALE, [SimpleNamespace(name="river", version="0.51.2")])
    figures = bench.in_turns({"ours": lambda: 1.0, "river 0.51.2": fail, "raw": lambda: 2.0}, 2)
    assert figures == {"ours": [1.0, 1.0], "raw": [2.0, 2.0]}
    assert bench.missing == {"river 0.51.2": "no worker claims the tasks that are left"}
    with pytest.raises(Failure):
        bench.in_turns({"ours": fail, "raw": lambda: 2.0}, 2)


def test_a_part_of_the_rows_is_added_to_those_of_the_same_day_and_version(
    tmp_path: Path, results: ModuleType, report: Any
) -> None:
    report.write(tmp_path / "benchmarks")
    part = results.Report(
        taken_at="2026-01-02 05:00 UTC", machine={}, versions=report.versions, settings=report.settings
    )
    part.lines = [results.Line(row="wal", workload="WAL", unit="bytes", ours=[900.0])]
    part.write(tmp_path / "benchmarks", order=["wal", "drain-1"])
    assert [(line.row, line.figure) for line in part.lines] == [("wal", 900), ("drain-1", 50_000)]
    assert part.missing == {"idle": "pg_stat_statements is not preloaded"}

    changed = results.Report(taken_at="2026-01-02 06:00 UTC", machine={}, versions={"underway": "0.2.0"}, settings={})
    changed.write(tmp_path / "benchmarks", order=["wal", "drain-1"])
    assert changed.lines == []


def test_the_page_describes_every_row_and_has_a_place_for_the_newest_run(
    monkeypatch: pytest.MonkeyPatch, results: ModuleType
) -> None:
    from rows import ROWS

    page = (ROOT / "docs/benchmarks.md").read_text()
    assert [name for name in ROWS if f"\n| {name} |" not in page] == []
    assert results.NEWEST.search(page)
    assert results.NEWEST.search((ROOT / "docs/scaling.md").read_text())


def test_cores_are_divided_equally_between_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from shards import shares

    assert shares(1, [0, 1, 2, 3]) == [[0, 1, 2, 3]]
    assert shares(2, [0, 1, 2, 3]) == [[0, 2], [1, 3]]
    assert shares(4, [0, 1]) == [[0], [1], [0], [1]]


def test_the_model_names_the_part_of_a_server_that_limits_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from scaling_model import Choices, servers_by_part, workers

    figures = {
        "one": 200.0, "bulk": 10.0, "work": 20.0, "worker": 10.0, "wal": 1000.0, "history": 200.0,
        "commits": 1000.0, "sequential": 500.0, "sessions": 3.0,
    }  # fmt: skip
    chosen = Choices(cores=10, busy=0.5, batched=0.9, connections=1000, disk_tb=2, retention_days=10)
    parts = servers_by_part(figures, 1.0, chosen, 100_000)
    # 100,000 tasks/s at 0.9 * 10 + 0.1 * 200 + 20 = 49 µs are 4.9 cores of the 5 that tasks may take, and so on.
    assert {part: round(servers, 3) for part, servers in parts.items()} == {
        "CPU": 0.98,
        "WAL": 0.4,
        "commits one by one": 20.0,
        "connections of workers": 0.6,
        "history": 8.64,
    }
    assert servers_by_part(figures, 0.5, chosen, 100_000)["CPU"] == pytest.approx(1.96)
    # 10,000 tasks are in flight at once, 50 in a process; then tasks without a wait, by the CPU of the workers.
    assert workers(figures, chosen, 100_000) == 200
    assert workers(figures, Choices(busy=0.5, in_flight_seconds=0), 100_000) == 2


def test_a_tiny_run_gives_ratios_beside_the_raw_limit(server: Server) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--short", "--only", "bulk", "--rounds", "1", "--json"]
    ran = subprocess.run([*command, "--dsn", server.dsn], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    run = json.loads(ran.stdout)
    (line,) = run["lines"]
    assert line["against"] == "raw insert"
    assert line["ratio"] > 0
    assert run["settings"]["synchronous_commit"] == "on"
