"""The `armt` mechanism in plain loops and float64 (2407.04841, section 3).

It shares the weights with `model/mechanisms/armt.py` and no code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.layers.backbone_naive import PlainBackbone


@dataclass
class Memory:
    """A (P, D) and z (P) of each layer, and whether a segment was read."""

    associations: list[Tensor]
    norms: list[Tensor]
    begun: bool


class ArmtReference(PlainBackbone):
    """One row, one token, one memory token at a time."""

    def initial_memory(self) -> Memory:
        c = self.config
        zeros = [torch.zeros(c.memory_rows, c.d_model, dtype=torch.float64) for _ in range(c.n_layers)]
        return Memory(zeros, [torch.zeros(c.memory_rows, dtype=torch.float64) for _ in range(c.n_layers)], False)

    def read(self, segment: list[int], memory: Memory) -> Memory:
        """The memory after one segment of token ids."""
        tokens = [token.clone() for token in self.weights["memory_tokens"]]
        h = self.with_positions(self.embedded(segment) + tokens)
        after = Memory([], [], True)
        for layer in range(self.config.n_layers):
            h = self.block(f"blocks.{layer}", self._heard(layer, h, memory))
            associations, norms = self._written(layer, h[len(segment) :], memory)
            after.associations.append(associations)
            after.norms.append(norms)
        return after

    def answer(self, prompt: list[int], written: list[int], memory: Memory) -> list[Tensor]:
        """Scores (vocab_size) of the token after a prompt, and after each token written behind it."""
        h = self.with_positions(self.embedded(prompt + written))
        for layer in range(self.config.n_layers):
            h = self.block(f"blocks.{layer}", self._heard(layer, h, memory))
        return [self.logits(x) for x in h[len(prompt) - 1 :]]

    def _heard(self, layer: int, h: list[Tensor], memory: Memory) -> list[Tensor]:
        if not memory.begun:
            return h
        added = []
        for x in h:
            query = self._features(self.linear(f"memories.{layer}.query", x))
            weight = float(query @ memory.norms[layer]) + 1e-5
            added.append(x + (query @ memory.associations[layer]) / weight)
        return added

    def _written(self, layer: int, tokens: list[Tensor], memory: Memory) -> tuple[Tensor, Tensor]:
        name = f"memories.{layer}"
        old, old_norms = memory.associations[layer], memory.norms[layer]
        associations, norms = old.clone(), old_norms.clone()
        for token in tokens:
            key = self._features(self.linear(f"{name}.key", token))
            value = self.linear(f"{name}.value", token)
            strength = 1 / (1 + math.exp(-float(self.linear(f"{name}.strength", token))))
            known, share = torch.zeros_like(value), 1.0
            if memory.begun:
                weight = float(old_norms @ key) + 1e-5
                known = (key @ old) / weight
                length = 1.0 if self.config.normalize_phi else float(key @ key) + 1e-5
                share = min(1.0, max(0.0, 1 - weight / length))
            associations = associations + strength * torch.outer(key, value - known)
            norms = norms + share * key
        return associations, norms

    def _features(self, x: Tensor) -> Tensor:
        """φ(x): [u * u rolled by 1; by 2; ...] of u = [relu(x); relu(-x)], feature by feature."""
        u = [max(0.0, float(a)) for a in x] + [max(0.0, -float(a)) for a in x]
        n = len(u)
        features = [u[i] * u[(i - shift) % n] for shift in range(1, self.config.memory_rolls + 1) for i in range(n)]
        length = math.sqrt(sum(f * f for f in features) + 1e-12) if self.config.normalize_phi else 1.0
        return torch.tensor([f / length for f in features], dtype=torch.float64)
