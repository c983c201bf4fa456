"""The episodic memory as a value: for each segment that was read its tokens, its terms, and where it stood.

A session's episodes lie in blocks that never change. Reading makes the last block anew and shares the others, so
that a longer text costs no more to read on, and copies of a memory share what they have in common.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from model.mechanisms.episodic.block import Block, Layout, must_be_sound
from model.mechanisms.episodic.stored import blocks_of, counts_of
from model.memory import MemoryState, PartBytes, UnsoundMemory

# So few that the last block, which reading makes anew, is cheap to store again, and so many that few are scanned.
BLOCK_EPISODES = 256
READ, COUNTS = "read", "counts"
_PARTS = ("tokens", "offsets", "terms", "ends")


@dataclass(frozen=True, eq=False)
class Episodes:
    """What is kept of one text, of which `read_segments` segments with `read_bytes` bytes were read.

    All blocks but the last are full.
    """

    blocks: tuple[Block, ...] = ()
    read_segments: int = 0
    read_bytes: int = 0

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def added(self, block: Block, read_bytes: int) -> Episodes:
        """With the episodes of the next segments, whose text has so many bytes."""
        full, last = self.blocks, list[Block]()
        if full and len(full[-1]) < BLOCK_EPISODES:
            full, last = full[:-1], [full[-1]]
        whole = Block.joined([*last, block])
        new = [whole[begin : begin + BLOCK_EPISODES] for begin in range(0, len(whole), BLOCK_EPISODES)]
        return Episodes((*full, *new), self.read_segments + len(block), self.read_bytes + read_bytes)

    @staticmethod
    def of(blocks: Sequence[Block], read_segments: int, read_bytes: int) -> Episodes:
        """The episodes of blocks of any size, as they may be in a file that another version wrote."""
        if not blocks:
            return Episodes((), read_segments, read_bytes)
        if all(len(block) == BLOCK_EPISODES for block in blocks[:-1]) and len(blocks[-1]) <= BLOCK_EPISODES:
            return Episodes(tuple(blocks), read_segments, read_bytes)
        return replace(Episodes().added(Block.joined(blocks), 0), read_segments=read_segments, read_bytes=read_bytes)

    def kept(self, kept: np.ndarray) -> Episodes:
        """Without the episodes for which `kept` (n) is false."""
        if not self.blocks:
            return self
        parts = np.split(kept, np.cumsum([len(block) for block in self.blocks])[:-1])
        some = [block.chosen(part) for block, part in zip(self.blocks, parts, strict=True)]
        left = Episodes().added(Block.joined(some), 0)
        return Episodes(left.blocks, self.read_segments, self.read_bytes)

    def without(self, ranges: Sequence[tuple[int, int]]) -> Episodes:
        """Without the episodes that begin in these ranges of the text."""
        offsets = np.concatenate([np.zeros(0, np.int64), *[block.offsets.numpy() for block in self.blocks]])
        kept = np.ones(len(offsets), dtype=bool)
        for begin, end in ranges:
            kept &= (offsets < begin) | (offsets >= end)
        left = self.kept(kept)
        # What is read next begins behind a tail that was deleted too.
        return replace(left, read_bytes=max([left.read_bytes, *(end for _, end in ranges)]))

    def tokens_of(self, episode: int) -> np.ndarray:
        block, index = divmod(episode, BLOCK_EPISODES)
        found: np.ndarray = self.blocks[block].tokens[index].numpy()
        return found

    def offset_of(self, episode: int) -> int:
        """The bytes of text in front of an episode."""
        block, index = divmod(episode, BLOCK_EPISODES)
        return int(self.blocks[block].offsets[index])

    def last_at(self, offset: int) -> int:
        """The last episode that begins at this offset of the text or before it; -1 where none does."""
        block = bisect_right(self.blocks, offset, key=lambda block: int(block.offsets[0])) - 1
        if block < 0:
            return -1
        begun = np.searchsorted(self.blocks[block].offsets.numpy(), offset, side="right")
        return block * BLOCK_EPISODES + int(begun) - 1

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        for number, block in enumerate(self.blocks):
            for part in _PARTS:
                yield f"{number:05}.{part}", getattr(block, part)
        yield READ, self.read_counts

    @property
    def read_counts(self) -> Tensor:
        return torch.tensor([self.read_segments, self.read_bytes])


class EpisodicMemory(MemoryState):
    """The episodes of each row, in host RAM on every device."""

    def __init__(self, rows: Sequence[Episodes], layout: Layout) -> None:
        self.__dict__.update(rows=tuple(rows), layout=layout)

    rows: tuple[Episodes, ...]
    layout: Layout

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        # Made only where all of them are needed.
        prefixes = [""] if len(self.rows) == 1 else [f"{row}." for row in range(len(self.rows))]
        return {p + name: t for p, row in zip(prefixes, self.rows, strict=True) for name, t in row.tensors()}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for row in self.rows for block in row.blocks) + 16 * len(self.rows)

    @property
    def blocks(self) -> Sequence[Block]:
        return [block for row in self.rows for block in row.blocks]

    @property
    def head(self) -> Mapping[str, Tensor]:
        [episodes] = self.rows
        return {READ: episodes.read_counts, COUNTS: counts_of(episodes.blocks)}

    @property
    def parts(self) -> tuple[PartBytes, ...]:
        [episodes] = self.rows
        return tuple(part for block in episodes.blocks for part in block.parts)

    @property
    def batch(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> EpisodicMemory:
        return self

    def row(self, row: int) -> EpisodicMemory:
        """One row; episodes never change, so their storage is shared."""
        return EpisodicMemory([self.rows[row]], self.layout)

    def put(self, row: int, state: MemoryState) -> None:
        raise TypeError("no window reads an episodic memory: a batch of answers has none")

    def stacked(self, states: Sequence[MemoryState]) -> EpisodicMemory:
        return EpisodicMemory([row for state in states for row in _episodic(state).rows], self.layout)

    def merged(self, rows: Tensor, others: MemoryState) -> EpisodicMemory:
        pairs = zip(rows.tolist(), self.rows, _episodic(others).rows, strict=True)
        return EpisodicMemory([mine if own else other for own, mine, other in pairs], self.layout)

    def must_cover(self, segments: int, size: int) -> None:
        [episodes] = self.rows
        if episodes.read_segments != segments or episodes.read_bytes > size:
            raise UnsoundMemory("the episodes are not those of the text that the checkpoint covers")

    def restored(self, tensors: Mapping[str, Tensor]) -> EpisodicMemory:
        rest = dict(tensors)
        read = rest.pop(READ, None)
        blocks: list[Block] = []
        while rest:
            number = len(blocks)
            parts = [rest.pop(f"{number:05}.{part}", None) for part in _PARTS]
            if any(part is None for part in parts):
                raise UnsoundMemory(f"block {number} of the episodes is not whole")
            blocks.append(Block(*(part for part in parts if part is not None)))
        return self._of(blocks, read)

    def restored_from_parts(self, head: Mapping[str, Tensor], parts: Sequence[PartBytes]) -> EpisodicMemory:
        if COUNTS not in head:
            # Stored by a version that did not store parts.
            return self.restored(head)
        counts = head[COUNTS]
        if counts.dtype != torch.int64 or counts.dim() != 2 or counts.shape[1] != 2 or bool((counts < 0).any()):
            raise UnsoundMemory("the counts of episodes are misshapen")
        return self._of([*blocks_of(counts, parts, self.layout)], head.get(READ))

    def _of(self, blocks: Sequence[Block], read: Tensor | None) -> EpisodicMemory:
        """The memory with these blocks; `UnsoundMemory` where reading a text cannot have made them."""
        if read is None or read.shape != (2,) or read.dtype != torch.int64 or int(read.min()) < 0:
            raise UnsoundMemory("how much was read is missing or misshapen")
        for number, block in enumerate(blocks):
            must_be_sound(block, self.layout, f"block {number} of the episodes")
        offsets = np.concatenate([np.zeros(0, np.int64), *[block.offsets.numpy() for block in blocks]])
        segments, size = read.tolist()
        own = np.concatenate([np.zeros(0, np.int32), *[np.diff(block.ends.numpy(), prepend=0) for block in blocks]])
        # Only what fills up the end of a document has no bytes, and no terms.
        sizes = np.diff(offsets, append=size)
        in_order = bool((offsets >= 0).all()) and bool(((sizes > 0) | ((sizes == 0) & (own == 0))).all())
        # A document that ends with a whole segment has one more, of no bytes.
        if not (in_order and len(offsets) <= segments <= 2 * size):
            raise UnsoundMemory("the episodes are not those of one text")
        return EpisodicMemory([Episodes.of(blocks, segments, size)], self.layout)


def _episodic(state: MemoryState) -> EpisodicMemory:
    assert isinstance(state, EpisodicMemory)
    return state
