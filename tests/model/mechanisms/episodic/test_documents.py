"""Documents in the general memory: each is read as if it stood alone, and nothing reaches from one into another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.checkpoint import Checkpoint
from model.mechanisms.episodic import forgetting
from model.mechanisms.episodic.block import Block
from model.mechanisms.episodic.finding import Span
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.passages import passages
from model.mechanisms.episodic.terms import term
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.mechanisms.episodic.window import continues, merged, window_tokens
from testing.models import prose
from tests.model.mechanisms.episodic.texts import TOKENIZER, episodic, episodic_model

MODEL = episodic_model(capacity_tokens=1 << 20)
SIZE = MODEL.config.segment_tokens
FILL = MODEL.document_fill
texts = st.lists(st.builds(prose, st.integers(0, 99), st.integers(1, 200)), min_size=1, max_size=6)


def read_on(model: EpisodicTransformer, state: Checkpoint, name: str, text: bytes) -> Checkpoint:
    """The session once it has read a document too: what the server does, without the server."""
    begun = state.begin(name, TOKENIZER.finish(state.pending), SIZE, model.document_fill)
    advance = begun.after.advance(*TOKENIZER.advance(begun.after.pending, text), len(text), SIZE)
    segments = [*begun.segments, *advance.segments]
    return advance.finish(model.skip(torch.tensor(segments).view(-1, SIZE), state.memory))


def read_all(parts: list[str], model: EpisodicTransformer = MODEL) -> Checkpoint:
    state = Checkpoint.empty(model.initial_memory(1))
    for number, part in enumerate(parts):
        state = read_on(model, state, f"{number}", part.encode())
    return state


def rows_of(episodes: Episodes) -> list[tuple[list[int], int, list[int]]]:
    """Tokens, offset and terms of each episode."""
    found = []
    for block in episodes.blocks:
        for n, (begin, end) in enumerate(pairwise([0, *block.ends.tolist()])):
            found.append((block.tokens[n].tolist(), int(block.offsets[n]), block.terms[begin:end].tolist()))
    return found


@given(texts)
def test_a_documents_episodes_are_those_of_its_text_alone(parts: list[str]) -> None:
    """Closed by another document behind it, since the last one ends in the tail."""
    whole = rows_of(episodic(read_all([*parts, "end"])).rows[0])
    alone, offset = [], 0
    for part in parts:
        rows = rows_of(episodic(read_all([part, "end"])).rows[0])
        alone += [(tokens, offset + begin, terms) for tokens, begin, terms in rows]
        offset += len(part.encode())
    assert whole == alone


@given(texts, st.integers(0, 3))
def test_a_document_ends_with_tokens_of_no_bytes_and_is_whole_without_them(parts: list[str], more: int) -> None:
    """Also where its text fills the last segment."""
    parts = [part + "a" * more for part in parts]
    state = read_all([*parts, "end"])
    tokens = [token for row, _, _ in rows_of(episodic(state).rows[0]) for token in row]
    assert TOKENIZER.decode(tokens).decode() == "".join(parts)
    assert state.tokens == sum(token != FILL for token in tokens) + len(state.tail)
    closings = sum(token != FILL and next_ == FILL for token, next_ in pairwise(tokens))
    assert closings == len(parts)
    assert [document.size for document in state.documents] == [len(part.encode()) for part in [*parts, "end"]]
    assert sum(document.tokens for document in state.documents) == state.tokens


@given(st.lists(st.builds(prose, st.integers(0, 99), st.integers(1, 400)), min_size=2, max_size=9))
def test_windows_have_no_fill_and_sources_lie_in_one_document(parts: list[str]) -> None:
    state = read_all(parts)
    tail = (*state.tail, *TOKENIZER.flush(state.pending))
    recall = MODEL.recall(TOKENIZER.encode("Who came upon the quoted House, and made time?"), state.memory, tail)
    assert FILL not in recall.tokens
    budget = MODEL.config.recall_tokens
    assert len(recall.tokens) <= budget + budget // SIZE * len(MODEL.config.special.gap)
    text = "".join(parts).encode()
    for source in recall.sources:
        cut = text[source.offset : source.offset + source.size]
        assert cut.decode(errors="ignore") == source.text
        [document] = [each for each in state.documents if each.offset <= source.offset < each.offset + each.size]
        assert source.offset + source.size <= document.offset + document.size


def test_words_are_not_joined_over_the_end_of_a_document() -> None:
    alone, joined = term("House"), term("HouseHouse")
    for pad in range(2 * SIZE):
        rows = rows_of(episodic(read_all(["a " * pad + "House", "House", "end"])).rows[0])
        found = [each & 0xFFFFFFF0 for _, _, terms in rows for each in terms]
        assert joined not in found
        assert found.count(alone) >= 2


def episodes_of(rows: list[list[int]]) -> Episodes:
    """Episodes of these tokens, each with one term of its own."""
    n = len(rows)
    terms, ends = torch.arange(n, dtype=torch.int32) * 16 + 1, torch.arange(1, n + 1, dtype=torch.int32)
    return Episodes().added(Block(torch.tensor(rows).to(torch.uint16), torch.arange(n), terms, ends), n)


def test_the_ends_of_short_documents_are_not_taken_for_repeated_text() -> None:
    # Of all runs of eight tokens only some are looked at.
    fill = next(id for id in range(300, 400) if forgetting.repeated(episodes_of([[id] * 8, [id] * 8])).any())
    episodes = episodes_of([[*range(9 * n, 9 * n + 9), *[fill] * 23] for n in range(6)])
    assert forgetting.repeated(episodes).any()
    assert not forgetting.repeated(episodes, fill).any()


def test_an_episode_that_shows_where_a_document_ends_is_not_forgotten() -> None:
    rows = [[*range(32 * n, 32 * n + 32)] for n in range(6)]
    rows[2] = [300] * 32
    assert forgetting.keep(episodes_of(rows), 2, 300).tolist() == [False, False, True, False, False, True]


@given(texts)
def test_what_begins_a_document_does_not_go_on_with_the_text_before_it(parts: list[str]) -> None:
    episodes = episodic(read_all([*parts, "end"])).rows[0]
    begins = {len("".join(parts[:number]).encode()) for number in range(1, len(parts))}
    for number, (tokens, offset, _) in enumerate(rows_of(episodes)):
        first = offset in begins and TOKENIZER.decode(tokens) != b""
        assert continues(episodes, number * SIZE, MODEL.vocabulary) == (not first)


def test_no_sentence_and_no_word_reaches_over_the_end_of_a_document() -> None:
    for pad in range(2 * SIZE):
        episodes = episodic(read_all(["a " * pad + "House", "Boat is here", "end"])).rows[0]
        number = len(rows_of(episodes))
        found = passages(episodes, MODEL.vocabulary, np.arange(number), number * SIZE)
        assert {term("House"), term("Boat")} <= set(found.term.tolist())
        assert term("HouseBoat") not in found.term
        second = [row[1] == 2 * pad + len("House") and MODEL.vocabulary.size(row[0]) > 0 for row in rows_of(episodes)]
        assert second.index(True) * SIZE in found.begin


def test_a_gap_stands_between_documents_and_before_the_tail_of_the_next() -> None:
    episodes = episodic(read_all(["The first document.", "And the second.", "Kofi"])).rows[0]
    whole, gap = len(episodes) * SIZE, (300, 301)
    spans = merged(episodes, [Span(begin, begin + SIZE, 0.0) for begin in range(0, whole, SIZE)], MODEL.vocabulary)
    wanted = [*TOKENIZER.encode("The first document."), *gap, *TOKENIZER.encode("And the second."), *gap]
    assert [*window_tokens(episodes, spans, whole, gap, MODEL.vocabulary)] == wanted
