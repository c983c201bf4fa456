"""The arithmetic of associative memories: the features of keys, short convolutions, and the delta rule.

It knows tensors only, and nothing of layers or models.
Equations: Schlag et al. 2102.11174 (DPFP, delta rule); Yang et al. 2406.06484 (its parallel form).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dpfp(x: Tensor, rolls: int) -> Tensor:
    """φ(x): (..., d) to (..., 2 d rolls) (2102.11174, equation 37)."""
    u = torch.cat([torch.relu(x), torch.relu(-x)], dim=-1)
    return torch.cat([u * u.roll(shift, dims=-1) for shift in range(1, rolls + 1)], dim=-1)


def unit_dpfp(x: Tensor, rolls: int) -> Tensor:
    """φ(x) divided by its length."""
    features = dpfp(x, rolls)
    # rsqrt of a sum with a floor, not a division by the norm: its gradient is finite at zero.
    return features * torch.rsqrt(features.square().sum(dim=-1, keepdim=True) + 1e-12)


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
