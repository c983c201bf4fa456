"""The chart renders under every combination of its main values, alike with Helm 3 and 4, into what Kubernetes takes."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from kubernetes_validate import utils as schemas

from server import VERSION
from server.settings import Settings
from tests.deploy.charts import CHART, LEAST, Manifest, Refused, Values, helm, merged, objects, rendered
from tests.deploy.programs import require

KUBERNETES = [f"1.{minor}" for minor in range(28, 38)]
SCHEMAS = Path(__file__).parent / "schemas"
_CHECKSUM = re.compile(r"checksum/settings: [0-9a-f]+")
OPERATORS_KINDS = sorted(SCHEMAS.glob("*_v1*.json"))

STORES: dict[str, Values] = {
    "bundled": {},
    "external": {"store": {"url": "redis+sentinel://a:26379,b:26379/main", "durability": "fsync+replica"}},
    "external over TLS": {
        "store": {"url": "rediss://onceread@store:6380", "tls": {"existing": "store-tls", "clientCertificate": True}},
        "networkPolicy": {"store": {"ports": [6380], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    },
}
AUTOSCALING: dict[str, Values] = {kind: {"autoscaling": {"kind": kind}} for kind in ("none", "hpa", "keda")}
WAYS_IN: dict[str, Values] = {
    "service": {},
    "gateway": {"gateway": {"enabled": True, "parentRefs": [{"name": "door"}], "hostnames": ["books.example"]}},
    "gateway of another": {"gateway": {"enabled": True, "parentRefs": [{"name": "door"}], "envoyGateway": False}},
    "nginx": {"ingress": {"enabled": True, "host": "books.example", "controller": "nginx", "className": "nginx"}},
    "haproxy": {"ingress": {"enabled": True, "host": "books.example", "controller": "haproxy", "tlsSecret": "tls"}},
}
DEVICES: dict[str, Values] = {
    "processor": {},
    "GPU": {"gpu": {"count": 1}, "weights": {"path": "/models/large", "claim": "weights"}},
}
ALONE: Values = {"networkPolicy": {"enabled": False}}
WATCHED: Values = {
    "monitoring": {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prom"}}
}
GIVEN: Values = {"secrets": {"sealKeys": "0f" * 32, "storePassword": "letters"}, "keys": {"open": True}}
COMBINATIONS = list(product(STORES, AUTOSCALING, WAYS_IN, DEVICES))


def values_of(combination: tuple[str, ...]) -> dict[str, Any]:
    parts = (STORES, AUTOSCALING, WAYS_IN, DEVICES)
    # What depends on nothing else, in turns: secrets named or given, with operators or without.
    by_turns = (GIVEN, ALONE) if combination[3] == "GPU" else (LEAST, WATCHED)
    return merged(*by_turns, *(part[name] for part, name in zip(parts, combination, strict=True)))


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    """Every object that any combination has, each once."""
    # Taken out of its wheel before several ask for it at once.
    require("helm4")
    with ThreadPoolExecutor(2) as threads:
        texts = list(threads.map(lambda combination: rendered(values_of(combination)), COMBINATIONS))
    parts = {_CHECKSUM.sub("checksum/settings: same", part) for text in texts for part in text.split("\n---\n")}
    return [manifest for part in sorted(parts) for manifest in objects(part)]


def test_every_combination_renders(everything: list[Manifest]) -> None:
    kinds = {manifest["kind"] for manifest in everything}
    assert kinds == set(
        "BackendTrafficPolicy ConfigMap Deployment EnvoyExtensionPolicy HTTPRoute HorizontalPodAutoscaler Ingress "
        "NetworkPolicy Pod PodDisruptionBudget PrometheusRule ScaledObject Secret Service ServiceAccount "
        "ServiceMonitor StatefulSet".split()
    )


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(
    everything: list[Manifest], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A version's definitions are a megabyte, and read again for every object otherwise.
    monkeypatch.setattr(schemas, "schema_contents", cache(schemas.schema_contents))
    own = {path.stem.partition("_")[0] for path in OPERATORS_KINDS}
    mine = [manifest for manifest in everything if manifest["kind"].lower() not in own]
    assert len(mine) > 20
    for manifest in mine:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("path", OPERATORS_KINDS, ids=lambda path: path.stem)
def test_operators_know_every_field_of_their_kinds(everything: list[Manifest], path: Path) -> None:
    kind, _, version = path.stem.partition("_")
    mine = [manifest for manifest in everything if manifest["kind"].lower() == kind]
    assert mine
    for manifest in mine:
        assert manifest["apiVersion"].endswith(f"/{version}")
        must_fit(manifest, path)


def must_fit(manifest: Manifest, path: Path) -> None:
    # The schemas' patterns are Go's, some of which Python cannot read: those fields are not ours.
    jsonschema.Draft202012Validator(json.loads(path.read_text())).validate(manifest)


def test_a_field_that_is_not_known_is_found() -> None:
    gateway = values_of(("bundled", "none", "gateway", "processor"))
    [route] = [m for m in objects(rendered(gateway)) if m["kind"] == "HTTPRoute"]
    route["spec"]["rules"][0]["timeout"] = "0s"
    with pytest.raises(jsonschema.ValidationError, match="timeout"):
        must_fit(route, SCHEMAS / "httproute_v1.json")
    [deployment] = [m for m in objects(rendered()) if m["kind"] == "Deployment"]
    deployment["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(deployment, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("combination", COMBINATIONS[::17], ids=" ".join)
def test_both_lines_of_helm_render_the_same(combination: tuple[str, ...]) -> None:
    values = values_of(combination)
    assert rendered(values, "helm3") == rendered(values, "helm4")


@pytest.mark.parametrize("program", ["helm3", "helm4"])
def test_helm_finds_nothing_to_complain_of(program: str) -> None:
    said = helm(program, "lint", "--strict", str(CHART), "--values", "-", given=json.dumps(LEAST))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({}, "kubectl create secret generic"),
        ({"secrets": {"existing": "s"}}, "keys.open=true"),
        ({"secrets": {"sealKeys": "0f" * 32}, "keys": {"open": True}}, "secrets.storePassword is missing"),
        (merged(LEAST, {"store": {"password": False}}), "the bundled Valkey requires a password"),
        (merged(LEAST, {"store": {"durability": "fsync+replica"}}), "needs an external store"),
        (merged(LEAST, {"gateway": {"enabled": True}}), "name the Gateway"),
        (merged(LEAST, {"ingress": {"enabled": True}}), "name the host"),
        (merged(LEAST, {"store": {"url": "redis://user:password@host"}}), "/store/url"),
        (merged(LEAST, {"secrets": {"sealKeys": "short"}}), "/secrets/sealKeys"),
        (merged(LEAST, {"settings": {"port": 80}}), "propertyName 'port'"),
        (merged(LEAST, {"replica": 3}), "replica"),
        (merged(LEAST, {"autoscaling": {"kind": "vpa"}}), "/autoscaling/kind"),
        (merged(LEAST, {"resources": {"limits": {"memory": "lots"}}}), "/resources/limits/memory"),
    ],
)
def test_values_that_cannot_work_are_refused_with_advice(values: Values, advice: str) -> None:
    with pytest.raises(Refused, match=advice):
        rendered(values)


def test_the_schema_knows_every_value_and_every_setting_that_the_chart_sets_itself() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    _must_describe(schema, values)
    managed = set(schema["properties"]["settings"]["propertyNames"]["not"]["enum"])
    assert managed <= set(Settings.model_fields)
    assert set(values["settings"]) <= set(Settings.model_fields) - managed


def _must_describe(schema: dict[str, Any], value: Any) -> None:
    if isinstance(value, dict) and "properties" in schema:
        assert schema["additionalProperties"] is False
        assert set(value) <= set(schema["properties"])
        for name, part in value.items():
            _must_describe(schema["properties"][name], part)


def test_chart_and_server_are_of_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
