"""Memories in parts, made from a seed, and the plain model of a session that a store is compared with."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from server.store.base import CheckpointInfo, StoredCheckpoint
from server.store.parts import PART_BYTES_MAX

PARTS_MIN, PARTS_MAX = 4, 32
# One part in so many is small; all others have the largest size.
SMALL_EVERY = 8


class Made(NamedTuple):
    """A part whose content follows from its seed, so that it crosses a pipe without its bytes."""

    seed: int
    size: int

    @property
    def digest(self) -> bytes:
        return _digest(self)

    def content(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size)


@lru_cache(maxsize=1 << 14)
def _digest(part: Made) -> bytes:
    return sha256(part.content()).digest()


class Memory(NamedTuple):
    """A head, and the digests of the parts in order."""

    head: bytes
    parts: tuple[Made, ...]

    def stored(self, version: int) -> StoredCheckpoint:
        """As a checkpoint of a session without text: what text becomes after a kill, `store-killed` checks."""
        return StoredCheckpoint(
            CheckpointInfo(version, memory_bytes=sum(part.size for part in self.parts)), self.head, self.parts
        )


def made(dice: random.Random) -> Made:
    size = PART_BYTES_MAX if dice.randrange(SMALL_EVERY) else dice.randint(1, PART_BYTES_MAX)
    return Made(dice.getrandbits(62), size)


def begun(dice: random.Random) -> Memory:
    """A memory of 1 to 8 MB."""
    return Memory(dice.randbytes(40), tuple(made(dice) for _ in range(dice.randint(PARTS_MIN, PARTS_MAX))))


def grown(dice: random.Random, memory: Memory) -> Memory:
    """The memory with new parts at its end; the oldest ones leave a memory that is full."""
    more = tuple(made(dice) for _ in range(dice.randint(0, 4)))
    return Memory(dice.randbytes(40), (*memory.parts, *more)[-PARTS_MAX:])


def without(memory: Memory, part: Made) -> Memory:
    return memory._replace(parts=tuple(each for each in memory.parts if each != part))


class Seen(NamedTuple):
    """What a store shows of a memory: its version, its head and its parts' digests in order."""

    version: int
    head: bytes
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, checkpoint: StoredCheckpoint) -> Seen:
        return cls(checkpoint.version, checkpoint.value, tuple(part.digest for part in checkpoint.parts))


class Shown(NamedTuple):
    """What a store shows of a session: its lineage, its checkpoints, newest first, and its snapshots by name."""

    lineage: str
    checkpoints: tuple[Seen, ...]
    snapshots: Mapping[str, Seen]


@dataclass(frozen=True)
class Held:
    """What a session should have: the checkpoints by version, and the snapshots with their versions by name."""

    lineage: str
    checkpoints: tuple[tuple[int, Memory], ...]
    snapshots: Mapping[str, tuple[int, Memory]] = field(default_factory=dict)

    @property
    def newest(self) -> Memory:
        return self.checkpoints[-1][1]

    @property
    def version(self) -> int:
        return self.checkpoints[-1][0]

    def shown(self) -> Shown:
        return Shown(
            self.lineage,
            tuple(Seen.of(memory.stored(version)) for version, memory in reversed(self.checkpoints)),
            {name: Seen.of(memory.stored(version)) for name, (version, memory) in self.snapshots.items()},
        )
