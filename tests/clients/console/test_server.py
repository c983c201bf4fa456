"""The dialog about the server: its figures are those of /metrics and /version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from testing.browser import Tabs
from testing.replies import asked, metric
from testing.serving import Server, client
from tests.clients.console.general import QUESTION, read_book


@pytest.fixture(scope="module")
def server(general_weights: Path) -> Iterator[Server]:
    with Server(general_weights, "memory://") as server:
        with client(server) as http:
            asked(http, read_book(http, "A book"), question=QUESTION)
        yield server


def opened(page: Page) -> Locator:
    page.get_by_role("button", name="Server", exact=True).click()
    return page.get_by_role("dialog", name="This server")


def value(dialog: Locator, name: str) -> Locator:
    term = dialog.locator("dt").filter(has_text=re.compile(f"^{re.escape(name)}$"))
    return term.locator("xpath=following-sibling::dd[1]")


def test_the_dialog_agrees_with_version_and_metrics(page: Page, server: Server) -> None:
    with client(server) as http:
        known = http.get("/version").json()
        unread = metric(http, "onceread_unread_bytes")
        answering = metric(http, 'onceread_num_requests_running{phase="answer"}')
    dialog = opened(page)
    for name, of in (("Model", "model"), ("Store", "store"), ("Durability", "durability"), ("Version", "version")):
        expect(value(dialog, name)).to_have_text(known[of])
    expect(value(dialog, "Weights")).to_have_text(known["fingerprint"][:16])
    limits = known["limits"]
    expect(value(dialog, "Limits")).to_contain_text(f"questions to {limits['question_characters']:,} characters")
    expect(value(dialog, "Limits")).to_contain_text(f"up to {limits['memory_tokens']:,} tokens")
    expect(value(dialog, "Text accepted, not read yet")).to_have_text(f"{unread:.0f} B")
    expect(value(dialog, "Answers being written")).to_have_text(f"{answering:.0f}")
    expect(value(dialog, "Time to first token (median)")).not_to_have_text("none yet")


def test_a_gateway_that_hides_the_metrics_is_borne(tabs: Tabs) -> None:
    tabs.expect("status of 404")
    page = tabs.open(None)
    page.route("**/metrics", lambda route: route.fulfill(status=404, body="no"))
    page.goto("/")
    dialog = opened(page)
    expect(dialog).to_contain_text("The metrics of this server are not public.")
    expect(value(dialog, "Model")).not_to_be_empty()


def test_the_description_of_the_api_is_linked(page: Page, server: Server) -> None:
    link = opened(page).get_by_role("link", name="API description")
    address = link.evaluate("link => link.href")
    assert address == f"{server.url}/docs"
    assert httpx.get(address).status_code == 200
