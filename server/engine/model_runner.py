"""Computes the engine's steps with torch: batches of rows from many sessions, padded to fixed sizes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import BATCH_SIZES, MemoryState, padded
from model.prompt import window_ids
from model.runtime.segment_reader import SegmentReader
from model.sampling import Sampler, Sampling, Written, choose_each
from server.engine.decode_batch import DecodeBatch
from server.engine.isolation import isolated
from server.engine.scheduler import AnswerWork, Batch, ReadWork

# So many segments the write gate scores at a time: text of which nothing is selected takes few steps.
SCANNED_SEGMENTS = 64


@dataclass(frozen=True)
class AnswerRequest:
    """An answer of at most `tokens_max` tokens to `prompt`, from `memory` and the `tail` of the text not yet in it.

    Work is shared out between tenants; with `logprobs` each token comes with its log-probability.
    """

    memory: MemoryState
    tail: Sequence[int]
    prompt: Sequence[int]
    sampling: Sampling
    tokens_max: int
    tenant: str = "default"
    logprobs: bool = False


@dataclass(frozen=True)
class ReadProgress:
    """What a step did for a read: the memory after `segments` more of its segments."""

    memory: MemoryState
    segments: int


@dataclass(frozen=True)
class StepResult:
    """A token for each prefill and decode of `done` in order, the progress of each read, and the step's seconds.

    `done` is the batch without the rows that failed; `failed` has what each of these raised by itself.
    """

    done: Batch
    written: list[Written]
    reads: list[ReadProgress]
    failed: Mapping[AnswerWork | ReadWork, Exception]
    seconds: float

    @property
    def tokens(self) -> list[int]:
        return [written.token for written in self.written]

    @property
    def segments(self) -> list[int]:
        return [read.segments for read in self.reads]


@dataclass
class _Answer:
    request: AnswerRequest
    sampler: Sampler
    last: int = -1


@dataclass
class _Read:
    """`memory` is that after the first `done` segments.

    The write gate has scored the first `scanned` segments. `selected` are the indices of those that may change the
    memory and are not read yet, `windows` (K, N) their tokens with the context in front.
    """

    memory: MemoryState
    segments: Sequence[Sequence[int]]
    done: int = 0
    scanned: int = 0
    selected: list[int] = field(default_factory=list)
    windows: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))

    def advance(self, memory: MemoryState, done: int) -> ReadProgress:
        progress = ReadProgress(memory, done - self.done)
        read = sum(index < done for index in self.selected)
        self.selected, self.windows = self.selected[read:], self.windows[read:]
        self.memory, self.done = memory, done
        return progress


class ModelRunner:
    """Runs batches on the model's device and keeps what a step leaves for the next: memories, KV caches, samplers.

    For use by one thread, the engine's.
    """

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._reader = SegmentReader(model)
        self._decode_batch = DecodeBatch(model)
        self._answers: dict[AnswerWork, _Answer] = {}
        self._reads: dict[ReadWork, _Read] = {}
        # Seeded by the operating system: torch's own generator starts the same in every process.
        self._generator = torch.Generator(model.device)
        self._generator.seed()
        self.end = model.config.special.end

    @property
    def device(self) -> torch.device:
        return self._model.device

    def copy(self, memory: MemoryState, device: torch.device) -> MemoryState:
        """The memory on another device."""
        return memory.to(device)

    def start_answer(self, work: AnswerWork, request: AnswerRequest) -> None:
        """Adds an answer; until `drop`, batches may include it."""
        self._answers[work] = _Answer(request, Sampler(request.sampling, request.logprobs))

    def start_read(self, work: ReadWork, memory: MemoryState, segments: Sequence[Sequence[int]]) -> None:
        """Adds a read; until `drop`, batches may include it."""
        self._reads[work] = _Read(memory, segments)

    def drop(self, work: AnswerWork | ReadWork) -> None:
        """Frees all state of the work; does nothing when it was dropped before."""
        if isinstance(work, ReadWork):
            self._reads.pop(work, None)
        else:
            self._answers.pop(work, None)
            self._decode_batch.drop(work)

    def __call__(self, batch: Batch) -> StepResult:
        """Computes a step; a row that raises by itself has no part in the result, and is to be dropped."""
        began, each = time.perf_counter(), batch.segments_each
        failed: dict[AnswerWork | ReadWork, Exception] = {}
        with torch.inference_mode():
            prefilled = isolated(self._prefill, batch.prefills, failed.__setitem__)
            decoded = isolated(self._decode, batch.decodes, failed.__setitem__)
            read = isolated(lambda works: self._read(works, each), batch.reads, failed.__setitem__)
        done = Batch(tuple(prefilled), tuple(decoded), tuple(read), each)
        written = [*prefilled.values(), *decoded.values()]
        return StepResult(done, written, [*read.values()], failed, time.perf_counter() - began)

    def warm_up(self, step_tokens: int) -> None:
        """Times the ways to read up to `step_tokens` a step, and runs small prefills, so that no request is slow."""
        self._reader.measure(step_tokens // self._model.config.segment_tokens)
        request = AnswerRequest(self._model.initial_memory(1), [0], [0], Sampling(), 2)
        for rows in BATCH_SIZES[:3]:
            works = tuple(AnswerWork(2, 2, self.end) for _ in range(rows))
            for work in works:
                self.start_answer(work, request)
            failed = self(Batch(prefills=works)).failed
            for work in works:
                self.drop(work)
            for error in failed.values():
                raise error

    def _read(self, works: Sequence[ReadWork], each: int) -> list[ReadProgress]:
        """At most `each` selected segments of each read, in one batch; those before them cost only the write gate."""
        reads = [self._reads[work] for work in works]
        for read in reads:
            self._scan(read)
        texts = [(read.windows[:each], read.memory) for read in reads if read.selected]
        memories = iter(self._reader.read(texts) if texts else ())
        after = [
            (next(memories), read.selected[:each][-1] + 1) if read.selected else (self._skipped(read), read.scanned)
            for read in reads
        ]
        # Only now that every row is computed: a read must not advance in a step that is done again.
        return [read.advance(memory, done) for read, (memory, done) in zip(reads, after, strict=True)]

    def _scan(self, read: _Read) -> None:
        """Scores the next segments, many at once, when all that were scored before are done."""
        if read.done == read.scanned:
            ahead = self._tensor(read.segments[read.done : read.done + SCANNED_SEGMENTS])
            selected = self._model.select_segments(ahead, read.memory)
            read.windows = self._model.windows(ahead, read.memory)[selected]
            read.selected = [read.done + index for index in selected]
            read.scanned += len(ahead)

    def _skipped(self, read: _Read) -> MemoryState:
        """The memory after the rest of the scanned segments, none of which is selected."""
        return self._model.skip(self._tensor(read.segments[read.done : read.scanned]), read.memory)

    def _prefill(self, works: Sequence[AnswerWork]) -> list[Written]:
        """The first token of each answer; the windows of all prompts are one batch, padded on the right."""
        requests = [self._answers[work].request for work in works]
        memories = self._with_tails(requests)
        rows = padded(requests)
        windows = [window_ids(self._model.config, row.tail, row.prompt) for row in rows]
        longest = max(map(len, windows))
        prompts = self._tensor([[*window, *[0] * (longest - len(window))] for window in windows])
        lengths = self._tensor([len(window) for window in windows])
        room = max(row.tokens_max for row in rows)
        hidden, cache = self._model.prefill(prompts, lengths, MemoryState.stack(padded(memories)), room)
        caches = cache.unstack()
        written = self._choose(works, self._model.logits(hidden))
        for work, memory, own in zip(works, memories, caches, strict=False):
            self._decode_batch.add(work, memory, own)
        return written

    def _with_tails(self, requests: Sequence[AnswerRequest]) -> list[MemoryState]:
        """Each request's memory, with its tail read into it where the model wants that; equal pairs are read once."""
        if not self._model.config.tail_in_memory:
            return [request.memory for request in requests]
        known: dict[tuple[int, tuple[int, ...]], MemoryState] = {}
        memories = []
        for request in requests:
            pair = id(request.memory), tuple(request.tail)
            if pair not in known:
                tail, memory = request.tail, request.memory
                known[pair] = self._model.read(self._tensor([tail]), memory) if tail else memory
            memories.append(known[pair])
        return memories

    def _decode(self, works: Sequence[AnswerWork]) -> list[Written]:
        """One more token of each answer."""
        last = [self._answers[work].last for work in works]
        try:
            return self._choose(works, self._model.logits(self._decode_batch.decode_step(works, last)))
        except Exception:
            self._decode_batch.take_back()
            raise

    def _choose(self, works: Sequence[AnswerWork], scores: Tensor) -> list[Written]:
        """The next token of each answer; where this raises, no answer has one."""
        answers = [self._answers[work] for work in works]
        written = choose_each([answer.sampler for answer in answers], scores[: len(works)], self._generator)
        for answer, token in zip(answers, written, strict=True):
            answer.last = token.token
        return written

    def _tensor(self, ids: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(ids, device=self._model.device)
