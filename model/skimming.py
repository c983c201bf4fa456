"""Reading many segments of one text: skimmed all at once, and read in earnest only where something may be written.

It knows the model and one row's memory, and nothing of texts, sessions or schedules.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.memory import MemoryState
from model.transformer import MemoryTransformer

# Scores so near the threshold are read in earnest: another batch shape may round them to its other side.
MARGIN = 1e-2


def loud(model: MemoryTransformer, segments: Tensor, context: Tensor) -> list[int]:
    """Which of the segments (S, T), behind context (1, C), may hold a token that the glance lets through.

    The others leave every association as it was, bit for bit.
    """
    size = context.shape[1]
    text = torch.cat([context, segments.reshape(1, -1)], dim=1)[0]
    windows = text.unfold(0, size + segments.shape[1], segments.shape[1])
    scores = model.glance_scores(windows)[:, size:]
    return (scores > model.glance.threshold_score - MARGIN).any(dim=1).nonzero()[:, 0].tolist()


def read_all(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    """The memory (of one row) after all segments (S, T): the same as reading them one by one."""
    if not len(segments):
        return memory
    size = memory["context"].shape[1]
    text = torch.cat([memory["context"], segments.reshape(1, -1)], dim=1)
    for index in loud(model, segments, memory["context"]):
        start = index * segments.shape[1]
        before = MemoryState({**memory.tensors, "context": text[:, start : start + size]})
        memory = model.read(segments[index : index + 1], before)
    return MemoryState({**memory.tensors, "context": text[:, text.shape[1] - size :]})
