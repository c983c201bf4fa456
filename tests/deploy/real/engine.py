"""Real containers: the Dockerfile built with buildah, run with podman and runc, in a storage of their own.

The base image is Debian's own, made by debootstrap and imported under the name in the Dockerfile, so no registry of
images is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from testing.serving import ROOT
from tests.deploy.programs import require

IMAGE = "localhost/onceread:0.1.0"
STORAGE = ROOT / "build" / "containers"
_STORE = ("--root", str(STORAGE / "root"), "--runroot", str(STORAGE / "run"), "--storage-driver", "overlay")
# Folders that the public slim image leaves out.
_NOT_SLIM = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
_PIP = "/run/pip"
_LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'


def podman(*arguments: str, timeout: float = 300) -> str:
    """The output of podman, both streams; raises AssertionError with it if podman fails."""
    return said([require("podman"), *_STORE, "--cgroup-manager", "cgroupfs", "--runtime", "runc", *arguments], timeout)


def said(command: Sequence[str], timeout: float) -> str:
    # A container may not get higher limits than this machine can set.
    STORAGE.mkdir(parents=True, exist_ok=True)
    (limits := STORAGE / "containers.conf").write_text(_LIMITS)
    environment = {**os.environ, "CONTAINERS_CONF": str(limits)}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        # conmon leaves a file where a container is killed for its memory.
        cwd=STORAGE,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}"
    return done.stdout


def base_name() -> str:
    """The base image that the Dockerfile names."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def built_image() -> str:
    """The image of this tree; layers that have not changed are reused."""
    _have_base(base_name())
    with tempfile.TemporaryDirectory() as folder:
        build(IMAGE, ROOT, *_pip_as_here(Path(folder)))
    return IMAGE


def build(name: str, context: Path, *options: str) -> None:
    command = [require("buildah"), *_STORE, "bud", "--isolation", "chroot", "--network", "host", "--format", "docker"]
    said([*command, "--layers", "--tag", name, *options, str(context)], 1800)


def _have_base(name: str) -> None:
    known = subprocess.run([require("podman"), *_STORE, "image", "exists", name], check=False).returncode == 0
    if known:
        return
    release = name.partition(":")[2].removesuffix("-slim")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        said([require("debootstrap"), "--variant=minbase", release, str(tree)], 1200)
        for part in _NOT_SLIM:
            shutil.rmtree(tree / part, ignore_errors=True)
        (tree / "etc/apt/apt.conf.d/docker-clean").write_text('Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n')
        said(["tar", "-C", str(tree), "-cf", f"{folder}/base.tar", "."], 300)
        podman("import", f"{folder}/base.tar", name)


def _pip_as_here(folder: Path) -> list[str]:
    """Options that give pip in the build this machine's configuration: index, certificates, local wheels."""
    listed = said([sys.executable, "-m", "pip", "config", "list"], 60)
    found = dict(re.findall(r"^(?:global|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    folder.chmod(0o755)
    lines, options = ["[global]"], ["--volume", f"{folder}:{_PIP}:ro"]
    if certificates := found.get("cert"):
        shutil.copy(certificates, folder / "certificates")
        lines.append(f"cert = {_PIP}/certificates")
    if index := found.get("index-url"):
        lines.append(f"index-url = {index}")
    if (wheels := Path(found.get("find-links", ""))).is_absolute():
        lines.append("find-links = /run/wheels")
        options += ["--volume", f"{wheels}:/run/wheels:ro"]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    return [*options, "--volume", f"{folder}/pip.conf:/etc/pip.conf:ro"]
