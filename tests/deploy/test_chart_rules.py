"""The chart's rules, checked on the rendered objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from server.http.hosts import AllowedHosts, Host
from server.settings import Settings
from tests.deploy.charts import CHART, LEAST, NAMESPACE, Manifest, Rendered, Values, merged

GPU: Values = {"gpu": {"count": 2}, "tolerations": [{"key": "mine", "operator": "Exists"}]}
EXTERNAL: Values = {"store": {"url": "rediss://onceread@store:6380", "tls": {"existing": "store-tls"}}}
KEDA: Values = {"autoscaling": {"kind": "keda", "queuedTokens": 1_000_000, "minReplicas": 3}}
ROUTED: Values = {"gateway": {"enabled": True, "parentRefs": [{"name": "door"}]}}


@pytest.fixture(scope="module")
def plain() -> Rendered:
    return Rendered()


def of(*parts: Values) -> Rendered:
    return Rendered(merged(LEAST, *parts))


def settings(chart: Rendered) -> dict[str, str]:
    [reference] = chart.container["envFrom"]
    return dict(chart.the("ConfigMap", reference["configMapRef"]["name"])["data"])


def containers(chart: Rendered) -> list[Manifest]:
    return [container for pod in chart.pods for container in [*pod.get("initContainers", ()), *pod["containers"]]]


def test_every_pod_meets_the_restricted_pod_security_standard(plain: Rendered) -> None:
    assert len(plain.pods) == 3
    for pod in plain.pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(
            {"emptyDir", "secret", "configMap", "persistentVolumeClaim"} & volume.keys() for volume in pod["volumes"]
        )
    for container in containers(plain):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container.get("ports", ()))


def test_every_container_has_a_read_only_root_filesystem(plain: Rendered) -> None:
    assert all(container["securityContext"]["readOnlyRootFilesystem"] is True for container in containers(plain))


def test_no_pod_mounts_a_service_account_token(plain: Rendered) -> None:
    assert plain.the("ServiceAccount")["automountServiceAccountToken"] is False
    assert all(pod["automountServiceAccountToken"] is False for pod in plain.pods)
    assert all(pod["enableServiceLinks"] is False for pod in plain.pods)


def test_memory_request_equals_the_limit(plain: Rendered) -> None:
    for container in containers(plain):
        resources = container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert "cpu" in resources["requests"]


def test_the_startup_probe_allows_ten_minutes_on_readyz(plain: Rendered) -> None:
    probe = plain.container["startupProbe"]
    assert probe["httpGet"] == {"path": "/readyz", "port": "http"}
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


def test_the_liveness_probe_does_not_depend_on_the_store(plain: Rendered) -> None:
    assert plain.container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert plain.container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    [valkey] = plain.the("StatefulSet", "valkey")["spec"]["template"]["spec"]["containers"]
    assert valkey["livenessProbe"].keys() & {"tcpSocket"}, "a Valkey that is loading its file is alive"


def test_a_rolling_update_never_lowers_the_number_of_ready_replicas(plain: Rendered) -> None:
    assert plain.the("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(("drain", "before"), [(25, 5), (600, 20)])
def test_the_termination_grace_period_covers_the_drain_timeout(drain: int, before: int) -> None:
    chart = of({"drainSeconds": drain, "preStopSeconds": before})
    assert chart.server["terminationGracePeriodSeconds"] >= drain + before + 30
    assert settings(chart)["ONCEREAD_DRAIN_SECONDS"] == str(drain)
    command = chart.container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[-1] == f"import time; time.sleep({before})"
    assert command[0] == "/opt/venv/bin/python", "the image has no shell"


def test_secrets_are_mounted_files_never_environment_variables() -> None:
    chart = Rendered({"secrets": {"sealKeys": "0f" * 32, "storePassword": "letters"}, "keys": {"existing": "keys"}})
    assert "env" not in chart.container
    assert not any("letters" in value or "0f0f" in value for value in settings(chart).values())
    mounts = {mount["mountPath"]: mount for mount in chart.container["volumeMounts"]}
    for name in ("SEAL_KEYS_FILE", "STORE_PASSWORD_FILE", "KEYS_FILE"):
        folder, _, _ = settings(chart)[f"ONCEREAD_{name}"].rpartition("/")
        assert mounts[folder]["readOnly"] is True
        assert "subPath" not in mounts[folder], "a file in a subPath does not follow its Secret"
    for pod in chart.pods:
        assert all(volume["secret"]["defaultMode"] == 0o440 for volume in pod["volumes"] if "secret" in volume)


def test_a_secret_is_created_only_if_none_is_named_and_survives_uninstall(plain: Rendered) -> None:
    assert not plain.of("Secret")
    made = Rendered({"secrets": {"sealKeys": "0f" * 32, "storePassword": "letters"}, "keys": {"open": True}})
    assert made.the("Secret")["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert made.the("Secret")["data"].keys() == {"seal.keys", "store.password"}


def test_keys_are_required_unless_the_chart_is_open(plain: Rendered) -> None:
    assert settings(plain)["ONCEREAD_KEYS_FILE"] == "/etc/onceread/keys/keys"
    assert settings(plain)["ONCEREAD_OPEN"] == "false"
    opened = Rendered({"secrets": {"existing": "s"}, "keys": {"open": True}})
    assert "ONCEREAD_KEYS_FILE" not in settings(opened)
    assert settings(opened)["ONCEREAD_OPEN"] == "true"


@pytest.mark.parametrize("parts", [(), (GPU,), (EXTERNAL,)], ids=["plain", "GPU", "external"])
def test_the_server_accepts_every_rendered_setting(parts: tuple[Values, ...]) -> None:
    taken = Settings.from_environment(settings(of(*parts)))
    assert taken.host == "0.0.0.0"
    assert taken.threads is not None
    assert taken.threads < int(Rendered().container["resources"]["requests"]["cpu"])


def test_changed_settings_roll_the_pods(plain: Rendered) -> None:
    def checksum(chart: Rendered) -> str:
        return str(chart.the("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert checksum(plain) != checksum(of({"settings": {"step_tokens": "512"}}))


def test_the_bundled_valkey_syncs_every_write_and_evicts_nothing(plain: Rendered) -> None:
    lines = plain.the("ConfigMap", "valkey")["data"]["valkey.conf"].splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    set_up = {name: value for name, value in words}
    assert set_up["appendonly"] == "yes"
    assert set_up["appendfsync"] == "always"
    assert set_up["maxmemory-policy"] == "noeviction"
    assert set_up["aclfile"] == "/run/valkey/users.acl"


def test_valkeys_volume_is_retained(plain: Rendered) -> None:
    spec = plain.the("StatefulSet", "valkey")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    [container] = spec["template"]["spec"]["containers"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]


def test_valkeys_memory_limit_exceeds_maxmemory(plain: Rendered) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["valkey"]
    kept = int(values["maxMemory"].removesuffix("gb")) * 1024
    limit = int(values["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024
    assert kept < 0.8 * limit
    assert f"maxmemory {values['maxMemory']}\n" in plain.the("ConfigMap", "valkey")["data"]["valkey.conf"]


def test_an_external_store_replaces_the_bundled_valkey() -> None:
    chart = of(EXTERNAL)
    assert not chart.of("StatefulSet")
    assert not [manifest for manifest in chart.all if "valkey" in manifest["metadata"]["name"]]
    assert settings(chart)["ONCEREAD_STORE"] == "rediss://onceread@store:6380"
    assert settings(chart)["ONCEREAD_STORE_CA_FILE"] == "/etc/onceread/tls/ca.crt"


def test_the_disruption_budget_allows_one_unavailable_pod(plain: Rendered) -> None:
    budget = plain.the("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= _labels(plain).items()


def test_replicas_are_spread_over_zones_and_nodes(plain: Rendered) -> None:
    spread = {item["topologyKey"]: item for item in plain.server["topologySpreadConstraints"]}
    assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for item in spread.values():
        assert item["maxSkew"] == 1
        assert item["labelSelector"]["matchLabels"].items() <= _labels(plain).items()


def test_services_select_the_servers_only(plain: Rendered) -> None:
    other = plain.the("StatefulSet", "valkey")["spec"]["template"]["metadata"]["labels"]
    for name in ("onceread", "onceread-replicas"):
        selector = plain.the("Service", name)["spec"]["selector"]
        assert selector.items() <= _labels(plain).items()
        assert not selector.items() <= other.items()
    assert plain.the("Service", "replicas")["spec"]["clusterIP"] == "None"
    assert plain.the("Service", "replicas")["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_only_the_autoscaler_sets_the_number_of_replicas(kind: str) -> None:
    chart = of({"autoscaling": {"kind": kind}})
    assert "replicas" not in chart.the("Deployment")["spec"]
    [scaler] = chart.of("HorizontalPodAutoscaler") + chart.of("ScaledObject")
    assert scaler["spec"]["scaleTargetRef"]["name"] == chart.the("Deployment")["metadata"]["name"]


def test_keda_scales_by_queued_tokens() -> None:
    spec = of(KEDA).the("ScaledObject")["spec"]
    [trigger] = spec["triggers"]
    assert trigger["metadata"]["query"].startswith("sum(onceread_queued_tokens{")
    assert f'namespace="{NAMESPACE}"' in trigger["metadata"]["query"]
    assert trigger["metadata"]["threshold"] == "1000000"
    assert trigger["metricType"] == "AverageValue"
    assert spec["minReplicaCount"] == 3


def test_gpu_pods_request_and_tolerate_the_device(plain: Rendered) -> None:
    chart = of(GPU)
    assert chart.container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert [item["key"] for item in chart.server["tolerations"]] == ["nvidia.com/gpu", "mine"]
    assert settings(chart)["ONCEREAD_DEVICE"] == "cuda"
    assert "nvidia.com/gpu" not in plain.container["resources"]["limits"]
    assert "ONCEREAD_DEVICE" not in settings(plain)


def test_weights_can_be_mounted_from_a_volume_claim() -> None:
    chart = of({"weights": {"path": "/models/large", "claim": "weights"}})
    assert settings(chart)["ONCEREAD_WEIGHTS"] == "/models/large"
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in chart.container["volumeMounts"]


def test_envoy_gateway_routes_by_the_session_that_the_script_extracts() -> None:
    chart = of(ROUTED)
    route = chart.the("HTTPRoute")
    [rule] = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    assert "/metrics" not in json.dumps(rule)
    for kind in ("BackendTrafficPolicy", "EnvoyExtensionPolicy"):
        [target] = chart.the(kind)["spec"]["targetRefs"]
        assert (target["kind"], target["name"]) == ("HTTPRoute", route["metadata"]["name"])
    policy = chart.the("BackendTrafficPolicy")["spec"]
    assert policy["loadBalancer"]["consistentHash"]["headers"] == [{"name": "x-onceread-session"}]
    assert policy["retry"]["retryOn"] == {"triggers": ["connect-failure"]}, "nothing is appended twice"
    [lua] = chart.the("EnvoyExtensionPolicy")["spec"]["lua"]
    assert lua["inline"].strip() == (CHART / "files" / "session.lua").read_text().strip()


@pytest.mark.parametrize("controller", ["nginx", "haproxy"])
def test_an_ingress_routes_by_session(controller: str) -> None:
    ingress = of({"ingress": {"enabled": True, "host": "books.example", "controller": controller}}).the("Ingress")
    annotations = "\n".join(ingress["metadata"]["annotations"].values())
    assert "sessions" in annotations
    assert "consistent" in annotations


def outside(chart: Rendered) -> tuple[set[tuple[str, bool]], set[tuple[str, bool]]]:
    """The paths of the Ingress and of the HTTPRoute, each with whether what is below it is served too."""
    ingress = chart.the("Ingress")["spec"]["rules"][0]["http"]["paths"]
    route = [match["path"] for match in chart.the("HTTPRoute")["spec"]["rules"][0]["matches"]]
    return (
        {(path["path"], path["pathType"] == "Prefix") for path in ingress},
        {(path["value"], path["type"] == "PathPrefix") for path in route},
    )


def test_the_page_and_all_that_it_needs_are_served_outside() -> None:
    entrances: Values = {**ROUTED, "ingress": {"enabled": True, "host": "books.example"}}
    api = {("/v1", True), ("/version", False)}
    page = {("/", False), ("/console", True), ("/health", False), ("/docs", True), ("/openapi.json", False)}
    on, off = of(entrances), of({**entrances, "page": False})
    assert outside(on) == (api | page, api | page)
    assert outside(off) == (api, api)
    assert (settings(on)["ONCEREAD_PAGE"], settings(off)["ONCEREAD_PAGE"]) == ("true", "false")


def test_operators_select_the_monitor_the_rules_and_the_dashboard(plain: Rendered) -> None:
    on = {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}}
    chart = of({"monitoring": on})
    monitor = chart.the("ServiceMonitor")
    assert (
        monitor["spec"]["selector"]["matchLabels"].items()
        <= chart.the("Service", "replicas")["metadata"]["labels"].items()
    )
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in chart.the("Service", "replicas")["spec"]["ports"]}
    assert chart.the("PrometheusRule")["spec"] == _yaml("alerts.yaml")
    dashboard = chart.the("ConfigMap", "dashboard")
    assert json.loads(dashboard["data"]["onceread.json"]) == json.loads((CHART / "files/dashboard.json").read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    for manifest in (monitor, chart.the("PrometheusRule"), dashboard):
        assert manifest["metadata"]["labels"]["release"] == "prometheus"
    assert not plain.of("ServiceMonitor") + plain.of("PrometheusRule")


def test_the_test_pod_calls_the_service(plain: Rendered) -> None:
    pod = plain.the("Pod", "test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    [container] = pod["spec"]["containers"]
    [url, is_open] = container["env"]
    assert url["value"] == f"http://{plain.the('Service')['metadata']['name']}:8000"
    assert is_open["value"] == "false"
    script = plain.the("ConfigMap", "test")["data"]["quickstart.py"]
    assert script.strip() == (CHART / "files" / "quickstart.py").read_text().strip()


def test_a_server_without_keys_knows_every_name_that_the_chart_gives_it() -> None:
    open_ = {"secrets": {"existing": "s"}, "keys": {"open": True}}
    gateway = {"gateway": {**ROUTED["gateway"], "hostnames": ["books.example", "*.notes.example"]}}
    ingress = {"ingress": {"enabled": True, "host": "texts.example"}}
    chart = Rendered(merged(open_, gateway, ingress, {"hosts": ["more.example:8000"]}))
    named = AllowedHosts("0.0.0.0", settings(chart)["ONCEREAD_HOSTS"])
    service = chart.the("Service")["metadata"]["name"]
    inside = [
        service,
        f"{service}.{NAMESPACE}",
        f"{service}.{NAMESPACE}.svc",
        f"{service}.{NAMESPACE}.svc.cluster.local",
    ]
    outside = ["books.example", "a.notes.example", "texts.example", "more.example"]
    for name in [*inside, *outside]:
        assert named.allow(Host(name, 8000)), name
    assert not named.allow(Host("evil.example", 8000))
    # With keys no name is checked.
    assert "ONCEREAD_HOSTS" not in settings(of(gateway, ingress, {"keys": {"open": True}}))


def test_two_releases_in_one_namespace_share_no_object() -> None:
    names = [
        {(manifest["kind"], manifest["metadata"]["name"]) for manifest in Rendered(LEAST, name).all}
        for name in ("onceread", "second")
    ]
    assert not names[0] & names[1]


def _labels(chart: Rendered) -> dict[str, str]:
    return dict(chart.the("Deployment")["spec"]["template"]["metadata"]["labels"])


def _yaml(name: str) -> Any:
    return yaml.safe_load((CHART / "files" / name).read_text())
