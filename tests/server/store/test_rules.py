"""The open bytes of a text, those of an incomplete character at its end, for every way to cut the text."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.store import rules
from tests.server.store.samples import record

texts = st.text(st.sampled_from("aé第😀"), max_size=6).map(str.encode)
places = st.lists(st.floats(0, 1), max_size=6)


def is_whole(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def open_bytes(text: bytes) -> bytes:
    """The same by definition: the shortest end without which the text is valid UTF-8."""
    return next(text[end:] for end in range(len(text), -1, -1) if is_whole(text[:end]))


def cut(text: bytes, at: list[float]) -> list[bytes]:
    ends = [0, *sorted(round(place * len(text)) for place in at)]
    return [text[start:end] for start, end in pairwise(ends)]


@given(texts, places)
def test_a_growing_record_has_the_open_bytes_of_its_text(text: bytes, at: list[float]) -> None:
    grown, accepted = record(), b""
    for piece in cut(text, at):
        grown, accepted = rules.grown(grown, piece, at=2.0), accepted + piece
        assert grown.open_bytes == open_bytes(accepted)


@given(texts, places)
def test_unknown_open_bytes_become_correct_or_stay_unknown(text: bytes, at: list[float]) -> None:
    begun, *pieces = cut(text, at) or [b""]
    grown, accepted = replace(record(), open_bytes=None), begun
    for piece in pieces:
        grown, accepted = rules.grown(grown, piece, at=2.0), accepted + piece
        assert grown.open_bytes in (open_bytes(accepted), None)
        if len(piece) > 2:
            assert grown.open_bytes is not None


def test_open_bytes_of_characters_cut_at_every_place() -> None:
    split = "第".encode()
    assert rules.open_bytes(b"", b"a" + split[:1]) == split[:1]
    assert rules.open_bytes(split[:1], split[1:2]) == split[:2]
    assert rules.open_bytes(split[:2], split[2:]) == b""
    assert rules.open_bytes(split[:2], b"") == split[:2]
    assert (rules.open_bytes(None, split[1:]), rules.open_bytes(None, b"")) == (None, None)
    assert rules.open_bytes(None, "😀".encode()[1:]) == b""
