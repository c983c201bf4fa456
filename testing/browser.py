"""Debian's Chromium, driven by Playwright, and what its pages complain of.

Playwright keeps an event loop running in the thread that started it, so no test of the same module can be async, and a
browser ends with its module.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError, sync_playwright

from testing.parts import absent

# Chromium's own, without a host.
_LOCAL_SCHEMES = {"about", "blob", "data"}


def chromium() -> str:
    """The browser's path; where it is missing the test is skipped, or fails if `CI` is set."""
    if (found := shutil.which("chromium")) is None:
        absent("there is no chromium on this machine: make parts, or apt-get install chromium")
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # Chromium refuses to make its sandbox as root.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        try:
            yield browser
        finally:
            browser.close()


class Tabs:
    """Pages of one server, each in a profile of its own; records their errors and their requests to other hosts."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self._expected: list[str] = []

    def open(self, path: str | None = "/", **options: Any) -> Page:
        """A page of a new profile, at this path unless that is None; the options are those of Playwright's contexts."""
        context = self._browser.new_context(base_url=self._url, **options)
        self._contexts.append(context)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)
        page = context.new_page()
        if path is not None:
            page.goto(path)
        return page

    def expect(self, pattern: str) -> None:
        """Complaints in which this regular expression is found are part of the test."""
        self._expected.append(pattern)

    @property
    def unexpected(self) -> list[str]:
        return [said for said in self.complaints if not any(re.search(pattern, said) for pattern in self._expected)]

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text} ({message.location['url']})")

    def _on_error(self, error: WebError) -> None:
        self.complaints.append(f"page error: {error.error}")

    def _on_request(self, request: Request) -> None:
        there = urlsplit(request.url)
        if there.scheme not in _LOCAL_SCHEMES and there.netloc != urlsplit(self._url).netloc:
            self.complaints.append(f"foreign request: {request.url}")
