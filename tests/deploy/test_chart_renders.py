"""The chart renders with every combination of its main values, with Helm 3 and 4 alike, into valid objects."""

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
    "gateway of another": {
        "gateway": {"enabled": True, "parentRefs": [{"name": "door"}], "envoyGateway": False},
        "hosts": ["books.example"],
    },
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
    # Independent of the rest, so alternated: secrets named or given, operators or none.
    by_turns = (GIVEN, ALONE) if combination[3] == "GPU" else (LEAST, WATCHED)
    return merged(*by_turns, *(part[name] for part, name in zip(parts, combination, strict=True)))


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    """Every distinct object of all combinations."""
    # Extracted from its wheel before several threads use it.
    require("helm4")
    with ThreadPoolExecutor(2) as threads:
        texts = list(threads.map(lambda combination: rendered(values_of(combination)), COMBINATIONS))
    parts = {_CHECKSUM.sub("checksum/settings: same", part) for text in texts for part in text.split("\n---\n")}
    return [manifest for part in sorted(parts) for manifest in objects(part)]


def test_every_combination_of_values_renders(everything: list[Manifest]) -> None:
    kinds = {manifest["kind"] for manifest in everything}
    assert kinds == set(
        "BackendTrafficPolicy ConfigMap Deployment EnvoyExtensionPolicy HTTPRoute HorizontalPodAutoscaler Ingress "
        "NetworkPolicy Pod PodDisruptionBudget PrometheusRule ScaledObject Secret Service ServiceAccount "
        "ServiceMonitor StatefulSet".split()
    )


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_field_is_in_the_kubernetes_schema(
    everything: list[Manifest], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The definitions of a version are a megabyte, and would be parsed again for every object.
    monkeypatch.setattr(schemas, "schema_contents", cache(schemas.schema_contents))
    own = {path.stem.partition("_")[0] for path in OPERATORS_KINDS}
    mine = [manifest for manifest in everything if manifest["kind"].lower() not in own]
    assert len(mine) > 20
    for manifest in mine:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("path", OPERATORS_KINDS, ids=lambda path: path.stem)
def test_every_field_of_a_custom_resource_is_in_its_schema(everything: list[Manifest], path: Path) -> None:
    kind, _, version = path.stem.partition("_")
    mine = [manifest for manifest in everything if manifest["kind"].lower() == kind]
    assert mine
    for manifest in mine:
        assert manifest["apiVersion"].endswith(f"/{version}")
        must_fit(manifest, path)


def must_fit(manifest: Manifest, path: Path) -> None:
    # Some patterns of the schemas are valid only in Go's syntax; the chart does not use those fields.
    jsonschema.Draft202012Validator(json.loads(path.read_text())).validate(manifest)


def test_an_unknown_field_is_found_by_the_schemas() -> None:
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
def test_helm_3_and_4_render_the_same(combination: tuple[str, ...]) -> None:
    values = values_of(combination)
    assert rendered(values, "helm3") == rendered(values, "helm4")


@pytest.mark.parametrize("program", ["helm3", "helm4"])
def test_helm_lint_has_no_warnings(program: str) -> None:
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
        (merged(GIVEN, WAYS_IN["gateway"], {"gateway": {"hostnames": []}}), r"gateway\.hostnames or hosts"),
        (merged(GIVEN, {"hosts": ["a,b"]}), "/hosts/0"),
        (merged(LEAST, {"settings": {"hosts": "a"}}), "propertyName 'hosts'"),
        (merged(LEAST, {"store": {"url": "redis://user:password@host"}}), "/store/url"),
        (merged(LEAST, {"secrets": {"sealKeys": "short"}}), "/secrets/sealKeys"),
        (merged(LEAST, {"settings": {"port": 80}}), "propertyName 'port'"),
        (merged(LEAST, {"replica": 3}), "replica"),
        (merged(LEAST, {"autoscaling": {"kind": "vpa"}}), "/autoscaling/kind"),
        (merged(LEAST, {"resources": {"limits": {"memory": "lots"}}}), "/resources/limits/memory"),
    ],
)
def test_invalid_values_are_refused_with_advice(values: Values, advice: str) -> None:
    with pytest.raises(Refused, match=advice):
        rendered(values)


def test_the_schema_covers_all_values_and_all_settings_managed_by_the_chart() -> None:
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


def test_the_chart_has_the_servers_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
