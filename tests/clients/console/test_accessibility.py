"""Accessibility in every state of the page: axe-core's rules in both colour schemes, narrow and wide; the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, Route, expect

from testing.browser import Tabs
from testing.node_tools import installed
from testing.replies import eventually
from testing.serving import Server, client
from tests.clients.console.general import BOOK, NOWHERE, QUESTION, address, answered, ask, read_book

# What a screen reader says of the element that has the focus.
FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return "";
  return [element.getAttribute("aria-label"), element.labels?.[0]?.textContent, element.textContent].join(" ");
}"""
DIALOGS = ("Rename", "Snapshots", "Delete", "Paste text", "Server")


@pytest.fixture(scope="module")
def server(general_weights: Path) -> Iterator[Server]:
    with Server(general_weights, "memory://") as server:
        yield server


@pytest.fixture(scope="module")
def book(server: Server) -> str:
    """The address of a session with a title that is hard to fit."""
    with client(server) as http:
        return address(read_book(http, f"A book with a long title {'and-a-longer-word' * 6}"))


def check(page: Page, state: str) -> None:
    """No violation of axe-core's rules, and nothing wider than the window."""
    # The script is evaluated, which the page's policy does not concern.
    page.evaluate(installed("axe-core/axe.min.js").read_text())
    for violation in page.evaluate("axe.run().then(result => result.violations)"):
        where = [node["html"][:200] for node in violation["nodes"]]
        pytest.fail(f"{state}: {violation['id']}: {violation['help']}: {where}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{state} scrolls sideways"


def walk(page: Page, book: str) -> None:
    check(page, "welcome")
    page.goto("/#/sessions/unknown")
    expect(page.get_by_text("This session does not exist.")).to_be_visible()
    check(page, "missing session")
    page.goto(book)
    expect(page.get_by_label("Your question")).to_be_visible()
    check(page, "session")
    answered(page, NOWHERE)
    card = answered(page, QUESTION)
    refused = ask(page, "why " * 3000)
    expect(refused.get_by_role("button", name="Ask again")).to_be_visible()
    check(page, "answers")
    for name in DIALOGS:
        page.get_by_role("button", name=name, exact=True).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check(page, name)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
    card = page.locator(".answers > li", has_text=QUESTION)
    card.get_by_role("button", name="Source 1").click()
    expect(page.get_by_role("dialog").locator("mark")).to_be_visible()
    check(page, "place")
    page.keyboard.press("Escape")
    walk_reading(page)


def walk_reading(page: Page) -> None:
    page.get_by_role("button", name="Paste text").click()
    page.get_by_label("Text to read").fill(BOOK)
    page.get_by_role("button", name="Read it").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    check(page, "reading")
    page.route("**/*", lambda route: route.abort())
    page.get_by_role("button", name="Paste text").click()
    page.get_by_label("Text to read").fill("More")
    page.get_by_role("button", name="Read it").click()
    expect(page.locator("#connection")).to_be_visible()
    check(page, "no connection")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_has_a_violation(tabs: Tabs, book: str, scheme: Literal["light", "dark"], width: int) -> None:
    tabs.expect("status of (404|422)|ERR_FAILED")
    walk(tabs.open("/", color_scheme=scheme, viewport={"width": width, "height": 800}), book)


def test_twice_the_size_and_reduced_motion_do_no_harm(tabs: Tabs, book: str) -> None:
    tabs.expect("status of (404|422)|ERR_FAILED")
    # A window of 1280 pixels at 200 %.
    page = tabs.open("/", viewport={"width": 640, "height": 400}, device_scale_factor=2, reduced_motion="reduce")
    walk(page, book)
    moving = "document.getAnimations().filter(animation => animation.playState === 'running').length"
    assert page.evaluate(moving) == 0


def press_to(page: Page, name: str) -> None:
    """Tabs to the element with this name."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(FOCUSED):
            return
    pytest.fail(f"Tab does not reach {name!r}")


def test_everything_can_be_done_with_the_keyboard(tabs: Tabs) -> None:
    page = tabs.open("/")
    press_to(page, "New session")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your question")).to_be_visible()
    press_to(page, "Paste text")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text to read")).to_be_focused()
    page.keyboard.insert_text(BOOK)
    press_to(page, "Read it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press_to(page, "Your question")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sources")).to_be_visible(timeout=60_000)
    press_to(page, "Source 1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").locator("mark")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Source 1")).to_be_focused()


def test_the_focus_stays_in_a_row_whose_buttons_change(page: Page) -> None:
    page.get_by_role("button", name="New session").click()
    page.get_by_role("button", name="Paste text").click()
    # The text is not sent before the button has the focus.
    held: list[Route] = []
    page.route(re.compile(r"/text\?"), lambda route: held.append(route))
    page.get_by_label("Text to read").fill(BOOK)
    page.get_by_role("button", name="Read it").click()
    page.get_by_role("button", name="Stop").focus()
    eventually(lambda: page.evaluate("true") and held)
    held[0].continue_()
    expect(page.get_by_role("button", name="Remove from this list")).to_be_focused()
