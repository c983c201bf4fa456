"""The commands in the deployment's documents: their files and values exist, and the chart renders with them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from server.settings import Settings
from testing.serving import ROOT
from tests.deploy.charts import CHART, DEPLOY, Refused, helm

README, RUNBOOK = DEPLOY / "README.md", DEPLOY / "RUNBOOK.md"
DOCUMENTS = (README, RUNBOOK)


def commands(path: Path) -> list[list[str]]:
    """Each command of the shell blocks, in words."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&") if part.strip()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_has_a_target(path: Path) -> None:
    text = path.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, section = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


def test_the_helm_commands_of_the_readme_render() -> None:
    installs = [words for words in commands(README) if words[:2] in (["helm", "install"], ["helm", "upgrade"])]
    assert len(installs) == 2
    sets: list[str] = []
    for _, _, name, chart, *options in installs:
        assert ROOT / chart == CHART
        sets += [option for option in options if option != "--reuse-values"]
        assert "kind: Deployment" in helm("helm4", "template", name, str(CHART), *sets)
    with pytest.raises(Refused):
        helm("helm4", "template", "onceread", str(CHART), *sets[:2])


def test_every_chart_value_in_the_documents_exists() -> None:
    values = (CHART / "values.yaml").read_text()
    for path in DOCUMENTS:
        for name in re.findall(r"--set (\w+)\.", path.read_text()):
            assert re.search(rf"^{name}:", values, re.MULTILINE), name


def test_every_setting_in_the_runbook_exists() -> None:
    named = set(re.findall(r"`(\w+_(?:bytes|max|seconds|per_second|tokens))`", RUNBOOK.read_text()))
    assert len(named) >= 6
    # A metric, and a field of a session.
    assert named - {"onceread_queued_tokens", "ttl_seconds"} <= set(Settings.model_fields)


def test_every_compose_file_in_the_readme_exists() -> None:
    for words in commands(README):
        if words[:2] == ["docker", "compose"]:
            assert all((ROOT / words[n + 1]).exists() for n, word in enumerate(words) if word == "-f")
