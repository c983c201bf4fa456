"""The episodes as a value: blocks against plain lists, and stored tensors checked before they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.episodic import memory as episodic_memory
from model.mechanisms.episodic.block import Block, Layout
from model.mechanisms.episodic.memory import Episodes, EpisodicMemory
from model.memory import UnsoundMemory

LAYOUT = Layout(4, 300)

# An episode in plain values: its tokens, the offset in front of it, and its terms.
Plain = tuple[list[int], int, list[int]]
plain_episodes = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3), min_size=1, max_size=20).map(
    lambda terms: [([n, n + 1, n + 2, n + 3], 10 * n, own) for n, own in enumerate(terms)]
)


def block_of(plain: list[Plain]) -> Block:
    return Block(
        torch.tensor([tokens for tokens, _, _ in plain]).to(LAYOUT.token_type),
        torch.tensor([offset for _, offset, _ in plain]),
        torch.tensor([term for _, _, terms in plain for term in terms], dtype=torch.int32),
        torch.tensor(np.cumsum([len(terms) for _, _, terms in plain]), dtype=torch.int32),
    )


def plain_of(episodes: Episodes) -> list[Plain]:
    found = []
    for block in episodes.blocks:
        begins = [0, *block.ends.tolist()]
        for n, (begin, end) in enumerate(pairwise(begins)):
            found.append((block.tokens[n].tolist(), int(block.offsets[n]), block.terms[begin:end].tolist()))
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodic_memory, "BLOCK_EPISODES", 4)


@given(plain_episodes, st.sets(st.integers(1, 19)))
def test_blocks_hold_what_a_plain_list_holds_however_it_is_added(plain: list[Plain], cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(plain)), len(plain)]
    episodes = Episodes()
    for begin, end in pairwise(places):
        episodes = episodes.added(block_of(plain[begin:end]), 10 * (end - begin))
    assert plain_of(episodes) == plain
    assert [len(block) for block in episodes.blocks[:-1]] == [4] * (len(episodes.blocks) - 1)
    assert (len(episodes), episodes.read_segments, episodes.read_bytes) == (len(plain), len(plain), 10 * len(plain))
    assert [episodes.tokens_of(n).tolist() for n in range(len(plain))] == [tokens for tokens, _, _ in plain]
    assert [episodes.offset_of(n) for n in range(len(plain))] == [offset for _, offset, _ in plain]


@given(plain_episodes, st.data())
def test_what_is_kept_is_what_a_plain_filter_keeps(plain: list[Plain], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(plain), max_size=len(plain)).filter(any))
    left = Episodes().added(block_of(plain), 10 * len(plain)).kept(np.array(kept))
    assert plain_of(left) == [episode for episode, stays in zip(plain, kept, strict=True) if stays]
    assert (left.read_segments, left.read_bytes) == (len(plain), 10 * len(plain))


def test_reading_on_shares_the_full_blocks() -> None:
    plain: list[Plain] = [([n] * 4, 10 * n, [n]) for n in range(9)]
    first = Episodes().added(block_of(plain[:8]), 80)
    second = first.added(block_of(plain[8:]), 10)
    assert all(one is other for one, other in zip(first.blocks, second.blocks, strict=False))


def memory_of(plain: list[Plain]) -> EpisodicMemory:
    return EpisodicMemory([Episodes().added(block_of(plain), 10 * len(plain))], LAYOUT)


EMPTY = EpisodicMemory([Episodes()], LAYOUT)


@given(plain_episodes)
def test_a_restored_memory_is_the_stored_one(plain: list[Plain]) -> None:
    memory = memory_of(plain)
    restored = EMPTY.restored(memory.tensors)
    assert restored.equals(memory)
    assert plain_of(restored.rows[0]) == plain
    assert EMPTY.restored(EMPTY.tensors).equals(EMPTY)


Damage = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no count": (lambda t: {n: v for n, v in t.items() if n != "read"}, "how much was read"),
    "a negative count": (lambda t: t | {"read": torch.tensor([-1, 60])}, "how much was read"),
    "a part is missing": (lambda t: {n: v for n, v in t.items() if n != "00001.ends"}, "block 1 .* not whole"),
    "a block is missing": (lambda t: {n: v for n, v in t.items() if not n.startswith("00000")}, "block 0 .* not whole"),
    "short segments": (lambda t: t | {"00000.tokens": t["00000.tokens"][:, :3]}, "block 0 .* misshapen"),
    "no offsets": (lambda t: t | {"00000.offsets": t["00000.offsets"][:0]}, "block 0 .* misshapen"),
    "no episodes": (
        lambda t: t | {f"00001.{n}": t[f"00001.{n}"][:0] for n in ("tokens", "offsets", "ends")},
        "block 1",
    ),
    "other types": (lambda t: t | {"00000.tokens": t["00000.tokens"].to(torch.int64)}, "block 0 .* wrong type"),
    "a foreign token": (lambda t: t | {"00000.tokens": torch.full((4, 4), 300).to(torch.uint16)}, "vocabulary"),
    "terms of no episode": (lambda t: t | {"00000.terms": torch.zeros(9, dtype=torch.int32)}, "belong to no episode"),
    "ends that fall": (lambda t: t | {"00000.ends": torch.tensor([1, 3, 2, 4], dtype=torch.int32)}, "belong to no"),
    "offsets out of order": (lambda t: t | {"00000.offsets": torch.tensor([0, 20, 10, 30])}, "of one text"),
    "offsets beyond the text": (lambda t: t | {"00001.offsets": torch.tensor([40, 60])}, "of one text"),
    "a block that is not full": (lambda t: t | {n.replace("00001", "00002"): v for n, v in t.items()}, "of one text"),
    "more episodes than were read": (lambda t: t | {"read": torch.tensor([5, 60])}, "of one text"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_unsound_tensors_are_refused(name: str) -> None:
    damage, message = DAMAGES[name]
    sound = dict(memory_of([([n] * 4, 10 * n, [n]) for n in range(6)]).tensors)
    EMPTY.restored(sound)
    with pytest.raises(UnsoundMemory, match=message):
        EMPTY.restored(damage(sound))


def test_a_large_vocabulary_has_wider_tokens() -> None:
    assert Layout(4, 1 << 16).token_type == torch.uint16
    assert Layout(4, (1 << 16) + 1).token_type == torch.int32


def test_no_window_reads_an_episodic_memory() -> None:
    with pytest.raises(TypeError, match="no window reads"):
        EMPTY.put(0, EMPTY)
