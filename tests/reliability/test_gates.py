"""A small run of every check, in every run of the suite; and its control, which must find what the guard prevents."""

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
# Servers die here with connections open on both sides, and the clients' library leaves some of them to the collector;
# what is checked are histories.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    """Skips where a server is not installed that the checks start; where `CI` is set it is missed instead."""
    for name in BINARIES:
        require(name)
    if "CI" not in os.environ:
        for program in ("haproxy", "strace", "ip"):
            if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
                pytest.skip(f"{program} is not installed: `make parts`")
        if not namespaces.allowed():
            pytest.skip("the kernel gives this user no namespaces")
    yield
    # Here, and not in whichever test comes next.
    gc.collect()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_nothing_is_found_wrong(check: Check) -> None:
    counts = check.run(check.gate_cases, SEED, lambda cases: None)
    assert counts.violations == []
    assert counts.cases == check.gate_cases


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_without_the_guard_something_is_found_wrong(check: Check) -> None:
    assert check.control(SEED).violations
