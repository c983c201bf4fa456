"""The `delta` mechanism in plain loops and float64: token after token reads, then writes (2102.11174, equation 24).

It shares the weights with `model/mechanisms/delta.py` and no code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.layers.backbone_naive import PlainBackbone

Memory = tuple[list[Tensor], list[int]]


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, at: Tensor, initial_state: Tensor
) -> tuple[Tensor, Tensor]:
    """The twin of `delta_ops.delta_rule` for one row, one window and one head: each token reads, then writes.

    q (n, p), k (t, p), v (t, e), beta (t), at (t), initial_state (p, e) -> o (n, e), final_state (p, e)
    """
    outputs, state = [], initial_state
    for token, query in enumerate(q):
        outputs.append(query @ state)
        for key, value, strength, place in zip(k, v, beta, at.tolist(), strict=True):
            if place == token:
                state = delta_write(state, key, value, float(strength))
    return torch.stack(outputs), state


def delta_write(state: Tensor, key: Tensor, value: Tensor, beta: float) -> Tensor:
    """A + k βᵀ(v - k A): one step of the delta rule (2102.11174, equation 24)."""
    return state + torch.outer(key, beta * (value - key @ state))


class DeltaReference(PlainBackbone):
    """A memory is a list of (H, P, D/H), one a layer, and a context."""

    def initial_memory(self) -> Memory:
        c = self.config
        shape = (c.memory_heads, c.memory_rows, c.d_model // c.memory_heads)
        zeros = [torch.zeros(shape, dtype=torch.float64) for _ in range(c.n_layers)]
        return zeros, [c.special.start] * c.context_tokens

    def read(self, segment: list[int], memory: Memory) -> Memory:
        """The memory after one segment of token ids."""
        before, context = memory
        window = context + segment
        gates = [self._gate(window, position) for position in range(len(window))]
        h = self.with_positions(self.embedded(window))
        written = []
        for layer, associations in enumerate(before):
            heard, h = h, []
            for position, x in enumerate(heard):
                h.append(x + self._found(layer, heard, position, associations))
                if position >= len(context):
                    associations = self._write_memory(layer, heard, position, gates[position], associations)
            h = self.block(f"blocks.{layer}", h)
            written.append(associations)
        return written, window[len(window) - len(context) :]

    def answer(self, prompt: list[int], written: list[int], memory: Memory) -> list[Tensor]:
        """Scores (vocab_size) of the token after a prompt, and after each token written behind it."""
        before, context = memory
        h = self.with_positions(self.embedded(context + prompt + written))
        for layer, associations in enumerate(before):
            h = [x + self._found(layer, h, position, associations) for position, x in enumerate(h)]
            h = self.block(f"blocks.{layer}", h)
        return [self.logits(x) for x in h[len(context) + len(prompt) - 1 :]]

    def _gate(self, window: list[int], position: int) -> float:
        """How far a token may be written at all: one hidden layer over its own embedding and those before it."""
        weight, bias = self.weights["write_gate.convolution.weight"], self.weights["write_gate.convolution.bias"]
        hidden = bias.clone()
        for back in range(min(weight.shape[2], position + 1)):
            embedded = self.weights["embedding.weight"][window[position - back]] * self.config.embedding_scale
            hidden = hidden + weight[:, :, weight.shape[2] - 1 - back] @ embedded
        opened = torch.tensor(
            [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in hidden.tolist()], dtype=torch.float64
        )
        score = self.weights["write_gate.score.weight"][0] @ opened + self.weights["write_gate.score.bias"][0]
        threshold = self.config.write_threshold
        return max(0.0, 1 / (1 + math.exp(-score)) - threshold) / (1 - threshold)

    def _found(self, layer: int, h: list[Tensor], position: int, associations: Tensor) -> Tensor:
        """φ(q) A of every head (2407.04841, before the layer), A being what the tokens before have left."""
        name = f"memories.{layer}"
        query = self._convolved(f"{name}.query", self._recent(name, h, position)).view(len(associations), -1)
        return torch.cat([self._dpfp(q) @ head for q, head in zip(query, associations, strict=True)])

    def _write_memory(self, layer: int, h: list[Tensor], position: int, gate: float, associations: Tensor) -> Tensor:
        """Every head's memory after the token at a position has written."""
        name = f"memories.{layer}"
        recent = self._recent(name, h, position)
        keys = self._convolved(f"{name}.key", recent).view(len(associations), -1)
        values = self._convolved(f"{name}.value", recent).view(len(associations), -1)
        strengths = self.weights[f"{name}.strength.weight"] @ recent[0] + self.weights[f"{name}.strength.bias"]
        written = []
        for head, raw, value, strength in zip(associations, keys, values, strengths, strict=True):
            written.append(delta_write(head, self._dpfp(raw), value, gate / (1 + math.exp(-strength))))
        return torch.stack(written)

    def _recent(self, name: str, h: list[Tensor], position: int) -> list[Tensor]:
        """The last tokens up to a position as the memory hears them, the latest first."""
        first = max(-1, position - self.config.memory_taps)
        return [self.norm(f"{name}.norm", h[index]) for index in range(position, first, -1)]

    def _convolved(self, name: str, recent: list[Tensor]) -> Tensor:
        """Σ_j taps_j * W x_(t-j), the latest token first (short convolution, 2406.06484, section 4)."""
        taps, weight = self.weights[f"{name}_taps"], self.weights[f"{name}.weight"]
        mixed = torch.zeros(len(weight), dtype=torch.float64)
        for back, x in enumerate(recent):
            mixed = mixed + taps[back] * (weight @ x)
        return mixed

    def _dpfp(self, x: Tensor) -> Tensor:
        """φ(x), written feature by feature (2102.11174, equation 37), then divided by its length."""
        u = [max(0.0, float(a)) for a in x] + [max(0.0, -float(a)) for a in x]
        n = len(u)
        features = [u[i] * u[(i - shift) % n] for shift in range(1, self.config.memory_rolls + 1) for i in range(n)]
        length = math.sqrt(sum(f * f for f in features) + 1e-12)
        return torch.tensor([f / length for f in features], dtype=torch.float64)
