"""The services of compose.yaml, started one by one with podman as the file describes them; the dashboard fills.

Third-party images cannot be pulled everywhere: they are replaced by images of the same programs from Debian and from
Python packages. Grafana is left out.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.redis_binaries import BINARIES
from testing.redis_servers import HOST, until
from testing.replies import appended, asked, created
from tests.deploy.charts import DEPLOY
from tests.deploy.compositions import Service, one
from tests.deploy.expressions import alerts, asked_by_panels
from tests.deploy.programs import require
from tests.deploy.real.engine import IMAGE, base_name, build, podman

pytestmark = pytest.mark.deploy

SERVER, PROMETHEUS = f"http://{HOST}:8000", f"http://{HOST}:9090"
TEXT = b"Mary went to the kitchen. " * 200


def stand_in(name: str, program: Path, into: str, entrypoint: str = "") -> None:
    """Builds an image of that name with only that program."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, Path(folder) / "program")
        lines = [f"FROM {base_name()}", f"COPY program {into}"]
        lines += [f'ENTRYPOINT ["{entrypoint}"]'] if entrypoint else []
        (Path(folder) / "Dockerfile").write_text("\n".join(lines) + "\n")
        build(name, Path(folder))


class Composed:
    """Some services of the file on the host's network, where every service name resolves to the loopback address."""

    def __init__(self, folder: Path, services: dict[str, Service]) -> None:
        self._folder, self._services, self._run = folder, services, secrets.token_hex(4)
        self._stack = ExitStack()

    def __enter__(self) -> Composed:
        with ExitStack() as self._stack:
            for name, service in self._services.items():
                options = list(self._options(name, service))
                self._stack.callback(podman, "rm", "--force", "--time", "0", self.name(name))
                podman("run", *options, service["image"], *self._command(service))
            self._stack = self._stack.pop_all()
        return self

    def name(self, service: str) -> str:
        return f"{service}-{self._run}"

    def _command(self, service: Service) -> list[str]:
        return [str(word) for word in service.get("command", ())]

    def _options(self, name: str, service: Service) -> Iterator[str]:
        yield from ("--detach", "--name", self.name(name), "--network", "host", "--stop-timeout", "60")
        yield from (f"--add-host={other}:{HOST}" for other in self._services)
        yield from (f"--env={key}={value}" for key, value in service.get("environment", {}).items())
        yield from (f"--cap-drop={capability}" for capability in service.get("cap_drop", ()))
        yield from (f"--security-opt={option.removesuffix(':true')}" for option in service.get("security_opt", ()))
        if service.get("read_only"):
            yield from ("--read-only", "--read-only-tmpfs=false")
        if user := service.get("user"):
            yield f"--user={user}"
        for volume in service.get("volumes", ()):
            source, _, rest = volume.partition(":")
            where = str((DEPLOY / source).resolve()) if source.startswith(".") else f"{source}-{self._run}"
            if not source.startswith("."):
                self._stack.callback(podman, "volume", "rm", "--force", where)
            yield f"--volume={self._replaced(where)}:{rest}"

    def _replaced(self, where: str) -> str:
        """Prometheus's configuration with a static address in place of DNS discovery; other paths unchanged."""
        if not where.endswith("prometheus.yaml"):
            return where
        text = Path(where).read_text()
        before, _, _ = text.partition("    dns_sd_configs:")
        assert before != text
        (file := self._folder / "prometheus.yaml").write_text(
            before.replace("15s", "1s") + f"    static_configs: [{{targets: ['{HOST}:8000']}}]\n"
        )
        return str(file)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def composed(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    services = {name: dict(one()[name]) for name in ("valkey", "onceread", "prometheus")}
    stand_in(services["valkey"]["image"], BINARIES["valkey9"](), "/usr/local/bin/valkey-server")
    stand_in(services["prometheus"]["image"], Path(require("prometheus")), "/bin/prometheus", "/bin/prometheus")
    services["onceread"]["image"] = IMAGE
    # They answer with one word.
    environment = services["onceread"]["environment"]
    services["onceread"]["environment"] = {**environment, "ONCEREAD_WEIGHTS": "model/babilong"}
    with Composed(tmp_path_factory.mktemp("compose"), services) as composed:
        try:
            until(lambda: answers(f"{SERVER}/readyz"), "the server is ready", 120)
            until(lambda: answers(f"{PROMETHEUS}/-/ready"), "Prometheus is ready", 120)
        except AssertionError as error:
            raise AssertionError("\n".join(podman("logs", composed.name(name)) for name in services)) from error
        yield composed


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_the_composed_server_reads_and_answers(composed: Composed) -> None:
    with httpx.Client(base_url=SERVER, timeout=120) as http:
        session = created(http)
        appended(http, session, TEXT)
        assert asked(http, session, question="Where is Mary?")["answer"] == "kitchen"
        podman("kill", "--signal", "KILL", composed.name("onceread"))
        podman("wait", composed.name("onceread"))
        podman("start", composed.name("onceread"))
        until(lambda: answers(f"{SERVER}/readyz"), "the server is ready again", 120)
        after = asked(http, session, question="Where is Mary?")
        assert (after["answer"], after["memory"]["offset"]) == ("kitchen", len(TEXT))


def test_the_running_server_has_the_isolation_of_the_compose_file(composed: Composed) -> None:
    [found] = json.loads(podman("container", "inspect", composed.name("onceread")))
    assert found["Config"]["User"] == "10001:10001"
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert not found["EffectiveCaps"]
    assert "no-new-privileges" in found["HostConfig"]["SecurityOpt"]


def test_prometheus_loads_the_alerts_and_every_panel_has_data(composed: Composed) -> None:
    with httpx.Client(base_url=SERVER, timeout=120) as http:
        session = created(http)
        appended(http, session, TEXT)
        asked(http, session)
    rules = httpx.get(f"{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    assert {rule["name"] for group in rules for rule in group["rules"]} == {rule["alert"] for rule in alerts()}
    until(lambda: query('up{job="onceread"} == 1'), "Prometheus reads the server's metrics")
    empty = [expression for expression in asked_by_panels() if not filled(expression)]
    # Expressions that count only failures have no data.
    failures = ("errors_total", "refused", "rejected")
    assert [expression for expression in empty if not any(name in expression for name in failures)] == []
    assert len(empty) <= 3


def filled(expression: str) -> bool:
    try:
        until(lambda: query(expression), expression, 10)
    except AssertionError:
        return False
    return True


def query(expression: str) -> list[Any]:
    reply = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=60).json()
    assert reply["status"] == "success", reply
    return list(reply["data"]["result"])
