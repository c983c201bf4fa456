"""Chooses by measurement how a pretrained decoder's weights are packed, and packs them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import nn

from model.layers.packed_linear import PackedLinear, Packing, pack, packings
from model.mechanisms.base import MemoryTransformer

Precision = Literal["auto", "float32", "float16", "bfloat16", "int8"]

# As in a prefill, and in a decode step of one answer.
MANY, FEW = 256, 1
# Feed-forward networks that are timed one after the other with few rows: together they do not fit a cache.
TIMED_LAYERS = 8
TURNS = 5
# A packing that is hardly faster is not taken: the next start could measure otherwise. int8 changes the words of some
# answers, so it must be worth it.
CLEARLY = 0.9
WORTH_IT = 0.6


@dataclass(frozen=True)
class PrecisionPlan:
    """The packing of weights in prefill and in decode, and the seconds that feed-forward networks took in each."""

    prefill: Packing
    decode: Packing
    prefill_seconds: Mapping[Packing, float]
    decode_seconds: Mapping[Packing, float]

    def __str__(self) -> str:
        def listed(timed: Mapping[Packing, float]) -> str:
            times = ", ".join(f"{packing} {1e3 * seconds:.2f} ms" for packing, seconds in timed.items())
            return f" ({times})" if times else ""

        return (
            f"prefill {self.prefill}{listed(self.prefill_seconds)}, decode {self.decode}{listed(self.decode_seconds)}"
        )


class PrecisionError(ValueError):
    """The precision cannot be had with this model on this device; the message says which can."""


@torch.inference_mode()
def set_precision(model: MemoryTransformer, precision: Precision) -> PrecisionPlan:
    """Packs the weights of an episodic model on a processor, in place; any other model stays in float32.

    The weights of the other mechanisms were trained and examined as they are. After this the model cannot be saved.
    """
    exact = model.embedding.weight.dtype == torch.float32 and model.device.type == "cpu"
    packable = model.config.mechanism == "episodic" and exact
    possible = packings() if packable else ("float32",)
    if precision == "auto":
        plan = _measured(model, possible)
    elif precision in possible:
        plan = PrecisionPlan(precision, precision, {}, {})
    else:
        raise PrecisionError(
            f"precision {precision} is not possible with mechanism {model.config.mechanism} on this "
            f"{model.device.type} device: set ONCEREAD_PRECISION to auto or one of {', '.join(possible)}"
        )
    if (plan.prefill, plan.decode) != ("float32", "float32"):
        pack(model.blocks, plan.prefill, plan.decode)
        head = model.embedding.weight if model.head is None else model.head.weight
        assert isinstance(head, torch.Tensor)
        # Only the last token of each prompt has its scores computed: these are few rows.
        model.head = PackedLinear(head, None, plan.decode, plan.decode)
    return plan


def _measured(model: MemoryTransformer, possible: tuple[Packing, ...]) -> PrecisionPlan:
    if len(possible) == 1:
        return PrecisionPlan(possible[0], possible[0], {}, {})
    layers: list[nn.Module] = [block.feed_forward for block in islice(iter(model.blocks), TIMED_LAYERS)]
    prefill = _timed({packing: _packed(layers[:1], packing) for packing in possible}, MANY)
    decode = _timed({packing: _packed(layers, packing) for packing in possible}, FEW)
    return PrecisionPlan(fastest(prefill), fastest(decode, fastest(prefill)), prefill, decode)


def fastest(timed: Mapping[Packing, float], otherwise: Packing | None = None) -> Packing:
    """The fastest, if clearly faster than `otherwise`, which is by default the smallest that is nearly exact."""
    usual: Packing = otherwise or ("float16" if "float16" in timed else "float32")
    best: Packing = min(timed, key=lambda packing: timed[packing] / _must_reach(packing))
    return best if timed[best] < _must_reach(best) * timed[usual] else usual


def _must_reach(packing: Packing) -> float:
    """The share of the usual packing's time that this one may take at most."""
    return WORTH_IT if packing == "int8" else CLEARLY


def _packed(layers: list[nn.Module], packing: Packing) -> list[nn.Module]:
    copies = list(layers) if packing == "float32" else [deepcopy(layer) for layer in layers]
    if packing != "float32":
        pack(nn.ModuleList(copies), packing, packing)
    return copies


def _timed(ways: Mapping[Packing, list[nn.Module]], rows: int) -> dict[Packing, float]:
    """The shortest of some turns, all taken in turn so that drift is shared; the first warms up."""
    taken: dict[Packing, list[float]] = {packing: [] for packing in ways}
    for turn in range(TURNS + 1):
        for packing, layers in ways.items():
            seconds = _seconds(layers, rows)
            if turn:
                taken[packing].append(seconds)
    return {packing: min(values) for packing, values in taken.items()}


def _seconds(layers: list[nn.Module], rows: int) -> float:
    width = layers[0].inputs.in_features  # type: ignore[union-attr]
    h = torch.ones(1, rows, width)  # type: ignore[arg-type]
    began = time.perf_counter()
    for layer in layers:
        layer(h)
    return time.perf_counter() - began
