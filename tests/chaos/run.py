"""Run the scenarios in their long form, and write the table of docs/chaos.md.

python -m tests.chaos.run                        all
python -m tests.chaos.run --only calm,pooler     some, whose rows replace those of the table
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.arena import LONG, SHORT, Outcome
from tests.chaos.scenarios import SCENARIOS
from tests.debian import ROOT

PAGE = ROOT / "docs" / "chaos.md"
RESULTS = ROOT / "docs" / "chaos" / "results.json"
BEGIN, END = "<!-- the table: make chaos writes it -->", "<!-- its end -->"
COLUMNS = {
    "tasks": "tasks", "runs": "runs", "reclaimed": "reclaimed", "retried": "retried", "lost": "lost",
    "doubled": "doubled", "lost_with_primary": "with the primary", "uncertain": "uncertain",
}  # fmt: skip


def row(outcome: Outcome) -> dict[str, Any]:
    report = asdict(outcome.report)
    return {
        "scenario": outcome.name,
        "date": datetime.now(UTC).date().isoformat(),
        "trouble": {what: count for what, count in sorted(outcome.counts.items()) if count},
        **{name: report[name] for name in COLUMNS},
        "latest_reclaim": round(report["latest_reclaim"], 2),
        "seconds": round(outcome.seconds),
        "complaints": outcome.complaints,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ["scenario", "date", "trouble", *COLUMNS.values(), "latest reclaim", "complaints", "time"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * (len(head) - 3)]
    for each in rows:
        trouble = ", ".join(f"{count:,} {what}" for what, count in each["trouble"].items()) or "none"
        counts = [f"{each[name]:,}" for name in COLUMNS]
        ends = [f"{each['latest_reclaim']:.2f} s", str(len(each["complaints"])), f"{each['seconds']} s"]
        lines.append("| " + " | ".join([each["scenario"], each["date"], trouble, *counts, *ends]) + " |")
    return "\n".join(lines)


def write(new: dict[str, dict[str, Any]]) -> None:
    """Put new rows in the place of the old ones, in the order of the scenarios."""
    rows = {each["scenario"]: each for each in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    rows.update(new)
    ordered = [rows[name] for name in SCENARIOS if name in rows]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.S)
    PAGE.write_text(pattern.sub(lambda _: f"\n{table(ordered)}\n\n", PAGE.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of: {', '.join(SCENARIOS)}")
    parser.add_argument("--short", action="store_true", help="in the short form, which is not written down")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(SCENARIOS)
    console = Console(stderr=True)
    wrong = 0
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(names))
        for name in names:
            progress.update(bar, description=name)
            wrong += _one(name, console, short=given.short)
            progress.advance(bar)
    return 1 if wrong else 0


def _one(name: str, console: Console, *, short: bool) -> bool:
    """Run a scenario and tell of it. Returns whether something was wrong, which one that could not run is, too."""
    try:
        outcome = SCENARIOS[name](name, SHORT if short else LONG)
    except Exception as error:  # the others are to be run all the same
        console.print(f"{name} was not run: {error!r}", highlight=False, style="red")
        return True
    facts = row(outcome)
    if not short:
        write({name: facts})
    complaints = facts.pop("complaints")
    console.print(facts, highlight=False)
    for complaint in complaints[:20]:
        console.print(f"  {complaint}", highlight=False, style="red")
    return bool(complaints)


if __name__ == "__main__":
    raise SystemExit(main())
