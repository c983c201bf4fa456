"""Files of other formats on the page of a server beside which the client is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.serving import ROOT, Server
from tests.clients import documents
from tests.clients.console.uploads import choose, must_be_read, new_session, row, serving, text_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "clients" / "python" / "src"))
        with serving(tmp_path_factory.mktemp("extracting")) as server:
            yield server


def test_the_text_of_other_formats_is_extracted_and_read(page: Page, http: httpx.Client, tmp_path: Path) -> None:
    body = documents.paragraph("Mary went home.") + documents.paragraph("John stayed.")
    documents.docx(tmp_path / "letter.docx", body)
    (tmp_path / "page.htm").write_text("<h1>Two</h1><p>Sandra left.</p><script>none()</script>")
    session = new_session(page)
    expect(page.get_by_text("also .docx, .epub, .html, .md, .pdf")).to_be_visible()
    choose(page, tmp_path / "letter.docx", tmp_path / "page.htm")
    for name in ("letter.docx", "page.htm"):
        must_be_read(page, name)
    text = text_of(http, session).decode()
    assert "Mary went home." in text
    assert text.index("John stayed.") < text.index("Two") < text.index("Sandra left.")
    assert "none()" not in text
    assert [document["name"] for document in http.get(f"/v1/sessions/{session}/documents").json()["data"]] == [
        "letter.docx",
        "page.htm",
    ]


def test_a_damaged_file_is_refused_and_the_next_is_read(
    page: Page, tabs: Tabs, http: httpx.Client, tmp_path: Path
) -> None:
    tabs.expect("status of 422")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nno more of it")
    (tmp_path / "after.md").write_text("# Three\n\nDaniel came.")
    session = new_session(page)
    choose(page, tmp_path / "broken.pdf", tmp_path / "after.md")
    must_be_read(page, "after.md")
    expect(row(page, "broken.pdf")).to_have_class("failed")
    expect(row(page, "broken.pdf").locator(".state")).not_to_be_empty()
    assert "Daniel came." in text_of(http, session).decode()
