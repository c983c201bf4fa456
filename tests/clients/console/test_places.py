"""Sources on the page: opened where they stand, with the text around them; and answers copied to be taken elsewhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.serving import Server, client
from tests.clients.console.general import BOOK, QUESTION, address, answered, read_book

CLIPBOARD = "navigator.clipboard.readText()"


@pytest.fixture(scope="module")
def server(general_weights: Path) -> Iterator[Server]:
    with Server(general_weights, "memory://") as server:
        yield server


@pytest.fixture(scope="module")
def book(server: Server) -> str:
    """The address of a session that has read a book."""
    with client(server) as http:
        return address(read_book(http, "A book"))


def test_a_source_is_marked_in_the_text_around_it_which_can_be_extended_to_both_ends(tabs: Tabs, book: str) -> None:
    # Behind the end of the text there is nothing.
    tabs.expect("status of 404")
    page = tabs.open(book)
    answered(page, QUESTION).get_by_role("button", name="Source 1").click()
    place = page.get_by_role("region", name="Place in the text")
    mark = place.locator("mark")
    expect(place.locator("span").last).not_to_be_empty()
    assert (mark.text_content() or "?") in BOOK
    assert (place.text_content() or "?") in BOOK
    for name in ("Earlier", "Later"):
        step = page.get_by_role("button", name=name, exact=True)
        # A step is 1,200 bytes.
        for _ in range(len(BOOK) // 400):
            if step.is_disabled():
                break
            with page.expect_response("**/text?*"):
                step.click()
        expect(step).to_be_disabled()
    assert place.text_content() == BOOK
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_place_whose_surroundings_are_refused_shows_the_source_alone(tabs: Tabs, book: str) -> None:
    tabs.expect("status of 400")
    page = tabs.open(book)
    refusal = {"detail": "this session keeps no text", "error": {"code": "invalid_request"}}
    page.route("**/text?*", lambda route: route.fulfill(status=400, json=refusal))
    answered(page, QUESTION).get_by_role("button", name="Source 1").click()
    expect(page.get_by_role("dialog").locator("mark")).not_to_be_empty()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be shown: this session keeps no text")


@pytest.fixture
def copying(tabs: Tabs, book: str) -> Page:
    return tabs.open(book, permissions=["clipboard-read", "clipboard-write"])


def test_an_answer_is_copied_as_markdown(copying: Page) -> None:
    card = answered(copying, QUESTION)
    card.get_by_role("button", name="Copy as Markdown").click()
    expect(copying.locator("#announcements")).to_have_text("Copied.")
    copied = copying.evaluate(CLIPBOARD)
    assert copied.startswith(f"**{QUESTION}**\n\n")
    assert "1. book.txt, at byte " in copied


def test_the_command_that_is_copied_answers_the_same_in_a_shell(copying: Page) -> None:
    card = answered(copying, QUESTION)
    card.get_by_role("button", name="Copy as curl").click()
    expect(copying.locator("#announcements")).to_have_text("Copied.")
    done = subprocess.run(["bash", "-c", copying.evaluate(CLIPBOARD)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["answer"] == card.locator(".text").text_content()
