"""Chooses between batches and the wavefront by measured step times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeVar

import torch

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.runtime.wavefront.cells import Cells, cells_of
from model.runtime.wavefront.wavefront import Arrival, Flow, Wavefront

LANES = (1, 2, 4)
# A way that is hardly faster is not taken: the next start could measure otherwise.
CLEARLY = 0.9


@dataclass(frozen=True)
class ReadPlan:
    """How to read: in one batch, or in a wavefront of so many lanes; and how long that will take."""

    kind: Literal["batch", "wavefront"]
    width: int
    seconds: float


@dataclass(frozen=True)
class Timings:
    """Seconds that a batch takes, by its rows and the windows of each; and a wavefront's step, by its lanes."""

    layers: int
    batches: Mapping[tuple[int, int], float]
    wavefronts: Mapping[int, float]

    def way(self, sessions: int, windows: int) -> ReadPlan:
        """The fastest way to read so many windows of each of so many sessions."""
        batch = ReadPlan("batch", sessions, self._batch_seconds(sessions, windows))
        # In a lane sessions follow each other without a gap; only the first window waits for all layers.
        ways = [
            ReadPlan("wavefront", lanes, seconds * (-(-sessions // lanes) * windows + self.layers - 1))
            for lanes, seconds in self.wavefronts.items()
        ]
        best = min(ways, key=lambda way: way.seconds, default=batch)
        return best if best.seconds < CLEARLY * batch.seconds else batch

    def _batch_seconds(self, sessions: int, windows: int) -> float:
        """As the measured batch that is nearest in rows and then in windows takes, by the windows in it."""
        rows, each = min(self.batches, key=lambda shape: (abs(shape[0] - sessions), abs(shape[1] - windows)))
        return self.batches[rows, each] * (sessions * windows) / (rows * each)


@torch.inference_mode()
def measured(model: MemoryTransformer, windows_max: int, turns: int = 3) -> Timings:
    """The pace of a frozen model: medians, all taken in turn so that drift is shared.

    Batches are of so many windows in all: a row of many, two rows of half as many, and so on.
    """
    cells = cells_of(model)
    shapes = [(rows, windows_max // rows) for rows in _powers_of_two(windows_max)]
    batches: dict[tuple[int, int], Callable[[], object]] = {shape: _batch(model, *shape) for shape in shapes}
    lanes = [n for n in LANES if n <= windows_max]
    wavefronts = {} if cells is None else {n: _wavefront(cells, n) for n in lanes}
    in_batches, in_wavefronts = _timed(model, batches, turns), _timed(model, wavefronts, turns)
    return Timings(model.config.n_layers, in_batches, in_wavefronts)


def _powers_of_two(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length())]


Shape = TypeVar("Shape")


def _timed(model: MemoryTransformer, works: Mapping[Shape, Callable[[], object]], turns: int) -> dict[Shape, float]:
    taken: dict[Shape, list[float]] = {key: [] for key in works}
    # The first turn warms up and is not counted.
    for turn in range(turns + 1):
        for key, work in works.items():
            began = time.perf_counter()
            work()
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            if turn:
                taken[key].append(time.perf_counter() - began)
    return {key: median(values) for key, values in taken.items()}


def _batch(model: MemoryTransformer, rows: int, each: int) -> Callable[[], object]:
    memory = model.initial_memory(1)
    segments = torch.zeros(each, model.config.segment_tokens, dtype=torch.int64, device=model.device)
    windows = model.windows(segments, memory).expand(rows, -1, -1)
    memories = model.initial_memory(rows)
    return lambda: model.read_windows(windows, memories)


def _wavefront(cells: Cells, lanes: int) -> Callable[[], object]:
    """A step with every cell at work, as it is in the middle of long texts."""
    wavefront = Wavefront(cells, lanes)
    model = wavefront.model
    segment = torch.zeros(model.config.segment_tokens, dtype=torch.int64, device=model.device)
    first: MemoryState | None = model.initial_memory(1)
    flow: Flow = wavefront.begin()
    for _ in range(wavefront.layers):
        flow, _departed = wavefront.step(flow, [Arrival(segment, first)] * lanes)
        first = None
    return lambda: wavefront.step(flow, [Arrival(segment)] * lanes)
