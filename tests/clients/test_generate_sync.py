"""The synchronous client is what the generator writes from the asynchronous one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testing.serving import ROOT

GENERATOR = ROOT / "clients/python/tools/generate_sync.py"
PACKAGE = ROOT / "clients/python/src/onceread"


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, GENERATOR, *arguments], capture_output=True, text=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "onceread"))


def test_the_synchronous_files_are_as_generated() -> None:
    checked = generate("--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_generated_file_that_was_edited_is_found(package: Path) -> None:
    with (package / "_sync/client.py").open("a") as file:
        file.write("EDITED = True\n")
    checked = generate("--check", package)
    assert (checked.returncode, checked.stdout.count("is not as generated")) == (1, 1)
    assert "_sync/client.py" in checked.stdout


def test_a_new_asynchronous_method_gets_its_synchronous_one(package: Path) -> None:
    with (package / "_async/sources.py").open("a") as file:
        file.write("\n\nasync def async_emptied(source: AsyncStreamSource) -> None:\n    await source.close()\n")
    assert generate("--check", package).returncode == 1
    assert generate(package).returncode == 0
    written = (package / "_sync/sources.py").read_text()
    assert written.endswith("\n\ndef emptied(source: StreamSource) -> None:\n    source.close()\n")
    assert generate("--check", package).returncode == 0


def test_a_file_without_its_source_is_removed(package: Path) -> None:
    (package / "_sync/old.py").write_text("")
    assert generate("--check", package).returncode == 1
    assert generate(package).returncode == 0
    assert not (package / "_sync/old.py").exists()
