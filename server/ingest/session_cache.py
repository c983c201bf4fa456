"""A byte-bounded LRU cache: the least recently used entry is evicted first, except pinned ones.

What several entries hold is counted once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Held(Protocol):
    """Something in RAM that takes so many bytes."""

    @property
    def nbytes(self) -> int: ...


@dataclass
class _Entry(Generic[Value]):
    value: Value
    # By identity.
    held: dict[int, Held] = field(default_factory=dict)


class SessionCache(Generic[Key, Value]):
    """A map with limits of bytes and entries. Operations take the time of the blocks that they are about.

    Pinned entries count, but stay. An entry is pinned when it is put.
    """

    def __init__(self, bytes_max: int, entries_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries_max = entries_max
        self._pinned: dict[Key, _Entry[Value]] = {}
        # The least recently used come first.
        self._evictable: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._size_bytes = 0
        # How many entries hold each block.
        self._holders: dict[int, int] = {}

    def __iter__(self) -> Iterator[Value]:
        return iter([entry.value for entry in (*self._pinned.values(), *self._evictable.values())])

    def __len__(self) -> int:
        return len(self._pinned) + len(self._evictable)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def pinned(self) -> list[Value]:
        return [entry.value for entry in self._pinned.values()]

    def peek(self, key: Key) -> Value | None:
        entry = self._entry(key)
        return entry.value if entry else None

    def use(self, key: Key) -> Value | None:
        """The value, which is now the most recently used."""
        if key in self._evictable:
            self._evictable.move_to_end(key)
        return self.peek(key)

    def put(self, key: Key, value: Value) -> None:
        self.pop(key)
        self._pinned[key] = _Entry(value)

    def hold(self, key: Key, blocks: Iterable[Held]) -> None:
        """The entry now holds these blocks, and no others."""
        if entry := self._entry(key):
            held = {id(block): block for block in blocks}
            added, gone = held.keys() - entry.held.keys(), entry.held.keys() - held.keys()
            for block in added:
                self._holders[block] = self._holders.get(block, 0) + 1
                if self._holders[block] == 1:
                    self._size_bytes += held[block].nbytes
            self._release({block: entry.held[block] for block in gone})
            entry.held = held

    def pin(self, key: Key) -> None:
        if entry := self._evictable.pop(key, None):
            self._pinned[key] = entry

    def unpin(self, key: Key) -> None:
        if entry := self._pinned.pop(key, None):
            self._evictable[key] = entry

    def pop(self, key: Key) -> Value | None:
        entry = self._pinned.pop(key, None) or self._evictable.pop(key, None)
        if entry is None:
            return None
        self._release(entry.held)
        return entry.value

    def trim(self) -> list[Value]:
        """Evicts entries until the rest fits or is pinned; returns the evicted ones."""
        evicted = []
        while self._evictable and (self._size_bytes > self._bytes_max or len(self) > self._entries_max):
            _, entry = self._evictable.popitem(last=False)
            self._release(entry.held)
            evicted.append(entry.value)
        return evicted

    def _release(self, held: dict[int, Held]) -> None:
        for block, its in held.items():
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                self._size_bytes -= its.nbytes

    def _entry(self, key: Key) -> _Entry[Value] | None:
        return self._pinned.get(key) or self._evictable.get(key)
