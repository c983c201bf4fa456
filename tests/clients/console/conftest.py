"""Fixtures of the page's tests: a server, a browser for each module, and pages that must not complain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from testing.browser import Tabs, launched
from testing.serving import Server, client
from tests.clients.console.general import save_weights

# Playwright's own 5 s are too few on a busy machine; what is as it should be is not waited for.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with client(server) as http:
        yield http


@pytest.fixture(scope="session")
def general_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with which answers have sources."""
    return save_weights(tmp_path_factory.mktemp("weights") / "general")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def tabs(browser: Browser, server: Server) -> Iterator[Tabs]:
    """Opens pages; at the test's end none of them may have complained of anything that the test does not expect."""
    tabs = Tabs(browser, server.url)
    yield tabs
    tabs.close()
    assert tabs.unexpected == []


@pytest.fixture
def page(tabs: Tabs) -> Page:
    """The page, open."""
    return tabs.open()
