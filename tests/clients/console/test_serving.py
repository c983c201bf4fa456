"""The page as the server serves it, in a real browser; and that a test notices what a page complains of."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.replies import eventually

STYLED = "document.body.setAttribute('style', 'color: red')"
INLINE = "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"1\">b</b>'); document.body.lastChild.click()"
POLICY = "Content Security Policy"


def must_be_noticed(page: Page, tabs: Tabs, complaint: str) -> None:
    """Ends the test's expectations with this one."""
    # Playwright hands over the browser's events while it waits for a call.
    eventually(lambda: page.evaluate("true") and any(complaint in said for said in tabs.unexpected))
    tabs.expect(re.escape(complaint))


def test_the_page_loads_under_its_policy_and_asks_no_other_host(tabs: Tabs) -> None:
    page = tabs.open(None)
    answer = page.goto("/")
    assert answer is not None
    assert answer.header_value("Content-Security-Policy") is not None
    expect(page).to_have_title("Onceread")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("console.error('a fault')", "console error: a fault"),
        ("console.warn('a doubt')", "console warning: a doubt"),
        ("setTimeout(() => { throw new Error('thrown') })", "page error: thrown"),
        ("fetch('nowhere').then(() => undefined)", "console error: Failed to load resource"),
        ("fetch('https://onceread.invalid/').catch(() => undefined)", POLICY),
        (STYLED, POLICY),
        (INLINE, POLICY),
    ],
)
def test_a_fault_of_the_page_is_noticed(page: Page, tabs: Tabs, script: str, complaint: str) -> None:
    page.evaluate(script)
    must_be_noticed(page, tabs, complaint)


def test_the_policy_holds_for_a_page_that_the_browser_has_kept(page: Page, tabs: Tabs) -> None:
    page.reload()
    page.evaluate(STYLED)
    must_be_noticed(page, tabs, POLICY)


def test_a_request_to_another_host_is_noticed(tabs: Tabs) -> None:
    page = tabs.open(bypass_csp=True)
    page.evaluate("fetch('http://onceread.invalid/').catch(() => undefined)")
    must_be_noticed(page, tabs, "foreign request: http://onceread.invalid/")
    tabs.expect("Failed to load resource")
