"""The cells of a diagonal: all layers of a model as one group, each working on another segment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from model.layers.blocks import first_angles
from model.layers.stacked import stacked
from model.mechanisms.armt import ArmtTransformer
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer, in_chunks
from model.memory import MemoryState


class Entry(NamedTuple):
    """Rows at the first layer: hidden states (B, N, D), tensors that go through all layers ({name: (B, ...)}), and
    the parts of their memories that belong to no layer, as they are after the segment.
    """

    hidden: Tensor
    carried: Mapping[str, Tensor]
    session: MemoryState


class Cells(ABC):
    """A group of layers: each layer has its own rows, and its own part of their memories."""

    # The names of the parts of a memory with a value for each layer, (B, L, ...); a group has them as (L, B, ...).
    layered: tuple[str, ...]

    def __init__(self, model: MemoryTransformer) -> None:
        config = model.config
        self.model = model
        self.layers = config.n_layers
        tokens, weight = config.segment_window_tokens, model.embedding.weight
        rotary = config.positions == "rope"
        self._angles = first_angles(config, tokens, weight.device, weight.dtype) if rotary else None

    @abstractmethod
    def enter(self, segments: Tensor, session: MemoryState) -> Entry:
        """Enters segments (B, T); `session` has the parts of the rows' memories that belong to no layer."""

    @abstractmethod
    def step(
        self, hidden: Tensor, carried: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The hidden states (L - 1, B, N, D) for the next layers, and the memory after this step.

        hidden is (L, B, N, D); everything in `carried` and `memory` is (L, B, ...).
        """


class DeltaCells(Cells):
    layered = ("associations",)

    def __init__(self, model: DeltaTransformer) -> None:
        super().__init__(model)
        self._delta = model
        self._memories = stacked(list(model.memories))
        self._blocks = stacked(list(model.blocks)[:-1]) if self.layers > 1 else None

    def enter(self, segments: Tensor, session: MemoryState) -> Entry:
        context = session["context"]
        window = torch.cat([context, segments], dim=1)
        hidden, _ = self.model.placed_first(self.model.embedded(window))
        places, gates = self._delta.writing(window, context.shape[1])
        behind = MemoryState({"context": window[:, segments.shape[1] :]})
        return Entry(hidden, {"places": places, "gates": gates}, behind)

    def step(
        self, hidden: Tensor, carried: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        writes = in_chunks(carried["places"], carried["gates"])
        h, after = self._memories.step(hidden, memory["associations"], writes, self.layers - 1)
        return h if self._blocks is None else self._blocks(h, self._angles), {"associations": after}


class ArmtCells(Cells):
    layered = ("associations", "norms")

    def __init__(self, model: ArmtTransformer) -> None:
        super().__init__(model)
        self._memory_tokens = model.memory_tokens.detach()
        self._memories = stacked(list(model.memories))
        self._blocks = stacked(list(model.blocks))

    def enter(self, segments: Tensor, session: MemoryState) -> Entry:
        tokens = self._memory_tokens.expand(segments.shape[0], -1, -1)
        hidden, _ = self.model.placed_first(torch.cat([self.model.embedded(segments), tokens], dim=1))
        begun = session["begun"]
        return Entry(hidden, {"begun": begun}, MemoryState({"begun": torch.ones_like(begun)}))

    def step(
        self, hidden: Tensor, carried: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        before = memory["associations"], memory["norms"]
        h = self._blocks(self._memories.read(hidden, *before), self._angles)
        written = h[:, :, self.model.config.segment_tokens :]
        associations, norms = self._memories.write(written, *before, carried["begun"])
        return h[:-1], {"associations": associations, "norms": norms}


def cells_of(model: MemoryTransformer) -> Cells | None:
    """A model's layers as a group, or None where a segment must pass all layers before the next one can begin.

    `rmt` and `memformer` have none: their first layer reads the memory that the last layer wrote. Layers of several
    kinds make no group.
    """
    if len(set(model.config.kinds)) > 1:
        return None
    if isinstance(model, DeltaTransformer):
        return DeltaCells(model)
    if isinstance(model, ArmtTransformer):
        return ArmtCells(model)
    return None
