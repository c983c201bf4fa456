"""What memories replace: a decoder of the same blocks that keeps every token's keys and values.

It knows no segments and no memory: a text is one window that grows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.layers.backbone import Backbone, WindowCache


class FullAttention(Backbone):
    """Reading extends the cache; answering looks at all of it."""

    def extend(self, tokens: Tensor, cache: WindowCache) -> Tensor:
        """Final hidden states (1, N, D) of tokens (1, N) behind all those that the cache has; it takes them in."""
        positions = cache.lengths[:, None] + torch.arange(tokens.shape[1], device=tokens.device)[None]
        cache.lengths.add_(tokens.shape[1])
        # Only slots that are filled, or will be now, take part.
        filled = int(cache.lengths[0])
        seen = WindowCache({name: tensor[..., :filled, :] for name, tensor in cache.tensors.items()}, cache.lengths)
        h, angles = self.with_positions(self.embedded(tokens), positions)
        mask = self.visible(seen, positions)
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, mask, self.past(seen, layer, positions))
        return self.final_norm(h)  # type: ignore[no-any-return]
