"""The episodic memory as a value: for each segment that was read its tokens, its terms, and where it stood.

A session's episodes lie in blocks that never change. Reading makes the last block anew and shares the others, so
that a longer text costs no more to read on, and copies of a memory share what they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.memory import MemoryState, UnsoundMemory

BLOCK_EPISODES = 1024
READ = "read"
_PARTS = ("tokens", "offsets", "terms", "ends")


@dataclass(frozen=True, eq=False)
class Block:
    """n episodes in the order of the text.

    tokens (n, T); offsets (n), the bytes of text in front of each; and terms (m), those of one episode after the
    other, of which `ends` (n) says where each episode's end (`terms.py`).
    """

    tokens: Tensor
    offsets: Tensor
    terms: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, episodes: slice) -> Block:
        begin, end, _ = episodes.indices(len(self))
        first, last = self._begin(begin), self._begin(end)
        terms = self.terms[first:last].clone()
        return Block(
            self.tokens[begin:end].clone(), self.offsets[begin:end].clone(), terms, self.ends[begin:end] - first
        )

    def chosen(self, kept: np.ndarray) -> Block:
        """The episodes for which `kept` (n) is true."""
        counts = np.diff(self.ends.numpy(), prepend=0)
        mask = torch.from_numpy(kept)
        terms = self.terms[torch.from_numpy(np.repeat(kept, counts))]
        ends = torch.from_numpy(counts[kept].cumsum().astype(np.int32))
        return Block(self.tokens[mask], self.offsets[mask], terms, ends)

    @staticmethod
    def joined(blocks: Sequence[Block]) -> Block:
        """One block of the episodes of several."""
        sizes = np.cumsum([0, *[len(block.terms) for block in blocks]])
        ends = [block.ends + int(before) for block, before in zip(blocks, sizes, strict=False)]
        return Block(
            torch.cat([block.tokens for block in blocks]),
            torch.cat([block.offsets for block in blocks]),
            torch.cat([block.terms for block in blocks]),
            torch.cat(ends),
        )

    def _begin(self, episode: int) -> int:
        return int(self.ends[episode - 1]) if episode else 0


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

    def kept(self, kept: np.ndarray) -> Episodes:
        """Without the episodes for which `kept` (n) is false."""
        parts = np.split(kept, np.cumsum([len(block) for block in self.blocks])[:-1])
        some = [block.chosen(part) for block, part in zip(self.blocks, parts, strict=True)]
        left = Episodes().added(Block.joined(some), 0)
        return Episodes(left.blocks, self.read_segments, self.read_bytes)

    def tokens_of(self, episode: int) -> np.ndarray:
        block, index = divmod(episode, BLOCK_EPISODES)
        found: np.ndarray = self.blocks[block].tokens[index].numpy()
        return found

    def offset_of(self, episode: int) -> int:
        """The bytes of text in front of an episode."""
        block, index = divmod(episode, BLOCK_EPISODES)
        return int(self.blocks[block].offsets[index])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        for number, block in enumerate(self.blocks):
            for part in _PARTS:
                yield f"{number:05}.{part}", getattr(block, part)
        yield READ, torch.tensor([self.read_segments, self.read_bytes])


@dataclass(frozen=True)
class Layout:
    """The sizes that a memory's tensors must have."""

    segment_tokens: int
    vocab_size: int

    @property
    def token_type(self) -> torch.dtype:
        return torch.uint16 if self.vocab_size <= 1 << 16 else torch.int32

    @property
    def episode_bytes_max(self) -> int:
        """The bytes of an episode whose tokens are all different words: tokens, terms, offset, and where terms end."""
        return self.segment_tokens * (self.token_type.itemsize + 4) + 8 + 4


class EpisodicMemory(MemoryState):
    """The episodes of each row, in host RAM on every device."""

    def __init__(self, rows: Sequence[Episodes], layout: Layout) -> None:
        prefixes = [""] if len(rows) == 1 else [f"{row}." for row in range(len(rows))]
        named = {p + name: t for p, row in zip(prefixes, rows, strict=True) for name, t in row.tensors()}
        super().__init__(named)
        self.__dict__.update(rows=tuple(rows), layout=layout)

    rows: tuple[Episodes, ...]
    layout: Layout

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
        read = rest.pop(READ, torch.empty(0))
        if read.shape != (2,) or read.dtype != torch.int64 or int(read.min()) < 0:
            raise UnsoundMemory("how much was read is missing or misshapen")
        blocks: list[Block] = []
        while rest:
            number = len(blocks)
            parts = [rest.pop(f"{number:05}.{part}", None) for part in _PARTS]
            if any(part is None for part in parts):
                raise UnsoundMemory(f"block {number} of the episodes is not whole")
            blocks.append(Block(*(part for part in parts if part is not None)))
            _must_be_sound(blocks[-1], self.layout, f"block {number} of the episodes")
        offsets = np.concatenate([np.zeros(0, np.int64), *[block.offsets.numpy() for block in blocks]])
        segments, size = read.tolist()
        own = np.concatenate([np.zeros(0, np.int32), *[np.diff(block.ends.numpy(), prepend=0) for block in blocks]])
        # Only what fills up the end of a document has no bytes, and no terms.
        sizes = np.diff(offsets, append=size)
        in_order = bool((offsets >= 0).all()) and bool(((sizes > 0) | ((sizes == 0) & (own == 0))).all())
        filled = all(len(block) == BLOCK_EPISODES for block in blocks[:-1])
        # A document that ends with a whole segment has one more, of no bytes.
        if not (in_order and filled and len(offsets) <= segments <= 2 * size):
            raise UnsoundMemory("the episodes are not those of one text")
        return EpisodicMemory([Episodes(tuple(blocks), segments, size)], self.layout)


def _episodic(state: MemoryState) -> EpisodicMemory:
    assert isinstance(state, EpisodicMemory)
    return state


def _must_be_sound(block: Block, layout: Layout, name: str) -> None:
    """Raises `UnsoundMemory` for tensors that reading cannot have made."""
    n = len(block.ends)
    shapes = (block.tokens.shape, block.offsets.shape, block.terms.dim(), block.ends.dim())
    types = (block.tokens.dtype, block.offsets.dtype, block.terms.dtype, block.ends.dtype)
    if shapes != ((n, layout.segment_tokens), (n,), 1, 1) or not 0 < n <= BLOCK_EPISODES:
        raise UnsoundMemory(f"{name} is misshapen")
    if types != (layout.token_type, torch.int64, torch.int32, torch.int32):
        raise UnsoundMemory(f"{name} has a wrong type")
    tokens, ends = block.tokens.numpy(), block.ends.numpy()
    if tokens.min() < 0 or tokens.max() >= layout.vocab_size:
        raise UnsoundMemory(f"{name} has token ids outside of the vocabulary")
    if ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != len(block.terms):
        raise UnsoundMemory(f"{name} has terms that belong to no episode")
