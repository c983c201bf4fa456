"""One step of the engine as torch computes it: batches of rows from many sessions, padded to fixed sizes.

It knows the model and a step, and nothing of threads, queues or sessions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.padding import BATCH_SIZES, padded
from model.prompt import window_ids
from model.runtime.segment_reader import SegmentReader
from model.sampling import Sampler, Sampling, Written, choose_each
from server.engine.decode_batch import DecodeBatch
from server.engine.scheduler import Advance, AnswerWork, Batch, ReadWork

# So many segments are glanced at in one go, so that text that says nothing takes few steps.
SKIMMED_SEGMENTS = 64


@dataclass(frozen=True)
class StepResult:
    """A token for each prompt and answer of a step in order, an advance for each read, and how long it took."""

    written: list[Written]
    advances: list[Advance]
    seconds: float

    @property
    def tokens(self) -> list[int]:
        return [written.token for written in self.written]


class ModelRunner:
    """Runs steps on the model's device."""

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._reader = SegmentReader(model)
        self._decode_batch = DecodeBatch(model)
        # Seeded by the operating system: torch's own generator starts the same in every process.
        self._generator = torch.Generator(model.device)
        self._generator.seed()
        self.end = model.config.special.end

    def __call__(self, step: Batch) -> StepResult:
        began = time.perf_counter()
        with torch.inference_mode():
            written = self._take_in(step.prompts) + self._write_on(step.answers)
            advances = self._read(step.reads, step.segments_each)
        return StepResult(written, advances, time.perf_counter() - began)

    def warm(self, step_tokens: int) -> None:
        """Finds the fastest way to read what a step may have, and answers for nobody: who comes first pays no more."""
        self._reader.measure(step_tokens // self._model.config.segment_tokens)
        memory = self._model.initial_memory(1)
        for rows in BATCH_SIZES[:3]:
            prompts = tuple(AnswerWork(memory, [0], [0], Sampler(Sampling()), 2, self.end) for _ in range(rows))
            self(Batch(prompts=prompts))

    def _read(self, works: Sequence[ReadWork], each: int) -> list[Advance]:
        """The next selected segments of each work, in one batch; those before them cost only the write gate."""
        for work in works:
            self._skim(work)
        read = iter(self._read_selected([work for work in works if work.selected], each))
        return [next(read) if work.selected else self._passed(work) for work in works]

    def _skim(self, work: ReadWork) -> None:
        """Glances at what comes, many segments at once, and leaves out what has been read of those glanced at."""
        gone = sum(index < work.done for index in work.selected)
        work.selected, work.windows = work.selected[gone:], work.windows[gone:]
        if not work.selected and work.done == work.scanned:
            ahead = self._tensor(work.segments[work.done : work.done + SKIMMED_SEGMENTS])
            selected = self._model.select_segments(ahead, work.memory)
            work.windows = self._model.windows(ahead, work.memory)[selected]
            work.selected = [work.done + index for index in selected]
            work.scanned += len(ahead)

    def _read_selected(self, works: Sequence[ReadWork], each: int) -> list[Advance]:
        """At most so many segments of each."""
        if not works:
            return []
        texts = [(work.windows[:each], work.memory) for work in works]
        ends = [
            work.selected[len(windows) - 1] + 1 - work.done for work, (windows, _) in zip(works, texts, strict=True)
        ]
        return [Advance(memory, end) for memory, end in zip(self._reader.read(texts), ends, strict=True)]

    def _passed(self, work: ReadWork) -> Advance:
        """All that was scanned, none of it selected."""
        last = self._tensor([work.segments[work.scanned - 1]])
        return Advance(self._model.skip(last, work.memory), work.scanned - work.done)

    def _take_in(self, works: Sequence[AnswerWork]) -> list[Written]:
        """Every question's window, padded on the right, and each answer's first token."""
        if not works:
            return []
        if self._model.config.tail_in_memory:
            self._read_tails(works)
        rows = padded(works)
        windows = [window_ids(self._model.config, work.tail, work.prompt) for work in rows]
        longest = max(map(len, windows))
        memory = MemoryState.stack([work.memory for work in rows])
        prompts = self._tensor([[*window, *[0] * (longest - len(window))] for window in windows])
        lengths = self._tensor([len(window) for window in windows])
        hidden, cache = self._model.prefill(prompts, lengths, memory, max(work.tokens_max for work in rows))
        for work, part in zip(works, cache.unstack(), strict=False):
            work.cache = part
        return self._chosen(works, self._model.logits(hidden))

    def _read_tails(self, works: Sequence[AnswerWork]) -> None:
        """Gives each work a memory that knows its tail too; questions to one standpoint share it."""
        known: dict[tuple[int, tuple[int, ...]], MemoryState] = {}
        for work in works:
            standpoint = id(work.memory), tuple(work.tail)
            if work.tail and standpoint not in known:
                known[standpoint] = self._model.read(self._tensor([work.tail]), work.memory)
            work.memory = known.get(standpoint, work.memory)

    def _write_on(self, works: Sequence[AnswerWork]) -> list[Written]:
        """One more token for each answer."""
        if not works:
            self._decode_batch.clear()
            return []
        return self._chosen(works, self._model.logits(self._decode_batch.decode_step(works)))

    def _chosen(self, works: Sequence[AnswerWork], scores: Tensor) -> list[Written]:
        return choose_each([work.sampler for work in works], scores[: len(works)], self._generator)

    def _tensor(self, ids: Any) -> Tensor:
        return torch.tensor(ids, device=self._model.device)
