"""The parts of stored memories: immutable, named by their content, shared by a session's memories and its forks.

A stored memory is its root: the head, which is small and changes with every checkpoint, and the list of its parts.
A part lives in the pool of the session that stored it first, and is freed when no root names it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from server.store.errors import DamagedValue

PART_BYTES_MAX = 256 * 1024
DIGEST_BYTES = 32
# A reference: the digest, the size in bytes, and the pool's number in the root's list of pools.
_REFERENCE = struct.Struct(f"<{DIGEST_BYTES}sIH")
_LENGTH = struct.Struct("<I")
# Roots are read again at every checkpoint; decoded, that of ten million tokens takes some 200 kB.
_ROOTS_CACHED = 128


class Pool(NamedTuple):
    """Where parts live: with the session of this id and lineage root, of the same tenant, that stored them first."""

    id: str
    lineage: str


class Part(Protocol):
    """A part of a memory: its SHA-256, and its size (1 to PART_BYTES_MAX bytes)."""

    @property
    def digest(self) -> bytes: ...

    @property
    def size(self) -> int: ...

    def content(self) -> bytes:
        """The bytes; `DamagedValue` where only the store may have them."""


class StoredPart(NamedTuple):
    """A part that is stored; `Store.load` fetches its content."""

    digest: bytes
    size: int
    pool: Pool

    def content(self) -> bytes:
        raise DamagedValue(f"part {self.digest.hex()[:12]} of session {self.pool.id!r}")


class Root(NamedTuple):
    """A memory as it is stored."""

    head: bytes
    parts: tuple[StoredPart, ...] = ()

    def encode(self) -> bytes:
        """As bytes; a memory without parts is its head alone."""
        if not self.parts:
            return self.head
        pools = list(dict.fromkeys(part.pool for part in self.parts))
        numbers = {pool: number for number, pool in enumerate(pools)}
        listed = json.dumps(pools, separators=(",", ":")).encode()
        packed = b"".join(_REFERENCE.pack(part.digest, part.size, numbers[part.pool]) for part in self.parts)
        return b"".join((_LENGTH.pack(len(listed)), listed, _LENGTH.pack(len(self.parts)), packed, self.head))


@lru_cache(maxsize=_ROOTS_CACHED)
def decode_root(value: bytes) -> Root:
    """The root of a memory with parts, from bytes that are known to be undamaged."""
    [length] = _LENGTH.unpack_from(value)
    pools = [Pool(*pool) for pool in json.loads(value[_LENGTH.size : _LENGTH.size + length])]
    begin = 2 * _LENGTH.size + length
    [count] = _LENGTH.unpack_from(value, begin - _LENGTH.size)
    end = begin + count * _REFERENCE.size
    references = _REFERENCE.iter_unpack(value[begin:end])
    return Root(value[end:], tuple(StoredPart(digest, size, pools[number]) for digest, size, number in references))


class Placed(NamedTuple):
    """The parts of a memory, each at its place, and those of them that must be stored there first."""

    parts: tuple[StoredPart, ...]
    new: tuple[Part, ...]


def placed(parts: Sequence[Part], pool: Pool, known: Iterable[Root]) -> Placed:
    """Where the parts of a memory are stored: where one of the `known` roots names them, else in `pool`."""
    at = {part.digest: part for root in known for part in root.parts}
    new: dict[bytes, Part] = {}
    found = []
    for part in parts:
        stored = at.get(part.digest)
        if stored is None:
            new[part.digest] = part
            stored = at[part.digest] = StoredPart(part.digest, part.size, pool)
        found.append(stored)
    return Placed(tuple(found), tuple(new.values()))


def named(roots: Iterable[Root], pool: Pool) -> dict[bytes, StoredPart]:
    """The parts of this pool that the roots name, each once."""
    return {part.digest: part for root in roots for part in root.parts if part.pool == pool}


def freed(before: Iterable[Root], after: Iterable[Root], pool: Pool) -> list[StoredPart]:
    """The parts of this pool that the roots before named, and those after do not."""
    left = named(after, pool)
    return [part for digest, part in named(before, pool).items() if digest not in left]


def parts_bytes(roots: Iterable[Root], pool: Pool) -> int:
    """The bytes of this pool's parts that the roots name, each part once."""
    return sum(part.size for part in named(roots, pool).values())


def pools(roots: Iterable[Root]) -> set[Pool]:
    """The pools of all parts that the roots name."""
    return {part.pool for root in roots for part in root.parts}
