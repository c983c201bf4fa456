"""Tokens that no cut can change, and text that no token can break."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text_normalization import normalized
from model.tokenizer import InvalidText, StreamDecoder, TextTokenizer
from testing.models import prose
from tests.model.convert.making import STYLES, foreign_tokenizer

FOREIGN = {style: foreign_tokenizer(style) for style in STYLES}
# Where those patterns look ahead, and join what has been cut before.
AWKWARD = st.lists(
    st.sampled_from([" ", "  ", "\n", "\r\n", "'", "l", "L", "r", "e", "ve", "ll", "1", "23", "-", "é", "x", "\t"]),
    max_size=40,
).map("".join)
# Line ends and spaces of any kind, among which the tokenizer of our own makes one form.
BREAKS = st.lists(
    st.sampled_from(
        [" ", "\t", "\n", "\r", "\r\n", "\f", "\x85", "\u2028", "\u00a0", "\u3000", "\ufeff", "a", "b", "é", ".", "7"]
    ),
    max_size=60,
).map("".join)
TEXTS = st.one_of(st.text(max_size=200), BREAKS, st.integers(0, 500).map(lambda seed: prose(seed, 200)))


@given(TEXTS, st.lists(st.integers(0, 600), max_size=10))
def test_cuts_do_not_change_tokens(tokenizer: TextTokenizer, text: str, cuts: list[int]) -> None:
    data = text.encode()
    whole = tokenizer.advance(b"", data)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    ids: list[int] = []
    pending = b""
    for start, end in pairwise(places):
        new, pending = tokenizer.advance(pending, data[start:end])
        ids += new
    assert (ids, pending) == whole
    assert ids + tokenizer.flush(pending) == tokenizer.encode(text)


@pytest.mark.parametrize("style", FOREIGN)
@given(AWKWARD, st.lists(st.integers(0, 60), max_size=6))
def test_cuts_do_not_change_tokens_of_foreign_tokenisers(style: str, text: str, cuts: list[int]) -> None:
    tokenizer = FOREIGN[style]
    ids, pending = list[int](), b""
    for start, end in pairwise([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]):
        new, pending = tokenizer.advance(pending, text[start:end].encode())
        ids += new
    assert ids + tokenizer.flush(pending) == tokenizer.encode(text)


@pytest.mark.parametrize("style", FOREIGN)
def test_a_piece_of_a_foreign_tokeniser_may_be_longer_than_what_is_encoded_at_once(style: str) -> None:
    text = "a " + "-" * 150_000 + " b c d e"
    ids, pending = FOREIGN[style].advance(b"", text.encode())
    assert ids + FOREIGN[style].flush(pending) == FOREIGN[style].encode(text)
    assert len(ids) > 4


def test_special_tokens_are_encoded_in_templates_and_not_in_texts() -> None:
    tokenizer = FOREIGN["gpt2"]
    (end,) = tokenizer.encode_template("<|end|>")
    assert end == tokenizer.special_id("<|none|>", "<|end|>")
    assert end not in tokenizer.encode("a <|end|> b")
    assert tokenizer.decode([*tokenizer.encode("<|end|>"), end]) == b"<|end|>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "byte-level"),
        ({"pre_tokenizer": None}, "byte-level"),
    ],
)
def test_tokenisers_that_change_the_text_are_refused(change: dict[str, object], message: str) -> None:
    given = json.loads(FOREIGN["gpt2"].to_json())
    with pytest.raises(ValueError, match=message):
        TextTokenizer.from_json(json.dumps({**given, **change}))


@given(TEXTS)
def test_tokens_and_pending_bytes_are_the_normalized_text(tokenizer: TextTokenizer, text: str) -> None:
    ids, pending = tokenizer.advance(b"", text.encode())
    read = (tokenizer.decode(ids) + pending).decode()
    assert read.removesuffix("\r") == normalized(text.replace("\ufeff", "").removesuffix("\r"))
    assert len(read.encode()) <= len(text.encode())


@given(BREAKS, BREAKS)
def test_pending_bytes_that_were_not_normalized_are_read_on(tokenizer: TextTokenizer, before: str, text: str) -> None:
    """An earlier version left them so."""
    ids, pending = tokenizer.advance(before.encode(), text.encode())
    assert ids + tokenizer.flush(pending) == tokenizer.encode(before + text)


@pytest.mark.parametrize("style", FOREIGN)
@given(BREAKS)
def test_tokens_of_foreign_tokenisers_are_the_text_as_it_was_sent(style: str, text: str) -> None:
    ids, pending = FOREIGN[style].advance(b"", text.encode())
    assert FOREIGN[style].decode(ids) + pending == text.encode()
    assert FOREIGN[style].decode(FOREIGN[style].encode(text)) == text.encode()


@pytest.mark.parametrize("style", FOREIGN)
@given(TEXTS)
def test_the_pieces_of_tokens_are_the_text_and_special_tokens_have_none(style: str, text: str) -> None:
    tokenizer = FOREIGN[style]
    assert b"".join(tokenizer.pieces[id_] for id_ in tokenizer.encode(text)) == text.encode()
    (end,) = tokenizer.encode_template("<|end|>")
    assert tokenizer.pieces[end] == b""
    assert len(tokenizer.pieces) == tokenizer.entries


@given(st.text(min_size=1, max_size=60), st.text(max_size=60))
def test_a_final_token_is_final(tokenizer: TextTokenizer, text: str, more: str) -> None:
    ids, _ = tokenizer.advance(b"", text.encode())
    assert tokenizer.encode(text + more)[: len(ids)] == ids


@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000, "9" * 200_000, "é" * 100_000, "\n" * 70_000])
def test_a_text_without_boundaries_leaves_few_bytes_pending(tokenizer: TextTokenizer, text: str) -> None:
    ids, pending = tokenizer.advance(b"", text.encode())
    assert len(pending) <= 4 * 33
    assert tokenizer.decode(ids) + pending == normalized(text).encode()


def test_names_of_special_tokens_are_ordinary_text(tokenizer: TextTokenizer) -> None:
    text = "<|end|> <s> </s> [MASK] <|question|>"
    assert max(tokenizer.encode(text)) < tokenizer.entries == 340
    assert tokenizer.decode(tokenizer.encode(text)).decode() == text


@pytest.mark.parametrize(("data", "at_bytes"), [(b"ab\xffcd", 2), (b"\x80", 0), (b"caf\xc3(", 3), (b"\xed\xa0\x80", 0)])
def test_bytes_that_are_no_text_are_refused(tokenizer: TextTokenizer, data: bytes, at_bytes: int) -> None:
    with pytest.raises(InvalidText) as caught:
        tokenizer.advance(b"", data)
    assert caught.value.offset_bytes == at_bytes


@given(st.text(max_size=80))
def test_streamed_text_never_splits_a_character(tokenizer: TextTokenizer, text: str) -> None:
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.push(id_) for id_ in tokenizer.encode(text)] + [decoder.finish()]
    assert "".join(parts) == normalized(text).strip()


def test_an_incomplete_character_is_decoded_as_a_replacement(tokenizer: TextTokenizer) -> None:
    decoder = StreamDecoder(tokenizer)
    half = tokenizer.encode("🙂")[:1]
    assert "".join(decoder.push(id_) for id_ in half) + decoder.finish() == "�"
