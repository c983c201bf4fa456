"""Reading many segments of one text: scanned all at once, and read in earnest only where something may be written.

It knows the model and one row's memory, and nothing of texts, sessions or schedules.
"""

from __future__ import annotations

from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState

# Windows that are read in one go: more gain nothing on a processor.
TOGETHER = 8


def read_all(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    """The memory (of one row) after all segments (S, T): the same as reading them one by one."""
    if not len(segments):
        return memory
    selected = model.select_segments(segments, memory)
    for windows in model.windows(segments, memory)[selected].split(TOGETHER):  # type: ignore[no-untyped-call]
        if len(windows):
            memory = model.read_windows(windows[None], memory)
    return memory if selected[-1:] == [len(segments) - 1] else model.skip(segments[-1:], memory)
