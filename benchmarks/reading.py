"""The ways to read selected segments: in batches, and in the wavefront."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import bare
from benchmarks.text import token_ids
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.runtime.wavefront.cells import Cells
from model.runtime.wavefront.wavefront import Arrival, Wavefront
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
    wavefront = Wavefront(cells, lanes)
    flow, blank = wavefront.begin(), cells.model.initial_memory(1)
    sessions, segments = texts.shape[:2]
    turns = -(-sessions // lanes) * segments
    memories: dict[object, MemoryState] = {}
    for step in range(turns + wavefront.layers - 1):
        arrivals: list[Arrival | None] = []
        for lane in range(lanes):
            session, index = lane + step // segments * lanes, step % segments
            inside = step < turns and session < sessions
            arrivals.append(
                Arrival(texts[session, index], None if index else blank, wanted=index == segments - 1, label=session)
                if inside
                else None
            )
        flow, departures = wavefront.step(flow, arrivals)
        memories |= {d.label: d.memory for d in departures if d.memory is not None}
    return [memories[session] for session in range(sessions)]
