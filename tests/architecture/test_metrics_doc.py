"""The documents, the dashboard and the alerts use the metrics that the code has, and no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from core.metrics import WORKER_METRICS, YARD_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
METRICS = (*WORKER_METRICS, *YARD_METRICS)
LABELS = {series: set(metric.labels) for metric in METRICS for series in metric.series}
#: What Prometheus adds, or a histogram has.
ADDED = {"instance", "job", "le"}


def rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    board = json.loads((ROOT / "deploy/grafana/classyard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def selectors(node: Any) -> Iterator[Any]:
    """Return every selector of a series in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for name in ("expr", "vector_selector", "lhs", "rhs", "param", "args"):
        part = getattr(node, name, None)
        for one in part if isinstance(part, list) else [part]:
            if one is not None and not isinstance(one, str):
                yield from selectors(one)


@pytest.mark.parametrize(("where", "expression"), [*rules(), *panels()])
def test_an_expression_uses_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    found = list(selectors(promql_parser.parse(expression)))
    assert found, where
    used = {selector.name for selector in found}
    assert used <= LABELS.keys(), where
    matched = {matcher.name for selector in found for matcher in selector.matchers.matchers}
    grouped = {
        word.strip()
        for words in re.findall(r"(?:by|on|ignoring) \(([^)]*)\)", expression)
        for word in words.split(",")
    }
    assert matched | grouped <= set().union(*(LABELS[name] for name in used)) | ADDED, where


def test_the_tables_of_metrics_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/metrics_table.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_metric_is_shown_on_the_dashboard_or_watched() -> None:
    everything = " ".join(expression for _, expression in (*rules(), *panels()))
    unseen = [m.name for m in METRICS if not any(series in everything for series in m.series)]
    assert unseen == ["classyard_images_reused", "classyard_sweeps", "classyard_worker_slots",
                      "classyard_events"]  # fmt: skip


def test_every_alert_is_tested() -> None:
    tested = yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text())["tests"]
    named = {case["alertname"] for test in tested for case in test["alert_rule_test"]}
    assert named == {alert for alert, _ in rules()}


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
)
def test_promtool_accepts_the_rules(words: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install Prometheus (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [promtool, *words], cwd=ALERTS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
