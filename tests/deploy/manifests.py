"""`python -m tests.deploy.manifests` renders the chart into deploy/kubernetes/onceread.yaml, for those without Helm."""

from __future__ import annotations

from tests.deploy.charts import CHART, DEPLOY, helm

FOLDER = DEPLOY / "kubernetes"
MANIFESTS = FOLDER / "onceread.yaml"
_HEADER = "# Rendered from deploy/helm/onceread: change that, then python -m tests.deploy.manifests\n"


def manifests(program: str = "helm4") -> str:
    values = str(FOLDER / "values.yaml")
    return _HEADER + helm(program, "template", "onceread", str(CHART), "--values", values, "--skip-tests")


if __name__ == "__main__":
    MANIFESTS.write_text(manifests())
    print(f"wrote {MANIFESTS}")
