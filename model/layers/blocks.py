"""The decoder block: attention and feed-forward in GPT-2's, Llama's or Gemma's shape, by configuration.

A block sees one local window of tokens and the window's own keys and values. Where h is (B, T, D) it may be
(L, B, T, D) as well, for a group of layers whose weights are stacked (`model/layers/stacked.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.fused_linear import FusedLinear

# cos and sin of rotary positions, each (B or 1, 1, N, head_dim).
Angles = tuple[Tensor, Tensor]
# Keys and values that earlier tokens have left, (B, kv_heads, S, head_dim), and the slots (B, N) of these tokens.
Past = tuple[Tensor, Tensor, Tensor]

M = TypeVar("M", bound=nn.Module)


class Layers(nn.ModuleList, Generic[M]):
    """A module list whose elements have one type."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M]) -> None: ...
        def __iter__(self) -> Iterator[M]: ...
        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]


def make_norm(config: ModelConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
    return nn.LayerNorm(config.d_model, eps=config.norm_epsilon)


@lru_cache(maxsize=16)
def first_angles(config: ModelConfig, tokens: int, device: torch.device, dtype: torch.dtype) -> Angles:
    """cos and sin, each (1, 1, tokens, head_dim), of a window's first positions: every segment asks for the same."""
    with torch.inference_mode(False):
        cos, sin = rotary_angles(config, torch.arange(tokens, device=device)[None])
        return cos[:, None].to(dtype), sin[:, None].to(dtype)


def rotary_angles(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, each (..., head_dim), of the rotary embedding (2104.09864) at positions (...)."""
    half = torch.arange(0, config.head_dim, 2, device=positions.device, dtype=torch.float64)
    frequencies = config.rope_theta ** (-half / config.head_dim)
    if config.rope_scaling is not None:
        frequencies = config.rope_scaling.stretched(frequencies)
    angles = positions[..., None].double() * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, T, head_dim) turned by angles (B or 1, 1, T, head_dim), halves paired as in Llama."""
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat([-second, first], dim=-1), sin)


class Attention(nn.Module):
    """Causal attention with grouped key-value heads over one local window."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.inputs = FusedLinear(config.d_model, {"query": queries, "key": keys, "value": keys}, bias=config.bias)
        self.out = nn.Linear(queries, config.d_model, bias=config.bias)

    def projected(self, h: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, head_dim) of h (B, T, D); for a group of layers, B is all rows."""
        made = self.inputs(h).unflatten(-1, (-1, self.head_dim)).flatten(0, -4).transpose(1, 2)
        turned, values = made.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if angles is not None:
            turned = rotate(turned, *angles)
        queries, keys = turned.split([self.heads, self.kv_heads], dim=1)
        return queries, keys, values

    def forward(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """What h (B, T, D) finds: (B, T, D). The caches of `past` are changed in place at its slots.

        mask (B, 1, T, S) is true where a query may look; None means causal with T = S.
        """
        queries, keys, values = self.projected(h, angles)
        if past is not None:
            cached_keys, cached_values, slots = past
            index = slots[:, None, :, None].expand(-1, keys.shape[1], -1, keys.shape[3])
            keys = cached_keys.scatter_(2, index, keys)
            values = cached_values.scatter_(2, index, values)
        found = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
        )
        return self.out(found.transpose(1, 2).flatten(2).view_as(h))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """SwiGLU (2002.05202) or GPT-2's GELU network."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        parts = ("gate", "up") if self.gated else ("up",)
        self.inputs = FusedLinear(config.d_model, dict.fromkeys(parts, config.d_ff), bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, h: Tensor) -> Tensor:
        made = self.inputs(h)
        if not self.gated:
            return self.down(F.gelu(made, approximate="tanh"))  # type: ignore[no-any-return]
        gate, up = made.chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Block(nn.Module):
    """One decoder block, norms in front of each part."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = make_norm(config), Attention(config)
        self.feed_forward_norm, self.feed_forward = make_norm(config), FeedForward(config)

    def forward(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """h (B, T, D) through attention and feed-forward."""
        return self.think(self.attend(h, angles, mask, past))

    def attend(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """h (B, T, D) and what attention adds; the caches of `past` are changed in place at its slots."""
        return h + self.attention(self.attention_norm(h), angles, mask, past)  # type: ignore[no-any-return]

    def think(self, h: Tensor) -> Tensor:
        """h (B, T, D) and what the feed-forward network adds."""
        return h + self.feed_forward(self.feed_forward_norm(h))  # type: ignore[no-any-return]
