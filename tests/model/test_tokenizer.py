"""Tokens that no cut can change, and text that no token can break."""

import json
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.text_normalization import normalized
from model.tokenizer import InvalidText, StreamDecoder, TextTokenizer
from testing.models import prose
from tests.model.convert.making import SPACED, STYLES, foreign_tokenizer, spaced_original

ORIGINALS = {style: spaced_original(style) for style in SPACED}
FOREIGN = {
    **{style: foreign_tokenizer(style) for style in STYLES},
    **{style: TextTokenizer.from_json(original.to_str()) for style, original in ORIGINALS.items()},
}
TEXTS = st.one_of(st.text(max_size=200), st.integers(0, 500).map(lambda seed: prose(seed, 200)))
# Where those patterns look ahead, and join what has been cut before.
AWKWARD = st.lists(
    st.sampled_from(
        [*" '\n\tlLrex1-é▁🙂", "  ", " " * 30, "\r\n", "ve", "ll", "23", "e\u0301", "a" * 60, "<0x0A>", "</s>", "the"]
    ),
    max_size=40,
).map("".join)
# Line ends and spaces of any kind, among which the tokenizer of our own makes one form.
BREAKS = st.lists(
    st.sampled_from(
        [" ", "\t", "\n", "\r", "\r\n", "\f", "\x85", "\u2028", "\u00a0", "\u3000", "\ufeff", "a", "b", "é", ".", "7"]
    ),
    max_size=60,
).map("".join)


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
@given(st.one_of(AWKWARD, TEXTS), st.lists(st.integers(0, 300), max_size=6))
def test_cuts_do_not_change_tokens_of_foreign_tokenisers(style: str, text: str, cuts: list[int]) -> None:
    tokenizer, data = FOREIGN[style], text.encode()
    ids, pending = list[int](), b""
    for start, end in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        new, pending = tokenizer.advance(pending, data[start:end])
        ids += new
    whole = tokenizer.encode(text)
    assert ids + tokenizer.flush(pending) == whole
    assert tokenizer.decode(whole) == data


@pytest.mark.parametrize("style", FOREIGN)
@given(st.one_of(AWKWARD, TEXTS), AWKWARD)
def test_a_final_token_of_a_foreign_tokeniser_is_final(style: str, text: str, more: str) -> None:
    ids, _ = FOREIGN[style].advance(b"", text.encode())
    assert FOREIGN[style].encode(text + more)[: len(ids)] == ids


@pytest.mark.parametrize("style", SPACED)
@given(st.lists(st.sampled_from([*prose(3, 600).split(" "), "", "", "river,\nwhen", "\n"]), min_size=1).map(" ".join))
def test_spaces_in_the_vocabulary_give_the_tokens_of_the_original(style: str, text: str) -> None:
    """But for the space that some originals put in front of a text."""
    assume(text and not text.startswith(" ") and " " * 33 not in text and "\n" * 3 not in text)
    prefixed = "" if style == "gemma" else " "
    assert FOREIGN[style].encode(prefixed + text) == ORIGINALS[style].encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("style", SPACED)
@pytest.mark.parametrize("text", ["a" * 200_000, " " * 200_000, "日本語" * 50_000, "\n" * 70_000])
def test_a_text_without_boundaries_leaves_few_bytes_pending_there(style: str, text: str) -> None:
    ids, pending = FOREIGN[style].advance(b"", text.encode())
    assert len(pending) <= 3 * 64
    assert FOREIGN[style].decode(ids) + pending == text.encode()


@pytest.mark.parametrize("style", FOREIGN)
def test_a_foreign_tokeniser_that_was_written_is_read_as_it_was(style: str) -> None:
    again = TextTokenizer.from_json(FOREIGN[style].to_json())
    text = prose(1, 3_000) + " ▁ e\u0301 <s>"
    assert again.encode(text) == FOREIGN[style].encode(text)
    assert again.pieces == FOREIGN[style].pieces
    template = "<|end|><s>a<think>\n\nb<end_of_turn>"
    assert again.encode_template(template) == FOREIGN[style].encode_template(template)


def test_added_tokens_that_are_not_special_are_text_in_texts_and_tokens_in_templates() -> None:
    tokenizer = FOREIGN["gemma"]
    (think,) = tokenizer.encode_template("<think>")
    assert think not in tokenizer.encode("<think>")
    assert tokenizer.pieces[think] == b""
    # One that the vocabulary has besides is an entry as all others.
    assert b"<b>" in tokenizer.pieces


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "Prepend", "prepend": "_"}}, "normalizer Prepend changes the text"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "▁"}},
            "normalizer Replace changes the text",
        ),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokeniser Whitespace loses text or is not known"),
    ],
)
def test_tokenisers_with_byte_fallback_that_change_the_text_are_refused(
    change: dict[str, object], message: str
) -> None:
    given = json.loads(ORIGINALS["llama2"].to_str())
    with pytest.raises(ValueError, match=message):
        TextTokenizer.from_json(json.dumps({**given, **change}))


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_text_that_names_the_token_of_a_byte_is_text(ignore_merges: bool) -> None:
    given = json.loads(ORIGINALS["gemma"].to_str())
    given["model"]["ignore_merges"] = ignore_merges
    vocabulary, merges = given["model"]["vocab"], given["model"]["merges"]
    for part in ("<0", "x0", "A>", "<0x0"):
        vocabulary.setdefault(part, len(vocabulary) + 10)
    for symbol in "<0x>A":
        vocabulary.setdefault(symbol, len(vocabulary) + 10)
    merges += [["<", "0"], ["x", "0"], ["A", ">"], ["<0", "x0"], ["<0x0", "A>"]]
    tokenizer = TextTokenizer.from_json(json.dumps(given))
    for text in ("a<0x0A>b", "<0x0A>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text.encode()


LOST = {"gpt2": ["Ć", "Ĕ", "ñ"], "gemma": ["<0x06>", "<0x14>", "<0xF1>"]}


def with_lost_bytes(style: str, special: int) -> TextTokenizer:
    """A tokeniser without the tokens of three bytes, their ids given to other text, and with more special tokens."""
    given = json.loads(FOREIGN[style].to_json())
    vocabulary: dict[str, int] = given["model"]["vocab"]
    for number, token in enumerate(LOST[style]):
        vocabulary[f"never {number}"] = vocabulary.pop(token)
    first = len(vocabulary.keys() | {token["content"] for token in given["added_tokens"]})
    more = [{**given["added_tokens"][0], "id": first + n, "content": f"<|{n}|>"} for n in range(special)]
    return TextTokenizer.from_json(json.dumps({**given, "added_tokens": [*given["added_tokens"], *more]}))


@pytest.mark.parametrize("beyond", [-1, 0, 1, 5])
@pytest.mark.parametrize("style", LOST)
def test_bytes_without_a_token_take_ids_that_no_text_has(style: str, beyond: int) -> None:
    """SmolLM2 lacks some. Ids beyond the tokeniser's go first, then special tokens that are not used."""
    before = with_lost_bytes(style, special=5)
    text = "a\x06 b\x14 c\U00040000."
    assert before.decode(before.encode(text)) != text.encode()
    used = before.encode_template("<|0|><|end|>")
    entries = before.entries + beyond
    whole = before.within(entries, used)
    ids = whole.encode(text)
    assert whole.decode(ids) == text.encode()
    assert max(ids) < entries >= whole.entries
    assert whole.encode_template("<|0|><|end|>") == used
    assert not set(ids) & set(used)
    assert sum(id_ >= before.entries for id_ in ids) == max(0, min(beyond, 3))
    assert whole.encode(prose(1, 500)) == before.encode(prose(1, 500))
    assert TextTokenizer.from_json(whole.to_json()).encode(text) == ids


def test_a_tokeniser_that_lacks_bytes_and_has_nothing_to_spare_is_refused() -> None:
    before = with_lost_bytes("gpt2", special=1)
    used = before.encode_template("<|0|><|end|>")
    with pytest.raises(ValueError, match="no token for 3 bytes, and only 0 ids to spare"):
        before.within(before.entries, used)


def test_special_tokens_beyond_a_models_vocabulary_are_left_out() -> None:
    """Gemma 3's tokeniser names one for images, which its smallest models do not have."""
    before = FOREIGN["llama3"]
    assert before.within(before.entries - 1, []).special_id("<|end|>") == before.special_id("<|end|>")
    given = json.loads(before.to_json())
    more = [{**given["added_tokens"][0], "id": before.entries, "content": "<image>"}]
    extended = TextTokenizer.from_json(json.dumps({**given, "added_tokens": [*given["added_tokens"], *more]}))
    assert extended.special_id("<image>") == before.entries
    assert extended.within(before.entries, []).special_id("<image>") is None


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
        (
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False},
                        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                    ],
                }
            },
            "pre-tokeniser Split loses text",
        ),
        ({"model": {"type": "BPE", "vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}}, "marks parts of words"),
        ({"model": []}, "not a tokenizer.json: it has no model"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}, "not a tokenizer.json: "),
        ({"model": {"type": "Unigram", "vocab": []}}, "the tokeniser's model is Unigram; supported are byte-level BPE"),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "model is WordPiece; supported are"),
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
