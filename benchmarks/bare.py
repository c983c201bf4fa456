"""The bare model, without a server: reads segments one after another, and answers a question."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.sampling import Sampling
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import AnswerWork, Batch

NEVER = -1


def segments_of(model: MemoryTransformer, ids: Sequence[int]) -> Tensor:
    """Token ids as whole segments (N, T); a last partial segment is dropped."""
    step = model.config.segment_tokens
    whole = len(ids) // step
    return torch.tensor(ids[: whole * step], device=model.device).view(whole, step)


def read(
    model: MemoryTransformer, segments: Tensor, memory: MemoryState, description: str | None = None
) -> MemoryState:
    """The memory after segments (N, T), every row of the batch reading the same text."""
    with torch.inference_mode():
        for segment in tqdm(segments, desc=description, unit="segment", disable=description is None):
            memory = model.read(segment.expand(memory.batch, -1), memory)
    return memory


def answer(forward: ModelRunner, memory: MemoryState, prompt: Sequence[int], tokens: int) -> list[int]:
    """An answer of exactly so many tokens; the end-of-text token does not end it."""
    work = AnswerWork(len(prompt), tokens, NEVER)
    forward.start_answer(work, AnswerRequest(memory, (), prompt, Sampling(), tokens))
    written = forward(Batch(prefills=(work,))).tokens
    while len(written) < tokens:
        written += forward(Batch(decodes=(work,))).tokens
    forward.drop(work)
    return written
