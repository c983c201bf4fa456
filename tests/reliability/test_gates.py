"""A small run of each check, and of its control, which must find what the guard prevents."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator

import pytest

from reliability import namespaces
from reliability.check import Check
from reliability.checks import CHECKS
from testing.redis_binaries import BINARIES, require

SEED = 20261122
# Servers are killed here with open connections, some of which the client library leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    """Skips where a program is missing that the checks start; fails there if `CI` is set."""
    for name in BINARIES:
        require(name)
    if "CI" not in os.environ:
        for program in ("haproxy", "strace", "ip"):
            if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
                pytest.skip(f"{program} is not installed: `make parts`")
        if not namespaces.allowed():
            pytest.skip("this user may not create namespaces")
    yield
    # Collected here, so that a warning is not attributed to the next test.
    gc.collect()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_finds_no_violation(check: Check) -> None:
    counts = check.run(check.gate_cases, SEED, lambda cases: None)
    assert counts.violations == []
    assert counts.cases == check.gate_cases


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_without_the_guard_finds_violations(check: Check) -> None:
    assert check.control(SEED).violations
