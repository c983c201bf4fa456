"""The alerts: promtool accepts them, and each has a test in which it fires and a section in the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from server.http.problems import PROBLEM_TYPES
from tests.deploy.charts import DEPLOY
from tests.deploy.expressions import ALERTS, alerts
from tests.deploy.programs import require

TESTS = DEPLOY / "prometheus" / "alerts_test.yaml"
RUNBOOK = DEPLOY / "RUNBOOK.md"
REASON = re.compile(r'onceread_requests_rejected_total\{reason="(\w+)"')


def promtool(*arguments: str) -> str:
    done = subprocess.run([require("promtool"), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", str(ALERTS))
    promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yaml"))


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", str(TESTS))


def test_every_alert_has_a_firing_test() -> None:
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    resting, firing = tests[0]["alert_rule_test"], [case["alertname"] for case in cases if case.get("exp_alerts")]
    assert {case["alertname"] for case in resting} == names, "no alert fires when all is well"
    assert sorted(firing) == sorted(names)


def test_a_wrong_alert_test_fails(tmp_path: Path) -> None:
    text = TESTS.read_text().replace("../helm/onceread/files/alerts.yaml", str(ALERTS))
    (tmp_path / "wrong.yaml").write_text(text.replace("summary: No server answers", "summary: All is well"))
    with pytest.raises(AssertionError, match="OncereadAllDown"):
        promtool("test", "rules", str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_has_a_summary_a_description_and_a_runbook_section(rule: dict[str, dict[str, str]]) -> None:
    name = str(rule["alert"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"deploy/RUNBOOK.md#{name.lower()}"
    sections = re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)
    [section] = [section for section in sections if section.startswith(f"{name}\n")]
    for part in ("**What it means.**", "**How to look.**", "**What to do.**"):
        assert part in section, f"{name} has no {part}"


def test_the_reasons_in_alerts_are_error_codes() -> None:
    codes = {problem_type.code for problem_type in PROBLEM_TYPES}
    named = {reason for rule in alerts() for reason in REASON.findall(str(rule["expr"]))}
    assert len(named) >= 4
    assert named <= codes
