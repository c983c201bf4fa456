"""Sessions that two tabs, or two people, or two texts share: no byte is doubled or lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.replies import appended, shown
from testing.serving import Server
from tests.clients.console.uploads import LONG, MIB, Gate, choose, must_be_read, new_session, row, serving, text_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "long.txt"
    file.write_text(LONG)
    return file


def test_two_tabs_do_not_double_a_byte(page: Page, http: httpx.Client, file: Path, tmp_path: Path) -> None:
    (tmp_path / "second.txt").write_text("Second. " * 400_000)
    session = new_session(page)
    gate = Gate(page, 1)
    choose(page, file, tmp_path / "second.txt")
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    other = page.context.new_page()
    other.goto(page.url)
    expect(row(other, "second.txt")).to_contain_text("Waiting for its turn")
    gate.open()
    must_be_read(page, "second.txt")
    expect(other.locator(".uploads > li")).to_have_count(0)
    assert text_of(http, session) == LONG.encode() + b"Second. " * 400_000


def test_a_second_tab_goes_on_when_the_first_is_closed(page: Page, http: httpx.Client, file: Path) -> None:
    session = new_session(page)
    Gate(page, 1)
    choose(page, file)
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    other = page.context.new_page()
    other.goto(page.url)
    expect(row(other, "long.txt")).to_contain_text("Waiting for its turn")
    page.close()
    must_be_read(other, "long.txt")
    assert text_of(http, session) == LONG.encode()


def test_a_text_that_somebody_else_interrupts_says_so(page: Page, http: httpx.Client, tabs: Tabs, file: Path) -> None:
    tabs.expect("status of 409")
    session = new_session(page)
    gate = Gate(page, 1)
    choose(page, file)
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    sent = shown(http, session)["text"]["accepted_bytes"]
    appended(http, session, b"Theirs.")
    gate.open()
    expect(row(page, "long.txt")).to_contain_text("Another text was added to this session meanwhile")
    assert text_of(http, session) == LONG.encode()[:sent] + b"Theirs."


@pytest.mark.parametrize("lead", ["", "x"])
def test_a_text_can_follow_one_that_was_stopped(page: Page, http: httpx.Client, tmp_path: Path, lead: str) -> None:
    text = lead + "жо " * 400_000
    (tmp_path / "long.txt").write_text(text)
    (tmp_path / "next.txt").write_text("Дальше.")
    session = new_session(page)
    Gate(page, 1)
    choose(page, tmp_path / "long.txt")
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    row(page, "long.txt").get_by_role("button", name="Stop").click()
    page.unroute_all()
    choose(page, tmp_path / "next.txt")
    must_be_read(page, "next.txt")
    assert text_of(http, session).decode() == text.encode()[:MIB].decode(errors="ignore") + "Дальше."
