"""The text read back out of the general memory is the text that was sent, however it was cut."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from model.checkpoint import Checkpoint
from model.mechanisms.base import HeldText
from model.mechanisms.episodic.held_text import held_text
from model.mechanisms.episodic.memory import BLOCK_EPISODES
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.mechanisms.episodic.vocabulary import Vocabulary
from model.text_range import TextRange, text_range
from testing.models import prose
from tests.model.mechanisms.episodic.test_documents import read_on, rows_of
from tests.model.mechanisms.episodic.texts import TOKENIZER, episodic, episodic_model, read

MODEL = episodic_model(capacity_tokens=1 << 20)
# So small that most of a text of some hundred words is forgotten.
FORGETTING = episodic_model(capacity_tokens=80)
SIZE = MODEL.config.segment_tokens
LONG_TEXT = prose(3, 18_000).encode()
LONG = read(MODEL, LONG_TEXT)
words = st.builds(prose, st.integers(0, 99), st.integers(1, 120))
parts = st.lists(words | st.text(min_size=1, max_size=40), min_size=1, max_size=6)
cuts = st.lists(st.integers(1, 90), max_size=12)


def read_in_pieces(model: EpisodicTransformer, texts: list[str], sizes: Iterable[int]) -> Checkpoint:
    """The session once it has read each text as a document, in pieces of these sizes, also inside characters."""
    state, sizes = Checkpoint.empty(model.initial_memory(1)), iter(sizes)
    for number, text in enumerate(texts):
        state = read_on(model, state, f"{number}", b"")
        rest = text.encode()
        while rest:
            size = next(sizes, len(rest))
            piece, rest = rest[:size], rest[size:]
            advance = state.advance(*TOKENIZER.advance(state.pending, piece), len(piece), SIZE)
            segments = torch.tensor(advance.segments).view(-1, SIZE)
            state = advance.finish(model.skip(segments, state.memory))
    return state


def held(model: EpisodicTransformer, state: Checkpoint, offset: int, size: int) -> HeldText:
    return model.held_text(state.memory, TOKENIZER.decode(state.tail) + state.pending, offset, size)


def twin(texts: list[str], offset: int, size: int) -> TextRange | None:
    """The same range character by character, out of the texts themselves."""
    found: list[tuple[int, int, str]] = []
    at = 0
    for number, text in enumerate(texts):
        for character in text:
            begin, at = at, at + len(character.encode())
            if offset <= begin and at <= offset + size and (not found or found[0][1] == number):
                found.append((begin, number, character))
    if not found:
        return None
    text = "".join(character for _, _, character in found)
    return TextRange(found[0][0], len(text.encode()), text, f"{found[0][1]}")


@given(parts, cuts, st.data())
def test_a_range_is_that_of_the_texts_themselves(texts: list[str], sizes: list[int], data: st.DataObject) -> None:
    state = read_in_pieces(MODEL, texts, sizes)
    offset = data.draw(st.integers(0, state.offset + 2))
    size = data.draw(st.integers(1, state.offset + 9) | st.integers(1, 9))
    whole = "".join(texts).encode()
    assert held(MODEL, state, offset, size) == HeldText(whole[offset : offset + size])
    found = text_range(held(MODEL, state, offset, size).data, offset, state.documents)
    assert (found if found.text else None) == twin(texts, offset, size)


def test_every_range_of_a_short_text_is_read_back() -> None:
    texts = ["café — “quoted”", "日本語 🙂", "a", "Ωμέγα and so on, to the end of it all"]
    state = read_in_pieces(MODEL, texts, [])
    for offset in range(state.offset + 1):
        for size in range(1, 12):
            found = text_range(held(MODEL, state, offset, size).data, offset, state.documents)
            assert (found if found.text else None) == twin(texts, offset, size)


def held_bytes(state: Checkpoint) -> dict[int, int]:
    """The plain twin with holes: each byte that is held, by its offset."""
    [episodes] = episodic(state).rows
    places = [(begin, TOKENIZER.decode(tokens)) for tokens, begin, _ in rows_of(episodes)]
    places.append((episodes.read_bytes, TOKENIZER.decode(state.tail) + state.pending))
    return {begin + index: byte for begin, text in places for index, byte in enumerate(text)}


def must_agree_at_all_offsets(model: EpisodicTransformer, state: Checkpoint, whole: bytes, size: int) -> None:
    known = held_bytes(state)
    assert known == {offset: whole[offset] for offset in known}
    for offset in range(len(whole) + 2):
        end = next(end for end in range(offset, offset + size + 1) if end not in known or end == offset + size)
        later = None if end == offset + size else next((at for at in sorted(known) if at > end), None)
        assert held(model, state, offset, size) == HeldText(whole[offset:end], later)


@given(st.lists(words, min_size=2, max_size=6), st.integers(1, 40), st.data())
def test_a_range_ends_before_text_that_was_deleted(texts: list[str], size: int, data: st.DataObject) -> None:
    state = read_in_pieces(MODEL, texts, [])
    for name in data.draw(st.sets(st.sampled_from([*map(str, range(len(texts)))]), min_size=1)):
        ranges = [(part.offset, part.offset + part.size) for part in state.documents if part.name == name]
        state = state.without(name, MODEL.without(state.memory, ranges))
    must_agree_at_all_offsets(MODEL, state, "".join(texts).encode(), size)


@given(st.integers(0, 99), st.integers(300, 600), st.integers(1, 60))
def test_a_range_ends_before_text_that_was_forgotten(seed: int, length: int, size: int) -> None:
    whole = prose(seed, length).encode()
    state = read(FORGETTING, whole)
    assert len(held_bytes(state)) < len(whole)
    must_agree_at_all_offsets(FORGETTING, state, whole, size)


@given(st.integers(0, 20_000), st.integers(1, 500))
@example(0, 500)
def test_a_range_is_found_in_a_text_of_many_blocks(offset: int, size: int) -> None:
    assert len(episodic(LONG).rows[0].blocks) > 3
    assert held(MODEL, LONG, offset, size) == HeldText(LONG_TEXT[offset : offset + size])


def test_only_the_episodes_of_a_range_are_decoded() -> None:
    decoded: list[int] = []

    class Counting(Vocabulary):
        def bytes_of(self, ids: Iterable[int]) -> bytes:
            decoded.append(1)
            return super().bytes_of(ids)

    [episodes] = episodic(LONG).rows
    assert len(episodes) > 3 * BLOCK_EPISODES
    found = held_text(episodes, b"", len(LONG_TEXT) // 2, 8, Counting(TOKENIZER.pieces))
    assert found.data == LONG_TEXT[len(LONG_TEXT) // 2 :][:8]
    # An episode of eight tokens has at least as many bytes, so the range lies in two at most.
    assert len(decoded) <= 2
