"""A decoder's equations in plain loops and float64: the base of the mechanisms' references.

It shares the weights with `model/layers/backbone.py` and no code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import LayerKind, ModelConfig
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
        scores = self.weights.get("head.weight", self.weights["embedding.weight"]) @ self.norm("final_norm", x)
        cap = self.config.logit_softcap
        return scores if cap is None else cap * torch.tanh(scores / cap)

    def block(self, name: str, h: list[Tensor], causal: bool = True) -> list[Tensor]:
        return self.think(name, self.attend(name, h, causal))

    def attend(self, name: str, h: list[Tensor], causal: bool = True) -> list[Tensor]:
        inputs = [self.norm(f"{name}.attention_norm", x) for x in h]
        kind = self.config.kinds[int(name.rpartition(".")[2])]
        mixed = self.attention(f"{name}.attention", inputs, inputs, causal, kind)
        return [x + self._normed_output(f"{name}.attention_out_norm", y) for x, y in zip(h, mixed, strict=True)]

    def think(self, name: str, h: list[Tensor]) -> list[Tensor]:
        made = [self._feed_forward(f"{name}.feed_forward", self.norm(f"{name}.feed_forward_norm", x)) for x in h]
        return [x + self._normed_output(f"{name}.feed_forward_out_norm", y) for x, y in zip(h, made, strict=True)]

    def _normed_output(self, name: str, x: Tensor) -> Tensor:
        return self.norm(name, x) if self.config.output_norms else x

    def attention(
        self, name: str, inputs: list[Tensor], others: list[Tensor], causal: bool, kind: LayerKind | None
    ) -> list[Tensor]:
        """Softmax attention of inputs over others, one head and one query at a time (1706.03762).

        `kind` is that of the layer; None: the others are of another sort, with neither positions nor distances.
        """
        c = self.config
        queries = [self.linear(f"{name}.query", x).view(c.n_heads, c.head_dim) for x in inputs]
        keys = [self.linear(f"{name}.key", x).view(c.n_kv_heads, c.head_dim) for x in others]
        values = [self.linear(f"{name}.value", x).view(c.n_kv_heads, c.head_dim) for x in others]
        if kind is not None and c.query_key_norm:
            queries = [torch.stack([self.norm(f"{name}.query_norm", head) for head in q]) for q in queries]
            keys = [torch.stack([self.norm(f"{name}.key_norm", head) for head in k]) for k in keys]
        if kind in ("global", "local") and c.positions == "rope":
            queries = [self._rotated(q, position, kind) for position, q in enumerate(queries)]
            keys = [self._rotated(k, position, kind) for position, k in enumerate(keys)]
        reach = c.local_tokens if kind == "local" else None
        group = c.n_heads // c.n_kv_heads
        outputs = []
        for position, query in enumerate(queries):
            mixed = []
            for head in range(c.n_heads):
                seen = [
                    s for s in range(position + 1 if causal else len(others)) if reach is None or s > position - reach
                ]
                scores = [self._score(float(query[head] @ keys[s][head // group]), kind) for s in seen]
                shares = [math.exp(score - max(scores)) for score in scores]
                total = sum(shares)
                mixed.append(
                    weighted_sum([values[s][head // group] for s in seen], [share / total for share in shares])
                )
            outputs.append(self.linear(f"{name}.out", torch.cat([torch.as_tensor(m) for m in mixed])))
        return outputs

    def _score(self, product: float, kind: LayerKind | None) -> float:
        """A product of query and key, scaled and capped; across another sort of vectors only scaled."""
        if kind is None:
            return product / math.sqrt(self.config.head_dim)
        scale, cap = self.config.attention_scale, self.config.attention_softcap
        score = product / math.sqrt(self.config.head_dim) if scale is None else product * scale
        return score if cap is None else cap * math.tanh(score / cap)

    def _rotated(self, heads: Tensor, position: int, kind: LayerKind) -> Tensor:
        """Pairs (i, i + d/2) of each head's first d features turned by position * theta^(-2i/d) (2104.09864)."""
        half = self.config.turned_dim // 2
        amplitude = self.config.rope_amplitude if kind == "global" else 1.0
        turned = heads.clone()
        for i in range(half):
            angle = position * self._frequency(i, kind)
            cos, sin = amplitude * math.cos(angle), amplitude * math.sin(angle)
            first, second = heads[:, i], heads[:, i + half]
            turned[:, i] = first * cos - second * sin
            turned[:, i + half] = second * cos + first * sin
        return turned

    def _frequency(self, i: int, kind: LayerKind) -> float:
        """Radians a token for pair i; slowed down by Llama 3's rule where the configuration says so (2407.21783)."""
        exponent = -2 * i / self.config.turned_dim
        if kind == "local":
            return float(self.config.local_rope_theta**exponent)
        frequency: float = self.config.rope_theta**exponent
        if self.config.rope_divisors:
            frequency /= self.config.rope_divisors[i]
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
        if self.config.activation == "geglu":
            return self.linear(f"{name}.down", _gelu(self.linear(f"{name}.gate", x)) * up)
        return self.linear(f"{name}.down", _gelu(up))

    def norm(self, name: str, x: Tensor) -> Tensor:
        if self.config.norm == "layernorm":
            centred = x - x.mean()
            scaled = centred / torch.sqrt((centred**2).mean() + self.config.norm_epsilon)
            return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return x / torch.sqrt((x**2).mean() + self.config.norm_epsilon) * self.weights[f"{name}.weight"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = self.weights[f"{name}.weight"] @ x
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y


def _gelu(x: Tensor) -> Tensor:
    """GELU by its tanh formula (1606.08415, section 2)."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def weighted_sum(values: list[Tensor], shares: list[float]) -> Tensor:
    total = torch.zeros_like(values[0])
    for value, share in zip(values, shares, strict=True):
        total = total + share * value
    return total
