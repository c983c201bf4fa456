"""What the next step of the engine does: which segments it reads and which answers it writes on, and for whom.

Pure: it holds queues of plain work, and knows neither torch nor threads nor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from server.engine.fair_queue import FairQueue, shares

# So many times as many answers as are written at the same time may have begun: those that sit out keep their windows.
BEGUN_MAX = 4


@dataclass(eq=False)
class ReadWork:
    """Segments of one session to be read one after another; `memory` is the value after the last one read.

    The write gate has scanned the first `scanned` of them, and of those only `selected` can change the memory;
    `windows` are their tokens with the context in front.
    """

    memory: Any
    segments: Sequence[Sequence[int]]
    done: int = 0
    scanned: int = 0
    selected: Sequence[int] = ()
    windows: Any = ()
    tenant: str = "default"

    @property
    def finished(self) -> bool:
        return self.done == len(self.segments)


@dataclass(eq=False)
class AnswerWork:
    """One answer being written behind `prompt`; `cache` holds the window once the prompt has been taken in.

    The `tail` is read into a copy of the memory first, which then is this answer's own.
    """

    memory: Any
    tail: Sequence[int]
    prompt: Sequence[int]
    sampler: Any
    tokens_max: int
    end: int
    cache: Any = None
    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    tenant: str = "default"

    @property
    def prompt_tokens(self) -> int:
        """What taking it in has to compute."""
        return len(self.tail) + len(self.prompt)


@dataclass(frozen=True)
class Advance:
    """How far a step has brought a read: the memory after `segments` more of its segments."""

    memory: Any
    segments: int


@dataclass(frozen=True)
class Batch:
    """One forward pass: prompts to take in, answers to write one token on, and sessions to read so many segments of."""

    prompts: tuple[AnswerWork, ...] = ()
    answers: tuple[AnswerWork, ...] = ()
    reads: tuple[ReadWork, ...] = ()
    segments_each: int = 1


class Scheduler:
    """Answers go first, reads fill the step, and no read waits for two steps in a row because of new questions.

    In each of the three, decode, prefill and reading, the tenants are served in turn. A question begins when its tenant
    has fewer answers running than its share of `answers_max`, however many others have; of the running answers at most
    `answers_max` get a token in a step, and the others take their turn in later steps.
    """

    def __init__(self, step_tokens: int, answers_max: int, segment_tokens: int) -> None:
        self._step_tokens, self._answers_max, self._segment_tokens = step_tokens, answers_max, segment_tokens
        self._waiting = FairQueue[AnswerWork](segment_tokens, lambda work: work.prompt_tokens)
        self._running = FairQueue[AnswerWork](1, lambda work: 1)
        # A row costs as much whether its segment is selected or many skipped ones are passed over.
        self._reads = FairQueue[ReadWork](segment_tokens, lambda work: segment_tokens)
        self._reads_sat_out = False

    def add_answer(self, work: AnswerWork) -> None:
        self._waiting.add(work)

    def add_read(self, work: ReadWork) -> None:
        self._reads.add(work)

    def cancel(self, work: AnswerWork | ReadWork) -> None:
        """Forgets a piece of work; from the next step on nothing is done for it."""
        if isinstance(work, ReadWork):
            self._reads.discard(work)
        else:
            self._waiting.discard(work)
            self._running.discard(work)

    @property
    def answers_waiting(self) -> dict[str, int]:
        """How many questions of each tenant have not begun to be answered."""
        return self._waiting.counts

    @property
    def answers_running(self) -> int:
        return len(self._running)

    @property
    def reads_waiting(self) -> int:
        return len(self._reads)

    @property
    def queued_tokens(self) -> int:
        """Tokens of prompts and of segments that are not done."""
        segments = sum(len(work.segments) - work.done for work in self._reads)
        return segments * self._segment_tokens + sum(work.prompt_tokens for work in self._waiting)

    def plan(self) -> Batch | None:
        """The next step, or None when there is nothing to do. It changes no work, only whose turn it is."""
        answers = self._running.turn(self._answers_max)
        budget = self._step_tokens - len(answers)
        prompts: list[AnswerWork] = []
        reads: list[ReadWork] = []
        if not (self._reads and self._reads_sat_out):
            # The first prompt goes in whatever its length, else a long one would wait for ever.
            prompts = self._waiting.turn(budget, self._places(), overdraw=True)
        if not prompts:
            reads = self._reads.turn(max(budget, self._segment_tokens))
        each = 1
        if reads:
            row = len(reads) * self._segment_tokens
            prompts = self._waiting.turn(budget - row, self._places())
            # Where few are read, each gets on faster: no read that could be in the step is left out for it.
            each = max(1, (budget - sum(work.prompt_tokens for work in prompts)) // row)
        step = Batch(tuple(prompts), tuple(answers), tuple(reads), each)
        return step if prompts or answers or reads else None

    def _places(self) -> dict[str, int]:
        """How many more answers each tenant may begin."""
        begun, waiting = self._running.counts, self._waiting.counts
        if len(self._running) >= BEGUN_MAX * self._answers_max:
            return {}
        wanted = {tenant: begun.get(tenant, 0) + waiting.get(tenant, 0) for tenant in (*begun, *waiting)}
        given = shares(self._answers_max, wanted)
        return {tenant: given[tenant] - begun.get(tenant, 0) for tenant in waiting}

    def record(self, step: Batch, tokens: Sequence[int], advances: Sequence[Advance]) -> None:
        """Takes in what a step made: a token for each of its prompts and answers, an advance for each of its reads."""
        self._reads_sat_out = bool(self._reads) and not step.reads
        for answer, token in zip((*step.prompts, *step.answers), tokens, strict=True):
            self._record_token(answer, token)
        for work, advance in zip(step.reads, advances, strict=True):
            if not self._reads.discard(work):
                continue
            work.memory = advance.memory
            work.done += advance.segments
            if not work.finished:
                self._reads.add(work)

    def _record_token(self, work: AnswerWork, token: int) -> None:
        if self._waiting.discard(work):
            self._running.add(work)
        if work not in self._running:
            return
        if token == work.end:
            work.finish_reason = "stop"
        else:
            work.tokens.append(token)
            if len(work.tokens) >= work.tokens_max:
                work.finish_reason = "length"
        if work.finish_reason is not None:
            self._running.discard(work)
