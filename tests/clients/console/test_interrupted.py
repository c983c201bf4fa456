"""Uploads that are interrupted: paused, reloaded, left by the server; every byte arrives once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from itertools import repeat
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from testing.browser import Tabs
from testing.serving import Server
from tests.clients.console.uploads import (
    LONG,
    READ_MILLISECONDS,
    Gate,
    choose,
    must_be_read,
    new_session,
    row,
    serving,
    text_of,
)
from tests.clients.cutting_proxy import CuttingProxy

CUT_BYTES = 1_500_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("interrupted")) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "long.txt"
    file.write_text(LONG)
    return file


def test_the_bar_shows_the_share_that_is_read(page: Page, http: httpx.Client, file: Path) -> None:
    session = new_session(page)
    gate = Gate(page, 1)
    choose(page, file)
    bar = page.get_by_role("progressbar", name="Progress of long.txt")
    # A piece of 1 MiB, less a character that it would cut, of 2.5 MiB.
    expect(bar).to_have_attribute("aria-valuenow", re.compile("^(39|40)$"), timeout=READ_MILLISECONDS)
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of 2.62 MB stored safely")
    gate.open()
    must_be_read(page, "long.txt")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    assert text_of(http, session) == LONG.encode()


def test_an_upload_is_paused_and_resumed(page: Page, http: httpx.Client, file: Path) -> None:
    session = new_session(page)
    gate = Gate(page, 1)
    choose(page, file)
    line = row(page, "long.txt")
    expect(line).to_contain_text("1.05 MB of")
    line.get_by_role("button", name="Pause").click()
    gate.open()
    # The piece that was on its way arrives, and no other.
    expect(line).to_contain_text("Paused · 2.1 MB of")
    line.get_by_role("button", name="Resume").click()
    must_be_read(page, "long.txt")
    assert len(gate.offsets) == 3
    assert text_of(http, session) == LONG.encode()


def test_an_upload_goes_on_by_itself_after_a_reload(page: Page, http: httpx.Client, file: Path, tmp_path: Path) -> None:
    others = [tmp_path / f"{number}.txt" for number in range(12)]
    for other in others:
        other.write_text(f"This is {other.name}.\n")
    session = new_session(page)
    Gate(page, 1)
    choose(page, file, *others)
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    # The last of them is kept once the first piece of the first is on its way.
    page.unroute_all()
    page.reload()
    must_be_read(page, "long.txt")
    must_be_read(page, others[-1].name)
    assert text_of(http, session) == LONG.encode() + b"".join(other.read_bytes() for other in others)


def test_an_upload_waits_for_a_server_that_was_killed(
    page: Page, tabs: Tabs, server: Server, http: httpx.Client, file: Path
) -> None:
    tabs.expect("net::ERR_")
    session = new_session(page)
    gate = Gate(page, 1)
    choose(page, file)
    expect(row(page, "long.txt")).to_contain_text("1.05 MB of")
    server.kill()
    gate.open()
    expect(row(page, "long.txt")).to_contain_text("The server has not answered since")
    expect(page.locator("#connection")).to_contain_text("The server has not answered since")
    server.start()
    must_be_read(page, "long.txt")
    expect(page.locator("#connection")).to_be_hidden()
    assert text_of(http, session) == LONG.encode()


def test_connections_that_are_cut_neither_lose_nor_double_a_byte(
    browser: Browser, server: Server, http: httpx.Client, file: Path
) -> None:
    with CuttingProxy(server.port, repeat(CUT_BYTES)) as proxy, closing(Tabs(browser, proxy.url)) as tabs:
        tabs.expect("net::ERR_")
        page = tabs.open()
        session = new_session(page)
        choose(page, file)
        must_be_read(page, "long.txt")
        assert proxy.cuts > 1
        assert tabs.unexpected == []
    assert text_of(http, session) == LONG.encode()
