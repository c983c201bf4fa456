"""A decoder's equations in plain loops and float64: the base of the mechanisms' references.

It shares the weights with `model/layers/backbone.py` and no code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.fused_linear import split_fused


class PlainBackbone:
    """One row at a time, one token at a time."""

    def __init__(self, config: ModelConfig, model: nn.Module) -> None:
        self.config = config
        state = split_fused(model, model.state_dict())
        self.weights: dict[str, Tensor] = {name: weight.detach().cpu().double() for name, weight in state.items()}

    def embedded(self, tokens: list[int]) -> list[Tensor]:
        """Embeddings of tokens, wherever they stand."""
        return [self.weights["embedding.weight"][token] * self.config.embedding_scale for token in tokens]

    def with_positions(self, vectors: list[Tensor]) -> list[Tensor]:
        """Vectors at positions 0 and on, with learned positions added."""
        if self.config.positions == "learned":
            return [x + self.weights["position_embedding.weight"][position] for position, x in enumerate(vectors)]
        return vectors

    def logits(self, x: Tensor) -> Tensor:
        """Scores (vocab_size) from the last layer's output (D)."""
        return self.weights.get("head.weight", self.weights["embedding.weight"]) @ self.norm("final_norm", x)

    def block(self, name: str, h: list[Tensor], causal: bool = True) -> list[Tensor]:
        return self.think(name, self.attend(name, h, causal))

    def attend(self, name: str, h: list[Tensor], causal: bool = True) -> list[Tensor]:
        inputs = [self.norm(f"{name}.attention_norm", x) for x in h]
        mixed = self.attention(f"{name}.attention", inputs, inputs, causal, self.config.positions == "rope")
        return [x + y for x, y in zip(h, mixed, strict=True)]

    def think(self, name: str, h: list[Tensor]) -> list[Tensor]:
        return [x + self._feed_forward(f"{name}.feed_forward", self.norm(f"{name}.feed_forward_norm", x)) for x in h]

    def attention(
        self, name: str, inputs: list[Tensor], others: list[Tensor], causal: bool, rotary: bool
    ) -> list[Tensor]:
        """Softmax attention of inputs over others, one head and one query at a time (1706.03762)."""
        c = self.config
        queries = [self.linear(f"{name}.query", x).view(c.n_heads, c.head_dim) for x in inputs]
        keys = [self.linear(f"{name}.key", x).view(c.n_kv_heads, c.head_dim) for x in others]
        values = [self.linear(f"{name}.value", x).view(c.n_kv_heads, c.head_dim) for x in others]
        if rotary:
            queries = [self._rotated(q, position) for position, q in enumerate(queries)]
            keys = [self._rotated(k, position) for position, k in enumerate(keys)]
        group = c.n_heads // c.n_kv_heads
        outputs = []
        for position, query in enumerate(queries):
            mixed = []
            for head in range(c.n_heads):
                seen = range(position + 1 if causal else len(others))
                scores = [float(query[head] @ keys[s][head // group]) / math.sqrt(c.head_dim) for s in seen]
                shares = [math.exp(score - max(scores)) for score in scores]
                total = sum(shares)
                mixed.append(
                    weighted_sum([values[s][head // group] for s in seen], [share / total for share in shares])
                )
            outputs.append(self.linear(f"{name}.out", torch.cat([torch.as_tensor(m) for m in mixed])))
        return outputs

    def _rotated(self, heads: Tensor, position: int) -> Tensor:
        """Pairs (i, i + d/2) of each head turned by position * theta^(-2i/d) (2104.09864, halves paired)."""
        half = self.config.head_dim // 2
        turned = heads.clone()
        for i in range(half):
            angle = position * self._frequency(i)
            first, second = heads[:, i], heads[:, i + half]
            turned[:, i] = first * math.cos(angle) - second * math.sin(angle)
            turned[:, i + half] = second * math.cos(angle) + first * math.sin(angle)
        return turned

    def _frequency(self, i: int) -> float:
        """Radians a token for pair i; slowed down by Llama 3's rule where the configuration says so (2407.21783)."""
        frequency: float = self.config.rope_theta ** (-2 * i / self.config.head_dim)
        scaling = self.config.rope_scaling
        if scaling is None:
            return frequency
        wave_tokens = 2 * math.pi / frequency
        if wave_tokens < scaling.original_tokens / scaling.high_freq_factor:
            return frequency
        if wave_tokens > scaling.original_tokens / scaling.low_freq_factor:
            return frequency / scaling.factor
        kept = scaling.original_tokens / wave_tokens - scaling.low_freq_factor
        kept /= scaling.high_freq_factor - scaling.low_freq_factor
        return (1 - kept) * frequency / scaling.factor + kept * frequency

    def _feed_forward(self, name: str, x: Tensor) -> Tensor:
        up = self.linear(f"{name}.up", x)
        if self.config.activation == "swiglu":
            gate = self.linear(f"{name}.gate", x)
            return self.linear(f"{name}.down", gate / (1 + torch.exp(-gate)) * up)
        inner = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
        return self.linear(f"{name}.down", 0.5 * up * (1 + torch.tanh(inner)))

    def norm(self, name: str, x: Tensor) -> Tensor:
        if self.config.norm == "layernorm":
            centred = x - x.mean()
            scaled = centred / torch.sqrt((centred**2).mean() + self.config.norm_epsilon)
            return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return x / torch.sqrt((x**2).mean() + self.config.norm_epsilon) * self.weights[f"{name}.weight"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = self.weights[f"{name}.weight"] @ x
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y


def weighted_sum(values: list[Tensor], shares: list[float]) -> Tensor:
    total = torch.zeros_like(values[0])
    for value, share in zip(values, shares, strict=True):
        total = total + share * value
    return total
