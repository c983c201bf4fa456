"""The papers' equations in plain loops and float64: the twin that every fast path is compared with.

It shares the weights with `model/transformer.py` and no line of computation; it knows nothing of speed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.config import ModelConfig
from model.transformer import MemoryTransformer


class Reference:
    """One row at a time, one token at a time; a memory is a list of (H, P, D/H) a layer, and a context."""

    def __init__(self, model: MemoryTransformer) -> None:
        self.config: ModelConfig = model.config
        self.weights: dict[str, Tensor] = {name: w.detach().cpu().double() for name, w in model.state_dict().items()}

    def initial_memory(self) -> tuple[list[Tensor], list[int]]:
        c = self.config
        shape = (c.memory_heads, c.memory_rows, c.d_model // c.memory_heads)
        zeros = [torch.zeros(shape, dtype=torch.float64) for _ in range(c.n_layers)]
        return zeros, [c.special.start] * c.context_tokens

    def read(self, segment: list[int], memory: list[Tensor], context: list[int]) -> tuple[list[Tensor], list[int]]:
        """The memory and the context after one segment of token ids."""
        window = context + segment
        gates = [self._gate(window, position) for position in range(len(window))]
        h = self._embedded(window)
        written = []
        for layer, associations in enumerate(memory):
            heard, h = h, []
            for position, x in enumerate(heard):
                h.append(x + self._found(layer, heard, position, associations))
                if position >= len(context):
                    associations = self._write_memory(layer, heard, position, gates[position], associations)
            h = self._block(layer, h)
            written.append(associations)
        return written, window[len(window) - len(context) :]

    def logits(self, tokens: list[int], memory: list[Tensor], context: list[int]) -> list[Tensor]:
        """Scores (vocab_size) of the token after each of `tokens`, which stand behind the context."""
        h = self._embedded(context + tokens)
        for layer, associations in enumerate(memory):
            h = [x + self._found(layer, h, position, associations) for position, x in enumerate(h)]
            h = self._block(layer, h)
        head = self.weights.get("head.weight", self.weights["embedding.weight"])
        return [head @ self._norm("final_norm", x) for x in h[len(context) :]]

    def _gate(self, window: list[int], position: int) -> float:
        """How far a token may be written at all: one hidden layer over its own embedding and those before it."""
        weight, bias = self.weights["glance.convolution.weight"], self.weights["glance.convolution.bias"]
        hidden = bias.clone()
        for back in range(min(weight.shape[2], position + 1)):
            embedded = self.weights["embedding.weight"][window[position - back]] * self.config.embedding_scale
            hidden = hidden + weight[:, :, weight.shape[2] - 1 - back] @ embedded
        opened = torch.tensor(
            [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in hidden.tolist()], dtype=torch.float64
        )
        score = self.weights["glance.score.weight"][0] @ opened + self.weights["glance.score.bias"][0]
        threshold = self.config.write_threshold
        return max(0.0, 1 / (1 + math.exp(-score)) - threshold) / (1 - threshold)

    def _found(self, layer: int, h: list[Tensor], position: int, associations: Tensor) -> Tensor:
        """φ(q) A of every head (2407.04841, before the layer), A being what the tokens before have left."""
        name = f"memories.{layer}"
        query = self._convolved(f"{name}.query", self._recent(name, h, position)).view(len(associations), -1)
        return torch.cat([self._dpfp(q) @ head for q, head in zip(query, associations, strict=True)])

    def _write_memory(self, layer: int, h: list[Tensor], position: int, gate: float, associations: Tensor) -> Tensor:
        """A + k βᵀ(v - k A) for every head: one step of the delta rule (2102.11174, equation 24)."""
        name = f"memories.{layer}"
        recent = self._recent(name, h, position)
        keys = self._convolved(f"{name}.key", recent).view(len(associations), -1)
        values = self._convolved(f"{name}.value", recent).view(len(associations), -1)
        strengths = self.weights[f"{name}.strength.weight"] @ recent[0] + self.weights[f"{name}.strength.bias"]
        written = []
        for head, raw, value, strength in zip(associations, keys, values, strengths, strict=True):
            key, beta = self._dpfp(raw), gate / (1 + math.exp(-strength))
            written.append(head + torch.outer(key, beta * (value - key @ head)))
        return torch.stack(written)

    def _recent(self, name: str, h: list[Tensor], position: int) -> list[Tensor]:
        """The last tokens up to a position as the memory hears them, the latest first."""
        first = max(-1, position - self.config.memory_taps)
        return [self._norm(f"{name}.norm", h[index]) for index in range(position, first, -1)]

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

    def _embedded(self, tokens: list[int]) -> list[Tensor]:
        h = [self.weights["embedding.weight"][token] * self.config.embedding_scale for token in tokens]
        if self.config.positions == "learned":
            h = [x + self.weights["position_embedding.weight"][position] for position, x in enumerate(h)]
        return h

    def _block(self, layer: int, h: list[Tensor]) -> list[Tensor]:
        name = f"blocks.{layer}"
        inputs = [self._norm(f"{name}.attention_norm", x) for x in h]
        h = [x + y for x, y in zip(h, self._attention(f"{name}.attention", inputs), strict=True)]
        return [x + self._feed_forward(f"{name}.feed_forward", self._norm(f"{name}.feed_forward_norm", x)) for x in h]

    def _attention(self, name: str, inputs: list[Tensor]) -> list[Tensor]:
        """Causal softmax attention, one head and one query at a time (1706.03762)."""
        c = self.config
        queries = [self._linear(f"{name}.query", x).view(c.n_heads, c.head_dim) for x in inputs]
        keys = [self._linear(f"{name}.key", x).view(c.n_kv_heads, c.head_dim) for x in inputs]
        values = [self._linear(f"{name}.value", x).view(c.n_kv_heads, c.head_dim) for x in inputs]
        if c.positions == "rope":
            queries = [self._rotated(q, position) for position, q in enumerate(queries)]
            keys = [self._rotated(k, position) for position, k in enumerate(keys)]
        group = c.n_heads // c.n_kv_heads
        outputs = []
        for position, query in enumerate(queries):
            mixed = []
            for head in range(c.n_heads):
                seen = range(position + 1)
                scores = [float(query[head] @ keys[s][head // group]) / math.sqrt(c.head_dim) for s in seen]
                shares = [math.exp(score - max(scores)) for score in scores]
                total = sum(shares)
                mixed.append(_mean([values[s][head // group] for s in seen], [share / total for share in shares]))
            outputs.append(self._linear(f"{name}.out", torch.cat([torch.as_tensor(m) for m in mixed])))
        return outputs

    def _rotated(self, heads: Tensor, position: int) -> Tensor:
        """Pairs (i, i + d/2) of each head turned by position * theta^(-2i/d) (2104.09864, halves paired)."""
        half = self.config.head_dim // 2
        turned = heads.clone()
        for i in range(half):
            angle = position * self.config.rope_theta ** (-2 * i / self.config.head_dim)
            first, second = heads[:, i], heads[:, i + half]
            turned[:, i] = first * math.cos(angle) - second * math.sin(angle)
            turned[:, i + half] = second * math.cos(angle) + first * math.sin(angle)
        return turned

    def _feed_forward(self, name: str, x: Tensor) -> Tensor:
        up = self._linear(f"{name}.up", x)
        if self.config.activation == "swiglu":
            gate = self._linear(f"{name}.gate", x)
            return self._linear(f"{name}.down", gate / (1 + torch.exp(-gate)) * up)
        inner = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
        return self._linear(f"{name}.down", 0.5 * up * (1 + torch.tanh(inner)))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if self.config.norm == "layernorm":
            centred = x - x.mean()
            scaled = centred / torch.sqrt((centred**2).mean() + self.config.norm_epsilon)
            return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return x / torch.sqrt((x**2).mean() + self.config.norm_epsilon) * self.weights[f"{name}.weight"]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y = self.weights[f"{name}.weight"] @ x
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y


def _mean(values: list[Tensor], shares: list[float]) -> Tensor:
    total = torch.zeros_like(values[0])
    for value, share in zip(values, shares, strict=True):
        total = total + share * value
    return total
