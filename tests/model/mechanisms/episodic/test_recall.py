"""What a question finds: the window's text in order, and sources at the offsets as they were sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic.finding import Span
from model.mechanisms.episodic.window import merged
from testing.models import prose
from tests.model.mechanisms.episodic.texts import TOKENIZER, episodic, episodic_model, read

MODEL = episodic_model(capacity_tokens=1 << 20)


def test_a_short_text_is_read_again_whole() -> None:
    state = read(MODEL, b"Anna sold the blue boat.\r\nThen she left.")
    recall = MODEL.recall(TOKENIZER.encode("Who sold the boat?"), state.memory, state.tail)
    whole = TOKENIZER.decode([*recall.tokens, *state.tail]) + state.pending
    assert whole == b"Anna sold the blue boat.\r\nThen she left."


def test_the_tail_is_a_source_too() -> None:
    text = b"Anna"
    tail = TOKENIZER.encode(text.decode())
    assert len(tail) < MODEL.config.segment_tokens
    recall = MODEL.recall(TOKENIZER.encode("Where is Anna?"), MODEL.initial_memory(1), tail)
    assert recall.tokens == ()
    assert (recall.sources[0].offset, recall.sources[0].size, recall.sources[0].text) == (0, 4, "Anna")


@pytest.mark.parametrize("characters", range(20, 60, 3))
def test_a_tail_with_pending_tokens_may_be_longer_than_a_segment(characters: int) -> None:
    """The server puts the tokens of pending bytes behind the tail at a question."""
    text = (prose(8, characters) + " quoted zebra").encode()
    state = read(MODEL, prose(9, 400).encode())
    tail = [*state.tail, *TOKENIZER.encode(text.decode())]
    assert len(tail) > MODEL.config.segment_tokens
    recall = MODEL.recall(TOKENIZER.encode("Which zebra?"), state.memory, tail)
    places = sorted((source.offset, source.text) for source in recall.sources)
    assert "zebra" in "".join(found for _, found in places)


def test_a_memory_that_has_read_nothing_has_no_answer() -> None:
    recall = MODEL.recall(TOKENIZER.encode("Where is Anna?"), MODEL.initial_memory(1), ())
    assert recall == (recall.memory, (), (), False)


@given(st.integers(0, 500), st.integers(0, 60))
def test_sources_are_the_text_at_their_offsets(seed: int, place: int) -> None:
    """In a text of many episodes the needle is found, the window keeps the text's order, and nothing is cut."""
    words = prose(seed, 1500).split()
    words[place:place] = ["Kofi", "sold", "the", "zebra."]
    text = " ".join(words).encode()
    state = read(MODEL, text)
    recall = MODEL.recall(TOKENIZER.encode("Who sold the zebra? Kofi?"), state.memory, state.tail)
    assert len(recall.tokens) <= MODEL.config.recall_tokens + 3 * len(MODEL.config.special.gap)
    for source in recall.sources:
        piece = text[source.offset : source.offset + source.size]
        assert source.text == piece.decode(errors="ignore")
    scores = [source.score for source in recall.sources]
    assert scores == sorted(scores, reverse=True)
    window = TOKENIZER.decode([*recall.tokens, *state.tail])
    assert b"zebra" in window or b"Kofi" in window
    assert all(text[source.offset : source.offset + source.size] in window for source in recall.sources)


def test_a_mark_stands_where_text_is_left_out() -> None:
    config = replace(MODEL.config, special=replace(MODEL.config.special, gap=(341,)))
    model = episodic_model(capacity_tokens=1 << 20)
    model.config = config
    text = "Kofi sold one zebra. " + prose(3, 600) + " Nobody saw the zebra of Kofi. " + prose(4, 600)
    state = read(model, text.encode())
    recall = model.recall(TOKENIZER.encode("Kofi zebra"), state.memory, state.tail)
    assert recall.tokens.count(341) in (1, 2, 3)
    assert recall.tokens[-1] == 341


def test_spans_that_touch_become_one_in_the_text_s_order() -> None:
    [episodes] = episodic(read(MODEL, prose(1, 400).encode())).rows
    spans = [Span(8, 16, 3.0), Span(20, 24, 1.0), Span(4, 8, 5.0), Span(30, 31, 2.0), Span(16, 17, 4.0)]
    assert merged(episodes, spans, MODEL.vocabulary) == [Span(4, 17, 5.0), Span(20, 24, 1.0), Span(30, 31, 2.0)]
    assert merged(episodes, [], MODEL.vocabulary) == []


@given(st.integers(0, 200), st.integers(4, 20))
def test_a_source_never_spans_forgotten_text(seed: int, limit: int) -> None:
    """Where episodes in between were forgotten, a source still is the text that was sent at its offset."""
    config = replace(MODEL.config, special=replace(MODEL.config.special, gap=(341, 341)), capacity_tokens=8 * limit)
    model = episodic_model(capacity_tokens=8 * limit)
    model.config = config
    text = prose(seed, 1_200).encode()
    state = read(model, text)
    question = " ".join(text.decode().split()[20:32])
    recall = model.recall(TOKENIZER.encode(question), state.memory, state.tail)
    assert len(recall.tokens) <= config.recall_tokens + 2 * config.recall_tokens // config.segment_tokens
    window = TOKENIZER.decode([*recall.tokens, *state.tail])
    for source in recall.sources:
        piece = text[source.offset : source.offset + source.size]
        assert source.text == piece.decode(errors="ignore")
        assert piece in window
