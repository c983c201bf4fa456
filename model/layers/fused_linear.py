"""Several linear maps of one input as one product: their matrices are joined, once for all when the model is frozen.

It knows matrices, and nothing of what is mapped to what.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FusedLinear(nn.Module):
    """What its maps make of x, one behind the other. The maps stay the modules that own, learn and name the weights.

    Laid, `weight` (in, out) holds them all and the maps' own are views of it, so that there is one copy. A group of
    layers has a weight (L, in, out), and takes x (L, ..., in).
    """

    def __init__(self, maps: Sequence[nn.Linear]) -> None:
        super().__init__()
        # A tuple is not registered: state and parameters are the maps'.
        self.maps = tuple(maps)
        self.weight: Tensor | None
        self.bias: Tensor | None
        self.register_buffer("weight", None, persistent=False)
        self.register_buffer("bias", None, persistent=False)

    @property
    def widths(self) -> list[int]:
        """How many of the outputs are each map's."""
        return [linear.out_features for linear in self.maps]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to (..., out)."""
        if self.weight is None:
            return F.linear(x, self._joined(), self._joined_bias())
        return product(x, self.weight, self.bias)

    def lay(self) -> None:
        """Joins the matrices for good; for weights that no longer change."""
        if self.weight is None:
            self.take(self._joined().detach().t().contiguous(), self._joined_bias())

    def take(self, weight: Tensor, bias: Tensor | None) -> None:
        """Works with this weight (in, out), which holds the same, and makes the maps' own views of it."""
        self.weight, self.bias = weight, None if bias is None else bias.detach()
        for linear, part in zip(self.maps, torch.split(weight, self.widths, dim=1), strict=True):
            linear.weight.data = part.t()

    def train(self, mode: bool = True) -> FusedLinear:
        """What learns has its maps' own weights again."""
        if mode:
            self.weight = self.bias = None
        return super().train(mode)

    def _joined(self) -> Tensor:
        return torch.cat([linear.weight for linear in self.maps])

    def _joined_bias(self) -> Tensor | None:
        if all(linear.bias is None for linear in self.maps):
            return None
        return torch.cat([m.weight.new_zeros(m.out_features) if m.bias is None else m.bias for m in self.maps])


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) by weight (in, out); for a group of layers x (L, ..., in), each by its own of weight (L, in, out)."""
    if weight.dim() == 2:
        return F.linear(x, weight.t(), bias)
    rows = x.flatten(1, -2)
    mapped = rows @ weight if bias is None else torch.baddbmm(bias[:, None], rows, weight)
    return mapped.view(*x.shape[:-1], weight.shape[-1])
