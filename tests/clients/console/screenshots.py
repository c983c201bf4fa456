"""Pictures of the page in docs/, taken while a real server with the default weights reads a book and answers.

    python -m tests.clients.console.screenshots BOOK

The questions are those about *Persuasion* that the README's table has as answered right.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from server.settings import Settings
from testing.browser import Tabs, launched
from testing.serving import ROOT, Server
from tests.clients.console.general import answered

WIDE: dict[str, Any] = {"viewport": {"width": 1120, "height": 760}}
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 760}, "color_scheme": "dark"}
QUESTIONS = (
    "Where is Kofi?",
    "Who taught Mrs Smith to knit?",
    "Where was Louisa when she fell and lay as if dead?",
)
READ_MILLISECONDS = 120_000


def save(page: Page, name: str) -> None:
    path = ROOT / "docs" / f"page-{name}.png"
    page.screenshot(path=path)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def take(browser: Browser, server: Server, book: Path) -> None:
    tabs = Tabs(browser, server.url)
    page = tabs.open("/", **WIDE)
    page.get_by_role("button", name="New session").click()
    page.locator(".drop input[type=file]").set_input_files(book)
    bar = page.get_by_role("progressbar")
    page.wait_for_selector(".read[style]", state="attached")
    while int(bar.get_attribute("aria-valuenow") or 0) < 30:
        page.wait_for_timeout(20)
    save(page, "reading")
    expect(page.locator(".uploads > .finished")).to_be_visible(timeout=READ_MILLISECONDS)
    for question in QUESTIONS:
        answered(page, question)
    page.get_by_label("Your question").blur()
    page.set_viewport_size({"width": 1120, "height": 1080})
    save(page, "answer")
    page.set_viewport_size(WIDE["viewport"])
    page.get_by_role("button", name="Source 1").first.click()
    expect(page.locator("dialog mark")).to_be_visible()
    save(page, "place")
    narrow = tabs.open(page.url.removeprefix(server.url), **NARROW)
    answered(narrow, QUESTIONS[-1]).scroll_into_view_if_needed()
    save(narrow, "narrow")
    tabs.close()
    assert tabs.unexpected == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, help="a plain text in the public domain, such as Persuasion")
    book = parser.parse_args().book
    with Server(ROOT / Settings().weights, "memory://", threads="2") as server, launched() as browser:
        take(browser, server, book)


if __name__ == "__main__":
    main()
