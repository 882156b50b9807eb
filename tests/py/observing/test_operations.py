"""The Grafana dashboard and the alert rules: each metric and label in them is really exported."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.debian import program
from tests.py.observing.metrics_support import Samples
from tests.py.support import Session, beside, final, wait_until
from underway_pg import App, Queue, RetryPolicy
from underway_pg.metrics import DatabaseCollector, WorkerCollector, render

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations"

# What Prometheus adds to each series.
ADDED = {"instance"}

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"


@pytest.fixture(scope="module")
def exported(server: Any) -> Iterator[Samples]:
    """The metrics of a database with something of everything, and of a worker."""
    with server.database() as dsn, App(dsn, queues=[Queue(name="q", retry=RetryPolicy(max_attempts=1))]) as app:

        @app.schedule("@daily", name="nightly")
        @app.job(queue="q")
        def job() -> None: ...

        worker = app.worker()
        collectors = DatabaseCollector(app.client.run), WorkerCollector(worker)
        with Session(dsn) as session, beside(worker) as running:
            final(app, job.enqueue(), running)

            def counted() -> Samples | None:
                session.run("update underway.upkeep set last_run_at = '-infinity'")
                session.run("select underway.maintain(null, true)")
                found = Samples.of(*collectors)
                done = found.value("underway_tasks_succeeded_total") and found.value(
                    "underway_worker_tasks_succeeded_total"
                )
                return found if done else None

            found = wait_until(counted, "the task is counted")
            assert found is not None
            yield found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPERATIONS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OPERATIONS / "grafana.json").read_text())
    return found


def expressions() -> dict[str, str]:
    """All expressions of PromQL, by where they are."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in board()["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for variable in board()["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["definition"]
    return found


def metrics_of(expression: str) -> list[tuple[str, str]]:
    """The metrics in an expression, each with its label matchers."""
    return re.findall(rf"\b(underway_{NAME})\s*(?:\{{([^}}]*)\}})?", expression)


def test_each_metric_and_label_in_an_expression_is_exported(exported: Samples) -> None:
    labels, wrong = exported.labels(), []
    for place, expression in expressions().items():
        found = metrics_of(expression)
        assert found, place
        for name, matchers in found:
            if name not in labels:
                wrong.append(f"{place}: {name} is not exported")
                continue
            for label, operator, value in re.findall(rf'({NAME})(=~|!~|!=|=)"([^"]*)"', matchers):
                known = {sample.labels.get(label) for sample in exported.samples if sample.name == name}
                if label not in labels[name]:
                    wrong.append(f"{place}: {name} has no label {label}")
                elif operator == "=" and value not in known:
                    wrong.append(f"{place}: {name} has no {label} {value}, only {known}")
        of_all = set.intersection(*(labels.get(name, set()) for name, _ in found)) | ADDED
        for clause in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression):
            wrong += [f"{place}: not all have {each}" for each in re.findall(NAME, clause) if each not in of_all]
    assert not wrong, "\n".join(wrong)


def result_labels(expression: str, labels: dict[str, set[str]]) -> set[str]:
    """The labels that a legend or an annotation may name."""
    grouped = [set(re.findall(NAME, each)) for each in re.findall(r"\bby\s*\(([^)]*)\)", expression)]
    if grouped:
        return set.intersection(*grouped) - {"le"}
    if re.search(r"\b(sum|max|min|count)\s*\(", expression):
        return set()
    return set.intersection(*(labels[name] for name, _ in metrics_of(expression))) | ADDED


def test_legends_and_annotations_name_labels_of_the_result(exported: Samples) -> None:
    labels, wrong = exported.labels(), []
    for rule in rules():
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        if not used <= result_labels(rule["expr"], labels):
            wrong.append(f"alert {rule['alert']}: {used}")
    for panel in board()["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
            if not used <= result_labels(target["expr"], labels):
                wrong.append(f"panel {panel['title']}: {used}")
    assert not wrong, wrong


def test_parentheses_and_braces_of_expressions_are_closed() -> None:
    for place, expression in expressions().items():
        text = re.sub(r'"[^"]*"', "", expression)
        for opening, closing in ("()", "{}", "[]"):
            assert text.count(opening) == text.count(closing), place


def test_each_alert_says_what_happened_and_how_severe_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert re.fullmatch(r"Underway[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]


def test_panels_do_not_overlap_and_have_titles() -> None:
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board()["panels"]:
        place = panel["gridPos"]
        assert panel["title"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_prometheus_accepts_the_rules_and_the_expressions(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    subprocess.run([promtool, "check", "rules", str(OPERATIONS / "alerts.yml")], check=True, timeout=60)
    recorded = [
        {"record": f"test:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (place, expression) in enumerate(expressions().items())
        if not place.startswith("variable")
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": recorded}]}))
    subprocess.run([promtool, "check", "rules", str(file)], check=True, timeout=60)


def test_promtool_finds_nothing_wrong_with_the_metrics(database: str) -> None:
    promtool = program("promtool", "prometheus")
    with App(database, queues=[Queue(name="q")]) as app:
        _, body = render([DatabaseCollector(app.client.run), WorkerCollector(app.worker())])
    checked = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stderr.decode()
