"""The least recently used entries leave first, and pinned ones stay."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.ingest.session_cache import SessionCache

BYTES_MAX, ENTRIES_MAX = 60, 5
KEYS = st.integers(0, 9)


class Block(NamedTuple):
    nbytes: int


BLOCKS = [Block(size) for size in (0, 1, 5, 10, 20, 30)]


def cache_of(names: str, bytes_max: int = 20, entries_max: int = 100) -> SessionCache[str, str]:
    """Evictable entries of 10 bytes each, in this order."""
    cache: SessionCache[str, str] = SessionCache(bytes_max, entries_max)
    for name in names:
        cache.put(name, name)
        cache.hold(name, [Block(10)])
        cache.unpin(name)
    return cache


def test_the_least_recently_used_entry_is_evicted_first() -> None:
    cache = cache_of("abc")
    cache.use("a")
    assert cache.trim() == ["b"]
    assert list(cache) == ["c", "a"]


def test_pinned_entries_are_not_evicted() -> None:
    cache = cache_of("ab", bytes_max=0)
    cache.pin("a")
    assert cache.trim() == ["b"]
    assert cache.size_bytes == 10
    cache.unpin("a")
    assert cache.trim() == ["a"]


def test_what_two_entries_hold_is_counted_until_both_are_gone() -> None:
    cache, shared = cache_of("ab"), Block(7)
    cache.hold("a", [shared, Block(1)])
    cache.hold("b", [shared, shared])
    assert cache.size_bytes == 8
    cache.pop("a")
    assert cache.size_bytes == 7
    cache.hold("b", [])
    assert cache.size_bytes == 0


def test_entries_without_bytes_are_bounded_in_number() -> None:
    cache = cache_of("abc", entries_max=2)
    for name in "abc":
        cache.hold(name, [])
    assert cache.trim() == ["a"]


class Model(RuleBasedStateMachine):
    """Beside plain dictionaries that are summed up anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: SessionCache[int, object] = SessionCache(BYTES_MAX, ENTRIES_MAX)
        self.held: dict[int, list[Block]] = {}
        self.pinned: set[int] = set()
        # The least recently used first; pinned ones are out of the order.
        self.order: list[int] = []

    @rule(key=KEYS)
    def put(self, key: int) -> None:
        self.cache.put(key, key)
        self._forget(key)
        self.held[key] = []
        self.pinned.add(key)

    @rule(key=KEYS, blocks=st.lists(st.sampled_from(BLOCKS), max_size=4))
    def hold(self, key: int, blocks: list[Block]) -> None:
        self.cache.hold(key, blocks)
        if key in self.held:
            self.held[key] = blocks

    @property
    def size_bytes(self) -> int:
        return sum({id(block): block.nbytes for blocks in self.held.values() for block in blocks}.values())

    @rule(key=KEYS)
    def pin(self, key: int) -> None:
        self.cache.pin(key)
        if key in self.order:
            self.order.remove(key)
            self.pinned.add(key)

    @rule(key=KEYS)
    def unpin(self, key: int) -> None:
        self.cache.unpin(key)
        if key in self.pinned:
            self.pinned.remove(key)
            self.order.append(key)

    @rule(key=KEYS)
    def use(self, key: int) -> None:
        assert self.cache.use(key) == (key if key in self.held else None)
        if key in self.order:
            self.order.remove(key)
            self.order.append(key)

    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        assert self.cache.pop(key) == (key if key in self.held else None)
        self._forget(key)

    @rule()
    def trim(self) -> None:
        expected = []
        while self.order and (self.size_bytes > BYTES_MAX or len(self.held) > ENTRIES_MAX):
            expected.append(self.order[0])
            self._forget(self.order[0])
        assert self.cache.trim() == expected

    @invariant()
    def sums_are_right(self) -> None:
        assert self.cache.size_bytes == self.size_bytes
        assert len(self.cache) == len(self.held)
        assert set(self.cache.pinned) == self.pinned

    def _forget(self, key: int) -> None:
        self.held.pop(key, None)
        self.pinned.discard(key)
        if key in self.order:
            self.order.remove(key)


TestSums = Model.TestCase
