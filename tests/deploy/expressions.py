"""The expressions of alert rules and dashboard panels, and the metrics that they name."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.deploy.charts import CHART

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
METRIC = re.compile(r"\bonceread_[a-z0-9_]+(?=[{\[) ]|$)", re.MULTILINE)


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without its rows."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def asked_by_panels() -> list[str]:
    """Every panel's expression, with Grafana's variables filled in."""
    expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "1m").replace("$instance", ".*") for expr in expressions]


def metrics_named() -> dict[str, set[str]]:
    """The names of all metrics in use, each with its alerts and panels."""
    named: dict[str, set[str]] = {}
    for source, expression in [
        *((rule["alert"], rule["expr"]) for rule in alerts()),
        *((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]),
    ]:
        for metric in METRIC.findall(expression):
            named.setdefault(metric, set()).add(source)
    return named
