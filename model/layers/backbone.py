"""The decoder that the mechanisms extend: embeddings, blocks, head, and a window's KV cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.blocks import Angles, Block, Layers, Past, first_angles, make_norm, rotary_angles

SLOTS_STEP = 64


def at_least_float32(x: Tensor) -> Tensor:
    """The sums behind a memory run in float32 whatever the weights' type (float64 stays)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(frozen=True, eq=False)
class WindowCache:
    """What a local window's tokens have left for those behind them; `lengths` (B) counts the tokens taken in.

    Every tensor is (L, B, ..., S, D): a layer, a row, and S slots for S positions.
    """

    tensors: Mapping[str, Tensor]
    lengths: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def unstack(self) -> list[WindowCache]:
        """The rows, each a cache that owns its storage."""
        return [self.row(row) for row in range(self.lengths.shape[0])]

    def row(self, row: int) -> WindowCache:
        """One row as a cache that owns its storage."""
        own = {name: tensor[:, row : row + 1].clone() for name, tensor in self.tensors.items()}
        return WindowCache(own, self.lengths[row : row + 1].clone())

    def has_room_for(self, cache: WindowCache) -> bool:
        """Whether a row has as many slots as the other cache has."""
        return all(tensor.shape[-2] >= cache[name].shape[-2] for name, tensor in self.tensors.items())

    def put(self, row: int, cache: WindowCache) -> None:
        """Overwrites a row, in place, with a cache of one row that has no more slots."""
        for name, tensor in self.tensors.items():
            own = tensor[:, row : row + 1]
            own[..., : cache[name].shape[-2], :] = cache[name]
            # What was there before may say that a slot counts.
            own[..., cache[name].shape[-2] :, :] = 0
        self.lengths[row : row + 1] = cache.lengths

    @staticmethod
    def stack(caches: Sequence[WindowCache]) -> WindowCache:
        """One cache whose rows are those of `caches`, padded to the longest."""
        if len(caches) == 1:
            return caches[0]

        def joined(parts: list[Tensor]) -> Tensor:
            slots = max(part.shape[-2] for part in parts)
            return torch.cat([F.pad(part, (0, 0, 0, slots - part.shape[-2])) for part in parts], dim=1)

        return WindowCache(
            {name: joined([cache[name] for cache in caches]) for name in caches[0].tensors},
            torch.cat([cache.lengths for cache in caches]),
        )


class Backbone(nn.Module):
    """A decoder in the shape of GPT-2, Llama and their relatives, in parts: a memory mechanism goes between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = (
            nn.Embedding(config.window_tokens, config.d_model) if config.positions == "learned" else None
        )
        self.blocks = Layers(Block(config, layer) for layer in range(config.n_layers))
        self.final_norm = make_norm(config)
        self.head: nn.Module | None = (
            None if config.tied_head else nn.Linear(config.d_model, config.vocab_size, bias=False)
        )

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def sums(self) -> torch.dtype:
        """The type of the sums behind a memory."""
        return torch.promote_types(self.embedding.weight.dtype, torch.float32)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Embeddings (B, N, D) of tokens (B, N), wherever they stand."""
        vectors: Tensor = self.embedding(tokens) * self.config.embedding_scale
        return vectors

    def with_positions(self, vectors: Tensor, positions: Tensor) -> tuple[Tensor, Angles | None]:
        """Vectors (B, N, D) at positions (B or 1, N): learned positions are added, for rotary ones the angles come."""
        if self.position_embedding is not None:
            return vectors + self.position_embedding(positions), None
        return vectors, rotary_angles(self.config, positions, vectors.dtype)

    def placed_first(self, vectors: Tensor) -> tuple[Tensor, Angles | None]:
        """Vectors (B, N, D) at positions 0 to N - 1, as a segment has them."""
        tokens = vectors.shape[1]
        if self.position_embedding is not None:
            return vectors + self.position_embedding.weight[:tokens], None
        return vectors, first_angles(self.config, tokens, vectors.device, vectors.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., vocab_size) of the next token, in float32 or better, from final hidden states (..., D)."""
        made = F.linear(hidden, self.embedding.weight) if self.head is None else self.head(hidden)
        scores = at_least_float32(made)
        cap = self.config.logit_softcap
        return scores if cap is None else cap * torch.tanh(scores / cap)

    def empty_cache(self, batch: int, slots: int) -> WindowCache:
        """A cache of `slots` positions for `batch` rows, nothing in it."""
        c = self.config
        shape = (c.n_layers, batch, c.n_kv_heads, slots, c.head_dim)
        empty = {name: self._zeros(*shape) for name in ("keys", "values")}
        return WindowCache(empty, torch.zeros(batch, dtype=torch.int64, device=self.device))

    @staticmethod
    def visible(cache: WindowCache | None, positions: Tensor) -> Tensor | None:
        """Which slots (B, 1, N, S) tokens at positions (B, N) may look at; None without a cache: causal."""
        if cache is None:
            return None
        slots = torch.arange(cache["keys"].shape[-2], device=positions.device)
        return (slots[None, None, :] <= positions[:, :, None])[:, None]

    @staticmethod
    def past(cache: WindowCache | None, layer: int, positions: Tensor) -> Past | None:
        """A layer's keys and values of earlier tokens, and the slots of these."""
        return None if cache is None else (cache["keys"][layer], cache["values"][layer], positions)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.embedding.weight.dtype, device=self.device)


def slots_for(tokens: int) -> int:
    """So many slots that few shapes occur."""
    return -(-tokens // SLOTS_STEP) * SLOTS_STEP
