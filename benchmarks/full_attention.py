"""The baseline without a memory: a decoder of the same blocks with a KV cache of the whole text."""

from __future__ import annotations

import torch
from torch import Tensor

from model.layers.backbone import Backbone, WindowCache


class FullAttention(Backbone):
    """Prefill extends the KV cache; an answer attends to all of it."""

    def extend(self, tokens: Tensor, cache: WindowCache) -> Tensor:
        """Final hidden states (1, N, D) of tokens (1, N) that follow those in the cache; appends them to the cache."""
        positions = cache.lengths[:, None] + torch.arange(tokens.shape[1], device=tokens.device)[None]
        cache.lengths.add_(tokens.shape[1])
        # Attention is over the slots filled so far and by this call.
        filled = int(cache.lengths[0])
        seen = WindowCache({name: tensor[..., :filled, :] for name, tensor in cache.tensors.items()}, cache.lengths)
        h, angles = self.with_positions(self.embedded(tokens), positions)
        mask = self.visible(seen, positions)
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, mask, self.past(seen, layer, positions))
        return self.final_norm(h)  # type: ignore[no-any-return]
