"""The memory transformer: reads segments into a memory, and answers against one.

It holds weights only. A memory comes in and goes out as a value, and nothing here knows of sessions,
stores or threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.blocks import Block, make_norm, rotary_angles
from model.config import ModelConfig
from model.glance import Glance
from model.mechanisms.delta import DeltaMemory, at_least_float32
from model.memory import MemoryState


@dataclass(frozen=True, eq=False)
class KeyValueCache:
    """What a local window's tokens have left for those behind them, in S slots for S positions.

    Keys and values of attention (L, B, kv_heads, S, head_dim), and the memory's queries before φ (L, B, S, H d_key).
    """

    keys: Tensor
    values: Tensor
    queries: Tensor

    @property
    def slots(self) -> int:
        return self.keys.shape[3]

    def unstack(self) -> list[KeyValueCache]:
        parts = (self.keys, self.values, self.queries)
        return [KeyValueCache(*(part[:, row : row + 1].clone() for part in parts)) for row in range(self.keys.shape[1])]

    @staticmethod
    def stack(caches: list[KeyValueCache]) -> KeyValueCache:
        """One cache whose rows are those of `caches`, padded to the longest."""
        if len(caches) == 1:
            return caches[0]
        slots = max(cache.slots for cache in caches)

        def joined(parts: list[Tensor]) -> Tensor:
            # Slots are the last dimension but one of all three.
            return torch.cat([F.pad(part, (0, 0, 0, slots - part.shape[-2])) for part in parts], dim=1)

        return KeyValueCache(
            joined([c.keys for c in caches]), joined([c.values for c in caches]), joined([c.queries for c in caches])
        )


class MemoryTransformer(nn.Module):
    """A decoder whose every layer reads an associative memory first, and writes to it afterwards."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = (
            nn.Embedding(config.window_tokens, config.d_model) if config.positions == "learned" else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.memories = nn.ModuleList(DeltaMemory(config, make_norm(config)) for _ in range(config.n_layers))
        self.glance = Glance(config)
        self.final_norm = make_norm(config)
        self.head = None if config.tied_head else nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.apply(_initialise)
        # What layers and memories add starts small beside the embeddings; all gates are open, half-heartedly.
        for block, mechanism in zip(self.blocks, self.memories, strict=True):
            _start_small(block.attention.out, 0.3)  # type: ignore[union-attr, arg-type]
            _start_small(block.feed_forward.down, 0.3)  # type: ignore[union-attr, arg-type]
            # What is asked for is found, and what is found is said, before anything is learned.
            nn.init.eye_(mechanism.value.weight)  # type: ignore[union-attr, arg-type]
            mechanism.query.weight.data.copy_(mechanism.key.weight)  # type: ignore[union-attr, operator, arg-type]
            nn.init.constant_(mechanism.strength.bias, 0.0)  # type: ignore[union-attr, arg-type]
        nn.init.constant_(self.glance.score.bias, 2.0)

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def initial_memory(self, batch: int) -> MemoryState:
        """The memory of `batch` rows that have read nothing: associations (B, L, H, P, D/H), context (B, C)."""
        c = self.config
        dtype = torch.promote_types(self.embedding.weight.dtype, torch.float32)
        return MemoryState(
            {
                "associations": torch.zeros(
                    batch,
                    c.n_layers,
                    c.memory_heads,
                    c.memory_rows,
                    c.d_model // c.memory_heads,
                    dtype=dtype,
                    device=self.device,
                ),
                "context": torch.full(
                    (batch, c.context_tokens), c.special.start, dtype=torch.int64, device=self.device
                ),
            }
        )

    def initial_cache(self, batch: int, slots: int) -> KeyValueCache:
        """An empty cache of `slots` positions for `batch` rows."""
        c = self.config
        shape = (c.n_layers, batch, c.n_kv_heads, slots, c.head_dim)
        dtype = self.embedding.weight.dtype
        return KeyValueCache(
            torch.zeros(shape, dtype=dtype, device=self.device),
            torch.zeros(shape, dtype=dtype, device=self.device),
            torch.zeros(c.n_layers, batch, slots, c.memory_heads * c.memory_key_dim, dtype=dtype, device=self.device),
        )

    def glance_scores(self, windows: Tensor) -> Tensor:
        """How much each token of windows (B, N) looks worth remembering, as the logit of the gate."""
        return self.glance(self._embedded(windows))  # type: ignore[no-any-return]

    def gates(self, windows: Tensor) -> Tensor:
        """How far the glance opens every layer's memory to each token of windows (B, N); zero is shut."""
        return self.glance.gate(self.glance_scores(windows))

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        """The memory after reading one segment (B, T) of token ids per row; `memory` itself is left as it was."""
        context = memory["context"]
        window = torch.cat([context, segment], dim=1)
        h, angles = self._placed(window, torch.arange(window.shape[1], device=window.device)[None])
        gate = self.gates(window)[:, context.shape[1] :]
        written = []
        for block, mechanism, before in zip(self.blocks, self.memories, memory["associations"].unbind(1), strict=True):
            h, after = mechanism.step(h, before, gate, context.shape[1])  # type: ignore[operator]
            h = block(h, angles)
            written.append(after)
        return MemoryState(
            {
                "associations": torch.stack(written, dim=1),
                "context": window[:, window.shape[1] - context.shape[1] :],
            }
        )

    def answer(
        self, tokens: Tensor, positions: Tensor, memory: MemoryState, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Final hidden states (B, N, D) of tokens (B, N) at positions (B, N) of a local window.

        A memory of fewer rows is shared: each row of it by as many windows, one after another in the batch.
        The window begins with the memory's context. With a cache, whose slots are positions, earlier tokens
        of the window are taken from it and these are put into it, in place. The memory is read, never written.
        """
        h, angles = self._placed(tokens, positions)
        mask = None
        if cache is not None:
            slots = torch.arange(cache.slots, device=tokens.device)
            mask = (slots[None, None, :] <= positions[:, :, None])[:, None]
        associations = memory["associations"].unbind(1)
        for layer, (block, mechanism) in enumerate(zip(self.blocks, self.memories, strict=True)):
            asked = None if cache is None else (cache.queries[layer], positions)
            h = mechanism.read(h, associations[layer], asked)  # type: ignore[operator]
            past = None if cache is None else (cache.keys[layer], cache.values[layer], positions)
            h = block(h, angles, mask, past)
        return self.final_norm(h)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., vocab_size) of the next token, in float32 or better, from final hidden states (..., D)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return at_least_float32(F.linear(hidden, weight))

    def _embedded(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(tokens) * self.config.embedding_scale
        return embedded

    def _placed(self, tokens: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Embeddings (B, N, D), and the rotary angles (B or 1, 1, N, head_dim) when positions are rotary."""
        h = self._embedded(tokens)
        if self.position_embedding is not None:
            return h + self.position_embedding(positions), None
        cos, sin = rotary_angles(self.config, positions)
        return h, (cos[:, None].to(h.dtype), sin[:, None].to(h.dtype))


def _initialise(module: nn.Module) -> None:
    """Matrices that keep a vector's length, no biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


def _start_small(linear: nn.Linear, scale: float) -> None:
    nn.init.normal_(linear.weight, std=scale * linear.in_features**-0.5)
