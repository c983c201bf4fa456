"""Layers stacked: one module that does for a group of layers, in grouped products, what each does for its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def stacked(layers: Sequence[nn.Module]) -> Any:
    """A module of the layers' own kind that takes (L, B, ...) where they take (B, ...); for weights that learn no more.

    It holds copies of the layers' weights; the layers stay as they are.
    """
    twin = copy.deepcopy(layers[0]).requires_grad_(False)
    for name, module in layers[0].named_modules():
        each = [layer.get_submodule(name) for layer in layers]
        if isinstance(module, nn.Linear):
            twin.set_submodule(name, StackedLinear(each))  # type: ignore[arg-type]
        elif isinstance(module, nn.RMSNorm | nn.LayerNorm):
            twin.set_submodule(name, StackedNorm(each))  # type: ignore[arg-type]
        else:
            for own, _ in module.named_parameters(recurse=False):
                parameters = [layer.get_parameter(own) for layer in each]
                setattr(twin.get_submodule(name), own, nn.Parameter(_across_rows(parameters), requires_grad=False))
    return twin


class StackedLinear(nn.Module):
    """x (L, B, N, in) to (L, B, N, out), each layer by its own matrix."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = torch.stack([layer.weight.detach().t() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.stack(biases)[:, None] if biases else None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1, -2)
        mapped = rows @ self.weight if self.bias is None else torch.baddbmm(self.bias, rows, self.weight)
        return mapped.view(*x.shape[:-1], self.weight.shape[-1])


class StackedNorm(nn.Module):
    """x (L, B, ..., D) normalised, with each layer's own scales."""

    def __init__(self, layers: Sequence[nn.RMSNorm | nn.LayerNorm]) -> None:
        super().__init__()
        first = layers[0]
        normed: Callable[..., Tensor] = F.layer_norm if isinstance(first, nn.LayerNorm) else F.rms_norm
        self._normed = partial(normed, normalized_shape=first.normalized_shape, eps=first.eps)
        self.weight = torch.stack([layer.weight.detach() for layer in layers])[:, None]
        biases = [layer.bias.detach() for layer in layers if isinstance(layer, nn.LayerNorm)]
        self.bias = torch.stack(biases)[:, None] if biases else None

    def forward(self, x: Tensor) -> Tensor:
        scaled = self._normed(x).flatten(1, -2) * self.weight
        return (scaled if self.bias is None else scaled + self.bias).view(x.shape)


def _across_rows(parts: Sequence[Tensor]) -> Tensor:
    """Vectors (D) of layers as (L, 1, 1, D), taps (J, D) as (L, 1, J, D): a layer's own for all of its rows."""
    joined = torch.stack([part.detach() for part in parts])[:, None]
    return joined[:, :, None] if joined.dim() == 3 else joined
