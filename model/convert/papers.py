"""Checkpoints of ARMT (2407.04841) and RMT (2207.06881) as their authors' code saves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from model.config import Mechanism

_LAYER = re.compile(
    r"^(?P<layer>.*\b(?:h|layers)\.(?P<number>\d+))\.(?:layer\.(?P<rest>.+)|W_m(?P<part>[qkvb])\.(?P<what>.+))$"
)
_PARTS = {"q": "query", "k": "key", "v": "value", "b": "strength"}


@dataclass(frozen=True)
class Wrapped:
    """A checkpoint taken apart: the backbone's tensors by Hugging Face's names, the memory's by ours.

    `ported` tells the authors' port of 2026 from the code of 2024.
    """

    backbone: dict[str, Tensor]
    memory: dict[str, Tensor]
    mechanism: Mechanism
    ported: bool


def unwrap(tensors: Mapping[str, Tensor]) -> Wrapped | None:
    """None when nothing in it looks like one of the papers' models."""
    ported = "memory" in tensors
    if not ported and "memory_cell.memory" not in tensors:
        return None
    backbone: dict[str, Tensor] = {}
    memory: dict[str, Tensor] = {}
    for whole, tensor in tensors.items():
        name = whole.removeprefix("memory_cell.")
        if name == "memory":
            memory["memory_tokens"] = tensor
        elif name.startswith("layers."):
            continue  # The wrapper lists its layers a second time.
        elif (found := _LAYER.match(name)) and found["part"]:
            memory[f"memories.{found['number']}.{_PARTS[found['part']]}.{found['what']}"] = tensor
        else:
            plain = f"{found['layer']}.{found['rest']}" if found else name
            backbone[plain.removeprefix("model.")] = tensor
    armt = any(name.startswith("memories.") for name in memory)
    return Wrapped(backbone, memory, "armt" if armt else "rmt", ported)
