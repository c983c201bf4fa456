"""Questions on the page: an answer streams, is stopped, waits for a server that is gone, and is kept in its tab."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from testing.browser import Tabs
from testing.replies import eventually
from testing.serving import Server, client
from tests.clients.console.general import BOOK, NOWHERE, QUESTION, address, answered, ask, read_book

# Notes every text that the newest answer has had.
WATCH = """() => {
  window.states = [];
  const note = () => {
    const text = document.querySelector(".answers > li .text")?.textContent;
    if (text && text !== window.states.at(-1)) window.states.push(text);
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def server(general_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = f"sqlite:///{tmp_path_factory.mktemp('asking') / 'store'}"
    # In the precision that a measurement chooses, a server that is started again may answer otherwise.
    with Server(general_weights, store, precision="float32") as server:
        yield server


@pytest.fixture(scope="module")
def book(server: Server) -> str:
    """The address of a session that has read a book."""
    with client(server) as http:
        return address(read_book(http, "A book"))


@pytest.fixture
def page(tabs: Tabs, book: str) -> Page:
    return tabs.open(book)


def begun(page: Page) -> Locator:
    """A card whose answer has begun to stream."""
    card = ask(page, QUESTION)
    eventually(card.locator(".text").text_content)
    return card


def test_an_answer_streams_and_ends_with_its_sources(page: Page) -> None:
    page.evaluate(WATCH)
    card = answered(page, QUESTION)
    expect(card.get_by_role("heading", name="Sources")).to_be_visible()
    assert card.get_by_role("button", name="Source").count() > 1
    states = page.evaluate("window.states")
    assert len(states) > 2
    assert card.locator(".text").text_content() == states[-1]


def test_what_is_not_in_the_text_looks_different_from_an_answer(page: Page) -> None:
    found, missing = answered(page, QUESTION), answered(page, NOWHERE)
    expect(missing.locator(".text")).to_have_text("Not in the text")
    expect(missing.locator(".note")).to_have_text("Nothing that was read answers this question.")
    looks = "element => { const style = getComputedStyle(element); return [style.fontStyle, style.color]; }"
    found = page.locator(".answers > li", has_text=QUESTION)
    assert found.locator(".text").evaluate(looks) != missing.locator(".text").evaluate(looks)


def test_an_answer_is_stopped_while_it_streams_and_asked_again(page: Page, server: Server) -> None:
    card = begun(page)
    # From here on nothing more of it comes.
    server.send(signal.SIGSTOP)
    try:
        card.get_by_role("button", name="Stop").click()
        expect(card.locator(".note")).to_have_text("Stopped")
    finally:
        server.send(signal.SIGCONT)
    card.get_by_role("button", name="Ask again").click()
    expect(page.get_by_role("button", name="Copy as curl")).to_be_visible()


def test_a_question_waits_for_the_text_and_says_how_far_it_is(tabs: Tabs, server: Server) -> None:
    with client(server) as http:
        session = read_book(http, "A long book")
        page = tabs.open(address(session))
        expect(page.get_by_role("heading", name="A long book")).to_be_visible()
        assert http.post(f"/v1/sessions/{session}/text", content=BOOK.encode() * 60).is_success
    card = ask(page, QUESTION)
    expect(card.locator(".note")).to_contain_text("Waiting until the text is read: ")
    expect(card.get_by_role("button", name="Copy as curl")).to_be_visible(timeout=60_000)


def test_a_question_outlives_the_server(page: Page, server: Server, tabs: Tabs) -> None:
    tabs.expect("ERR_(CONNECTION_|INCOMPLETE_|EMPTY_)")
    expected = answered(page, QUESTION).locator(".text").inner_text()
    card = begun(page)
    server.kill()
    try:
        expect(card.locator(".note")).to_contain_text("The server has not answered since ")
        expect(page.locator("#connection")).to_contain_text("The server has not answered since ")
    finally:
        server.start()
    expect(card.get_by_role("button", name="Copy as curl")).to_be_visible(timeout=60_000)
    expect(card.locator(".text")).to_have_text(expected)
    expect(page.locator("#connection")).to_be_hidden()


def test_what_was_asked_is_kept_in_its_tab_over_a_reload(page: Page, tabs: Tabs, book: str) -> None:
    text = answered(page, QUESTION).locator(".text").inner_text()
    page.reload()
    card = page.locator(".answers > li")
    expect(card).to_have_count(1)
    expect(card.locator(".text")).to_have_text(text)
    expect(card.get_by_role("button", name="Source").first).to_be_visible()
    other = page.context.new_page()
    other.goto(book)
    expect(other.get_by_role("heading", name="A book")).to_be_visible()
    expect(other.locator(".answers > li")).to_have_count(0)
    card.get_by_role("button", name="Clear").click()
    page.reload()
    expect(page.get_by_role("heading", name="A book")).to_be_visible()
    expect(page.locator(".answers > li")).to_have_count(0)


def test_a_refused_question_shows_the_servers_sentence(page: Page, tabs: Tabs) -> None:
    tabs.expect("status of 422")
    card = ask(page, "why " * 3000)
    expect(card.locator(".note")).to_contain_text("the question has 11999 characters, more than 8192; shorten it")
    expect(card.get_by_role("button", name="Ask again")).to_be_visible()
