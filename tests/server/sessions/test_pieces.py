"""Bodies are cut into durable pieces that join to them, and whatever is not UTF-8 is refused at its very byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.sessions.errors import InvalidUtf8
from server.sessions.pieces import Passage, TextCheck, pieces
from server.store import rules
from server.store.base import PIECE_BYTES_MAX

CUTS = st.lists(st.integers(0, 60), max_size=8)
# Bytes that begin, go on with and break characters, more often than chance would have it.
BYTES = st.lists(st.sampled_from([*b"a\x80\xbf\xc0\xc3\xa9\xe2\xed\xa0\xf0\x9f\x99\x82\xf5\xff"]), max_size=12).map(
    bytes
)
ANY = BYTES | st.text().map(str.encode) | st.builds(lambda text, tail: text.encode() + tail, st.text(), BYTES)


def cut(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(place, len(whole)) for place in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(places)]


def first_bad_byte(whole: bytes) -> int | None:
    """Where the text stops being UTF-8; a character that it ends inside may still become whole."""
    try:
        whole.decode()
    except UnicodeDecodeError as error:
        return None if error.reason == "unexpected end of data" else error.start
    return None


def refused_at(before: bytes | None, parts: list[bytes], accepted_bytes: int = 0) -> int | None:
    """The byte of the body that is refused."""
    text = TextCheck(before, accepted_bytes)
    for part in parts:
        try:
            text.check(part)
        except InvalidUtf8 as error:
            return int(error.detail.split()[1])
    return None


async def chunked(passages: list[Passage]) -> AsyncIterator[Passage]:
    for passage in passages:
        yield passage


def pieces_of(passages: list[Passage]) -> list[Passage]:
    async def gathered() -> list[Passage]:
        return [piece async for piece in pieces(chunked(passages))]

    return asyncio.run(gathered())


@given(st.text(), CUTS)
def test_valid_utf8_is_accepted_at_any_cut(text: str, cuts: list[int]) -> None:
    assert refused_at(b"", cut(text.encode(), cuts)) is None


@given(ANY, CUTS)
def test_invalid_utf8_is_refused_at_its_byte_at_any_cut(whole: bytes, cuts: list[int]) -> None:
    assert refused_at(b"", cut(whole, cuts)) == first_bad_byte(whole)


@given(st.text(), st.integers(0, 60), CUTS, BYTES)
def test_a_body_may_begin_inside_the_character_that_the_text_ends_inside(
    text: str, place: int, cuts: list[int], tail: bytes
) -> None:
    whole = text.encode() + tail
    place = min(place, len(text.encode()))
    bad = first_bad_byte(whole)
    expected = None if bad is None else max(0, bad - place)
    assert refused_at(whole[max(0, place - 3) : place], cut(whole[place:], cuts)) == expected


@example("\u0800", 1, 3, [1], b"")
@example("\u0800", 1, 2, [1], b"")
@given(st.text(), st.integers(0, 60), st.integers(0, 60), CUTS, BYTES)
def test_a_body_that_repeats_accepted_text_is_checked_as_the_rest_of_it(
    text: str, place: int, end: int, cuts: list[int], tail: bytes
) -> None:
    """The text is accepted up to `end`, which may be inside a character; the body repeats it from `place` on."""
    encoded = text.encode()
    end = min(end, len(encoded))
    place = min(place, end)
    whole = encoded[:end] + tail
    opened = rules.open_bytes(b"", encoded[:end])
    bad = first_bad_byte(whole)
    expected = None if bad is None else max(0, bad - place)
    assert refused_at(opened, cut(whole[place:], cuts), end - place) == expected


@pytest.mark.parametrize("parts", [[b"a\xed\xbf"], [b"a\xed", b"\xbf"]])
def test_the_beginning_of_a_surrogate_is_refused_at_the_end_of_a_body_too(parts: list[bytes]) -> None:
    assert refused_at(b"", parts) == 1


@given(st.text(min_size=1), st.integers(0, 60))
def test_if_the_previous_text_is_trimmed_a_body_may_begin_inside_any_character(text: str, place: int) -> None:
    assert refused_at(None, [text.encode()[place:]]) is None


@pytest.mark.parametrize(("body", "byte"), [(b"\x80" * 4, 3), (b"\xff", 0), (b"\x80\xff", 1), (b"a\x80", 1)])
def test_a_body_may_begin_with_at_most_three_continuation_bytes(body: bytes, byte: int) -> None:
    assert refused_at(None, [body]) == byte


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES_MAX - 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX])
@pytest.mark.parametrize("chunk_bytes", [999, 65_536, PIECE_BYTES_MAX, 1 << 20])
def test_pieces_join_to_the_body_and_do_not_depend_on_its_chunks(size: int, chunk_bytes: int) -> None:
    body = bytes(number % 251 for number in range(size))
    chunks = [Passage(body[start : start + chunk_bytes]) for start in range(0, size, chunk_bytes)]
    found = [piece.data for piece in pieces_of(chunks)]
    assert b"".join(found) == body
    assert [len(piece) for piece in found[:-1]] == [PIECE_BYTES_MAX] * (len(found) - 1)
    assert all(0 < len(piece) <= PIECE_BYTES_MAX for piece in found)


DOCUMENTS = st.sampled_from([None, "Emma", "第一章"])


@given(st.lists(st.tuples(st.binary(max_size=9), DOCUMENTS), max_size=6))
def test_pieces_are_of_one_document_each_and_join_to_its_text(parts: list[tuple[bytes, str | None]]) -> None:
    passages = [Passage(part * 40_000, document) for part, document in parts]
    found = pieces_of(passages)
    assert joined(found) == joined(passages)
    for piece, next_ in pairwise(found):
        assert len(piece.data) == PIECE_BYTES_MAX or piece.document != next_.document
    assert all(0 < len(piece.data) <= PIECE_BYTES_MAX for piece in found)


def joined(passages: list[Passage]) -> list[Passage]:
    """The passages, those of one document after the other as one."""
    whole = groupby((passage for passage in passages if passage.data), key=lambda passage: passage.document)
    return [Passage(b"".join(passage.data for passage in group), document) for document, group in whole]
