"""The `armt` mechanism: memory tokens at a segment's end write together to an associative memory (P, D) in every layer.

Equations: Rodkin et al. 2407.04841, section 3; two versions of φ exist, and the configuration says which.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.backbone import WindowCache, at_least_float32
from model.layers.blocks import Angles, Layers
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta_ops import dpfp, unit_dpfp
from model.memory import FLOAT_MAX, MemoryState

EPSILON = 1e-5


class ArmtMemory(nn.Module):
    """One layer's reading and writing weights; A (B, P, D), z (B, P) and whether anything was read come and go.

    For a group of layers all of them are (L, B, ...), and h is (L, B, N, D).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rolls, self.normalized = config.memory_rolls, config.normalize_phi
        self.query = nn.Linear(config.d_model, config.memory_key_dim, bias=False)
        self.key = nn.Linear(config.d_model, config.memory_key_dim, bias=False)
        self.value = nn.Linear(config.d_model, config.d_model, bias=False)
        self.strength = nn.Linear(config.d_model, 1)
        nn.init.zeros_(self.value.weight)

    def read(self, h: Tensor, associations: Tensor, norms: Tensor) -> Tensor:
        """h (B Q, N, D) <- h + qA / (q·z + ε), with q = φ(W_mq h)   (equations 1 to 3).

        While A is zero, so is what is added: that a first segment does not read needs no case of its own.
        """
        queries = self._features(self.query(h))
        together = queries.reshape(*associations.shape[:-2], -1, queries.shape[-1])
        found = (together @ associations) / (together @ norms[..., None] + EPSILON)
        return h + found.view(h.shape).to(h.dtype)

    def write(self, m: Tensor, associations: Tensor, norms: Tensor, begun: Tensor) -> tuple[Tensor, Tensor]:
        """A and z after the memory tokens m (B, M, D) have written, each as if it were the only one.

        v̄ = kA / (z·k + ε), γ = clip(1 - (z·k + ε) / (|k|² + ε), 0, 1) detached; v̄ = 0, γ = 1 where nothing was read;
        A += Σ β k⊗(v - v̄), z += Σ γ k   (equations 4 to 8; without ε under γ's bar where φ has unit length).
        """
        keys = self._features(self.key(m))
        values = at_least_float32(self.value(m))
        strengths = torch.sigmoid(at_least_float32(self.strength(m)))
        weight = keys @ norms[..., None] + EPSILON
        lengths = 1.0 if self.normalized else keys.square().sum(dim=-1, keepdim=True) + EPSILON
        shares = (1 - weight / lengths).clamp(0, 1).detach()
        known = keys @ associations / weight
        before = begun[..., None, None]
        wanted = strengths * (values - torch.where(before, known, torch.zeros_like(known)))
        shares = torch.where(before, shares, torch.ones_like(shares))
        return associations + keys.mT @ wanted, norms + (shares * keys).sum(dim=-2)

    def _features(self, x: Tensor) -> Tensor:
        return (unit_dpfp if self.normalized else dpfp)(at_least_float32(x), self.rolls)


class ArmtTransformer(MemoryTransformer):
    """A decoder with memory tokens behind every segment. A question follows the tail, and writes nothing.

    Its memory: associations (B, L, P, D), norms z (B, L, P), and `begun` (B), false until a segment was read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.memories = Layers(ArmtMemory(config) for _ in range(config.n_layers))
        self.memory_tokens = nn.Parameter(torch.randn(config.memory_tokens, config.d_model) * 0.02)

    def initial_memory(self, batch: int) -> MemoryState:
        c = self.config
        shape = (batch, c.n_layers, c.memory_rows)
        return MemoryState(
            {
                "associations": torch.zeros(*shape, c.d_model, dtype=self.sums, device=self.device),
                "norms": torch.zeros(shape, dtype=self.sums, device=self.device),
                "begun": torch.zeros(batch, dtype=torch.bool, device=self.device),
            },
            # φ is never negative, and a sum of it is what is divided by.
            bounds={"norms": (0, FLOAT_MAX), "begun": (0, 1)},
        )

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        rows, size = segment.shape
        vectors = torch.cat([self.embedded(segment), self.memory_tokens.expand(rows, -1, -1)], dim=1)
        h, angles = self.placed_first(vectors)
        associations, norms = [], []
        for block, mechanism, a, z in zip(self.blocks, self.memories, *self._layers(memory), strict=True):
            h = block(mechanism.read(h, a, z), angles)
            written = mechanism.write(h[:, size:], a, z, memory["begun"])
            associations.append(written[0])
            norms.append(written[1])
        return MemoryState(
            {
                "associations": torch.stack(associations, dim=1),
                "norms": torch.stack(norms, dim=1),
                "begun": torch.ones_like(memory["begun"]),
            }
        )

    def run_layers(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        mask = self.visible(cache, positions)
        for layer, (block, mechanism, a, z) in enumerate(
            zip(self.blocks, self.memories, *self._layers(memory), strict=True)
        ):
            h = block(mechanism.read(h, a, z), angles, mask, self.past(cache, layer, positions))
        return h

    @staticmethod
    def _layers(memory: MemoryState) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return memory["associations"].unbind(1), memory["norms"].unbind(1)
