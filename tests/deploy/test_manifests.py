"""The plain manifests are the chart's rendering, without a namespace."""

from __future__ import annotations

import pytest

from tests.deploy.charts import objects
from tests.deploy.manifests import MANIFESTS, manifests


@pytest.mark.parametrize("program", ["helm3", "helm4"])
def test_the_manifests_are_what_the_chart_renders(program: str) -> None:
    assert MANIFESTS.read_text() == manifests(program), "python -m tests.deploy.manifests renders them anew"


def test_the_manifests_name_no_namespace() -> None:
    rendered = objects(MANIFESTS.read_text())
    assert len(rendered) > 10
    assert not any("namespace" in manifest["metadata"] for manifest in rendered)
    assert not any(manifest["kind"] in ("Secret", "Pod") for manifest in rendered)
