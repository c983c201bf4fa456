"""A forked process is started, followed and ended as `subprocess` would do it."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from testing.forked import Forked
from testing.serving import ROOT

MODULE = "tests.testing.seen"


def seen_by(process: Forked) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.stderr.readline())
    return found


def test_a_fork_has_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    process = Forked((MODULE, "3", "more"), tmp_path, {"PYTHONPATH": "/this"})
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with process.stderr:
        seen = seen_by(process)
        root, named, *installed = seen.pop("path")
        assert (root, named) == (str(ROOT), "/this")
        assert str(ROOT / "clients" / "python" / "src") not in installed
        assert seen == {
            "arguments": ["3", "more"],
            "environment": {"PYTHONPATH": "/this"},
            "folder": str(tmp_path),
            "files": [soft - 1, hard],
            "interrupts": True,
            "terminates": True,
        }
        assert process.wait(60) == 3
        assert process.stderr.read() == ""
    # It has ended: a signal reaches nobody.
    process.send_signal(signal.SIGKILL)
    assert process.poll() == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fork_can_be_killed(tmp_path: Path, number: signal.Signals) -> None:
    process = Forked((MODULE, "wait"), tmp_path, {})
    with process.stderr:
        assert seen_by(process)["arguments"] == ["wait"]
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        process.send_signal(number)
        assert process.wait(60) == -number
        assert process.stderr.read() == ""


def test_an_error_of_a_fork_is_in_its_log(tmp_path: Path) -> None:
    process = Forked((MODULE, "no number"), tmp_path, {})
    with process.stderr:
        seen_by(process)
        assert "no number" in process.stderr.read()
        assert process.wait(60) == 1
