"""Sessions on the page: listed, searched, renamed, forked, deleted after a question, and carried as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from testing.browser import Tabs
from testing.replies import created, eventually
from testing.serving import Server
from tests.clients.console.general import QUESTION, address, answered, read_book


@pytest.fixture(scope="module")
def server(general_weights: Path) -> Iterator[Server]:
    with Server(general_weights, "memory://") as server:
        yield server


@pytest.fixture
def book(http: httpx.Client) -> str:
    return read_book(http, "A book")


def heading(page: Page, title: str) -> None:
    expect(page.get_by_role("main").get_by_role("heading", name=title, exact=True)).to_be_visible()


def test_a_new_session_is_opened_and_renamed(page: Page, http: httpx.Client) -> None:
    page.get_by_role("button", name="New session").click()
    heading(page, "Untitled session")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Title").fill("Émile, ou de l'éducation")
    page.get_by_role("button", name="Save").click()
    heading(page, "Émile, ou de l'éducation")
    expect(page.locator(".sessions [aria-current=page]")).to_contain_text("Émile")
    session = page.url.rsplit("/", 1)[1]
    assert http.get(f"/v1/sessions/{session}").json()["metadata"]["title"] == "Émile, ou de l'éducation"


def test_the_search_finds_a_session_beyond_the_first_page(tabs: Tabs, http: httpx.Client) -> None:
    created(http, metadata={"title": "The oldest needle"})
    for number in range(101):
        created(http, metadata={"title": f"Hay {number}"})
    page = tabs.open()
    expect(page.locator(".sessions > li")).to_have_count(100)
    search = page.get_by_role("searchbox")
    search.fill("OLDEST")
    expect(page.locator(".sessions > li")).to_have_count(1)
    page.get_by_role("link", name="The oldest needle").click()
    heading(page, "The oldest needle")
    search.fill("no such session")
    expect(page.get_by_text("No session matches.")).to_be_visible()


def test_a_fork_answers_the_same_and_outlives_its_source(tabs: Tabs, book: str) -> None:
    page = tabs.open(address(book))
    expected = answered(page, QUESTION).locator(".text").inner_text()
    page.get_by_role("button", name="Fork").click()
    heading(page, "A book (copy)")
    page.go_back()
    heading(page, "A book")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Read a text, then ask about it")).to_be_visible()
    page.locator(".sessions a", has_text="A book (copy)").first.click()
    heading(page, "A book (copy)")
    assert answered(page, QUESTION).locator(".text").inner_text() == expected


def test_a_deletion_asks_first(tabs: Tabs, book: str, http: httpx.Client) -> None:
    page = tabs.open(address(book))
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog", name="Delete “A book”?")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    heading(page, "A book")
    assert http.get(f"/v1/sessions/{book}").status_code == 200


def test_a_snapshot_is_taken_restored_and_deleted(tabs: Tabs, book: str, http: httpx.Client) -> None:
    before = http.get(f"/v1/sessions/{book}").json()["text"]["read_bytes"]
    page = tabs.open(address(book))
    page.get_by_role("button", name="Snapshots").click()
    page.get_by_label("Name of a new snapshot").fill("first")
    page.get_by_role("button", name="Take").click()
    expect(page.locator(".snapshots")).to_contain_text("first")
    assert http.post(f"/v1/sessions/{book}/text", params={"wait": "read"}, content=b"More.").is_success
    page.get_by_role("button", name="Restore first").click()
    page.get_by_role("dialog", name="Restore “first”?").get_by_role("button", name="Restore").click()
    eventually(lambda: http.get(f"/v1/sessions/{book}").json()["text"]["read_bytes"] == before)
    page.get_by_role("button", name="Delete first").click()
    page.get_by_role("dialog", name="Delete the snapshot").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There is no snapshot yet.")).to_be_visible()


def test_a_memory_is_downloaded_and_uploaded_as_a_session_that_answers_the_same(
    tabs: Tabs, book: str, tmp_path: Path
) -> None:
    page = tabs.open(address(book))
    expected = answered(page, QUESTION).locator(".text").inner_text()
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download memory").click()
    assert downloaded.value.suggested_filename == "A-book.safetensors"
    file = tmp_path / "copy.safetensors"
    downloaded.value.save_as(file)
    page.locator("#sidebar input[type=file]").set_input_files(file)
    page.wait_for_url(lambda url: not url.endswith(book))
    expect(page.locator(".answers > li")).to_have_count(0)
    assert answered(page, QUESTION).locator(".text").inner_text() == expected


@pytest.mark.parametrize("end", ["unknown", "deleted"])
def test_the_address_of_a_session_that_is_gone_says_so(tabs: Tabs, book: str, http: httpx.Client, end: str) -> None:
    tabs.expect("status of (404|410)")
    if end == "deleted":
        assert http.delete(f"/v1/sessions/{book}").is_success
    page = tabs.open(address(book if end == "deleted" else "unknown"))
    expect(page.get_by_text("This session does not exist. It may have been deleted, or have expired.")).to_be_visible()


def test_an_expired_session_says_so(tabs: Tabs, http: httpx.Client) -> None:
    tabs.expect("status of (404|410)")
    session = created(http, ttl_seconds=1)
    eventually(lambda: http.get("/v1/sessions").json()["data"][0]["id"] != session)
    page = tabs.open(address(session))
    expect(page.get_by_text("This session does not exist.")).to_be_visible()


def test_back_and_forward_move_between_sessions(tabs: Tabs, http: httpx.Client) -> None:
    for title in ("One", "Two"):
        created(http, metadata={"title": title})
    page = tabs.open()
    for title in ("One", "Two"):
        page.get_by_role("link", name=title, exact=False).first.click()
        heading(page, title)
    page.go_back()
    heading(page, "One")
    page.go_forward()
    heading(page, "Two")


def test_two_sessions_side_by_side_keep_their_questions_apart(tabs: Tabs, book: str, http: httpx.Client) -> None:
    left = tabs.open(address(book))
    right = left.context.new_page()
    right.goto(address(read_book(http, "Another book", "Nobody came. " * 50)))
    answered(left, QUESTION)
    heading(right, "Another book")
    expect(right.locator(".answers > li")).to_have_count(0)
    heading(left, "A book")
