"""The compose files: valid by Compose's schema, with unprivileged servers and a durable Valkey."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from server.http.hosts import AllowedHosts, Host
from server.settings import Settings
from tests.deploy.charts import CHART, DEPLOY
from tests.deploy.compositions import ONE, REPLICAS, load, one, replicas, untagged

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
VALKEY = (CHART / "files" / "valkey.conf").read_text()


@pytest.mark.parametrize("path", [ONE, REPLICAS], ids=lambda path: path.name)
def test_every_field_is_in_the_compose_schema(path: Path) -> None:
    jsonschema.validate(untagged(load(path)), SCHEMA)


def test_an_unknown_field_is_found_by_the_compose_schema() -> None:
    wrong = untagged(load(ONE))
    wrong["services"]["onceread"]["read_olny"] = True
    with pytest.raises(jsonschema.ValidationError, match="read_olny"):
        jsonschema.validate(wrong, SCHEMA)


@pytest.mark.parametrize("services", [one(), replicas()], ids=["one", "replicas"])
def test_mounted_files_exist_and_dependencies_have_health_checks(services: dict[str, dict[str, object]]) -> None:
    volumes = load(ONE)["volumes"]
    for service in services.values():
        for volume in service.get("volumes", ()):  # type: ignore[attr-defined]
            source = volume.split(":")[0]
            assert source in volumes or (DEPLOY / source).exists(), source
        for name, condition in service.get("depends_on", {}).items():  # type: ignore[attr-defined]
            assert condition["condition"] == "service_healthy"
            assert name == "onceread" or name.startswith("onceread-") or "healthcheck" in services[name]


@pytest.mark.parametrize("services", [one(), replicas()], ids=["one", "replicas"])
def test_the_servers_are_unprivileged_and_have_time_to_drain(services: dict[str, dict[str, object]]) -> None:
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name.startswith("onceread"):
            assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
            assert int(str(service["stop_grace_period"]).removesuffix("s")) > Settings().drain_seconds + 30
            environment = dict(service["environment"])  # type: ignore[call-overload]
            assert set(environment) <= {f"ONCEREAD_{setting.upper()}" for setting in Settings.model_fields}


@pytest.mark.parametrize("services", [one(), replicas()], ids=["one", "replicas"])
def test_ports_are_distinct_and_published_on_loopback_only(services: dict[str, dict[str, object]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]  # type: ignore[attr-defined]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports) == 3


def test_every_image_has_a_version_tag() -> None:
    for service in replicas().values():
        assert service["image"] == "onceread" or re.search(r":v?\d", service["image"]), service["image"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert one()["valkey"]["image"] == values["valkey"]["image"]


def test_the_replicas_share_keys_store_and_network_alias() -> None:
    services = replicas()
    servers = [services[name] for name in ("onceread", "onceread-2", "onceread-3")]
    for server in servers:
        assert server["environment"] == servers[0]["environment"]
        assert server["volumes"] == servers[0]["volumes"]
        assert "servers" in server["networks"]["default"]["aliases"]
        assert server["ports"] == []
    assert services["gateway"]["ports"] == one()["onceread"]["ports"]


def test_the_servers_know_their_names_in_the_network() -> None:
    services = replicas()
    for server in (service for name, service in services.items() if name.startswith("onceread")):
        named = AllowedHosts("0.0.0.0", server["environment"]["ONCEREAD_HOSTS"])
        for name in (*server["networks"]["default"]["aliases"], "onceread", "onceread-2", "onceread-3", "gateway"):
            assert named.allow(Host(name, 8000)), name
        assert not named.allow(Host("evil.example", 8000))


def test_valkeys_durability_settings_are_set_and_commented() -> None:
    lines = VALKEY.splitlines()
    words = dict(line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    assert words["appendonly"] == "yes"
    assert words["appendfsync"] == "always"
    assert words["maxmemory-policy"] == "noeviction"
    for name in ("appendonly", "appendfsync", "maxmemory-policy", "save"):
        before = lines[next(n for n, line in enumerate(lines) if line.startswith(f"{name} ")) - 1]
        assert before.startswith("# "), f"{name} has no reason beside it"
