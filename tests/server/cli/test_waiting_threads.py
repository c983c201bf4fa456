"""OpenMP reads how its threads wait when torch is loaded, so it is set before."""

import argparse
import asyncio
import os
import subprocess
import sys

import pytest

from server.__main__ import _serve
from server.settings import Settings
from testing.serving import ROOT


def waiting_policy(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the environment says once a server has been started."""

    async def started(_: Settings) -> int:
        return 0

    monkeypatch.setattr("server.cli.serve.serve", started)
    asyncio.run(_serve(argparse.Namespace(), Settings()))
    return os.environ["OMP_WAIT_POLICY"]


def test_threads_of_the_model_sleep_while_they_wait_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert waiting_policy(monkeypatch) == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert waiting_policy(monkeypatch) == "passive"


def test_torch_is_not_loaded_before_that() -> None:
    code = "import server.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
