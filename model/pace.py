"""Plain batches or the wavefront: whichever was measured to be through first with what there is to read.

It knows how long steps take, and nothing of what is read or why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from model.cells import Cells, cells_of
from model.memory import MemoryState
from model.transformer import MemoryTransformer
from model.wavefront import Arrival, Flow, Wavefront

ROWS, LANES = (1, 2, 4, 8), (1, 2, 4)


@dataclass(frozen=True)
class Way:
    """How to read: in batches of so many rows, or in a wavefront of so many lanes; and how long that will take."""

    kind: Literal["batch", "wavefront"]
    width: int
    seconds: float


@dataclass(frozen=True)
class Pace:
    """Seconds that a step takes: of batches by their rows, of wavefronts by their lanes."""

    layers: int
    batches: Mapping[int, float]
    wavefronts: Mapping[int, float]

    def way(self, sessions: int, segments: int) -> Way:
        """The fastest way to read so many loud segments of each of so many sessions."""
        ways = [Way("batch", rows, seconds * -(-sessions // rows) * segments) for rows, seconds in self.batches.items()]
        # In a lane sessions follow each other without a gap; only the first segment waits for all layers.
        ways += [
            Way("wavefront", lanes, seconds * (-(-sessions // lanes) * segments + self.layers - 1))
            for lanes, seconds in self.wavefronts.items()
        ]
        return min(ways, key=lambda way: way.seconds)


@torch.inference_mode()
def measured(
    model: MemoryTransformer,
    segment: Tensor,
    rows: Sequence[int] = ROWS,
    lanes: Sequence[int] = LANES,
    turns: int = 5,
) -> Pace:
    """The pace of a settled model at a typical loud segment (T): medians, all taken in turn so that drift is shared."""
    cells = cells_of(model)
    steps: dict[tuple[str, int], Callable[[], object]] = {("batch", n): _batch(model, segment, n) for n in rows}
    if cells is not None:
        steps |= {("wavefront", n): _wavefront(cells, segment, n) for n in lanes}
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in steps}
    # The first turn warms up and is not counted.
    for turn in range(turns + 1):
        for key, step in steps.items():
            began = time.perf_counter()
            step()
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            if turn:
                taken[key].append(time.perf_counter() - began)
    seconds = {key: median(values) for key, values in taken.items()}
    return Pace(
        model.config.n_layers,
        {n: value for (kind, n), value in seconds.items() if kind == "batch"},
        {n: value for (kind, n), value in seconds.items() if kind == "wavefront"},
    )


def _batch(model: MemoryTransformer, segment: Tensor, rows: int) -> Callable[[], object]:
    memory, segments = model.initial_memory(rows), segment.expand(rows, -1)
    return lambda: model.read(segments, memory)


def _wavefront(cells: Cells, segment: Tensor, lanes: int) -> Callable[[], object]:
    """A step with every cell at work, as it is in the middle of long texts."""
    wavefront = Wavefront(cells, lanes)
    first: MemoryState | None = wavefront.model.initial_memory(1)
    flow: Flow = wavefront.begin()
    for _ in range(wavefront.layers):
        flow, _departed = wavefront.step(flow, [Arrival(segment, first)] * lanes)
        first = None
    return lambda: wavefront.step(flow, [Arrival(segment)] * lanes)
