"""A source's way into a session: whatever is lost underway, the text ends as the source, or an error says why not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceread import errors
from onceread._sync.sources import Source
from onceread.sources import Readable, open_source
from onceread.wire.handle import Handle
from onceread.wire.reading import DURABLE_BYTES, PIECE_BYTES_MIN, Reading
from onceread.wire.retrying import Retries
from tests.clients.model_server import Fate, ModelServer

# More patience than an example has failures in a row.
PATIENT = Retries(attempts=60, patience_seconds=1e9)

texts = st.binary(min_size=0, max_size=600)
fates = st.lists(st.sampled_from(Fate), max_size=40)


def read(
    server: ModelServer,
    source: Source,
    handle: Handle | None = None,
    at: int | None = None,
    retries: Retries = PATIENT,
    piece_bytes: int = 128 * 1024,
) -> Any:
    reading = Reading(handle or Handle("s"), at, source.total_bytes, retries, piece_bytes)
    return server.carry_out(reading.flow(wait=True), source)


def grown(seed: bytes) -> bytes:
    """A text of up to some durable pieces, that differs everywhere."""
    return b"".join(bytes([number % 251]) + seed for number in range(1500))


def source(kind: str, text: bytes) -> Source:
    def pieces() -> Iterator[bytes]:
        return (text[start : start + 70_000] for start in range(0, len(text), 70_000))

    kinds: dict[str, Readable] = {"file": io.BytesIO(text), "once": pieces(), "anew": pieces}
    return open_source(kinds[kind])


@given(texts, texts, fates, st.sampled_from(["file", "once", "anew"]), st.sampled_from([7, 100, 300]))
def test_whatever_is_lost_underway_the_text_ends_as_the_source(
    before: bytes, seed: bytes, fates: list[Fate], kind: str, piece_kib: int
) -> None:
    text = grown(seed)
    server = ModelServer(iter(fates), durable_bytes=64 * 1024)
    server.text = before
    final = read(server, source(kind, text), piece_bytes=piece_kib * 1024)
    assert server.text == before + text
    assert (final.accepted_bytes, final.read_bytes) == (len(text), len(text))
    assert server.told[-1] == final


@given(texts.filter(bool), fates, st.integers(0, 1000), st.integers(0, 100))
def test_what_was_broken_off_is_gone_on_with_by_another_process(
    seed: bytes, fates: list[Fate], done_permille: int, at: int
) -> None:
    text = grown(seed)
    server = ModelServer(iter(fates), durable_bytes=64 * 1024)
    server.text = b"x" * at + text[: len(text) * done_permille // 1000]
    read(server, source("file", text), at=at)
    assert server.text == b"x" * at + text


@given(fates, st.lists(st.integers(0, 1000), max_size=4), st.sampled_from(["file", "anew"]))
def test_a_store_that_goes_back_gets_the_text_again_from_where_it_survived(
    fates: list[Fate], survived_permille: list[int], kind: str
) -> None:
    text = grown(b"some seed " * 20)
    server = ModelServer(iter(fates), durable_bytes=16 * 1024)
    server.rollbacks = [len(text) * permille // 1000 for permille in survived_permille]
    handle = Handle("s")
    read(server, source(kind, text), handle, piece_bytes=32 * 1024)
    assert server.text == text
    assert handle.receipt == str(len(text))


def test_a_source_that_comes_once_can_not_make_good_what_the_store_lost() -> None:
    text = grown(b"some seed " * 50)
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    handle = Handle("s")
    server.rollbacks = [10, 1 << 20, 1 << 20]
    with pytest.raises(errors.TextRolledBack):
        read(server, source("once", text), handle)
    assert handle.receipt is not None, "whoever goes on must be told again"


def test_text_of_before_the_source_that_is_lost_is_an_error() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text, server.rollbacks = b"what was there", [3]
    with pytest.raises(errors.TextRolledBack):
        read(server, source("file", b"more"), Handle("s", receipt="14"))


def test_nothing_is_put_where_the_store_lost_what_a_receipt_stands_for() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text = b"what"
    handle = Handle("s", receipt="14")
    with pytest.raises(errors.TextRolledBack):
        read(server, source("file", b"more"), handle)
    assert (server.text, handle.receipt) == (b"what", "14")


@given(st.binary(min_size=1, max_size=100), st.integers(0, 2))
def test_another_source_is_found_out_when_reading_goes_on(seed: bytes, pieces: int) -> None:
    text = grown(seed)[: DURABLE_BYTES * pieces + 5000]
    server = ModelServer(iter([]), durable_bytes=DURABLE_BYTES)
    server.text = text[: len(text) - 1000]
    other = text[:-1001] + bytes([text[-1001] ^ 1]) + text[-1000:]
    with pytest.raises(errors.ContentConflict):
        read(server, source("file", other), at=0)
    assert server.text == text[:-1000]


def test_a_shorter_source_and_one_that_begins_too_late_are_refused() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text = b"0123456789"
    with pytest.raises(errors.SourceMismatch, match="has 8 bytes of text and the source only 3"):
        read(server, source("file", b"234"), at=2)
    with pytest.raises(errors.SourceMismatch, match="ends at offset 10, before 11"):
        read(server, source("file", b"more"), at=11)


def test_text_that_somebody_else_puts_in_between_is_a_conflict_and_not_mixed() -> None:
    class Intruded(ModelServer):
        def _answer(self, request: Any, fate: Fate) -> Any:
            if fate is Fate.LOST_BEFORE:
                self.text += b"his"
            return super()._answer(request, fate)

    server = Intruded(iter([Fate.WELL, Fate.LOST_BEFORE]), durable_bytes=64 * 1024)
    with pytest.raises(errors.ContentConflict):
        read(server, source("file", b"mine"))
    assert server.text == b"his"


def test_a_server_that_has_forgotten_what_came_before_is_believed_when_reading_goes_on() -> None:
    text = grown(b"some seed " * 50)
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text = text[:500_000]
    server.forgotten_bytes = 500_000
    read(server, source("file", text), at=0)
    assert server.text == text


def test_no_text_is_skipped_for_text_of_somebody_else_that_the_server_has_forgotten() -> None:
    class Intruded(ModelServer):
        def _answer(self, request: Any, fate: Fate) -> Any:
            if fate is Fate.LOST_BEFORE:
                self.text += b"his"
                self.forgotten_bytes = len(self.text)
            return super()._answer(request, fate)

    server = Intruded(iter([Fate.WELL, Fate.LOST_BEFORE]), durable_bytes=64 * 1024)
    with pytest.raises(errors.OffsetMismatch):
        read(server, source("file", b"mine and more"))
    assert server.text == b"his"


def test_a_server_that_does_not_know_what_it_wants_is_not_asked_for_ever() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text, server.forgotten_bytes = b"0123", 1 << 40
    with pytest.raises(errors.OffsetMismatch):
        read(server, source("file", b"0123456789"), at=0)


def test_whatever_gets_on_gives_patience_anew_and_pieces_get_smaller_meanwhile() -> None:
    text = grown(b"some seed " * 20)
    # Of each five requests one gets some text through; two ask how far it is.
    fates = [Fate.LOST_BEFORE, Fate.WELL, Fate.LOST_BEFORE, Fate.WELL, Fate.WELL] * 10
    server = ModelServer(iter([Fate.WELL, *fates]), durable_bytes=16 * 1024)
    read(server, source("file", text), retries=Retries(attempts=3))
    assert server.text == text
    assert min(server.bodies[:-1]) == PIECE_BYTES_MIN
    assert max(server.bodies) == 128 * 1024


@settings(max_examples=20)
@given(st.sampled_from([Fate.LOST_BEFORE, Fate.REFUSED_CONNECTION, Fate.STORE_GONE]), st.integers(2, 12))
def test_patience_ends(fate: Fate, attempts: int) -> None:
    server = ModelServer(iter([Fate.WELL] + [fate] * 100), durable_bytes=64 * 1024)
    with pytest.raises((errors.ConnectionFailed, errors.StoreUnavailable)):
        read(server, source("file", b"text"), retries=Retries(attempts=attempts))
    assert len(list(server.fates)) == 100 - attempts


def test_an_overloaded_server_is_waited_for_as_long_as_patience_lasts() -> None:
    server = ModelServer(iter([Fate.OVERLOADED] * 1000), durable_bytes=64 * 1024)
    with pytest.raises(errors.Overloaded):
        read(server, source("file", b"text"), retries=Retries(attempts=2, patience_seconds=50))
    assert 50 - 9 < server.paused_seconds <= 50
