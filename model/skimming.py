"""Reading many segments of one text: skimmed all at once, and read in earnest only where something may be written.

It knows the model and one row's memory, and nothing of texts, sessions or schedules.
"""

from __future__ import annotations

from torch import Tensor

from model.memory import MemoryState
from model.transformer import MemoryTransformer


def read_all(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    """The memory (of one row) after all segments (S, T): the same as reading them one by one."""
    if not len(segments):
        return memory
    done = 0
    for index in model.loud(segments, memory):
        if index > done:
            memory = model.passed(segments[index - 1 : index], memory)
        memory = model.read(segments[index : index + 1], memory)
        done = index + 1
    return memory if done == len(segments) else model.passed(segments[-1:], memory)
