"""Layers stacked: one module that does for a group of layers, in grouped products, what each of them does for its own.

It knows modules and their weights, and nothing of segments, memories or the order in which cells are computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers.fused_linear import FusedLinear, product

M = TypeVar("M", bound=nn.Module)


def stacked(layers: Sequence[nn.Module]) -> Any:
    """A module of the layers' own kind that takes (L, B, ...) where they take (B, ...); for weights that learn no more.

    Matrices are not copied: those of the layers become views of the stack. Norms, biases and taps are, a few vectors.
    """
    first = layers[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(layers)  # type: ignore[arg-type]
    if isinstance(first, nn.RMSNorm | nn.LayerNorm):
        return StackedNorm(layers)  # type: ignore[arg-type]
    if isinstance(first, FusedLinear):
        return _laid(layers)  # type: ignore[arg-type]
    twin = _shell(first)
    # What is joined in a product with others is stacked there.
    joined = {id(linear) for child in first.children() if isinstance(child, FusedLinear) for linear in child.maps}
    for name, child in first.named_children():
        if id(child) not in joined:
            twin._modules[name] = stacked([layer.get_submodule(name) for layer in layers])
    for name, _ in first.named_parameters(recurse=False):
        twin._buffers[name] = _across_rows([layer.get_parameter(name) for layer in layers])
    return twin


class StackedLinear(nn.Module):
    """x (L, B, N, in) to (L, B, N, out), each layer by its own matrix."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = torch.stack([layer.weight.detach().t() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.stack(biases) if biases else None
        for layer, weight in zip(layers, self.weight, strict=True):
            layer.weight.data = weight.t()

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


class StackedNorm(nn.Module):
    """x (L, B, N, D) normalised, with each layer's own scales."""

    def __init__(self, layers: Sequence[nn.RMSNorm | nn.LayerNorm]) -> None:
        super().__init__()
        first = layers[0]
        normed: Callable[..., Tensor] = F.layer_norm if isinstance(first, nn.LayerNorm) else F.rms_norm
        self._normed = partial(normed, normalized_shape=first.normalized_shape, eps=first.eps)
        self.weight = _across_rows([layer.weight for layer in layers])
        biases = [layer.bias for layer in layers if isinstance(layer, nn.LayerNorm)]
        self.bias = _across_rows(biases) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        scaled = self._normed(x) * self.weight
        return scaled if self.bias is None else scaled + self.bias


def _laid(layers: Sequence[FusedLinear]) -> FusedLinear:
    for layer in layers:
        layer.lay()
    twin = _shell(layers[0])
    weight = torch.stack([layer.weight for layer in layers if layer.weight is not None])
    biases = [layer.bias for layer in layers if layer.bias is not None]
    twin._buffers.update(weight=weight, bias=torch.stack(biases) if biases else None)
    for layer, own in zip(layers, weight, strict=True):
        layer.take(own, layer.bias)
    return twin


def _shell(module: M) -> M:
    """A module like this one, without its weights and parts."""
    twin = copy.copy(module)
    twin._parameters, twin._buffers, twin._modules = {}, {}, {}
    return twin


def _across_rows(parts: Sequence[Tensor]) -> Tensor:
    """Vectors (D) of layers as (L, 1, 1, D), taps (J, D) as (L, 1, J, D): a layer's own for all of its rows."""
    joined = torch.stack([part.detach() for part in parts])[:, None]
    return joined[:, :, None] if joined.dim() == 3 else joined
