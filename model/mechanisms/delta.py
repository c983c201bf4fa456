"""The `delta` mechanism: an associative memory per layer, written by every token with the exact delta rule.

It knows one layer's memory and nothing of attention, sessions or other layers.
Equations: Schlag et al. 2102.11174 (DPFP, delta rule); Yang et al. 2406.06484 (its parallel form);
the places of reading and writing are those of ARMT, 2407.04841.
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


def delta_write(memory: Tensor, keys: Tensor, values: Tensor, strengths: Tensor) -> Tensor:
    """The memory (B, P, D) after T sequential delta-rule writes, as one triangular solve.

    U = (I + strictly_lower(β K Kᵀ))⁻¹ β (V - K A);  A <- A + Kᵀ U   (2406.06484, section 3.2)
    keys (B, T, P), values (B, T, D), strengths β (B, T, 1), all float32.
    """
    overlap = (strengths * (keys @ keys.transpose(-1, -2))).tril(-1)
    wanted = strengths * (values - keys @ memory)
    updates = torch.linalg.solve_triangular(overlap, wanted, upper=False, unitriangular=True)
    written: Tensor = memory + keys.transpose(-1, -2) @ updates
    return written


class DeltaMemory(nn.Module):
    """One layer's reading and writing weights. It holds no memory: that comes in and goes out as a value."""

    def __init__(self, config: ModelConfig, read_norm: nn.Module, write_norm: nn.Module) -> None:
        super().__init__()
        d, key = config.d_model, config.memory_key_dim
        self.rolls = config.memory_rolls
        self.threshold = config.write_threshold
        self.read_norm, self.write_norm = read_norm, write_norm
        self.query = nn.Linear(d, key, bias=False)
        self.key = nn.Linear(d, key, bias=False)
        self.taps = nn.Parameter(torch.full((config.memory_taps, key), config.memory_taps**-0.5))
        self.value = nn.Linear(d, d, bias=False)
        self.strength = nn.Linear(d, 1)

    def read(self, h: Tensor, memory: Tensor) -> Tensor:
        """h (B, T, D) <- h + φ(W_q norm(h)) A, with A (B, P, D) in float32."""
        queries = dpfp(at_least_float32(self.query(self.read_norm(h))), self.rolls)
        return h + (queries @ memory).to(h.dtype)

    def write(self, h: Tensor, memory: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """The memory (B, P, D) after T tokens have written, and their strengths β (B, T, 1).

        h (B, context + T, D); the context only lends itself to the keys of the tokens behind it: a key is a
        causal convolution over the last tokens, so that what is said of somebody finds the name said just before.
        β = relu(σ(w norm(h) + b) - θ) / (1 - θ): below the threshold θ a token writes nothing at all, so text
        that says nothing leaves the memory as it was, bit for bit.
        """
        h = self.write_norm(h)
        keys = dpfp(at_least_float32(self._convolved(self.key(h))), self.rolls)[:, context:]
        # Contiguous: of a strided view with several rows, torch takes the products by another routine.
        h = h[:, context:].contiguous()
        strengths = torch.sigmoid(at_least_float32(self.strength(h)))
        if self.threshold > 0:
            strengths = torch.relu(strengths - self.threshold) / (1 - self.threshold)
        return delta_write(memory, keys, at_least_float32(self.value(h)), strengths), strengths

    def _convolved(self, keys: Tensor) -> Tensor:
        """Σ_j taps_j * keys_(t-j) for keys (B, N, d_key), zeros in front (short convolution, 2406.06484, section 4)."""
        taps, tokens = self.taps.shape[0], keys.shape[1]
        padded = nn.functional.pad(keys, (0, 0, taps - 1, 0))
        parts = [self.taps[j] * padded[:, taps - 1 - j : taps - 1 - j + tokens] for j in range(taps)]
        return torch.stack(parts).sum(dim=0)
