"""The chart's Valkey with its rendered settings: the server's doctor accepts it, and it refuses strangers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError

from testing.serving import ROOT, Server
from tests.deploy.bundled_valkey import PASSWORD, BundledValkey
from tests.deploy.charts import CHART


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledValkey]:
    with BundledValkey(tmp_path_factory.mktemp("bundled") / "valkey") as valkey:
        yield valkey


@pytest.fixture(scope="module")
def files(valkey: BundledValkey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings that name the files of the chart's Secret."""
    keys = tmp_path_factory.mktemp("keys") / "seal.keys"
    keys.write_text("0f" * 32 + "\n")
    return {"store_password_file": str(valkey.password_file), "seal_keys_file": str(keys)}


@pytest.fixture(scope="module")
def server(valkey: BundledValkey, files: dict[str, str]) -> Iterator[Server]:
    with Server(ROOT / "model" / "babilong", valkey.url, **files) as server:
        yield server


def test_unauthenticated_clients_can_only_ping(valkey: BundledValkey) -> None:
    with valkey.of() as unauthenticated:
        assert unauthenticated.ping()
        for command in (("KEYS", "*"), ("GET", "onceread:x"), ("INFO",), ("CONFIG", "GET", "*"), ("FLUSHALL",)):
            with pytest.raises(NoPermissionError):
                unauthenticated.execute_command(*command)
    with valkey.of("onceread", "wrong") as guesser, pytest.raises(AuthenticationError):
        guesser.ping()


def test_the_servers_valkey_user_is_limited_to_its_keys(valkey: BundledValkey) -> None:
    with valkey.of("onceread", PASSWORD) as user:
        assert user.set("onceread:x", "1")
        for command in (
            ("SET", "other:x", "1"),
            ("FLUSHALL",),
            ("CONFIG", "SET", "appendfsync", "no"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(NoPermissionError):
                user.execute_command(*command)
        user.delete("onceread:x")


def test_the_doctor_accepts_the_bundled_valkey(valkey: BundledValkey, files: dict[str, str]) -> None:
    settings = {"store": valkey.url, **files}
    environment = {**os.environ, **{f"ONCEREAD_{name.upper()}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "server", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "appendfsync always" in done.stdout
    assert "maxmemory-policy noeviction" in done.stdout
    assert "BAD" not in done.stdout


def quickstart(server: Server, is_open: str) -> subprocess.CompletedProcess[str]:
    """The script of `helm test`, as its pod runs it."""
    environment = {"ONCEREAD_URL": server.url, "ONCEREAD_OPEN": is_open, "PATH": os.defpath}
    command = [sys.executable, "-I", "-S", str(CHART / "files" / "quickstart.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_helm_test_passes_against_a_server(server: Server) -> None:
    done = quickstart(server, "true")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "answered: kitchen\n"


def test_helm_test_fails_if_keys_are_configured_and_not_required(server: Server) -> None:
    done = quickstart(server, "false")
    assert done.returncode != 0
    assert "without a key was answered" in done.stderr


def test_helm_test_passes_if_keys_are_required(tmp_path: Path) -> None:
    keys = {"ONCEREAD_KEYS_FILE": str(tmp_path / "keys.json")}
    command = [sys.executable, "-m", "server", "keys", "create", "--tenant", "default"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **keys}, capture_output=True, timeout=120, check=True)
    with Server(ROOT / "model" / "babilong", "memory://", keys_file=keys["ONCEREAD_KEYS_FILE"]) as server:
        done = quickstart(server, "false")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ready, and requires a key\n"
