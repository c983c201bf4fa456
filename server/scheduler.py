"""What the next step of the engine does: which segments it reads and which answers it writes on, and for whom.

Pure: it holds queues of plain work, and knows neither torch nor threads nor time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class ReadWork:
    """Segments of one session to be read one after another; `memory` is the value after the last one read.

    The first `skimmed` of them have been glanced at, and of those only `loud` can change what is remembered.
    """

    memory: Any
    segments: Sequence[Sequence[int]]
    done: int = 0
    skimmed: int = 0
    loud: Sequence[int] = ()

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

    @property
    def prompt_tokens(self) -> int:
        """What taking it in has to compute."""
        return len(self.tail) + len(self.prompt)

    @property
    def begun(self) -> bool:
        return self.cache is not None


@dataclass(frozen=True)
class Advance:
    """How far a step has brought a read: the memory after `segments` more of its segments."""

    memory: Any
    segments: int


@dataclass(frozen=True)
class Step:
    """One forward pass: prompts to take in, answers to write one token on, segments to read."""

    prompts: tuple[AnswerWork, ...] = ()
    answers: tuple[AnswerWork, ...] = ()
    reads: tuple[ReadWork, ...] = ()


class Scheduler:
    """Answers go first, reads fill the step, and no read waits for two steps in a row because of new questions."""

    def __init__(self, step_tokens: int, answers_max: int, segment_tokens: int) -> None:
        self._step_tokens, self._answers_max, self._segment_tokens = step_tokens, answers_max, segment_tokens
        self._waiting: deque[AnswerWork] = deque()
        self._running: list[AnswerWork] = []
        self._reads: deque[ReadWork] = deque()
        self._reads_sat_out = False

    def add_answer(self, work: AnswerWork) -> None:
        self._waiting.append(work)

    def add_read(self, work: ReadWork) -> None:
        self._reads.append(work)

    def cancel(self, work: AnswerWork | ReadWork) -> None:
        """Forgets a piece of work; from the next step on nothing is done for it."""
        for queue in (self._waiting, self._running, self._reads):
            if work in queue:
                queue.remove(work)  # type: ignore[arg-type]

    @property
    def answers_waiting(self) -> int:
        return len(self._waiting)

    @property
    def answers_running(self) -> int:
        return len(self._running)

    @property
    def reads_waiting(self) -> int:
        return len(self._reads)

    def plan(self) -> Step | None:
        """The next step, or None when there is nothing to do. It changes no work."""
        answers = tuple(work for work in self._running if work.begun)
        budget = self._step_tokens - len(answers)
        prompts: list[AnswerWork] = []
        room = self._answers_max - len(answers)
        for work in list(self._waiting)[:room]:
            # The first prompt goes in whatever its length, else a long one would wait for ever.
            if prompts and work.prompt_tokens > budget:
                break
            prompts.append(work)
            budget -= work.prompt_tokens
        reads: tuple[ReadWork, ...] = ()
        if self._reads and (not prompts or self._reads_sat_out):
            rows = max(1, budget // self._segment_tokens)
            reads = tuple(list(self._reads)[:rows])
        step = Step(tuple(prompts), answers, reads)
        return step if prompts or answers or reads else None

    def record(self, step: Step, tokens: Sequence[int], advances: Sequence[Advance]) -> None:
        """Takes in what a step made: a token for each of its prompts and answers, an advance for each of its reads."""
        self._reads_sat_out = bool(self._reads) and not step.reads
        for answer, token in zip((*step.prompts, *step.answers), tokens, strict=True):
            self._record_token(answer, token)
        for work, advance in zip(step.reads, advances, strict=True):
            if work not in self._reads:
                continue
            work.memory = advance.memory
            work.done += advance.segments
            self._reads.remove(work)
            if not work.finished:
                self._reads.append(work)

    def _record_token(self, work: AnswerWork, token: int) -> None:
        if work in self._waiting:
            self._waiting.remove(work)
            self._running.append(work)
        if work not in self._running:
            return
        if token == work.end:
            work.finish_reason = "stop"
        else:
            work.tokens.append(token)
            if len(work.tokens) >= work.tokens_max:
                work.finish_reason = "length"
        if work.finish_reason is not None:
            self._running.remove(work)
