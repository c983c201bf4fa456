"""The rendered Deployment run by podman: the real image with the chart's settings, secrets and limits."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from testing.redis_servers import HOST, free_port, until
from testing.replies import appended, asked, created, offsets
from tests.deploy.bundled_valkey import PASSWORD, BundledValkey
from tests.deploy.charts import Manifest, Rendered
from tests.deploy.real.engine import IMAGE, podman

pytestmark = pytest.mark.deploy

TEXT = b"Mary went to the kitchen. " * 50


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledValkey]:
    with BundledValkey(tmp_path_factory.mktemp("pod") / "valkey") as valkey:
        yield valkey


class Pod:
    """The chart's rendering, run with `podman play kube` until it is ready."""

    def __init__(self, folder: Path, valkey: BundledValkey) -> None:
        self.port, self.name = free_port(), f"pod-{secrets.token_hex(4)}"
        self.url = f"http://{HOST}:{self.port}"
        repository, _, tag = IMAGE.rpartition(":")
        chart = Rendered(
            {
                "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
                "secrets": {"sealKeys": "0f" * 32, "storePassword": PASSWORD},
                "keys": {"open": True},
                "store": {"url": valkey.url},
                "replicas": 1,
                "weights": {"path": "model/babilong"},
            },
            f"{self.name}-onceread",
        )
        secret, settings, deployment = chart.the("Secret"), chart.the("ConfigMap"), chart.the("Deployment")
        settings["data"]["ONCEREAD_PORT"] = str(self.port)
        _as_podman_wants_it(secret, deployment)
        self._file = folder / f"{self.name}.yaml"
        self._file.write_text(yaml.safe_dump_all([secret, settings, deployment]))

    def __enter__(self) -> Pod:
        podman("play", "kube", "--network", "host", str(self._file))
        until(self._ready, "the pod is ready", 120)
        return self

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def container(self) -> dict[str, Any]:
        [found] = json.loads(podman("container", "inspect", f"{self.name}-onceread-pod-0-server"))
        return dict(found)

    def kill(self) -> None:
        podman("kill", "--signal", "KILL", f"{self.name}-onceread-pod-0-server")

    def __exit__(self, *_: object) -> None:
        podman("play", "kube", "--down", str(self._file))


def _as_podman_wants_it(secret: Manifest, deployment: Manifest) -> None:
    """Works around what podman 4.3 lacks compared with a cluster."""
    # It mounts a Secret's data as Base64, without decoding it.
    secret["data"] = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    pod = deployment["spec"]["template"]["spec"]
    for volume in pod["volumes"]:
        if "secret" in volume:
            volume["secret"]["optional"] = False
    [container] = pod["containers"]
    # On the host's network no port is mapped; and podman runs probes through a shell and curl, which the image lacks.
    for name in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
        del container[name]


def test_the_rendered_pod_runs_and_loses_nothing_when_it_is_killed(
    image: str, valkey: BundledValkey, tmp_path: Path
) -> None:
    with Pod(tmp_path, valkey) as pod, httpx.Client(base_url=pod.url, timeout=120) as http:
        container = pod.container
        assert container["Config"]["User"].startswith("10001")
        assert container["HostConfig"]["ReadonlyRootfs"] is True
        assert not container["EffectiveCaps"]
        assert container["HostConfig"]["Memory"] == 6 << 30
        session = created(http)
        appended(http, session, TEXT)
        before = asked(http, session, question="Where is Mary?")
        assert before["answer"] == "kitchen"
        http.post(f"/v1/sessions/{session}/text", content=TEXT).raise_for_status()
        pod.kill()
    with Pod(tmp_path, valkey) as pod, httpx.Client(base_url=pod.url, timeout=120) as http:
        assert offsets(http, session)[0] == 2 * len(TEXT)
        after = asked(http, session, question="Where is Mary?")
        assert after["answer"] == "kitchen"
        assert after["memory"]["offset"] == 2 * len(TEXT)
