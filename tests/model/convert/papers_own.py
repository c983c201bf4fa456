"""ARMT and RMT around transformers' own layers, from the papers' equations as they are printed, in float64.

Nothing of `model/` is used: what a checkpoint means is worked out here a second time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def unrolled(x: Tensor, normalize: bool) -> Tensor:
    u = torch.cat([torch.relu(x), torch.relu(-x)], dim=-1)
    phi = torch.cat([u * torch.roll(u, j, dims=-1) for j in (1, 2, 3)], dim=-1)
    return phi / phi.norm(dim=-1, keepdim=True) if normalize else phi


class Associations:
    """One layer's A and z, for one row."""

    def __init__(self, tensors: dict[str, Tensor], layer: int, normalize: bool) -> None:
        self.q, self.k, self.v, self.b, self.bias = (
            tensors[f"{layer}.{name}"].double()
            for name in ("W_mq.weight", "W_mk.weight", "W_mv.weight", "W_mb.weight", "W_mb.bias")
        )
        self.normalize = normalize
        features = 6 * self.k.shape[0]
        self.a = torch.zeros(features, self.v.shape[0], dtype=torch.float64)
        self.z = torch.zeros(features, dtype=torch.float64)
        self.first = True

    def read(self, h: Tensor) -> Tensor:
        if self.first:
            return h
        q = unrolled(h @ self.q.T, self.normalize)
        return h + (q @ self.a) / (q @ self.z + 1e-5)[..., None]

    def write(self, m: Tensor) -> None:
        a, z = self.a.clone(), self.z.clone()
        for token in m:
            k = unrolled(token @ self.k.T, self.normalize)
            v, beta = token @ self.v.T, torch.sigmoid(token @ self.b.T + self.bias)
            if self.first:
                known, gamma = torch.zeros_like(v), torch.tensor(1.0, dtype=torch.float64)
            else:
                den = self.z @ k + 1e-5
                known = (k @ self.a) / den
                gamma = (1 - den / (1.0 if self.normalize else k @ k + 1e-5)).clip(0, 1)
            a = a + beta * torch.outer(k, v - known)
            z = z + gamma * k
        self.a, self.z, self.first = a, z, False


class Armt:
    """Reads segments of one row, and gives the logits of a window behind them."""

    def __init__(self, backbone: Any, tensors: dict[str, Tensor], normalize: bool) -> None:
        self.backbone, self.memory = backbone.double(), tensors["memory"].double()
        inner = backbone.transformer if hasattr(backbone, "transformer") else backbone.model
        self.layers = inner.h if hasattr(inner, "h") else inner.layers
        self.embedding = inner.wte if hasattr(inner, "wte") else inner.embed_tokens
        self.associations = [Associations(tensors, n, normalize) for n in range(len(self.layers))]

    def read(self, segment: list[int]) -> None:
        embedded = self.embedding(torch.tensor(segment))
        self._through(torch.cat([embedded, self.memory]), write=True)

    def logits(self, tokens: list[int]) -> Tensor:
        return self._through(self.embedding(torch.tensor(tokens)), write=False)

    def _through(self, vectors: Tensor, write: bool) -> Tensor:
        """The backbone's own forward pass, with reading before each layer and writing behind it hooked in."""
        hooks = []
        for layer, associations in zip(self.layers, self.associations, strict=True):

            def before(module: Any, given: Any, named: Any, memory: Associations = associations) -> Any:
                return (memory.read(given[0]), *given[1:]), named

            def behind(module: Any, given: Any, made: Any, memory: Associations = associations) -> None:
                hidden = made[0] if isinstance(made, tuple) else made
                memory.write(hidden[0, hidden.shape[1] - len(self.memory) :])

            hooks.append(layer.register_forward_pre_hook(before, with_kwargs=True))
            if write:
                hooks.append(layer.register_forward_hook(behind))
        try:
            with torch.no_grad():
                return self.backbone(inputs_embeds=vectors[None], use_cache=False).logits[0]  # type: ignore[no-any-return]
        finally:
            for hook in hooks:
                hook.remove()


class Rmt:
    """Reads segments of one row, and gives the logits of a window behind them."""

    def __init__(self, backbone: Any, memory: Tensor) -> None:
        self.backbone, self.memory = backbone.double(), memory.double()
        inner = backbone.transformer if hasattr(backbone, "transformer") else backbone.model
        self.embedding = inner.wte if hasattr(inner, "wte") else inner.embed_tokens

    def read(self, segment: list[int]) -> None:
        vectors = torch.cat([self.memory, self.embedding(torch.tensor(segment)), self.memory])
        with torch.no_grad():
            made = self.backbone(inputs_embeds=vectors[None], use_cache=False, output_hidden_states=True)
        self.memory = made.hidden_states[-1][0, len(vectors) - len(self.memory) :]

    def logits(self, tokens: list[int]) -> Tensor:
        vectors = torch.cat([self.memory, self.embedding(torch.tensor(tokens))])
        with torch.no_grad():
            return self.backbone(inputs_embeds=vectors[None], use_cache=False).logits[0, len(self.memory) :]  # type: ignore[no-any-return]
