"""The decoder block: attention and feed-forward in the shape of GPT-2, Llama and their relatives, by configuration.

A block sees one local window of tokens and the window's own keys and values. Where h is (B, T, D) it may be
(L, B, T, D) as well, for a group of layers whose weights are stacked (`model/layers/stacked.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import LayerKind, ModelConfig
from model.layers.fused_linear import FusedLinear

# cos and sin of rotary positions, each (B or 1, 1, N, turned_dim), for each kind of layer that turns by them.
Angles = Mapping[LayerKind, tuple[Tensor, Tensor]]
# Keys and values that earlier tokens have left, (B, kv_heads, S, head_dim), and the slots (B, N) of these tokens.
Past = tuple[Tensor, Tensor, Tensor]

M = TypeVar("M", bound=nn.Module)


class Layers(nn.ModuleList, Generic[M]):
    """A module list whose elements have one type."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M]) -> None: ...
        def __iter__(self) -> Iterator[M]: ...
        def __getitem__(self, index: int) -> M: ...  # type: ignore[override]


def make_norm(config: ModelConfig, width: int | None = None) -> nn.Module:
    """A norm of the model's kind over `width` features (default: d_model)."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(width or config.d_model, eps=config.norm_epsilon)
    return nn.LayerNorm(width or config.d_model, eps=config.norm_epsilon)


@lru_cache(maxsize=16)
def first_angles(config: ModelConfig, tokens: int, device: torch.device, dtype: torch.dtype) -> Angles:
    """The angles of a window's first positions: every segment asks for the same."""
    with torch.inference_mode(False):
        return rotary_angles(config, torch.arange(tokens, device=device)[None], dtype)


def rotary_angles(config: ModelConfig, positions: Tensor, dtype: torch.dtype) -> Angles:
    """The angles at positions (B or 1, N), computed in float64."""
    angles: dict[LayerKind, tuple[Tensor, Tensor]] = {}
    for kind in sorted(set(config.kinds) - {"unrotated"}):
        amplitude = config.rope_amplitude if kind == "global" else 1.0
        turns = positions[:, None, :, None].double() * rotary_frequencies(config, kind, positions.device)
        turns = torch.cat([turns, turns], dim=-1)
        angles[kind] = (turns.cos() * amplitude).to(dtype), (turns.sin() * amplitude).to(dtype)
    return angles


def rotary_frequencies(config: ModelConfig, kind: LayerKind, device: torch.device) -> Tensor:
    """Radians a token (turned_dim / 2) of the rotary embedding (2104.09864) in a kind of layer."""
    half = torch.arange(0, config.turned_dim, 2, device=device, dtype=torch.float64)
    if kind == "local":
        return config.local_rope_theta ** (-half / config.turned_dim)
    frequencies: Tensor = config.rope_theta ** (-half / config.turned_dim)
    if config.rope_divisors:
        frequencies = frequencies / torch.tensor(config.rope_divisors, device=device, dtype=torch.float64)
    return frequencies if config.rope_scaling is None else config.rope_scaling.stretched(frequencies)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, H, T, head_dim) with its first turned_dim features turned, halves paired as in Llama."""
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = torch.addcmul(turned * cos, torch.cat([-second, first], dim=-1), sin)
    return torch.cat([turned, kept], dim=-1) if kept.shape[-1] else turned


def softcapped_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float, cap: float
) -> Tensor:
    """torch's scaled_dot_product_attention, but scores x become cap * tanh(x / cap) (Gemma 2, 2408.00118)."""
    group = queries.shape[1] // keys.shape[1]
    scores = (queries * scale) @ keys.repeat_interleave(group, dim=1).mT
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = (cap * torch.tanh(scores / cap)).masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1) @ values.repeat_interleave(group, dim=1)


class Attention(nn.Module):
    """Causal attention with grouped key-value heads over one window, in the kind of one layer."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.kind = config.kinds[layer]
        self.reach_tokens = config.local_tokens if self.kind == "local" else None
        self.scale, self.softcap = config.attention_scale, config.attention_softcap
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        biased = config.bias or config.qkv_bias
        self.inputs = FusedLinear(config.d_model, {"query": queries, "key": keys, "value": keys}, bias=biased)
        self.query_norm = make_norm(config, self.head_dim) if config.query_key_norm else None
        self.key_norm = make_norm(config, self.head_dim) if config.query_key_norm else None
        self.out = nn.Linear(queries, config.d_model, bias=config.bias)

    def projected(self, h: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, head_dim) of h (B, T, D); for a group of layers, B is all rows."""
        made = self.inputs(h).unflatten(-1, (-1, self.head_dim))
        if self.query_norm is not None and self.key_norm is not None:
            queries, keys, values = made.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
            made = torch.cat([self.query_norm(queries), self.key_norm(keys), values], dim=-2)
        made = made.flatten(0, -4).transpose(1, 2)
        turned, values = made.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if angles is not None and self.kind in angles:
            turned = rotate(turned, *angles[self.kind])
        queries, keys = turned.split([self.heads, self.kv_heads], dim=1)
        return queries, keys, values

    def forward(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """What h (B, T, D) finds: (B, T, D). The caches of `past` are changed in place at its slots.

        mask (B, 1, T, S) is true where a query may look at a slot; None means causal over these tokens alone.
        """
        queries, keys, values = self.projected(h, angles)
        if past is not None:
            cached_keys, cached_values, slots = past
            index = slots[:, None, :, None].expand(-1, keys.shape[1], -1, keys.shape[3])
            cached_keys.scatter_(2, index, keys)
            cached_values.scatter_(2, index, values)
            if mask is not None:
                keys, values = cached_keys, cached_values
        if self.reach_tokens is not None and keys.shape[2] > self.reach_tokens:
            places = torch.arange(keys.shape[2], device=h.device)[None] if past is None else past[2]
            mask = self._within_reach(mask, places, keys.shape[2])
        if self.softcap is not None:
            scale = self.head_dim**-0.5 if self.scale is None else self.scale
            found = softcapped_attention(queries, keys, values, mask, scale, self.softcap)
        else:
            found = F.scaled_dot_product_attention(
                queries,
                keys,
                values,
                attn_mask=mask,
                is_causal=mask is None,
                scale=self.scale,
                enable_gqa=self.heads != self.kv_heads,
            )
        return self.out(found.transpose(1, 2).flatten(2).view(*h.shape[:-1], -1))  # type: ignore[no-any-return]

    def _within_reach(self, mask: Tensor | None, places: Tensor, slots: int) -> Tensor:
        """The mask (B or 1, 1, T, S) without the slots too far behind these tokens' places (B or 1, T)."""
        assert self.reach_tokens is not None
        distance = places[:, None, :, None] - torch.arange(slots, device=places.device)
        return (distance < self.reach_tokens) & (distance >= 0 if mask is None else mask)


class FeedForward(nn.Module):
    """SwiGLU or GEGLU (2002.05202), or GPT-2's GELU network; GELU is by its tanh formula."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.activation != "gelu"
        self.activated: Callable[[Tensor], Tensor] = F.silu if config.activation == "swiglu" else _gelu
        parts = ("gate", "up") if self.gated else ("up",)
        self.inputs = FusedLinear(config.d_model, dict.fromkeys(parts, config.d_ff), bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, h: Tensor) -> Tensor:
        made = self.inputs(h)
        if not self.gated:
            return self.down(self.activated(made))  # type: ignore[no-any-return]
        gate, up = made.chunk(2, dim=-1)
        return self.down(self.activated(gate) * up)  # type: ignore[no-any-return]


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


class Block(nn.Module):
    """One decoder block, norms in front of each part and, in some families, behind it."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = make_norm(config), Attention(config, layer)
        self.feed_forward_norm, self.feed_forward = make_norm(config), FeedForward(config)
        self.attention_out_norm = make_norm(config) if config.output_norms else nn.Identity()
        self.feed_forward_out_norm = make_norm(config) if config.output_norms else nn.Identity()

    def forward(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """h (B, T, D) through attention and feed-forward."""
        return self.think(self.attend(h, angles, mask, past))

    def attend(self, h: Tensor, angles: Angles | None, mask: Tensor | None = None, past: Past | None = None) -> Tensor:
        """h (B, T, D) and what attention adds; the caches of `past` are changed in place at its slots."""
        added = self.attention(self.attention_norm(h), angles, mask, past)
        return h + self.attention_out_norm(added)  # type: ignore[no-any-return]

    def think(self, h: Tensor) -> Tensor:
        """h (B, T, D) and what the feed-forward network adds."""
        return h + self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(h)))  # type: ignore[no-any-return]
