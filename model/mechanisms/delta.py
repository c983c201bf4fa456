"""The `delta` mechanism: an associative memory per layer, read and then written by every token in turn.

It knows one layer's memory and nothing of attention, sessions or other layers.
Equations: Schlag et al. 2102.11174 (DPFP, delta rule); Yang et al. 2406.06484 (its parallel form).
"""

from __future__ import annotations

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


def delta_updates(memory: Tensor, keys: Tensor, values: Tensor, strengths: Tensor) -> Tensor:
    """What T sequential delta-rule writes add under their keys: U (B, T, D), as one triangular solve.

    U = (I + strictly_lower(β K Kᵀ))⁻¹ β (V - K A)   (2406.06484, section 3.2)
    memory A (B, P, D), keys (B, T, P), values (B, T, D), strengths β (B, T, 1), all float32.
    """
    overlap = (strengths * (keys @ keys.transpose(-1, -2))).tril(-1)
    wanted = strengths * (values - keys @ memory)
    updates: Tensor = torch.linalg.solve_triangular(overlap, wanted, upper=False, unitriangular=True)
    return updates


class DeltaMemory(nn.Module):
    """One layer's reading and writing weights. It holds no memory: that comes in and goes out as a value."""

    def __init__(self, config: ModelConfig, norm: nn.Module) -> None:
        super().__init__()
        d, key = config.d_model, config.memory_key_dim
        self.rolls = config.memory_rolls
        self.norm = norm
        self.query = nn.Linear(d, key, bias=False)
        self.key = nn.Linear(d, key, bias=False)
        self.key_taps = nn.Parameter(torch.full((config.memory_taps, key), config.memory_taps**-0.5))
        self.value = nn.Linear(d, d, bias=False)
        self.value_taps = nn.Parameter(torch.eye(config.memory_taps, 1).repeat(1, d))
        self.strength = nn.Linear(d, 1)

    def read(self, h: Tensor, memory: Tensor) -> Tensor:
        """h (B Q, T, D) <- h + φ(W_q norm(h)) A, with A (B, P, D) in float32, shared by Q rows, and nothing written."""
        queries = self._queries(self.norm(h))
        found = queries.reshape(memory.shape[0], -1, queries.shape[-1]) @ memory
        return h + found.view(h.shape).to(h.dtype)

    def step(self, h: Tensor, memory: Tensor, gate: Tensor, context: int) -> tuple[Tensor, Tensor, Tensor]:
        """h and the memory A (B, P, D) after T tokens have each read and then written, and their strengths β (B, T, 1).

        h (B, context + T, D), gate (B, T). Token t reads what the tokens before it have left:
        h_t <- h_t + q_t A_(t-1), A_t = A_(t-1) + k_t u_tᵀ, so that it does not matter to a fact in which segment
        an earlier one stood. The context has written with its own segment; here it reads, and lends itself to the keys
        and values behind it: both are causal convolutions over the last tokens, so that what is said of somebody
        finds the name said just before. β = gate * σ(w norm(h) + b).
        """
        x = self.norm(h)
        queries = self._queries(x)
        keys = dpfp(at_least_float32(convolved(self.key(x), self.key_taps)), self.rolls)[:, context:]
        values = at_least_float32(convolved(self.value(x), self.value_taps))[:, context:]
        # Contiguous: of a strided view with several rows, torch takes the products by another routine.
        x = x[:, context:].contiguous()
        strengths = gate[..., None] * torch.sigmoid(at_least_float32(self.strength(x)))
        updates = delta_updates(memory, keys, values, strengths)
        recent = (queries[:, context:] @ keys.transpose(-1, -2)).tril(-1) @ updates
        found = queries @ memory + nn.functional.pad(recent, (0, 0, context, 0))
        return h + found.to(h.dtype), memory + keys.transpose(-1, -2) @ updates, strengths

    def _queries(self, x: Tensor) -> Tensor:
        return dpfp(at_least_float32(self.query(x)), self.rolls)
