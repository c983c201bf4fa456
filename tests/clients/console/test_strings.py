"""Every text that the page shows comes from strings.js: with all of them marked, no unmarked word is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from testing.browser import Tabs
from testing.node_tools import CONSOLE
from testing.serving import Server, client
from tests.clients.console.general import BOOK, address, read_book

MARKED = """
const marked = (value) =>
  typeof value === "function"
    ? (...args) => (typeof value(...args) === "string" ? `¤¤` : value(...args))
    : typeof value === "string"
      ? `¤¤`
      : Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, marked(inner)]));
export const strings = marked(plain);
"""
# Every text and every name for screen readers; what a user or the server wrote is in the fixture's own alphabet.
SHOWN = """() => {
  const found = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest("noscript, mark, .place")) found.push(walker.currentNode.data);
  }
  for (const element of document.querySelectorAll("*"))
    for (const name of ["aria-label", "placeholder", "title", "alt"])
      if (element.hasAttribute(name)) found.push(element.getAttribute(name));
  return found;
}"""
# The buttons that open a dialog: rename, snapshots, delete, paste, and the server's.
OPENS = (
    ".actions > :nth-child(1)",
    ".actions > :nth-child(3)",
    ".actions > :nth-child(5)",
    ".drop .buttons > :nth-child(2)",
    "#server button",
)
# Words that are no sentence of the page: the product's name, units, and a token in a figure.
NAMES = re.compile(r"Onceread|\b(?:k|M|G)?B\b|\b[KM]\b")


@pytest.fixture(scope="module")
def server(general_weights: Path) -> Iterator[Server]:
    with Server(general_weights, "memory://") as server:
        yield server


@pytest.fixture
def page(tabs: Tabs) -> Page:
    def mark(route: Route) -> None:
        plain = (CONSOLE / "page" / "strings.js").read_text().replace("export const strings", "const plain")
        route.fulfill(body=plain + MARKED, content_type="text/javascript")

    page = tabs.open(None)
    page.route("**/console/strings.js", mark)
    return page


def check(page: Page, *known: str) -> None:
    for text in page.evaluate(SHOWN):
        left = NAMES.sub("", text)
        for written in known:
            left = left.replace(written, "")
        assert not re.search(r"[A-Za-z]{2,}", left), f"not from strings.js: {text!r}"


def test_every_word_of_the_page_comes_from_its_strings(page: Page, tabs: Tabs, server: Server) -> None:
    tabs.expect("status of 404")
    with client(server) as http:
        book = read_book(http, "1813")
        known = [*http.get("/version").json().values(), "1813", "book.txt"]
    written = [value for value in known if isinstance(value, str)]
    written += [written[2][:16]]
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("¤¤")
    check(page)
    page.goto("/#/sessions/unknown")
    expect(page.locator("main .error")).to_be_visible()
    check(page, *written)
    page.goto(address(book))
    expect(page.get_by_role("heading", level=1)).to_have_text("1813")
    check(page, *written)
    page.locator("textarea").fill("0000?")
    page.keyboard.press("Enter")
    expect(page.locator(".answers > .answered")).to_be_visible()
    check(page, *written)
    for name in OPENS:
        page.locator(name).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check(page, *written)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_word_that_is_not_among_the_strings_is_noticed(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate("document.querySelector('main').append('Loose words')")
    with pytest.raises(AssertionError, match="Loose words"):
        check(page)


def test_a_source_and_a_place_have_no_words_of_their_own(page: Page, server: Server) -> None:
    with client(server) as http:
        page.goto(address(read_book(http, "1813", BOOK)))
    page.locator("textarea").fill("Who came upon the quoted House?")
    page.keyboard.press("Enter")
    page.locator("button.source").first.click(timeout=60_000)
    expect(page.locator("dialog mark")).to_be_visible()
    for name in page.locator("dialog h2, dialog button, dialog .facts").all():
        assert re.fullmatch(r"[¤×\s]+|¤¤, ¤¤", name.inner_text())
