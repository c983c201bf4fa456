"""Linear maps of one input, stored as one matrix; files keep them apart, under a name each.

As nano-vllm's QKVParallelLinear: what is loaded is joined (`join_fused`), and what is saved is split (`split_fused`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

KINDS = ("weight", "bias")


class FusedLinear(nn.Linear):
    """x (..., in) to the outputs of all parts, one behind the other; `parts` says how many of them are each part's."""

    def __init__(self, in_features: int, parts: Mapping[str, int], bias: bool) -> None:
        super().__init__(in_features, sum(parts.values()), bias=bias)
        self.parts = dict(parts)

    @property
    def widths(self) -> list[int]:
        return list(self.parts.values())

    def part(self, name: str) -> Tensor:
        """The matrix (out, in) of one part, a view of the whole."""
        return torch.split(self.weight, self.widths)[list(self.parts).index(name)]


def split_fused(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with a tensor for each part: `attention.inputs.weight` becomes `attention.query.weight` and so on."""
    found = dict(state)
    for prefix, name, module in _fused(model):
        for kind in KINDS:
            if (whole := found.pop(f"{name}.{kind}", None)) is not None:
                for part, tensor in zip(module.parts, torch.split(whole, module.widths), strict=True):
                    found[f"{prefix}{part}.{kind}"] = tensor.clone()
    return found


def join_fused(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back: a state that `model` can load."""
    found = dict(state)
    for prefix, name, module in _fused(model):
        for kind in KINDS:
            names = [f"{prefix}{part}.{kind}" for part in module.parts]
            if all(part in found for part in names):
                found[f"{name}.{kind}"] = torch.cat([found.pop(part) for part in names])
    return found


def _fused(model: nn.Module) -> Iterator[tuple[str, str, FusedLinear]]:
    """What stands before the names of its parts, its own name, and each fused map."""
    for name, module in model.named_modules():
        if isinstance(module, FusedLinear):
            yield name[: name.rfind(".") + 1], name, module
