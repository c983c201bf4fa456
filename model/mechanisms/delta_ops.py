"""The arithmetic of associative memories: the features of keys, short convolutions, and the delta rule.

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


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, at: Tensor, initial_state: Tensor
) -> tuple[Tensor, Tensor]:
    """Every token reads an associative memory, and some of them then write to it by the delta rule, token by token:

        o_t = A_(t-1)ᵀ q_t        A_t = A_(t-1) + k_t u_tᵀ,  u_t = β_t (v_t - A_(t-1)ᵀ k_t)

    w windows of n tokens follow each other in each of b rows, with a memory for each of h heads. The writes of a window
    come in c chunks of s. What is written with β = 0 changes no bit.

        q              b w h p n      queries; or of the first rows only, whose o is then all that is given back
        k              b w h c p s    keys
        v              b w h c e s    values
        beta           b w h c 1 s    strengths
        at             b w c s        which of the n tokens makes a write: the tokens behind it see it. The writes with
                                      β > 0 must be in the order of their tokens
        initial_state  b h p e        the memories A
        o, final_state b w h e n, b h p e

    For example, rows b = 8 of w = 1 window of n = 72 tokens (context 8, segment 64) in which at most 20 write, h = 8
    heads, p = 128 features and e = 16 values a head: k is (8, 1, 8, 2, 128, 16), the last 12 strengths are zero, and o
    is (8, 1, 8, 16, 72).

    A chunk is solved at once, by the parallel form, transposed (2406.06484, section 3.2):

        U = β (V - Aᵀ K) (I + strictly_upper(Kᵀ K β))⁻¹        A ← A + K Uᵀ

    Every product is of matrices whose shapes do not depend on how many chunks there are; only their number does.
    """
    # What lies on and below the diagonal is not looked at.
    overlap = beta * (k.mT @ k)
    both = beta * torch.cat([v, k], dim=-2)
    solved = torch.linalg.solve_triangular(overlap, both, upper=True, left=False, unitriangular=True)
    wanted, known = solved.split([v.shape[-2], k.shape[-2]], dim=-2)
    state, befores, updates = initial_state.flatten(0, 1), [], []
    for window in range(k.shape[1]):
        befores.append(state)
        for chunk in range(k.shape[3]):
            keys, target, seen = (part[:, window, :, chunk].flatten(0, 1) for part in (k, wanted, known))
            updates.append(torch.baddbmm(target, state.mT, seen, alpha=-1))
            state = torch.baddbmm(state, keys, updates[-1].mT)
    rows, (windows, heads), queries = len(q), q.shape[1:3], q.flatten(0, 2)
    # (window, (row, head), ...) to ((row, window, head), ...)
    before = torch.stack(befores).view(windows, -1, *initial_state.shape[1:])[:, :rows].transpose(0, 1).flatten(0, 2)
    shape = (windows, k.shape[3], -1, heads, *updates[0].shape[1:])
    written = torch.stack(updates).view(shape)[:, :, :rows].permute(1, 2, 0, 3, 4, 5).flatten(1, 3)
    not_yet = at[:rows, :, None, :, :, None] >= torch.arange(q.shape[-1], device=q.device)
    o = before.mT @ queries
    for chunk, update in enumerate(written):
        weights = (k[:rows, :, :, chunk].flatten(0, 2).mT @ queries).view(
            rows, windows, heads, k.shape[-1], q.shape[-1]
        )
        o = torch.baddbmm(o, update, weights.masked_fill(not_yet[:, :, :, chunk], 0.0).flatten(0, 2))
    return o.view(rows, windows, heads, *o.shape[1:]), state.view_as(initial_state)
