"""The client's README: every command and every call in it works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from onceread.cli.app import app
from testing.models import prose
from testing.serving import ROOT, Server
from tests.clients.command_line import CommandLine

README = (ROOT / "clients" / "python" / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def onceread(sqlite_server: Server, tmp_path: Path) -> CommandLine:
    (tmp_path / "middlemarch.txt").write_text(prose(3, 5000), "utf-8")
    return CommandLine(sqlite_server.url, tmp_path)


def test_the_commands_run_one_after_the_other(onceread: CommandLine) -> None:
    _, *rest = blocks("sh")
    lines = [line for block in rest for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "onceread"
        done = onceread(*words)
        assert done.status == 0, done.err


def test_the_calls_run(onceread: CommandLine) -> None:
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=onceread.folder,
        env=onceread.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Progress(" in done.stdout
    assert (onceread.folder / "middlemarch.safetensors").exists()


def test_every_command_and_exit_code_is_documented() -> None:
    for command in app.registered_commands:
        assert f"`{command.name}" in README, command.name
    assert re.search(r"^\| 0 \| 1 \| 2 \| 3 \| 4 \| 5 \| 6 \| 130 \|$", README, re.MULTILINE)
