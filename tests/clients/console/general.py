"""A server that names sources: small random weights with the general memory, and a book that it has read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import torch
from playwright.sync_api import Locator, Page, expect

from model import weights
from testing.models import EPISODIC, prose, random_model
from testing.replies import created
from tests.model.mechanisms.episodic.texts import TOKENIZER

# So slow that an answer takes a second.
CONFIG = replace(
    EPISODIC,
    recall_tokens=48,
    capacity_tokens=8_000,
    window_tokens=400,
    d_model=512,
    n_layers=8,
    n_heads=8,
    d_ff=1536,
)
BOOK = prose(5, 12_000)
QUESTION = "Who came upon the quoted House?"
# Words that the book does not have.
NOWHERE = "Zyzzyva qophs?"


def save_weights(folder: Path) -> Path:
    weights.save(folder, random_model(CONFIG), TOKENIZER, torch.float32)
    return folder


def read_book(http: httpx.Client, title: str, text: str = BOOK) -> str:
    """The id of a session that has read a text as the document `book.txt`."""
    session = created(http, metadata={"title": title})
    reply = http.post(
        f"/v1/sessions/{session}/text",
        params={"wait": "read", "document": "book.txt"},
        content=text.encode(),
    )
    assert reply.status_code == 200, reply.text
    return session


def address(session: str) -> str:
    return f"/#/sessions/{session}"


def ask(page: Page, question: str) -> Locator:
    """Asks on the page of a session; returns the question's card."""
    box = page.get_by_label("Your question")
    box.fill(question)
    box.press("Enter")
    card = page.locator(".answers > li").first
    expect(card.get_by_role("heading", name=question)).to_be_visible()
    return card


def answered(page: Page, question: str) -> Locator:
    """The question's card, once the answer is whole."""
    card = ask(page, question)
    expect(card.get_by_role("button", name="Copy as curl")).to_be_visible(timeout=60_000)
    return card
