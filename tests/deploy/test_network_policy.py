"""The traffic that the chart's network policies allow, evaluated as Kubernetes does for each pod and peer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.charts import LEAST, Manifest, Rendered, Values, merged

Labels = dict[str, str]
PODS = ("server", "valkey", "test")


def labels(component: str) -> Labels:
    own = {"app.kubernetes.io/name": "onceread", "app.kubernetes.io/instance": "onceread"}
    return {**own, "app.kubernetes.io/component": component}


HERE = {"kubernetes.io/metadata.name": "books"}
MONITORING = {"kubernetes.io/metadata.name": "monitoring"}
ELSEWHERE = {"kubernetes.io/metadata.name": "elsewhere"}
SYSTEM = {"kubernetes.io/metadata.name": "kube-system"}
STRANGER: Labels = {"app": "stranger"}


def chosen(selector: Manifest | None, found: Labels) -> bool:
    return selector is not None and selector.get("matchLabels", {}).items() <= found.items()


def is_peer(peer: Manifest, namespace: Labels, pod: Labels) -> bool:
    if "namespaceSelector" in peer:
        return chosen(peer["namespaceSelector"], namespace) and chosen(peer.get("podSelector", {}), pod)
    return namespace == HERE and chosen(peer.get("podSelector"), pod)


def allowed(chart: Rendered, way: str, of: str, namespace: Labels, pod: Labels, port: str | int) -> bool:
    """Whether a pod of the chart may receive traffic from, or send it to, another pod at a port."""
    mine = [p["spec"] for p in chart.of("NetworkPolicy") if chosen(p["spec"]["podSelector"], labels(of))]
    assert any(way.capitalize() in policy["policyTypes"] for policy in mine), "without any policy everything is allowed"
    side = "from" if way == "ingress" else "to"
    rules: list[dict[str, Any]] = [rule for policy in mine for rule in policy.get(way, ())]
    return any(
        (side not in rule or any(is_peer(peer, namespace, pod) for peer in rule[side]))
        and ("ports" not in rule or any(item["port"] == port for item in rule["ports"]))
        for rule in rules
    )


def of(*parts: Values) -> Rendered:
    return Rendered(merged(LEAST, *parts))


@pytest.fixture(scope="module")
def plain() -> Rendered:
    return of()


@pytest.mark.parametrize("way", ["ingress", "egress"])
@pytest.mark.parametrize("component", PODS)
def test_traffic_with_strangers_is_denied(plain: Rendered, component: str, way: str) -> None:
    for port in ("http", "valkey", 443, 22):
        assert not allowed(plain, way, component, ELSEWHERE, STRANGER, port)


def test_the_server_accepts_its_namespace_and_prometheus(plain: Rendered) -> None:
    assert allowed(plain, "ingress", "server", HERE, STRANGER, "http")
    assert allowed(plain, "ingress", "server", MONITORING, STRANGER, "http")
    assert not allowed(plain, "ingress", "server", HERE, STRANGER, 22)


def test_allowed_peers_are_configurable() -> None:
    chart = of({"networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": ELSEWHERE}}]}})
    assert allowed(chart, "ingress", "server", ELSEWHERE, STRANGER, "http")
    assert not allowed(chart, "ingress", "server", HERE, STRANGER, "http")
    assert allowed(chart, "ingress", "server", HERE, labels("test"), "http")


def test_valkey_accepts_only_the_servers(plain: Rendered) -> None:
    assert allowed(plain, "ingress", "valkey", HERE, labels("server"), "valkey")
    for stranger in (STRANGER, labels("test"), labels("valkey")):
        assert not allowed(plain, "ingress", "valkey", HERE, stranger, "valkey")
    assert not allowed(plain, "egress", "valkey", SYSTEM, STRANGER, 53)


def test_the_server_may_connect_only_to_dns_and_its_store(plain: Rendered) -> None:
    assert allowed(plain, "egress", "server", SYSTEM, STRANGER, 53)
    assert allowed(plain, "egress", "server", HERE, labels("valkey"), "valkey")
    assert not allowed(plain, "egress", "server", HERE, STRANGER, "valkey")
    assert not allowed(plain, "egress", "server", HERE, labels("server"), "http")


def test_an_external_store_is_allowed_at_its_ports_only() -> None:
    chart = of({"store": {"url": "rediss://onceread@store:6380"}, "networkPolicy": {"store": {"ports": [6380]}}})
    assert allowed(chart, "egress", "server", ELSEWHERE, STRANGER, 6380)
    assert not allowed(chart, "egress", "server", ELSEWHERE, STRANGER, 443)


def test_network_policies_can_be_disabled() -> None:
    assert not of({"networkPolicy": {"enabled": False}}).of("NetworkPolicy")
