"""The `rmt` mechanism in plain loops and float64 (2207.06881, section 3).

It shares the weights with `model/mechanisms/rmt.py` and no code.
"""

from __future__ import annotations

from torch import Tensor

from model.layers.backbone_naive import PlainBackbone


class RmtReference(PlainBackbone):
    """A memory is a list of M vectors."""

    def initial_memory(self) -> list[Tensor]:
        return [token.clone() for token in self.weights["memory_tokens"]]

    def read(self, segment: list[int], memory: list[Tensor]) -> list[Tensor]:
        """The memory after one segment of token ids."""
        h = self._through(memory + self.embedded(segment) + memory)
        return [self.norm("final_norm", x) for x in h[len(memory) + len(segment) :]]

    def answer(self, prompt: list[int], written: list[int], memory: list[Tensor]) -> list[Tensor]:
        """Scores (vocab_size) of the token after a prompt, and after each token written behind it."""
        h = self._through(memory + self.embedded(prompt + written))
        return [self.logits(x) for x in h[len(memory) + len(prompt) - 1 :]]

    def _through(self, vectors: list[Tensor]) -> list[Tensor]:
        h = self.with_positions(vectors)
        for layer in range(self.config.n_layers):
            h = self.block(f"blocks.{layer}", h)
        return h
