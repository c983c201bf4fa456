"""The `memformer` mechanism in plain loops and float64 (2010.06891, section 3).

It shares the weights with `model/mechanisms/memformer.py` and no code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.layers.backbone_naive import PlainBackbone, weighted_sum


class MemformerReference(PlainBackbone):
    """A memory is a list of k slots."""

    def initial_memory(self) -> list[Tensor]:
        return [bias / bias.norm() for bias in self.weights["writer.bias"]]

    def read(self, segment: list[int], memory: list[Tensor]) -> list[Tensor]:
        """The slots after one segment of token ids: each attends for itself, then forgets a little."""
        heard = [self.norm("writer.norm", x) for x in self._encoded(segment, memory)]
        size = self.config.d_model // self.config.n_heads
        keys = [self.linear("writer.key", x) for x in heard]
        values = [self.linear("writer.value", x) for x in heard]
        written = []
        for slot, bias in zip(memory, self.weights["writer.bias"], strict=True):
            query, own_key = self.linear("writer.query", slot), self.linear("writer.key", slot)
            parts = []
            for start in range(0, self.config.d_model, size):
                head = slice(start, start + size)
                scores = [float(query[head] @ key[head]) / math.sqrt(size) for key in [own_key, *keys]]
                shares = _softmax([score / self.config.slot_temperature for score in scores])
                parts.append(weighted_sum([slot[head], *[value[head] for value in values]], shares))
            moved = torch.cat(parts) + bias
            written.append(moved / moved.norm())
        return written

    def answer(self, prompt: list[int], written: list[int], memory: list[Tensor]) -> list[Tensor]:
        """Scores (vocab_size) of the token after a prompt, and after each token written behind it."""
        encoded = [self.norm("encoder_norm", x) for x in self._encoded(prompt[:-1] or prompt, memory)]
        h = self.with_positions(self.embedded([prompt[-1], *written]))
        for layer in range(self.config.n_layers):
            h = self.attend(f"decoder.{layer}", h)
            h = self._crossed(f"encoder_readers.{layer}", h, encoded)
            h = self.think(f"decoder.{layer}", h)
        return [self.logits(x) for x in h]

    def _encoded(self, tokens: list[int], memory: list[Tensor]) -> list[Tensor]:
        h = self.with_positions(self.embedded(tokens))
        for layer in range(self.config.n_layers):
            h = self.attend(f"blocks.{layer}", h, causal=False)
            h = self._crossed(f"slot_readers.{layer}", h, memory)
            h = self.think(f"blocks.{layer}", h)
        return h

    def _crossed(self, name: str, h: list[Tensor], others: list[Tensor]) -> list[Tensor]:
        inputs = [self.norm(f"{name}.norm", x) for x in h]
        found = self.attention(f"{name}.attention", inputs, others, causal=False, kind=None)
        return [x + y for x, y in zip(h, found, strict=True)]


def _softmax(scores: list[float]) -> list[float]:
    weights = [math.exp(score - max(scores)) for score in scores]
    return [weight / sum(weights) for weight in weights]
