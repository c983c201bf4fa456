"""Blocks of episodes from the parts that were stored; how many episodes and terms each has is in the memory's head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.mechanisms.episodic.block import Block, Layout
from model.memory import PART_BYTES_MAX, PartBytes, UnsoundMemory


def counts_of(blocks: Sequence[Block]) -> Tensor:
    """For each block (B, 2), how many episodes and how many terms it has."""
    return torch.tensor([[len(block), len(block.terms)] for block in blocks], dtype=torch.int64).reshape(-1, 2)


def blocks_of(counts: Tensor, parts: Sequence[PartBytes], layout: Layout) -> Iterator[Block]:
    """The blocks that are in these parts; `UnsoundMemory` where there are more or fewer bytes than the counts say."""
    left = list(parts)
    for episodes, terms in counts.tolist():
        sizes = (episodes * layout.segment_tokens * layout.token_type.itemsize, 12 * episodes + 4 * terms)
        numbers = [-(-size // PART_BYTES_MAX) for size in sizes]
        some, left = left[: sum(numbers)], left[sum(numbers) :]
        tokens, keys = _joined(some[: numbers[0]]), _joined(some[numbers[0] :])
        if (len(tokens), len(keys)) != sizes:
            raise UnsoundMemory("a block of the episodes is not as large as it should be")
        block = Block(
            _tensor(tokens, layout.token_type).view(episodes, -1),
            _tensor(keys[4 * episodes : 12 * episodes], torch.int64),
            _tensor(keys[12 * episodes :], torch.int32),
            _tensor(keys[: 4 * episodes], torch.int32),
        )
        yield block.stored_as([part.digest for part in some])
    if left:
        raise UnsoundMemory("there are more parts than blocks of episodes")


def _joined(parts: Sequence[PartBytes]) -> memoryview:
    return memoryview(parts[0].content() if len(parts) == 1 else b"".join(part.content() for part in parts))


def _tensor(content: memoryview, dtype: torch.dtype) -> Tensor:
    # Copied: a tensor on bytes that are not writable is not supported.
    tensor = torch.empty(len(content) // dtype.itemsize, dtype=dtype)
    tensor.view(torch.uint8).numpy()[:] = content
    return tensor
