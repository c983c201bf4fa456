"""API keys on the page: asked for, refused, kept only where the box is ticked, and sent only in a header."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from server.http import api_keys
from server.http.permissions import Scope
from testing.browser import Tabs
from testing.replies import eventually
from testing.serving import Server

WRONG = f"or_{'0' * 16}_{'5' * 64}"
STORED = """async () => JSON.stringify({
  local: { ...localStorage },
  cookies: document.cookie,
  databases: (await indexedDB.databases()).length,
  address: location.href,
})"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


def token(file: Path, *scopes: Scope) -> str:
    with api_keys.changing(file) as known:
        keys, _, token = known.with_new("acme", scopes, time.time(), None)
        api_keys.save(file, keys)
    return token


@pytest.fixture(scope="module")
def admin(file: Path) -> str:
    return token(file, "admin")


@pytest.fixture(scope="module")
def writer(file: Path) -> str:
    return token(file, "read", "ask")


@pytest.fixture(scope="module")
def server(tiny_weights: Path, file: Path, admin: str, writer: str) -> Iterator[Server]:
    with Server(tiny_weights, "memory://", keys_file=str(file)) as server:
        yield server


@pytest.fixture
def page(tabs: Tabs) -> Page:
    tabs.expect("status of 401")
    return tabs.open()


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="API key")


def give(page: Page, key: str, keep: bool = False) -> None:
    dialog(page).get_by_label("Key", exact=True).fill(key)
    if keep:
        dialog(page).get_by_label("Keep it until this tab is closed").check()
    dialog(page).get_by_role("button", name="Use this key").click()


def admitted(page: Page) -> None:
    expect(page.locator(".sidebar .hint:visible, .sessions > li").first).to_be_visible()
    expect(dialog(page)).to_have_count(0)


def test_a_key_is_asked_for_until_it_is_right(page: Page, admin: str) -> None:
    expect(dialog(page)).to_contain_text("This server requires an API key.")
    give(page, WRONG)
    expect(dialog(page).get_by_role("alert")).to_contain_text("The server refused this key.")
    give(page, admin)
    admitted(page)


def test_a_key_that_is_not_given_is_asked_for_again_only_when_it_is_needed(tabs: Tabs, page: Page) -> None:
    refused: list[str] = []
    page.on("response", lambda response: refused.append(response.url) if response.status == 401 else None)
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    before = len(refused)
    # What a tab does that is looked at again.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    eventually(lambda: page.evaluate("true") and len(refused) > before)
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("button", name="New session").click()
    expect(dialog(page)).to_be_visible()


def test_a_key_is_forgotten_with_a_reload(page: Page, admin: str) -> None:
    give(page, admin)
    admitted(page)
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect(dialog(page)).to_be_visible()


def test_a_key_that_is_kept_outlives_a_reload_until_it_is_forgotten(page: Page, admin: str) -> None:
    give(page, admin, keep=True)
    admitted(page)
    page.reload()
    admitted(page)
    assert admin in page.evaluate("JSON.stringify({ ...sessionStorage })")
    page.get_by_role("button", name="Server", exact=True).click()
    page.get_by_role("button", name="Forget the key").click()
    expect(dialog(page)).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_is_kept_nowhere_else_and_sent_only_as_authorization(page: Page, admin: str) -> None:
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    give(page, admin, keep=True)
    admitted(page)
    page.get_by_role("button", name="New session").click()
    expect(page.get_by_label("Your question")).to_be_visible()
    assert admin not in page.evaluate(STORED)
    assert page.context.cookies() == []
    sent = [request for request in requests if admin in str(request.headers)]
    assert any(request.method == "POST" for request in sent)
    for request in requests:
        assert admin not in request.url + (request.post_data or "")
        holders = {name for name, value in request.all_headers().items() if admin in value}
        assert holders <= {"authorization"}


def test_a_key_without_the_scope_says_what_is_missing(tabs: Tabs, page: Page, writer: str) -> None:
    tabs.expect("status of 403")
    give(page, writer)
    admitted(page)
    page.get_by_role("button", name="New session").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("Delete failed: ")
    expect(page.get_by_role("alert")).to_contain_text("admin")
