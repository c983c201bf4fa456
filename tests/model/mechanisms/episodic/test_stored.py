"""A memory as parts: it comes back whole or not at all, and what was written once keeps its name."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic import block as block_module
from model.mechanisms.episodic import memory as episodic_memory
from model.mechanisms.episodic import stored as stored_module
from model.mechanisms.episodic.memory import COUNTS, Episodes, EpisodicMemory
from model.memory import MemoryPart, PartBytes, UnsoundMemory
from tests.model.mechanisms.episodic.test_memory import EMPTY, LAYOUT, Plain, block_of, memory_of, plain_episodes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four episodes, in parts of at most 40 bytes."""
    monkeypatch.setattr(episodic_memory, "BLOCK_EPISODES", 4)
    for module in (block_module, stored_module):
        monkeypatch.setattr(module, "PART_BYTES_MAX", 40)


def fetched(parts: tuple[PartBytes, ...]) -> list[MemoryPart]:
    """The parts as a store gives them back."""
    return [MemoryPart.of(part.content()) for part in parts]


@given(plain_episodes)
def test_a_memory_in_parts_is_the_memory(plain: list[Plain]) -> None:
    memory = memory_of(plain)
    assert all(0 < part.size == len(part.content()) <= 40 for part in memory.parts)
    restored = EMPTY.restored_from_parts(memory.head, fetched(memory.parts))
    assert restored.equals(memory)
    assert [part.digest for part in restored.parts] == [part.digest for part in memory.parts]
    assert [part.content() for part in restored.parts] == [part.content() for part in memory.parts]
    assert EMPTY.restored_from_parts(EMPTY.head, ()).equals(EMPTY)


@given(plain_episodes, plain_episodes)
def test_reading_on_keeps_the_parts_of_full_blocks(plain: list[Plain], more: list[Plain]) -> None:
    memory = memory_of(plain)
    after = [(tokens, 10 * (len(plain) + n), terms) for n, (tokens, _, terms) in enumerate(more)]
    whole = EpisodicMemory([memory.rows[0].added(block_of(after), 10 * len(after))], LAYOUT)
    full = [part.digest for block in memory.rows[0].blocks[: len(plain) // 4] for part in block.parts]
    assert [part.digest for part in whole.parts][: len(full)] == full


def test_the_digests_of_a_restored_memory_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memory_of([([n] * 4, 10 * n, [n]) for n in range(4)])
    parts = fetched(memory.parts)
    restored = EMPTY.restored_from_parts(memory.head, parts)
    monkeypatch.setattr(block_module, "sha256", None)
    assert [part.digest for part in restored.parts] == [part.digest for part in parts]


def test_a_block_is_gone_with_its_last_use() -> None:
    block = block_of([([n] * 4, 10 * n, [n]) for n in range(4)])
    assert block.parts
    kept = weakref.ref(block)
    gc.disable()
    try:
        del block
        assert kept() is None
    finally:
        gc.enable()


@given(plain_episodes, st.data())
def test_parts_that_are_not_those_of_the_head_are_refused(plain: list[Plain], data: st.DataObject) -> None:
    memory = memory_of(plain)
    parts = fetched(memory.parts)
    at = data.draw(st.integers(0, len(parts) - 1))
    for other in (parts[:at] + parts[at + 1 :], [*parts, parts[at]], [*parts[:at], MemoryPart.of(b"short")]):
        with pytest.raises(UnsoundMemory):
            EMPTY.restored_from_parts(memory.head, other)
    counts = memory.head[COUNTS]
    for wrong in (counts + 1, counts[1:], -counts, counts.int(), counts[0]):
        with pytest.raises(UnsoundMemory):
            EMPTY.restored_from_parts({**memory.head, COUNTS: wrong}, parts)


def test_a_memory_that_was_stored_whole_is_read_and_its_blocks_get_the_present_size() -> None:
    plain: list[Plain] = [([n] * 4, 10 * n, [n]) for n in range(9)]
    whole = Episodes((block_of(plain[:6]), block_of(plain[6:])), 9, 90)
    memory = EpisodicMemory([whole], LAYOUT)
    restored = EMPTY.restored_from_parts(memory.tensors, ())
    assert [len(block) for block in restored.rows[0].blocks] == [4, 4, 1]
    assert restored.equals(memory_of(plain))
