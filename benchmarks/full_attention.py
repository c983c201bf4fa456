"""What memories replace: a decoder of the same blocks that keeps every token's keys and values.

It knows no segments: a text is one window that grows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.backbone import WindowCache
from model.memory import MemoryState
from model.transformer import MemoryTransformer

_NOTHING = MemoryState({})


class FullAttention(MemoryTransformer):
    """Reading extends the cache; answering looks at all of it."""

    def initial_memory(self, batch: int) -> MemoryState:
        return _NOTHING

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        raise NotImplementedError("full attention reads into a cache")

    def extend(self, tokens: Tensor, cache: WindowCache) -> Tensor:
        """Final hidden states (1, N, D) of tokens (1, N) behind all those that the cache has; it takes them in."""
        positions = cache.lengths[:, None] + torch.arange(tokens.shape[1], device=tokens.device)[None]
        cache.lengths.add_(tokens.shape[1])
        seen = WindowCache(
            # Only slots that are filled, or will be now, take part.
            {name: tensor[..., : int(cache.lengths[0]), :] for name, tensor in cache.tensors.items()},
            cache.lengths,
        )
        h, angles = self.placed(self.embedded(tokens), positions)
        return self.final_norm(self.through(h, angles, _NOTHING, seen, positions))  # type: ignore[no-any-return]
