"""The map in `model/README.md` names every module of `model/`, and no other."""

from __future__ import annotations

import re

from testing.serving import ROOT

MODEL = ROOT / "model"


def test_the_map_names_every_module_once() -> None:
    named = re.findall(r"^    ([\w/]+\.py) +\S", (MODEL / "README.md").read_text(), re.MULTILINE)
    modules = [str(path.relative_to(MODEL)) for path in MODEL.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(named) == sorted(modules)
