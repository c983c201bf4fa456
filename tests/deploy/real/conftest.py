"""Fixtures of the tests with real containers: the image, built once, and volumes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.deploy.real.engine import built_image, podman


@pytest.fixture(scope="session")
def image() -> str:
    return built_image()


@pytest.fixture
def volume(image: str) -> Iterator[str]:
    name = f"data-{secrets.token_hex(4)}"
    podman("volume", "create", name)
    yield name
    podman("volume", "rm", "--force", name)
