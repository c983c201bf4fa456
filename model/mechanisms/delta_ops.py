"""The arithmetic of associative memories: the features of keys, short convolutions, and the delta rule.

It knows tensors only, and nothing of layers or models.
Equations: Schlag et al. 2102.11174 (DPFP, delta rule); Yang et al. 2406.06484 (its parallel form).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dpfp(x: Tensor, rolls: int, dim: int = -1) -> Tensor:
    """φ(x) along `dim`, d numbers to 2 d rolls: [u * roll(u, 1), u * roll(u, 2), ...] (2102.11174, equation 37)."""
    return _products(_halves(x, dim), rolls, dim)


def unit_dpfp(x: Tensor, rolls: int, dim: int = -1) -> Tensor:
    """φ(x) divided by its length."""
    u = _halves(x, dim)
    squares = u * u
    first, *others = _rolled(squares, rolls, dim)
    lengths = (squares * sum(others, first)).sum(dim=dim, keepdim=True)
    # φ(cu) = c² φ(u), so that u is scaled, which has a fraction of the numbers. A power of a sum with a floor, not a
    # division by the norm: its gradient is finite at zero.
    return _products(u * (lengths + 1e-12).rsqrt().sqrt(), rolls, dim)


def _halves(x: Tensor, dim: int) -> Tensor:
    """[relu(x); relu(-x)]"""
    return torch.cat([x, -x], dim=dim).relu()


def _rolled(u: Tensor, rolls: int, dim: int) -> list[Tensor]:
    """u rolled by 1 to `rolls`, as views of one copy."""
    size = u.shape[dim]
    twice = torch.cat([u, u], dim=dim)
    return [twice.narrow(dim, size - shift % size, size) for shift in range(1, rolls + 1)]


def _products(u: Tensor, rolls: int, dim: int) -> Tensor:
    turned = _rolled(u, rolls, dim)
    if torch.is_grad_enabled():
        return torch.cat([u * other for other in turned], dim=dim)
    shape = list(u.shape)
    shape[dim] *= rolls
    features = u.new_empty(shape)
    # Straight into their places: features are the largest thing in a layer, and one more copy is felt.
    for part, other in zip(features.chunk(rolls, dim=dim), turned, strict=True):
        torch.mul(u, other, out=part)
    return features


def convolved(x: Tensor, taps: Tensor) -> Tensor:
    """Σ_j taps_j * x_(t-j) of x (B, N, D), taps (J, D), zeros in front (short convolution, 2406.06484, section 4).

    For a group of layers x is (L, B, N, D), and taps (L, 1, J, D).
    """
    if taps.dim() > 2:
        channels = x.permute(1, 2, 0, 3).flatten(2)
        mixed = convolved(channels, taps[:, 0].transpose(0, 1).flatten(1))
        return mixed.view(*mixed.shape[:2], x.shape[0], x.shape[3]).permute(2, 0, 1, 3)
    # As an image of one row, channels last: so the tokens stay as they lie.
    image = x.transpose(1, 2)[:, :, None]
    kernel = taps.flip(0).t()[:, None, None]
    mixed = nn.functional.conv2d(image, kernel, padding=(0, len(taps) - 1), groups=taps.shape[1])
    return mixed[:, :, 0, : x.shape[1]].transpose(1, 2)


def convolved_at(x: Tensor, slots: Tensor, taps: Tensor) -> Tensor:
    """The same convolution of x (B, S, D), for its slots (B, T) alone."""
    mixed = torch.zeros(*slots.shape, x.shape[2], dtype=x.dtype, device=x.device)
    for back, tap in enumerate(taps):
        index = (slots - back).clamp(min=0)[..., None].expand(-1, -1, x.shape[2])
        mixed = mixed + tap * x.gather(1, index) * (slots >= back)[..., None]
    return mixed


def delta_updates(memory: Tensor, keys: Tensor, values: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """J parts of S delta-rule writes each, one after another: what they add under their keys (M, J, E, S), the memory
    in front of each part (M, J, P, E), and behind the last (M, P, E).

    U = β (V - Aᵀ K) (I + strictly_upper(Kᵀ K β))⁻¹   (2406.06484, section 3.2, transposed)
    A ← A + K Uᵀ
    memory A (M, P, E), keys K (M, J, P, S), values V (M, J, E, S), strengths β (M, J, 1, S), all float32. What
    has no A in it is worked out for all parts at once.
    """
    # What lies on and below the diagonal is not looked at.
    overlap = strengths * (keys.mT @ keys)
    both = strengths * torch.cat([values, keys], dim=-2)
    solved = torch.linalg.solve_triangular(overlap, both, upper=True, left=False, unitriangular=True)
    wanted, known = solved.split([values.shape[-2], keys.shape[-2]], dim=-2)
    befores, updates = [], []
    for part_keys, part_wanted, part_known in zip(keys.unbind(1), wanted.unbind(1), known.unbind(1), strict=True):
        befores.append(memory)
        updates.append(torch.baddbmm(part_wanted, memory.mT, part_known, alpha=-1))
        memory = torch.baddbmm(memory, part_keys, updates[-1].mT)
    return torch.stack(updates, dim=1), torch.stack(befores, dim=1), memory
