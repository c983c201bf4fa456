"""The ways to read selected segments: in batches, and in the wavefront."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import bare
from benchmarks.text import token_ids
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.runtime.wavefront.cells import Cells
from model.runtime.wavefront.pipeline import read_windows
from model.runtime.wavefront.wavefront import Wavefront
from model.tokenizer import TextTokenizer


def unskipped_segments(model: MemoryTransformer, tokenizer: TextTokenizer, count: int) -> Tensor:
    """So many segments (S, T) of text, none of which the write gate skips."""
    ids = token_ids(tokenizer, 2 * count * model.config.segment_tokens, seed=7)
    segments = bare.segments_of(model, ids)
    return segments[model.select_segments(segments, model.initial_memory(1))][:count]


@torch.inference_mode()
def in_batches(model: MemoryTransformer, texts: Tensor, rows: int, each: int = 1) -> list[MemoryState]:
    """The memories after texts (sessions, S, T), read in batches of `rows` sessions, `each` segments in a call."""
    memories: list[MemoryState] = []
    for some in torch.split(texts, rows):
        blank = model.initial_memory(1)
        memory = MemoryState.stack([blank] * len(some))
        windows = torch.stack([model.windows(text, blank) for text in some])
        for together in torch.split(windows, each, dim=1):
            memory = model.read_windows(together, memory)
        memories += memory.unstack()
    return memories


@torch.inference_mode()
def in_wavefront(cells: Cells, texts: Tensor, lanes: int) -> list[MemoryState]:
    """The same in the wavefront, with no segment skipped; the next text follows in a lane without a gap."""
    blank = cells.model.initial_memory(1)
    return read_windows(Wavefront(cells, lanes), [(cells.model.windows(text, blank), blank) for text in texts])
