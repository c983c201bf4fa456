"""Texts that people drop, choose and paste: what arrives, and what the rows say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.models import prose
from testing.serving import Server
from tests.clients.console.uploads import NOVEL, choose, must_be_read, new_session, row, serving, text_of

# Drops a file on the zone, as a hand would.
DROP = """([name, text]) => {
  const files = new DataTransfer();
  files.items.add(new File([text], name));
  const zone = document.querySelector(".drop");
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
  }
}"""
GERMAN = "Der Müller ging über die Brücke und grüßte.\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("reading")) as server:
        yield server


def test_a_novel_that_is_dropped_is_read_byte_for_byte(page: Page, http: httpx.Client) -> None:
    session = new_session(page)
    page.evaluate(DROP, ["novel.txt", NOVEL])
    must_be_read(page, "novel.txt")
    assert text_of(http, session) == NOVEL.encode()
    expect(page.get_by_role("heading", level=1)).to_have_text("novel")
    assert http.get(f"/v1/sessions/{session}/documents").json()["data"][0]["name"] == "novel.txt"


def test_several_files_and_a_pasted_text_are_read_in_their_order(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    texts = [prose(seed, 3_000).encode() for seed in (1, 2, 3)]
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file, text in zip(files, texts, strict=True):
        file.write_bytes(text)
    session = new_session(page)
    choose(page, *files)
    page.get_by_role("button", name="Paste text").click()
    page.get_by_label("Text to read").fill("And this is the last of it.")
    page.get_by_role("button", name="Read it", exact=True).click()
    expect(page.locator(".uploads > li.finished")).to_have_count(4)
    assert text_of(http, session) == b"".join(texts) + b"And this is the last of it."


@pytest.mark.parametrize("encoding", ["WINDOWS-1252", "UTF-16LE"])
@pytest.mark.parametrize("ascii_bytes", [0, 600_000])
def test_a_text_in_another_encoding_is_offered_to_be_decoded(
    page: Page, tabs: Tabs, http: httpx.Client, tmp_path: Path, encoding: str, ascii_bytes: int
) -> None:
    tabs.expect("status of 400")
    text = ("a plain line\n" * ascii_bytes)[:ascii_bytes] + GERMAN * 300
    (tmp_path / "old.txt").write_bytes(text.encode(encoding))
    session = new_session(page)
    choose(page, tmp_path / "old.txt")
    expect(row(page, "old.txt")).to_contain_text(f"it looks like {encoding}")
    page.get_by_role("button", name=f"Read it as {encoding}").click()
    must_be_read(page, "old.txt")
    assert text_of(http, session) == text.encode()


def test_what_is_no_text_is_refused_with_the_reason(page: Page, tabs: Tabs, http: httpx.Client, tmp_path: Path) -> None:
    tabs.expect("status of 400")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "after.txt").write_text("A text behind them.")
    session = new_session(page)
    choose(page, tmp_path / "empty.txt", tmp_path / "noise.bin", tmp_path / "after.txt")
    expect(row(page, "empty.txt")).to_contain_text("This file is empty")
    expect(row(page, "noise.bin")).to_contain_text("This file is not text in UTF-8")
    expect(row(page, "noise.bin").get_by_role("button")).to_have_text("Remove from this list")
    must_be_read(page, "after.txt")
    assert text_of(http, session) == b"A text behind them."


def test_an_append_from_elsewhere_does_not_lose_or_double_a_byte(
    page: Page, http: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("Mine. " * 100)
    session = new_session(page)
    assert http.post(f"/v1/sessions/{session}/text", content=b"Theirs. ").status_code == 200
    choose(page, tmp_path / "mine.txt")
    must_be_read(page, "mine.txt")
    assert text_of(http, session) == b"Theirs. " + b"Mine. " * 100


def test_a_damaged_file_is_refused_and_the_next_is_read(
    page: Page, tabs: Tabs, http: httpx.Client, tmp_path: Path
) -> None:
    tabs.expect("status of 4(15|22)")
    (tmp_path / "damaged.docx").write_bytes(b"not a Word document")
    (tmp_path / "after.txt").write_text("A text behind it.")
    session = new_session(page)
    choose(page, tmp_path / "damaged.docx", tmp_path / "after.txt")
    expect(row(page, "damaged.docx")).to_have_class("failed")
    expect(row(page, "damaged.docx")).to_contain_text("docx")
    must_be_read(page, "after.txt")
    assert text_of(http, session) == b"A text behind it."
