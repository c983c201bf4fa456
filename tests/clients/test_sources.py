"""Sources in the Python client and the command line: where an answer is from, and that it is not in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import weights
from onceread import AsyncOnceread, Onceread, Source
from onceread.cli.source_lines import EXCERPT_CHARACTERS, excerpt, source_lines
from onceread.errors import TextNotFound
from onceread.results import Answer, MemoryUsed, Usage
from testing.models import EPISODIC, prose, random_model
from testing.serving import Server
from tests.clients.command_line import CommandLine
from tests.model.mechanisms.episodic.texts import TOKENIZER

TEXT = prose(5, 4_000)
QUESTION = "Who came upon the quoted House?"
NOWHERE = "Zyzzyva qophs?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose memory can name places of the text."""
    folder = tmp_path_factory.mktemp("sources")
    config = replace(EPISODIC, recall_tokens=48, capacity_tokens=8_000)
    weights.save(folder / "weights", random_model(config), TOKENIZER, torch.float32)
    with Server(folder / "weights", "memory://") as server:
        with Onceread(server.url) as client:
            client.sessions.create(id="book").read(TEXT)
            client.sessions.create(id="empty")
        yield server


def test_an_answer_has_its_sources_best_first(client: Onceread) -> None:
    session = client.sessions.get("book")
    answer = session.ask(QUESTION, max_tokens=4, sources=5)
    assert len(answer.sources) == 5
    assert all(isinstance(source, Source) and source.document is None for source in answer.sources)
    for source in answer.sources:
        place = TEXT.encode()[source.offset : source.offset + source.bytes]
        assert source.text == place.decode(errors="ignore")
    assert answer.sources == sorted(answer.sources, key=lambda source: -source.score)
    with session.ask(QUESTION, stream=True, max_tokens=4, sources=5) as stream:
        for _ in stream:
            pass
        assert stream.answer is not None
        assert stream.answer.sources == answer.sources
    here, nowhere = session.ask_all([QUESTION, NOWHERE], max_tokens=4, sources=5)
    assert (here.sources, nowhere.found) == (answer.sources, False)


@pytest.mark.anyio
async def test_the_asynchronous_client_has_them_too(async_client: AsyncOnceread, client: Onceread) -> None:
    session = await async_client.sessions.get("book")
    answer = await session.ask(QUESTION, max_tokens=4)
    assert answer.sources == client.sessions.get("book").ask(QUESTION, max_tokens=4).sources
    assert (await (await async_client.sessions.get("empty")).ask(QUESTION, max_tokens=4)).found is False


@pytest.mark.anyio
async def test_the_text_around_a_source_is_read_back(async_client: AsyncOnceread, client: Onceread) -> None:
    session = client.sessions.get("book")
    for source in session.ask(QUESTION, max_tokens=4, sources=5).sources:
        found = session.text(source.offset, source.bytes)
        place = TEXT.encode()[found.offset : found.offset + found.bytes]
        assert (found.text, found.document) == (place.decode(), None)
        assert found.text == source.text
    assert session.text(0).text == TEXT.encode()[:4096].decode(errors="ignore")
    assert await (await async_client.sessions.get("book")).text(0, 100) == session.text(0, 100)
    session.snapshot("then")
    assert session.text(0, 100, snapshot="then") == session.text(0, 100)
    with pytest.raises(TextNotFound, match=f"ends at {len(TEXT.encode())}") as missing:
        session.text(len(TEXT.encode()))
    assert missing.value.members == {"next_offset": None}


def test_the_command_line_shows_the_best_source_under_the_answer(server: Server, tmp_path: Path) -> None:
    onceread = CommandLine(server.url, tmp_path)
    whole = onceread("ask", "book", QUESTION, "--max-tokens", "4", "--json").value["answer"]
    best = whole["sources"][0]
    assert len(whole["sources"]) == 3
    shown = onceread("ask", "book", QUESTION, "--max-tokens", "4").out
    assert f"  byte {best['offset']:,}: {excerpt(best['text'], whole['text'])}" == shown.splitlines()[-1]
    assert shown.count("  byte ") == 1
    assert onceread("ask", "book", QUESTION, "--max-tokens", "4", "--sources", "3").out.count("  byte ") == 3
    assert "  byte " not in onceread("ask", "book", QUESTION, "--max-tokens", "4", "--sources", "0").out
    assert onceread("ask", "book", QUESTION, "--sources", "17").status == 2


def test_the_command_line_says_what_is_not_in_the_text(server: Server, tmp_path: Path) -> None:
    onceread = CommandLine(server.url, tmp_path)
    assert onceread("ask", "book", NOWHERE).out == "Not in the text.\n"
    assert onceread("ask", "empty", QUESTION, "--max-tokens", "4").out.endswith("\n  (not in the text)\n")


def answer(text: str, found: bool | None, *sources: Source) -> Answer:
    return Answer(text, "stop", Usage(1, 1, 1), MemoryUsed(1, 1, "host", 0.0), found=found, sources=list(sources))


def test_a_source_is_shown_with_its_document_and_offset() -> None:
    lines = source_lines(answer("Kofi", None, Source(1204113, 9, "Kofi ran.", 2.0, "a.txt"), Source(7, 4, "Kofi", 1.0)))
    assert lines == ["  a.txt, byte 1,204,113: Kofi ran.", "  byte 7: Kofi"]
    assert source_lines(answer("Kofi", True)) == []
    assert source_lines(answer("Kofi", False, Source(7, 4, "Kofi", 0.0))) == ["  (not in the text)"]


def test_an_excerpt_shows_the_part_with_the_answer() -> None:
    text = "before " * 40 + "Kofi\nsold\x1b[2J the zebra. " + "after " * 40
    shown = excerpt(text, "The zebra.")
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "Kofi sold [2J the zebra." in shown
    assert excerpt(text, "nothing of it").startswith("before before")


@given(st.text(max_size=600), st.text(max_size=30))
def test_an_excerpt_is_one_line_of_bounded_length_for_any_text(text: str, wanted: str) -> None:
    shown = excerpt(text, wanted)
    assert len(shown) <= EXCERPT_CHARACTERS + 2
    assert shown == "" or shown.isprintable()
