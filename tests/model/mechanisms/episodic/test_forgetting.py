"""What is forgotten at the bound: the rule against its twin in plain loops, and what it is meant to do."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic import forgetting, memory
from model.mechanisms.episodic.block import Block
from model.mechanisms.episodic.forgetting import keep, rarity, repeated, run_hashes
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import COUNT_BITS, COUNT_MAX, as_array, counted
from testing.models import prose
from tests.model.mechanisms.episodic.texts import TOKENIZER, episodic_model, read

# The tokens of an episode, and its terms with their counts.
Plain = tuple[list[int], dict[int, int]]
TOKENS = 10
plain_episodes = st.lists(
    st.tuples(
        st.integers(0, 3).map(lambda n: [n * 7 + i for i in range(TOKENS)]) | st.just([5] * TOKENS),
        st.dictionaries(st.integers(0, 12), st.integers(1, COUNT_MAX), max_size=5),
    ),
    min_size=1,
    max_size=14,
)


def episodes_of(plain: Sequence[Plain]) -> Episodes:
    """The episodes with these tokens and terms, in blocks of three."""
    terms = [as_array([term << COUNT_BITS | count for term, count in own.items()]) for _, own in plain]
    block = Block(
        torch.tensor([tokens for tokens, _ in plain]),
        torch.arange(len(plain)),
        torch.from_numpy(np.concatenate(terms)),
        torch.tensor(np.cumsum([len(own) for own in terms]).astype(np.int32)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "BLOCK_EPISODES", 3)
        return Episodes().added(block, len(plain))


def plainly_repeated(plain: Sequence[Plain], tokens: int = 8) -> list[bool]:
    """As `repeated`, with every run compared."""
    runs = [{tuple(own[at : at + tokens]) for at in range(len(own) - tokens + 1)} for own, _ in plain]
    counts = [[tuple(own[at : at + tokens]) for at in range(len(own) - tokens + 1)] for own, _ in plain]
    found = []
    for number, own in enumerate(counts):
        newer = set().union(*runs[number + 1 :])
        again = sum(run in newer for run in own)
        found.append(again > 0 and 2 * again >= len(own))
    return found


def plain_rarity(plain: Sequence[Plain]) -> list[float]:
    found = []
    for _, own in plain:
        total = 0.0
        for term, count in own.items():
            having = sum(term in other for _, other in plain)
            total += count * log(1 + (len(plain) - having + 0.5) / (having + 0.5))
        found.append(total / max(1, sum(own.values())))
    return found


@given(plain_episodes)
def test_rarity_is_the_mean_of_its_formula(plain: list[Plain]) -> None:
    assert rarity(episodes_of(plain)).tolist() == pytest.approx(plain_rarity(plain), rel=1e-5)


@given(plain_episodes)
def test_an_episode_is_repeated_if_newer_ones_have_half_of_its_runs(plain: list[Plain]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "SAMPLED", 1)
        assert repeated(episodes_of(plain)).tolist() == plainly_repeated(plain)


@given(plain_episodes, st.integers(0, 14))
def test_repeated_episodes_go_first_and_then_those_of_common_words(plain: list[Plain], count: int) -> None:
    count = max(1, min(count, len(plain)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "SAMPLED", 1)
        episodes = episodes_of(plain)
        kept = keep(episodes, count)
        worth = [
            (not again, rare if number < len(plain) - 1 else float("inf"), number)
            for number, (again, rare) in enumerate(zip(plainly_repeated(plain), rarity(episodes), strict=True))
        ]
    assert kept[-1]
    assert sorted(np.flatnonzero(kept)) == sorted(number for *_, number in sorted(worth)[len(plain) - count :])


@given(st.lists(st.lists(st.integers(0, 2), min_size=12, max_size=12), min_size=1, max_size=6))
def test_equal_runs_have_equal_hashes_and_others_have_others(rows: list[list[int]]) -> None:
    hashes = run_hashes(episodes_of([(row, {}) for row in rows]).blocks[0]).tolist()
    runs = [tuple(row[at : at + 8]) for row in rows[:3] for at in range(5)]
    flat = [each for row in hashes for each in row]
    assert len(set(zip(runs, flat, strict=True))) == len(set(runs)) == len(set(flat))


@pytest.mark.parametrize("tokens", range(1, 8))
def test_episodes_that_are_shorter_than_a_run_are_not_compared(tokens: int) -> None:
    assert not repeated(episodes_of([([1] * tokens, {})] * 4)).any()


def test_a_text_that_was_sent_twice_costs_the_memory_nothing_else() -> None:
    """Twice the same text fills a memory for one and a quarter: all of it is still there, once at least."""
    size = 64
    text = prose(3, 12_000)
    segments = len(TOKENIZER.encode(text)) // size
    changes = {"segment_tokens": size, "recall_tokens": size, "window_tokens": 4 * size}
    model = episodic_model(capacity_tokens=size * (segments + segments // 4), **changes)
    [episodes] = read(model, (text + "\nAgain:\n" + text).encode()).memory.rows  # type: ignore[attr-defined]
    assert len(episodes) < episodes.read_segments
    there = {offset for n in range(len(episodes)) for offset in range(*place(model, episodes, n))}
    twice = len((text + "\nAgain:\n").encode())
    missing = [at for at in range(len(text.encode())) if at not in there and at + twice not in there]
    assert len(missing) < 0.1 * len(text.encode())


def place(model, episodes: Episodes, episode: int) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    offset = episodes.offset_of(episode)
    return offset, offset + model.vocabulary.size(episodes.tokens_of(episode).tolist())


def test_what_is_said_in_common_words_goes_before_a_fact() -> None:
    common = counted("and he said that he had been there and that it was so and she said that it was not")
    fact = counted("The Kestrel left Reykjavik with seventeen crates of Ottoline's manuscripts")
    plain = [({each >> COUNT_BITS: each & COUNT_MAX for each in own}) for own in (fact, *[common] * 9)]
    episodes = episodes_of([([n * 20 + i for i in range(TOKENS)], own) for n, own in enumerate(plain)])
    assert keep(episodes, 2).tolist() == [True] + [False] * 8 + [True]
