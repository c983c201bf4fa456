"""The dashboard: Grafana is provisioned with it, its queries are valid, and the server exports all its metrics."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testing.replies import appended, asked, created
from testing.serving import ROOT, Server, client
from tests.deploy.charts import DEPLOY
from tests.deploy.expressions import DASHBOARD, asked_by_panels, metrics_named, panels
from tests.deploy.programs import require

# Metrics that the panels must show.
SHOWN = (
    "onceread_read_tokens_total onceread_time_to_first_token_seconds_bucket onceread_num_requests_running "
    "onceread_num_requests_waiting onceread_sessions onceread_memory_bytes onceread_memory_load_seconds_bucket "
    "onceread_unstored_oldest_seconds onceread_store_up onceread_store_errors_total onceread_requests_rejected_total "
    "onceread_text_rolled_back_total onceread_checkpoints_refused_total onceread_queued_tokens"
).split()


@pytest.fixture(scope="module")
def metrics() -> Iterator[str]:
    """/metrics of a real server that has read, answered and refused something."""
    with Server(ROOT / "model" / "babilong", "memory://") as server, client(server) as http:
        session = created(http)
        appended(http, session, b"Mary went to the kitchen. " * 100)
        asked(http, session)
        assert http.get("/v1/sessions/nobody").status_code == 404
        http.get("/readyz").raise_for_status()
        yield http.get("/metrics").text


def test_every_metric_in_the_dashboard_and_the_alerts_exists(metrics: str) -> None:
    typed = dict(line.split()[2:4] for line in metrics.splitlines() if line.startswith("# TYPE "))
    there = set(typed)
    for name, kind in typed.items():
        if kind == "histogram":
            there |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    missing = {name: sources for name, sources in metrics_named().items() if name not in there}
    assert not missing


def test_refusals_are_counted_by_error_code(metrics: str) -> None:
    assert 'onceread_requests_rejected_total{reason="session_not_found"} 1.0' in metrics.splitlines()


def test_no_session_or_tenant_is_a_label(metrics: str) -> None:
    assert "sess_" not in metrics
    assert "tenant" not in metrics


def test_the_panels_show_the_required_metrics() -> None:
    named = " ".join(asked_by_panels())
    assert not [metric for metric in SHOWN if metric not in named]


def test_promtool_accepts_every_panels_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:number:{n}", "expr": expr} for n, expr in enumerate(asked_by_panels())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    command = [require("promtool"), "check", "rules", "--lint=none", str(tmp_path / "panels.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_panels_have_distinct_ids_and_places_and_use_the_selected_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, f"{panel['title']} covers another panel"
        taken |= cells
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["source"]["type"] == "datasource"
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        for target in panel["targets"]:
            assert 'job="onceread", instance=~"$instance"' in target["expr"]


def test_grafana_is_provisioned_with_the_dashboard_and_prometheus() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "onceread.yaml").read_text())["providers"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./helm/onceread/files/dashboard.json"] == f"{provider['options']['path']}/onceread.json"
