"""What reading keeps: the text byte for byte, at the offsets as it was sent, within the bound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import weights
from model.checkpoint import CheckpointError, decode, encode
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, prose, random_model
from tests.model.mechanisms.episodic.texts import TOKENIZER, episodic, episodic_model, read

awkward_texts = st.text(st.sampled_from("ab \n\r\t\ufeff\u00a0é日🙂'.1"), min_size=1, max_size=300).map(str.encode)


@given(awkward_texts)
def test_an_episode_is_the_text_at_its_offset(text: bytes) -> None:
    """Line ends, a byte order mark, no-break spaces and characters cut by a segment's border included."""
    model = episodic_model(capacity_tokens=1 << 20)
    state = read(model, text)
    [episodes] = episodic(state).rows
    whole = b""
    for n in range(len(episodes)):
        piece = model.vocabulary.bytes_of(episodes.tokens_of(n).tolist())
        offset = episodes.offset_of(n)
        assert text[offset : offset + len(piece)] == piece
        whole += piece
    assert len(whole) == episodes.read_bytes
    assert whole + TOKENIZER.decode(state.tail) + state.pending == text


@given(st.integers(0, 1000), st.integers(2, 12))
def test_a_memory_never_exceeds_its_capacity_and_keeps_the_newest_episode(seed: int, limit: int) -> None:
    model = episodic_model(capacity_tokens=8 * limit)
    text = prose(seed, 900).encode()
    [episodes] = episodic(read(model, text)).rows
    assert episodes.read_segments > limit
    assert len(episodes) <= limit
    newest = model.vocabulary.bytes_of(episodes.tokens_of(len(episodes) - 1).tolist())
    assert episodes.offset_of(len(episodes) - 1) + len(newest) == episodes.read_bytes


def test_a_long_memory_costs_few_bytes_a_token() -> None:
    model = episodic_model(capacity_tokens=1 << 20, segment_tokens=64, recall_tokens=64, window_tokens=256)
    state = read(model, prose(5, 50_000).encode())
    assert state.memory.nbytes <= 6.2 * state.tokens


def test_a_memory_survives_another_reader_and_not_another_tokeniser(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    def saved(name: str, seed: int, own: TextTokenizer) -> str:
        weights.save(tmp_path / name, random_model(EPISODIC, seed), own, torch.float32)
        return weights.load(tmp_path / name).fingerprint

    first = saved("one", 1, tokenizer)
    assert saved("another reader", 2, tokenizer) == first
    assert saved("another tokeniser", 1, TOKENIZER) != first


def test_no_text_makes_a_memory_larger_than_its_bound() -> None:
    """Not even one of which every token is a word of its own."""
    model = episodic_model(capacity_tokens=80)
    model.use_vocabulary([f" w{id_}".encode() for id_ in range(340)])
    memory = model.skip(torch.arange(96).view(12, 8), model.initial_memory(1))
    assert model.memory_bytes_max - 100 < memory.nbytes + model.layout.episode_bytes_max
    assert memory.nbytes <= model.memory_bytes_max


def test_a_checkpoint_of_another_text_is_refused() -> None:
    model = episodic_model()
    state = read(model, prose(6, 400).encode())
    decode(encode(state, "one"), "one", model.initial_memory(1))
    for wrong in (replace(state, segments=state.segments + 1), replace(state, offset=3)):
        with pytest.raises(CheckpointError, match="not those of the text"):
            decode(encode(wrong, "one"), "one", model.initial_memory(1))
