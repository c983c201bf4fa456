"""The Dockerfile as it is written: linted, and what it must say. What it makes is built by `make test-deploy`."""

from __future__ import annotations

import re
import subprocess
import sys

from server.settings import Settings
from server.version import VERSION
from testing.serving import ROOT, Server
from tests.deploy.programs import require

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.split("\nFROM ")[-1]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([require("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    reasons = re.findall(r"(.*)\n# hadolint ignore=", DOCKERFILE)
    assert reasons
    assert all(line.startswith(("#", "FROM")) for line in reasons)


def test_it_runs_as_nobody_in_particular_without_a_shell() -> None:
    assert "\nUSER 10001:10001\n" in LAST_STAGE
    assert 'ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]' in LAST_STAGE
    assert re.search(r'HEALTHCHECK [^\n]*\\\n +CMD \["/opt/venv/bin/python", .*healthcheck.py"\]', LAST_STAGE)
    assert "\nSTOPSIGNAL SIGTERM\n" in LAST_STAGE
    assert "CMD [" not in re.sub(r"HEALTHCHECK.*\\\n.*", "", LAST_STAGE)


def test_dependencies_lie_below_the_code() -> None:
    assert LAST_STAGE.index("COPY --from=dependencies") < LAST_STAGE.index("COPY --from=code")
    dependencies = DOCKERFILE.split(" AS dependencies\n")[1].split("\nFROM ")[0]
    assert dependencies.index("constraints.txt") < dependencies.index("torch==") < dependencies.index("pyproject.toml")
    assert "COPY server" not in dependencies
    assert "COPY model" not in dependencies


def test_one_file_makes_both_kinds() -> None:
    assert "ARG DEVICE=cpu\n" in DOCKERFILE
    assert re.search(r"ARG TORCH_INDEX=\S+/\$\{DEVICE\}\n", DOCKERFILE)
    assert "ARG BASE=docker.io/library/debian:bookworm-slim\n" in DOCKERFILE


def test_its_version_and_its_settings_are_the_servers() -> None:
    assert f"ARG VERSION={VERSION}\n" in LAST_STAGE
    given = dict(re.findall(r"(ONCEREAD_\w+)=(\S+)", LAST_STAGE.split("\nENV ")[1]))
    taken = Settings.from_environment(given)
    assert (taken.host, taken.store) == ("0.0.0.0", "sqlite:////data")
    assert taken.open is True


def test_nothing_goes_in_that_is_not_named() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert named == {"constraints.txt", "pyproject.toml", "server", "model", "deploy/image"}
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert all(any(path == name or path.startswith(f"{name}/") for name in named) for path in copied)


def test_the_health_check_tells_a_live_server_from_none() -> None:
    def check(port: int) -> int:
        command = [sys.executable, "-I", "-S", str(ROOT / "deploy" / "image" / "healthcheck.py")]
        return subprocess.run(command, env={"ONCEREAD_PORT": str(port)}, timeout=60, check=False).returncode

    with Server(ROOT / "model" / "default", "memory://") as server:
        assert check(server.port) == 0
        server.kill()
        assert check(server.port) == 1
