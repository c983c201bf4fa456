"""The documents against the tree: every file that they name exists, and what they copy from elsewhere is current."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from reliability import ledger
from reliability.__main__ import LEDGER
from reliability.checks import CHECKS
from server.settings import Settings
from testing.serving import ROOT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "deploy/*.md", "model/*.md")
    for path in ROOT.glob(pattern)
    # A log names files as they were.
    if path.name != "LOG.md"
)
_FOLDERS = ("benchmarks", "clients", "deploy", "docs", "model", "reliability", "server", "testing", "tests")
# A path of the tree in prose, in a table, or in a command; not a part of a URL or of a longer path.
_PATH = re.compile(rf"(?<![\w/.$…-])(?:{'|'.join(_FOLDERS)})/[\w.*-]+(?:/[\w.*-]+)*")
_MODULE = re.compile(r"-m ((?:benchmarks|model|reliability|server|tests)(?:\.\w+)*)")


def missing_paths(text: str) -> list[str]:
    # `make weights` writes the default weights.
    found = {path.rstrip(".") for path in _PATH.findall(text)} - {str(Settings().weights)}
    return sorted(path for path in found if not list(ROOT.glob(path)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_exists(path: Path) -> None:
    assert missing_paths(path.read_text()) == []


def test_a_path_that_does_not_exist_is_found() -> None:
    text = "see `server/engine/engine.py`, `server/engine/motor.py` and /v1/model/none, https://host/tests/none."
    assert missing_paths(text) == ["server/engine/motor.py"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        file, _, section = link.partition("#")
        if link.startswith("http"):
            continue
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_a_document_runs_exists(path: Path) -> None:
    for module in _MODULE.findall(path.read_text()):
        place = ROOT.joinpath(*module.split("."))
        assert (place / "__main__.py").exists() or place.with_suffix(".py").exists(), module


def test_the_reliability_table_equals_the_sums_of_the_ledger() -> None:
    text = (ROOT / "docs" / "durability.md").read_text()
    table = text.split("<!-- reliability -->\n")[1].split("\n<!-- /reliability -->")[0]
    assert table == ledger.table(ledger.load(ROOT / LEDGER), CHECKS)


def test_the_readme_is_short_and_begins_with_its_limitation() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 160
    assert any("limitation" in line for line in lines[:10])


def test_every_dependency_has_its_reason_in_contributing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in needed} - {project["name"]}
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert sorted(names - {name for row in rows for name in row.strip().split(", ")}) == []
