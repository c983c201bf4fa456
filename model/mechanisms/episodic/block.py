"""A block of episodes: for each segment that was read its tokens, its terms, and where it stood in the text.

It is stored as parts, its tokens apart from what a question is compared with: tokens (n, T); and the ends of terms (n),
the offsets (n) and the terms (m); each cut where it is too large for a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from model.memory import PART_BYTES_MAX, MemoryPart, PartBytes, UnsoundMemory


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

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.tokens, self.offsets, self.terms, self.ends))

    @property
    def parts(self) -> tuple[PartBytes, ...]:
        # Made anew: a part refers to its block, so a block that kept its parts would outlive its last use.
        known = zip(self.digests, _places(self), strict=True)
        return tuple(
            MemoryPart(digest, size, partial(_cut, self, group, begin)) for digest, (group, begin, size) in known
        )

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of each part."""
        return tuple(sha256(_cut(self, group, begin)).digest() for group, begin, _ in _places(self))

    def stored_as(self, digests: Sequence[bytes]) -> Block:
        """This block, whose parts are known to have these digests: they are not computed again."""
        self.__dict__["digests"] = tuple(digests)
        return self

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


def _places(block: Block) -> Iterator[tuple[Callable[[Block], bytes], int, int]]:
    """Where the parts are: in the bytes of which group of tensors, from which byte on, and how many bytes."""
    sizes = {_tokens: block.tokens.nbytes, _keys: block.nbytes - block.tokens.nbytes}
    for group, size in sizes.items():
        for begin in range(0, size, PART_BYTES_MAX):
            yield group, begin, min(PART_BYTES_MAX, size - begin)


def _cut(block: Block, group: Callable[[Block], bytes], begin: int) -> bytes:
    return group(block)[begin : begin + PART_BYTES_MAX]


def _tokens(block: Block) -> bytes:
    return block.tokens.contiguous().view(torch.uint8).numpy().tobytes()


def _keys(block: Block) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in (block.ends, block.offsets, block.terms))


def must_be_sound(block: Block, layout: Layout, name: str) -> None:
    """Raises `UnsoundMemory` for tensors that reading cannot have made."""
    n = len(block.ends)
    shapes = (block.tokens.shape, block.offsets.shape, block.terms.dim(), block.ends.dim())
    types = (block.tokens.dtype, block.offsets.dtype, block.terms.dtype, block.ends.dtype)
    if shapes != ((n, layout.segment_tokens), (n,), 1, 1) or not n:
        raise UnsoundMemory(f"{name} is misshapen")
    if types != (layout.token_type, torch.int64, torch.int32, torch.int32):
        raise UnsoundMemory(f"{name} has a wrong type")
    tokens, ends = block.tokens.numpy(), block.ends.numpy()
    if tokens.min() < 0 or tokens.max() >= layout.vocab_size:
        raise UnsoundMemory(f"{name} has token ids outside of the vocabulary")
    if ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != len(block.terms):
        raise UnsoundMemory(f"{name} has terms that belong to no episode")
