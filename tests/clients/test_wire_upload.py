"""Uploads: whatever fails, the session's text ends as the source, or an error says why not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceread import errors
from onceread._sync.sources import TextSource
from onceread.sources import Readable, open_source
from onceread.wire.retries import Retries
from onceread.wire.sessions import SessionHandle
from onceread.wire.upload import DURABLE_BYTES, PIECE_BYTES_MIN, Upload
from tests.clients.model_server import Fate, ModelServer

# More patience than an example has failures in a row.
PATIENT = Retries(attempts=60, patience_seconds=1e9)

texts = st.binary(min_size=0, max_size=600)
fates = st.lists(st.sampled_from(Fate), max_size=40)


def read(
    server: ModelServer,
    source: TextSource,
    handle: SessionHandle | None = None,
    at: int | None = None,
    retries: Retries = PATIENT,
    piece_bytes: int = 128 * 1024,
) -> Any:
    upload = Upload(handle or SessionHandle("s"), at, source.total_bytes, retries, piece_bytes)
    return server.carry_out(upload.flow(wait=True), source)


def grown(seed: bytes) -> bytes:
    """A text of up to some durable pieces, that differs everywhere."""
    return b"".join(bytes([number % 251]) + seed for number in range(1500))


def source(kind: str, text: bytes) -> TextSource:
    def pieces() -> Iterator[bytes]:
        return (text[start : start + 70_000] for start in range(0, len(text), 70_000))

    kinds: dict[str, Readable] = {"file": io.BytesIO(text), "once": pieces(), "anew": pieces}
    return open_source(kinds[kind])


@given(texts, texts, fates, st.sampled_from(["file", "once", "anew"]), st.sampled_from([7, 100, 300]))
def test_the_text_ends_as_the_source_whatever_fails(
    before: bytes, seed: bytes, fates: list[Fate], kind: str, piece_kib: int
) -> None:
    text = grown(seed)
    server = ModelServer(iter(fates), durable_bytes=64 * 1024)
    server.text = before
    final = read(server, source(kind, text), piece_bytes=piece_kib * 1024)
    assert server.text == before + text
    assert (final.accepted_bytes, final.read_bytes) == (len(text), len(text))
    assert server.emitted[-1] == final


@given(texts.filter(bool), fates, st.integers(0, 1000), st.integers(0, 100))
def test_another_process_resumes_an_interrupted_upload(
    seed: bytes, fates: list[Fate], done_permille: int, at: int
) -> None:
    text = grown(seed)
    server = ModelServer(iter(fates), durable_bytes=64 * 1024)
    server.text = b"x" * at + text[: len(text) * done_permille // 1000]
    read(server, source("file", text), at=at)
    assert server.text == b"x" * at + text


@given(fates, st.lists(st.integers(0, 1000), max_size=4), st.sampled_from(["file", "anew"]))
def test_lost_text_is_sent_again_from_where_it_survived(
    fates: list[Fate], survived_permille: list[int], kind: str
) -> None:
    text = grown(b"some seed " * 20)
    server = ModelServer(iter(fates), durable_bytes=16 * 1024)
    server.rollbacks = [len(text) * permille // 1000 for permille in survived_permille]
    handle = SessionHandle("s")
    read(server, source(kind, text), handle, piece_bytes=32 * 1024)
    assert server.text == text
    assert handle.receipt == str(len(text))


def test_lost_text_of_a_source_that_comes_once_is_an_error() -> None:
    text = grown(b"some seed " * 50)
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    handle = SessionHandle("s")
    server.rollbacks = [10, 1 << 20, 1 << 20]
    with pytest.raises(errors.TextRolledBack):
        read(server, source("once", text), handle)
    assert handle.receipt is not None, "a later call must get the same error"


def test_lost_text_before_the_source_is_an_error() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text, server.rollbacks = b"what was there", [3]
    with pytest.raises(errors.TextRolledBack):
        read(server, source("file", b"more"), SessionHandle("s", receipt="14"))


def test_nothing_is_appended_after_the_loss_of_text_that_a_receipt_covers() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text = b"what"
    handle = SessionHandle("s", receipt="14")
    with pytest.raises(errors.TextRolledBack):
        read(server, source("file", b"more"), handle)
    assert (server.text, handle.receipt) == (b"what", "14")


@given(st.binary(min_size=1, max_size=100), st.integers(0, 2))
def test_another_source_is_detected_at_resume(seed: bytes, pieces: int) -> None:
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


def test_text_of_another_writer_in_between_is_a_conflict() -> None:
    class Intruded(ModelServer):
        def _answer(self, request: Any, fate: Fate) -> Any:
            if fate is Fate.LOST_BEFORE:
                self.text += b"his"
            return super()._answer(request, fate)

    server = Intruded(iter([Fate.WELL, Fate.LOST_BEFORE]), durable_bytes=64 * 1024)
    with pytest.raises(errors.ContentConflict):
        read(server, source("file", b"mine"))
    assert server.text == b"his"


def test_resume_accepts_the_expected_offset_of_a_server_without_the_old_bytes() -> None:
    text = grown(b"some seed " * 50)
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text = text[:500_000]
    server.forgotten_bytes = 500_000
    read(server, source("file", text), at=0)
    assert server.text == text


def test_no_text_is_skipped_after_text_of_another_writer() -> None:
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


def test_a_server_that_always_expects_another_offset_ends_in_an_error() -> None:
    server = ModelServer(iter([]), durable_bytes=64 * 1024)
    server.text, server.forgotten_bytes = b"0123", 1 << 40
    with pytest.raises(errors.OffsetMismatch):
        read(server, source("file", b"0123456789"), at=0)


def test_progress_resets_retries_and_pieces_shrink_after_failures() -> None:
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
def test_retries_end(fate: Fate, attempts: int) -> None:
    server = ModelServer(iter([Fate.WELL] + [fate] * 100), durable_bytes=64 * 1024)
    with pytest.raises((errors.ConnectionFailed, errors.StoreUnavailable)):
        read(server, source("file", b"text"), retries=Retries(attempts=attempts))
    assert len(list(server.fates)) == 100 - attempts


def test_an_overloaded_server_is_retried_for_patience_seconds() -> None:
    server = ModelServer(iter([Fate.OVERLOADED] * 1000), durable_bytes=64 * 1024)
    with pytest.raises(errors.Overloaded):
        read(server, source("file", b"text"), retries=Retries(attempts=2, patience_seconds=50))
    assert 50 - 9 < server.paused_seconds <= 50
