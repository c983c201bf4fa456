"""The wavefront: cells of equal layer + segment run together (diagonal batching, Sivtsov et al. 2506.05229).

Layer l of segment s needs only layer l - 1 of s and the memory that layer l wrote at s - 1. So while a segment is at
one layer, the next segment is at the layer below, and S segments take S + L - 1 steps of a group of L layers instead of
S L steps of one layer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.memory import MemoryState
from model.runtime.wavefront.cells import Cells


@dataclass(frozen=True, eq=False)
class Arrival:
    """A segment (T) that enters the first layer in some lane.

    It brings its session's `memory` (one row), or follows the segment that entered its lane last. `skipped` (1, T) is
    the last of the skipped segments directly before it. With `wanted`, its departure has the memory after it; the
    departure has the same `label`.
    """

    segment: Tensor
    memory: MemoryState | None = None
    skipped: Tensor | None = None
    wanted: bool = False
    label: Hashable = None


@dataclass(frozen=True, eq=False)
class Departure:
    """A segment that has left the last layer, with the memory (one row) after it if that was wanted."""

    label: Hashable
    memory: MemoryState | None


@dataclass(frozen=True, eq=False)
class Passage:
    """A segment between layers, the parts of its memory of no layer and, if wanted, what its layers wrote."""

    arrival: Arrival
    session: MemoryState
    written: tuple[Mapping[str, Tensor], ...] = ()


# A row for each layer, with a place for each lane: None where there is no segment.
Passages = tuple[tuple[Passage | None, ...], ...]


@dataclass(frozen=True, eq=False)
class Flow:
    """The state between two steps, as a value: a step returns a new one and does not change this one.

    hidden (L - 1, B, N, D), `carried` and `passages` are the next inputs of each layer but the first. memory is
    (L, B, ...); `sessions` has the parts that belong to no layer, as the last segment of each lane left them.
    """

    hidden: Tensor
    carried: Mapping[str, Tensor]
    passages: Passages
    memory: Mapping[str, Tensor]
    sessions: tuple[MemoryState | None, ...]


class Wavefront:
    """Steps of all layers at once, with a fixed number of lanes: always one shape, so that other lanes change no bit.

    In a lane segments follow each other, of one session or of several one after another. It holds weights only.
    """

    def __init__(self, cells: Cells, lanes: int) -> None:
        self.model, self.lanes, self.layers = cells.model, lanes, cells.layers
        self._cells = cells
        self._blank = self.model.initial_memory(1)
        shape = (1, self.model.config.segment_tokens)
        self._nothing = torch.zeros(shape, dtype=torch.int64, device=self.model.device)

    def begin(self) -> Flow:
        """The state with no segment in any lane or layer."""
        above, lanes = self.layers - 1, self.lanes
        sessions = MemoryState.stack([self._in_no_layer(self._blank)] * lanes)
        entry = self._cells.enter(self._nothing.expand(lanes, -1), sessions)
        first = self.model.initial_memory(lanes)
        return Flow(
            entry.hidden.new_zeros(above, *entry.hidden.shape),
            {name: tensor.new_zeros(above, *tensor.shape) for name, tensor in entry.carried.items()},
            ((None,) * lanes,) * above,
            {name: first[name].transpose(0, 1).contiguous() for name in self._cells.layered},
            (None,) * lanes,
        )

    def step(self, flow: Flow, arrivals: Sequence[Arrival | None]) -> tuple[Flow, list[Departure]]:
        """One step of every layer, with an arrival or None for each lane; returns segments that left the last layer."""
        if len(arrivals) != self.lanes:
            raise ValueError(f"{len(arrivals)} arrivals for {self.lanes} lanes: give None for a lane that has none")
        before = [self._session_before(*both) for both in zip(arrivals, flow.sessions, strict=True)]
        segments = torch.cat([self._nothing if arrival is None else arrival.segment[None] for arrival in arrivals])
        entry = self._cells.enter(segments, MemoryState.stack(before))
        behind = [
            None if arrival is None else Passage(arrival, _row(entry.session, lane))
            for lane, arrival in enumerate(arrivals)
        ]
        passages = (tuple(behind), *flow.passages)
        carried = {name: torch.cat([tensor[None], flow.carried[name]]) for name, tensor in entry.carried.items()}
        memory = _with_what_is_brought(flow.memory, passages)
        hidden, written = self._cells.step(torch.cat([entry.hidden[None], flow.hidden]), carried, memory)
        _forget_what_nothing_wrote(written, memory, passages)
        *on_their_way, leaving = _with_what_was_written(passages, written)
        sessions = [kept if new is None else new.session for kept, new in zip(flow.sessions, behind, strict=True)]
        carried_on = {name: tensor[:-1] for name, tensor in carried.items()}
        after = Flow(hidden, carried_on, tuple(on_their_way), written, tuple(sessions))
        return after, [self._departure(passage) for passage in leaving if passage is not None]

    def _session_before(self, arrival: Arrival | None, lane: MemoryState | None) -> MemoryState:
        """The parts of the memory before a segment that belong to no layer."""
        if arrival is None:
            return self._in_no_layer(self._blank) if lane is None else lane
        session = lane if arrival.memory is None else self._in_no_layer(arrival.memory)
        if session is None:
            raise ValueError("the first segment in a lane must bring its session's memory")
        return session if arrival.skipped is None else self.model.skip(arrival.skipped, session)

    def _in_no_layer(self, memory: MemoryState) -> MemoryState:
        return MemoryState({name: part for name, part in memory.tensors.items() if name not in self._cells.layered})

    def _departure(self, passage: Passage) -> Departure:
        if not passage.arrival.wanted:
            return Departure(passage.arrival.label, None)
        layers = {name: torch.stack([layer[name] for layer in passage.written])[None] for name in self._cells.layered}
        parts = {**layers, **passage.session.tensors}
        return Departure(passage.arrival.label, MemoryState({name: parts[name] for name in self._blank.tensors}))


def _row(state: MemoryState, lane: int) -> MemoryState:
    return MemoryState({name: tensor[lane : lane + 1].clone() for name, tensor in state.tensors.items()})


def _with_what_is_brought(memory: Mapping[str, Tensor], passages: Passages) -> Mapping[str, Tensor]:
    """The memory before a step: each layer takes its part of an arrival's memory when the segment reaches it."""
    brought = [
        (layer, lane, passage.arrival.memory)
        for layer, row in enumerate(passages)
        for lane, passage in enumerate(row)
        if passage is not None and passage.arrival.memory is not None
    ]
    if not brought:
        return memory
    laid = {name: tensor.clone() for name, tensor in memory.items()}
    for layer, lane, theirs in brought:
        for name, tensor in laid.items():
            tensor[layer, lane] = theirs[name][0, layer]
    return laid


def _forget_what_nothing_wrote(written: Mapping[str, Tensor], before: Mapping[str, Tensor], passages: Passages) -> None:
    """Where there was no segment, a layer read padding: the lane's memory is restored."""
    for layer, row in enumerate(passages):
        for lane, passage in enumerate(row):
            if passage is None:
                for name, tensor in written.items():
                    tensor[layer, lane] = before[name][layer, lane]


def _with_what_was_written(passages: Passages, written: Mapping[str, Tensor]) -> Passages:
    """The passages; wanted ones get a copy of what their layer wrote."""

    def after(passage: Passage | None, layer: int, lane: int) -> Passage | None:
        if passage is None or not passage.arrival.wanted:
            return passage
        own = {name: tensor[layer, lane].clone() for name, tensor in written.items()}
        return replace(passage, written=(*passage.written, own))

    return tuple(
        tuple(after(passage, layer, lane) for lane, passage in enumerate(row)) for layer, row in enumerate(passages)
    )
