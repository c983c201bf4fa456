"""The `delta` mechanism: an associative memory per layer, read and then written by every token in turn.

It knows one layer's memory and nothing of attention, sessions or other layers.
Equations: Schlag et al. 2102.11174 (DPFP, delta rule); Yang et al. 2406.06484 (its parallel form).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.config import ModelConfig


def dpfp(x: Tensor, rolls: int) -> Tensor:
    """φ(x): (..., d) to (..., 2 d rolls), of unit length (2102.11174, equation 37, then divided by its length)."""
    u = torch.cat([torch.relu(x), torch.relu(-x)], dim=-1)
    features = torch.cat([u * u.roll(shift, dims=-1) for shift in range(1, rolls + 1)], dim=-1)
    # rsqrt of a sum with a floor, not a division by the norm: its gradient is finite at zero.
    return features * torch.rsqrt(features.square().sum(dim=-1, keepdim=True) + 1e-12)


def at_least_float32(x: Tensor) -> Tensor:
    """The sums behind a memory run in float32 whatever the weights' type (float64 stays)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def convolved(x: Tensor, taps: Tensor) -> Tensor:
    """Σ_j taps_j * x_(t-j) of x (B, N, D), taps (J, D), zeros in front (short convolution, 2406.06484, section 4)."""
    padded = nn.functional.pad(x.transpose(1, 2), (taps.shape[0] - 1, 0))
    return nn.functional.conv1d(padded, taps.flip(0).t()[:, None], groups=taps.shape[1]).transpose(1, 2)


def convolved_at(x: Tensor, slots: Tensor, taps: Tensor) -> Tensor:
    """The same convolution of x (B, S, D), for its slots (B, T) alone."""
    mixed = torch.zeros(*slots.shape, x.shape[2], dtype=x.dtype, device=x.device)
    for back, tap in enumerate(taps):
        index = (slots - back).clamp(min=0)[..., None].expand(-1, -1, x.shape[2])
        mixed = mixed + tap * x.gather(1, index) * (slots >= back)[..., None]
    return mixed


def delta_updates(memory: Tensor, keys: Tensor, values: Tensor, strengths: Tensor) -> Tensor:
    """What T sequential delta-rule writes add under their keys: U (…, T, D), as one triangular solve.

    U = (I + strictly_lower(β K Kᵀ))⁻¹ β (V - K A)   (2406.06484, section 3.2)
    memory A (…, P, D), keys (…, T, P), values (…, T, D), strengths β (…, T, 1), all float32.
    """
    overlap = (strengths * (keys @ keys.transpose(-1, -2))).tril(-1)
    wanted = strengths * (values - keys @ memory)
    updates: Tensor = torch.linalg.solve_triangular(overlap, wanted, upper=False, unitriangular=True)
    return updates


# Where heads begin to look, as tokens back from and to: "Mary went to the garden" binds what comes first to what comes
# last, "the garden is north of the hall" also the other way round, "gave the milk to Fred" what stands between.
KEYS_LOOK_BACK = ((4, 8), (0, 2), (2, 5), (0, 8))
VALUES_LOOK_BACK = ((0, 2), (3, 8), (0, 2), (0, 8))


def _starting_taps(config: ModelConfig, windows: Sequence[tuple[int, int]], channels: int) -> Tensor:
    """Taps (J, channels) that keep a vector's length on average, a window for each head; a lone head takes the last."""
    taps = torch.zeros(config.memory_taps, config.memory_heads, channels // config.memory_heads)
    for head in range(config.memory_heads):
        first, end = windows[-1] if config.memory_heads == 1 else windows[head % len(windows)]
        first = min(first, config.memory_taps - 1)
        taps[first:end, head] = (min(end, config.memory_taps) - first) ** -0.5
    return taps.flatten(1)


class DeltaMemory(nn.Module):
    """One layer's reading and writing weights. It holds no memory: that comes in and goes out as a value.

    Heads have keys, strengths and a part of the values of their own: one binds a thing to who holds it while another
    binds the same token's place to who is there.
    """

    def __init__(self, config: ModelConfig, norm: nn.Module) -> None:
        super().__init__()
        d, self.heads = config.d_model, config.memory_heads
        keys = self.heads * config.memory_key_dim
        self.rolls = config.memory_rolls
        self.norm = norm
        self.query = nn.Linear(d, keys, bias=False)
        self.query_taps = nn.Parameter(_starting_taps(config, [(0, 1)], keys))
        self.key = nn.Linear(d, keys, bias=False)
        self.key_taps = nn.Parameter(_starting_taps(config, KEYS_LOOK_BACK, keys))
        self.value = nn.Linear(d, d, bias=False)
        self.value_taps = nn.Parameter(_starting_taps(config, VALUES_LOOK_BACK, d))
        self.strength = nn.Linear(d, self.heads)

    def read(self, h: Tensor, memory: Tensor, past: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """h (B Q, T, D) <- h + φ(q) A, with A (B, H, P, D/H) in float32, shared by Q rows, and nothing written.

        `past` is (projections, slots): a cache (B Q, S, H d_key), changed in place at slots (B Q, T).
        """
        projected = self.query(self.norm(h))
        if past is None:
            mixed = convolved(projected, self.query_taps)
        else:
            cached, slots = past
            cached.scatter_(1, slots[..., None].expand_as(projected), projected)
            mixed = convolved_at(cached, slots, self.query_taps)
        queries = self._features(mixed)
        rows, (tokens, features) = memory.shape[0], queries.shape[2:]
        together = queries.view(rows, -1, self.heads, tokens, features).transpose(1, 2).flatten(2, 3)
        found = (together @ memory).view(rows, self.heads, -1, tokens, memory.shape[3]).transpose(1, 2).flatten(0, 1)
        return h + self._joined(found).to(h.dtype)

    def step(self, h: Tensor, memory: Tensor, gate: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """h and the memory A (B, H, P, D/H) after T tokens have each read and then written.

        h (B, context + T, D), gate (B, T). Token t reads what the tokens before it have left:
        h_t <- h_t + q_t A_(t-1), A_t = A_(t-1) + k_t u_tᵀ, so that it does not matter to a fact in which segment
        an earlier one stood. The context has written with its own segment; here it reads, and lends itself to the keys,
        queries and values behind it: they are causal convolutions over the last tokens, so that what is said of
        somebody finds the name said just before. β = gate * σ(w norm(h) + b), for each head.
        """
        x = self.norm(h)
        queries = self._features(convolved(self.query(x), self.query_taps))
        keys = self._features(convolved(self.key(x), self.key_taps))[:, :, context:]
        values = self._split(at_least_float32(convolved(self.value(x), self.value_taps)))[:, :, context:]
        # Contiguous: of a strided view with several rows, torch takes the products by another routine.
        heard = x[:, context:].contiguous()
        strengths = gate[..., None] * torch.sigmoid(at_least_float32(self.strength(heard)))
        updates = delta_updates(memory, keys, values, strengths.transpose(1, 2)[..., None])
        recent = (queries[:, :, context:] @ keys.transpose(-1, -2)).tril(-1) @ updates
        found = queries @ memory + nn.functional.pad(recent, (0, 0, context, 0))
        return h + self._joined(found).to(h.dtype), memory + keys.transpose(-1, -2) @ updates

    def _features(self, x: Tensor) -> Tensor:
        """φ of each head's part of x (B, N, H d_key): (B, H, N, P)."""
        return dpfp(at_least_float32(self._split(x)), self.rolls)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)
