"""The chart as Helm renders it under given values, and the objects in it by kind and name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from testing.serving import ROOT
from tests.deploy.programs import require

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "onceread"
NAMESPACE = "books"

Values = Mapping[str, Any]
Manifest = dict[str, Any]

# Required values: without them the chart does not render.
LEAST: Values = {"secrets": {"existing": "onceread-secrets"}, "keys": {"existing": "onceread-keys"}}


class Refused(Exception):
    """Helm refused to render the chart; the message is its output."""


def helm(program: str, *arguments: str, given: str = "") -> str:
    done = subprocess.run([require(program), *arguments], input=given, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def rendered(values: Values = LEAST, program: str = "helm4", name: str = "onceread", *options: str) -> str:
    """The manifests as text."""
    # JSON is YAML.
    return helm(
        program,
        *("template", name, str(CHART), "--namespace", NAMESPACE, "--values", "-", *options),
        given=json.dumps(values),
    )


def objects(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


class Rendered:
    """The objects of one rendering."""

    def __init__(self, values: Values = LEAST, name: str = "onceread") -> None:
        self.all = objects(rendered(values, name=name))

    def of(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.all if manifest["kind"] == kind]

    def the(self, kind: str, ending: str = "onceread") -> Manifest:
        """The only object of a kind whose name has this ending."""
        [found] = [manifest for manifest in self.of(kind) if manifest["metadata"]["name"].endswith(ending)]
        return found

    @property
    def server(self) -> Manifest:
        """The server's pod."""
        return dict(self.the("Deployment")["spec"]["template"]["spec"])

    @property
    def container(self) -> Manifest:
        [container] = self.server["containers"]
        return dict(container)

    @property
    def pods(self) -> list[Manifest]:
        """Every pod's specification, including the test pod's."""
        templates = [m["spec"]["template"]["spec"] for kind in ("Deployment", "StatefulSet") for m in self.of(kind)]
        return templates + [manifest["spec"] for manifest in self.of("Pod")]


def merged(*parts: Values) -> dict[str, Any]:
    """Values merged as Helm does, later ones over earlier ones."""
    result: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            below = result.get(name)
            result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def chart_files(*suffixes: str) -> list[Path]:
    return [path for path in sorted(CHART.rglob("*")) if path.suffix in suffixes]
