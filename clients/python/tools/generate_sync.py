"""Writes the synchronous client, `onceread/_sync`, from the asynchronous one, `onceread/_async`.

    python clients/python/tools/generate_sync.py            # writes
    python clients/python/tools/generate_sync.py --check    # compares only; status 1 where a file differs

`async` and `await` go, `AsyncName` becomes `Name` and `async_name` becomes `name`; names of the standard library and of
httpx are in the table. Needs unasync and ruff.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import unasync  # type: ignore[import-untyped]

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "onceread"
SOURCE, TARGET = "_async", "_sync"
REPLACEMENTS = {
    SOURCE: TARGET,
    "aclose": "close",
    "aiter": "iter",
    "aiter_sse": "iter_sse",
    "anext": "next",
    "aread": "read",
    "enter_async_context": "enter_context",
}
HEADER = "# Generated from {source}/{name} by clients/python/tools/generate_sync.py: do not edit.\n"


def generate(package: Path) -> dict[str, str]:
    """The synchronous files by name."""
    sources = sorted((package / SOURCE).glob("*.py"))
    names = {name for path in sources for name in re.findall(r"\b(?:Async[A-Z]|async_[a-z])\w*", path.read_text())}
    replacements = REPLACEMENTS | {name: name[len("async") :].removeprefix("_") for name in names}
    with TemporaryDirectory() as folder:
        rule = unasync.Rule(f"{package / SOURCE}/", f"{folder}/", additional_replacements=replacements)
        unasync.unasync_files([str(path) for path in sources], [rule])
        return {
            path.name: _formatted(HEADER.format(source=SOURCE, name=path.name) + (Path(folder) / path.name).read_text())
            for path in sources
        }


def _formatted(code: str) -> str:
    """The code as ruff sorts its imports and formats it, whatever the project around it says."""
    ruff = [sys.executable, "-m", "ruff"]
    style = ["--isolated", "--quiet", "--config=line-length=120", "--config=lint.isort.known-first-party=['onceread']"]
    for command in (["check", "--select=I", "--fix-only"], ["format"]):
        done = subprocess.run([*ruff, *command, *style, "-"], input=code, capture_output=True, text=True, check=True)
        code = done.stdout
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where a file differs")
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, help="folder of the package onceread")
    options = parser.parse_args()
    target = options.package / TARGET
    wanted = generate(options.package)
    present = {path.name: path.read_text() for path in target.glob("*.py")}
    differing = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if options.check:
        for name in differing:
            print(f"{target / name} is not as generated; run {Path(__file__).name}")
        return 1 if differing else 0
    for name in differing:
        if name in wanted:
            (target / name).write_text(wanted[name])
        else:
            (target / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
