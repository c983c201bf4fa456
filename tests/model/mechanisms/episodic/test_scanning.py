"""The scan and its scores against plain loops over what each episode has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic import memory as episodic_memory
from model.mechanisms.episodic import naive, scanning
from model.mechanisms.episodic.block import Block
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import COUNT_BITS, as_array

# Terms that share the upper half of their hash, so that the first filter does not tell them apart.
TERMS = [number << COUNT_BITS for number in (0, 1, 2, 0x0FFFFFF, 0x7FFFFFF, 0x8000000, 0xFFFFFFF)]
Counts = list[dict[int, int]]
some_counts: st.SearchStrategy[Counts] = st.lists(
    st.dictionaries(st.sampled_from(TERMS), st.integers(1, 15), max_size=5), min_size=1, max_size=20
)
wanted_terms = st.lists(st.sampled_from(TERMS), unique=True, max_size=6)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodic_memory, "BLOCK_EPISODES", 4)


def episodes_of(counts: Counts) -> Episodes:
    terms = [term | count for episode in counts for term, count in episode.items()]
    block = Block(
        torch.zeros(len(counts), 4, dtype=torch.uint16),
        torch.arange(len(counts)),
        torch.from_numpy(as_array(terms)),
        torch.tensor(np.cumsum([len(episode) for episode in counts]), dtype=torch.int32),
    )
    return Episodes().added(block, len(counts))


@given(some_counts, wanted_terms)
def test_a_scan_finds_each_place_of_each_term(counts: Counts, wanted: list[int]) -> None:
    hits = scanning.scan(episodes_of(counts), wanted)
    found = sorted(zip(hits.episode.tolist(), hits.term.tolist(), hits.counts.tolist(), strict=True))
    expected = [
        (number, wanted.index(term), count)
        for number, episode in enumerate(counts)
        for term, count in episode.items()
        if term in wanted
    ]
    assert found == sorted(expected)
    assert hits.lengths.tolist() == [len(episode) for episode in counts]
    assert hits.episode.tolist() == sorted(hits.episode.tolist())


@given(some_counts, wanted_terms)
def test_scores_are_those_of_plain_loops(counts: Counts, wanted: list[int]) -> None:
    hits = scanning.scan(episodes_of(counts), wanted)
    weights = scanning.rarity(hits, len(wanted))
    np.testing.assert_allclose(weights, naive.rarity(counts, wanted), rtol=1e-12)
    scores = scanning.bm25(hits, weights)
    np.testing.assert_allclose(scores, naive.bm25(counts, wanted), rtol=1e-12)
    np.testing.assert_allclose(scanning.smoothed(scores), naive.smoothed(scores.tolist()), rtol=1e-12)
