"""Parts of the tests that are not Python packages: programs, a browser, packages of npm."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skips the test, for which a part is missing; fails it where `CI` is set, so that no check is left out there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
