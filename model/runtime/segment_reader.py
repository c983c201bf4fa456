"""Reads windows of several texts at once, each into its own memory, in the way that was measured to be fastest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState, padded
from model.runtime.autotune import Timings, measured
from model.runtime.wavefront.cells import cells_of
from model.runtime.wavefront.pipeline import read_windows
from model.runtime.wavefront.wavefront import Wavefront

# Windows in one call of `read_windows`: more are not faster on a CPU.
TOGETHER = 8

# Windows (K, N) and the memory of one row before them.
Text = tuple[Tensor, MemoryState]


class SegmentReader:
    """Reads with one model: in one batch until `measure` has timed the ways to read, then in the fastest way."""

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._timings: Timings | None = None
        self._wavefronts: dict[int, Wavefront] = {}

    def measure(self, windows_max: int) -> None:
        """Times the ways to read up to `windows_max` windows; `read` then takes the fastest."""
        if windows_max > 1:
            self._timings = measured(self._model, windows_max)

    def read(self, texts: Sequence[Text]) -> list[MemoryState]:
        """The memory after the windows of each text, in the order of the texts."""
        most = max(len(windows) for windows, _ in texts)
        if self._timings is None or (way := self._timings.way(len(texts), most)).kind != "wavefront":
            return self._in_a_batch(texts, most)
        return read_windows(self._wavefront(way.width), texts)

    def _in_a_batch(self, texts: Sequence[Text], most: int) -> list[MemoryState]:
        """A row for each text; a row with fewer windows keeps its memory during the rest."""
        rows = padded(texts)
        counts = [len(windows) for windows, _ in rows]
        filled = torch.arange(most, device=self._model.device)
        windows = torch.stack([own[filled.clamp(max=len(own) - 1)] for own, _ in rows])
        uneven = torch.tensor(counts, device=self._model.device) if min(counts) < most else None
        memory = MemoryState.stack([memory for _, memory in rows])
        return self._model.read_windows(windows, memory, uneven).unstack()[: len(texts)]

    def _wavefront(self, lanes: int) -> Wavefront:
        if lanes not in self._wavefronts:
            cells = cells_of(self._model)
            assert cells is not None, "only a model that has a wavefront is measured to be faster in one"
            self._wavefronts[lanes] = Wavefront(cells, lanes)
        return self._wavefronts[lanes]


def read_all(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    """The memory (one row) after all segments (S, T) of one text: as `read` of each, but reads only the selected."""
    if not len(segments):
        return memory
    selected = model.select_segments(segments, memory)
    for windows in torch.split(model.windows(segments, memory)[selected], TOGETHER):
        if len(windows):
            memory = model.read_windows(windows[None], memory)
    read = selected[-1] + 1 if selected else 0
    return model.skip(segments[read:], memory) if read < len(segments) else memory
