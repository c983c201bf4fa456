"""Reads windows of several texts at once, each into its own memory, in whichever way was measured to be the fastest.

It knows models and memories, and nothing of sessions, queues or who is to be read next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.padding import padded
from model.runtime.autotune import Timings, measured
from model.runtime.wavefront.cells import cells_of
from model.runtime.wavefront.pipeline import read_windows
from model.runtime.wavefront.wavefront import Wavefront

# Windows (K, N) that follow on a memory of one row.
Text = tuple[Tensor, MemoryState]


class SegmentReader:
    """The ways to read with one model. Before they are measured, everything is one batch."""

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._pace: Timings | None = None
        self._wavefronts: dict[int, Wavefront] = {}

    def measure(self, windows_max: int) -> None:
        """Times the ways to read so many windows at most, so that the best of them is taken from now on."""
        if windows_max > 1:
            self._pace = measured(self._model, windows_max)

    def read(self, texts: Sequence[Text]) -> list[MemoryState]:
        """The memory behind the windows of each text, in order."""
        most = max(len(windows) for windows, _ in texts)
        if self._pace is None or (way := self._pace.way(len(texts), most)).kind != "wavefront":
            return self._in_a_batch(texts, most)
        return read_windows(self._wavefront(way.width), texts)

    def _in_a_batch(self, texts: Sequence[Text], most: int) -> list[MemoryState]:
        """A row for each text; one that has fewer windows sits out the rest."""
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
