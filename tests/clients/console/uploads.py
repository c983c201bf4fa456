"""Texts on their way from the page into a session: a server that gives them back, and the rows that show them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import torch
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from model import weights
from testing.models import EPISODIC, prose, random_model
from testing.serving import Server
from tests.model.mechanisms.episodic.texts import TOKENIZER

NOVEL = prose(3, 380_000)
# Two pieces of 1 MiB and a half.
LONG = (prose(7, 100_000) * 30).encode()[: 5 * 1024 * 512].decode(errors="ignore")
READ_MILLISECONDS = 120_000
MIB = 1 << 20
LINE = b"A line of text as long as lines are, and after it comes another, and another.\n"


def save_weights(folder: Path) -> Path:
    """Weights that keep all of a text, so that it can be compared."""
    config = replace(EPISODIC, segment_tokens=64, recall_tokens=128, window_tokens=1024, capacity_tokens=1 << 26)
    weights.save(folder, random_model(config), TOKENIZER, torch.float32)
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server with those weights and a store that outlives it, both in a folder."""
    with Server(save_weights(folder / "weights"), f"sqlite:///{folder / 'store'}") as server:
        yield server


def written(file: Path, mib: int) -> Path:
    """The file, with so much text."""
    piece = (LINE * (MIB // len(LINE) + 1))[:MIB]
    with file.open("wb") as out:
        for _ in range(mib):
            out.write(piece)
    return file


class Gate:
    """Lets some pieces of uploads through, and holds the others until it is opened."""

    def __init__(self, page: Page | BrowserContext, pieces: int) -> None:
        self._left = pieces
        self._held: list[Route] = []
        self.offsets: list[int] = []
        page.route("**/v1/sessions/*/text?document=*", self._arrive)

    def _arrive(self, route: Route) -> None:
        self.offsets.append(int(route.request.headers["upload-offset"]))
        if self._left > 0:
            self._left -= 1
            route.continue_()
        else:
            self._held.append(route)

    def open(self) -> None:
        self._left = 1 << 30
        while self._held:
            self._held.pop().continue_()


def new_session(page: Page) -> str:
    """Creates a session with the page's button; returns its id."""
    page.get_by_role("button", name="New session").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    return page.url.rpartition("/")[2]


def choose(page: Page, *files: Path, button: str = "Choose files") -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(files)


def row(page: Page, name: str) -> Locator:
    return page.locator(".uploads > li").filter(has=page.get_by_text(name, exact=True))


def must_be_read(page: Page, name: str) -> None:
    """Waits until a text has been read."""
    expect(row(page, name)).to_have_class("finished", timeout=READ_MILLISECONDS)


def text_of(http: httpx.Client, session: str) -> bytes:
    """All text of a session, as its memory gives it back."""
    accepted = http.get(f"/v1/sessions/{session}").json()["text"]["accepted_bytes"]
    found = bytearray()
    while len(found) < accepted:
        reply = http.get(f"/v1/sessions/{session}/text", params={"offset": len(found), "bytes": 65_536})
        assert reply.status_code == 200, reply.text
        assert reply.json()["bytes"] > 0
        found += reply.json()["text"].encode()
    return bytes(found)
