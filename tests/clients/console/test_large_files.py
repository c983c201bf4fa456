"""Files that are large for a tab: one that is never in its memory, and one that the browser does not copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from testing.replies import shown
from testing.serving import Server
from tests.clients.console.tab_memory import tab_memory
from tests.clients.console.uploads import MIB, Gate, choose, new_session, row, serving, written

# More than the browser copies into its storage.
UNCOPIED_MIB = 257


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("large")) as server:
        yield server


def test_a_file_is_not_in_the_tabs_memory_while_it_is_sent(
    page: Page, browser: Browser, http: httpx.Client, tmp_path: Path
) -> None:
    session = new_session(page)
    before = tab_memory(browser, page)
    choose(page, written(tmp_path / "large.txt", 64))
    expect(row(page, "large.txt")).to_have_class(re.compile("^(sent|finished)$"), timeout=300_000)
    assert shown(http, session)["text"]["accepted_bytes"] == 64 * MIB
    after = tab_memory(browser, page)
    print(
        f"heap {after.heap_bytes / 1e6:.1f} MB, peak {before.peak_bytes / 1e6:.0f} -> {after.peak_bytes / 1e6:.0f} MB"
    )
    assert after.heap_bytes < 16 * MIB
    assert after.peak_bytes - before.peak_bytes < 32 * MIB


def test_a_file_that_is_not_copied_is_chosen_again_after_a_reload(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    file = written(tmp_path / "large.txt", UNCOPIED_MIB)
    other = written(tmp_path / "other.txt", 2)
    session = new_session(page)
    Gate(page, 1)
    choose(page, file)
    line = row(page, "large.txt")
    expect(line).to_contain_text("1.05 MB of 269 MB")
    page.unroute_all()
    page.reload()
    expect(line).to_contain_text("Choose the same file to go on")
    choose(page, other, button="Choose it again")
    expect(line).to_contain_text("This is another file")
    gate = Gate(page, 2)
    choose(page, file, button="Choose it again")
    expect(line).to_contain_text("3.15 MB of 269 MB")
    assert gate.offsets[:2] == [MIB, 2 * MIB]
    line.get_by_role("button", name="Stop").click()
    assert shown(http, session)["text"]["accepted_bytes"] == 3 * MIB
