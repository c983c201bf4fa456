"""The wheel: built, installed apart, and used from there alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing.serving import ROOT

PROJECT = ROOT / "clients" / "python"


def python(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel was installed into; what it requires is this environment's."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    python(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), str(PROJECT))
    (wheel,) = wheels.iterdir()
    python(*pip, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def test_the_command_comes_with_the_wheel(installed: Path) -> None:
    helped = subprocess.run(
        [str(installed / "bin" / "onceread"), "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
        timeout=120,
    )
    assert helped.returncode == 0, helped.stderr
    assert "serve-check" in helped.stdout


def test_the_wheel_has_all_modules_its_types_and_its_licence(installed: Path) -> None:
    source = PROJECT / "src" / "onceread"
    modules = {path.relative_to(source) for path in source.rglob("*.py")}
    assert {path.relative_to(installed / "onceread") for path in (installed / "onceread").rglob("*.py")} == modules
    assert (installed / "onceread" / "py.typed").exists()
    (licence,) = installed.glob("onceread_client-*.dist-info/licenses/LICENSE")
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_library_has_its_version(installed: Path) -> None:
    code = "import onceread; print(onceread.__file__, onceread.__version__)"
    file, version = python("-c", code, PYTHONPATH=str(installed)).split()
    assert Path(file).is_relative_to(installed)
    assert f'version = "{version}"' in (PROJECT / "pyproject.toml").read_text()
