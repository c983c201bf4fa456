"""The API's description at /docs, in a real browser without the internet."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from server import VERSION
from server.http import api_keys
from testing.browser import Tabs
from testing.replies import eventually
from testing.serving import Server


@pytest.fixture
def page(tabs: Tabs) -> Page:
    return tabs.open("/docs")


def test_docs_lists_every_operation_without_another_host(page: Page, server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    shown = page.locator(".opblock-summary")
    expect(shown).to_have_count(len(operations))
    listed = {
        (row.locator(".opblock-summary-method").inner_text(), row.locator("[data-path]").get_attribute("data-path"))
        for row in shown.all()
    }
    assert listed == operations


def opened(page: Page, method: str, path: str) -> Locator:
    """The operation, opened and ready to be executed."""
    operation = page.locator(f".opblock-{method}", has=page.locator(f'[data-path="{path}"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    return operation


def status_of(operation: Locator) -> Locator:
    return operation.locator(".live-responses-table .response-col_status").last


def test_an_operation_can_be_tried_out(page: Page) -> None:
    operation = opened(page, "get", "/version")
    operation.get_by_role("button", name="Execute").click()
    expect(status_of(operation)).to_contain_text("200")
    expect(operation.locator(".live-responses-table .highlight-code").first).to_contain_text(VERSION)


@pytest.mark.parametrize(("scheme", "darker"), [("light", False), ("dark", True)])
def test_docs_follows_the_readers_colours(tabs: Tabs, scheme: Literal["light", "dark"], darker: bool) -> None:
    page = tabs.open("/docs", color_scheme=scheme)
    expect(page.locator(".opblock-summary").first).to_be_visible()

    def brightness() -> float:
        colour = "getComputedStyle(document.documentElement).backgroundColor"
        red, green, blue, *alpha = page.evaluate(f"{colour}.match(/[\\d.]+/g).map(Number)")
        return 255.0 if alpha == [0] else (red + green + blue) / 3

    eventually(lambda: (brightness() < 100) == darker)
    page.emulate_media(color_scheme="light" if darker else "dark")
    eventually(lambda: (brightness() < 100) != darker)


def test_an_operation_can_be_tried_out_with_a_key(browser: Browser, tiny_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with api_keys.changing(file) as known:
        keys, _, token = known.with_new("acme", ("admin",), time.time(), None)
        api_keys.save(file, keys)
    with Server(tiny_weights, "memory://", keys_file=str(file)) as server, closing(Tabs(browser, server.url)) as tabs:
        page = tabs.open("/docs")
        page.locator(".auth-wrapper").get_by_role("button", name="Authorize").click()
        page.locator(".auth-container input").fill(token)
        page.locator(".auth-container input").press("Enter")
        page.get_by_role("button", name="Close", exact=True).click()
        operation = opened(page, "get", "/v1/sessions")
        operation.get_by_role("button", name="Execute").click()
        expect(status_of(operation)).to_contain_text("200")
        assert tabs.unexpected == []
