"""What the next step of the engine does: which prompts it prefills, which answers it decodes, which sessions it reads.

Pure: queues and counts of work, without tensors, threads or clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from server.engine.fair_queue import FairQueue, shares

# So many times as many answers as are decoded in a step may be running: the KV caches of those that sit out are kept.
RUNNING_MAX = 4


@dataclass(frozen=True, eq=False)
class ReadWork:
    """So many segments of one session, to be read one after another."""

    segments: int
    tenant: str = "default"


@dataclass(frozen=True, eq=False)
class AnswerWork:
    """One answer: `prompt_tokens` to prefill, then at most `tokens_max` tokens to decode, or until the token `end`."""

    prompt_tokens: int
    tokens_max: int
    end: int
    tenant: str = "default"


class Finish(Enum):
    """Why work has finished: the end token was decoded, `tokens_max` tokens were, or all segments have been read."""

    END = "end"
    LENGTH = "length"
    READ = "read"


@dataclass(frozen=True)
class Batch:
    """One step: prompts to prefill, answers to decode a token of, and sessions to read `segments_each` segments of."""

    prefills: tuple[AnswerWork, ...] = ()
    decodes: tuple[AnswerWork, ...] = ()
    reads: tuple[ReadWork, ...] = ()
    segments_each: int = 1


class Scheduler:
    """Answers go first, reads fill the step, and no read waits for two steps in a row because of new prompts.

    In each of the three, decode, prefill and reading, the tenants are served in turn. A waiting answer is prefilled
    when its tenant has fewer answers running than its share of `answers_max`, however many others have; of the running
    answers at most `answers_max` get a token in a step, and the others take their turn in later steps.
    """

    def __init__(self, step_tokens: int, answers_max: int, segment_tokens: int) -> None:
        self._step_tokens, self._answers_max, self._segment_tokens = step_tokens, answers_max, segment_tokens
        # Tokens decoded of each running answer, and segments read of each read.
        self._decoded: dict[AnswerWork, int] = {}
        self._read: dict[ReadWork, int] = {}
        self._waiting = FairQueue[AnswerWork](segment_tokens, lambda work: work.prompt_tokens)
        self._running = FairQueue[AnswerWork](1, lambda work: 1)
        # A row costs as much whether its segment is selected or many skipped ones are passed over.
        self._reads = FairQueue[ReadWork](segment_tokens, lambda work: segment_tokens)
        self._reads_sat_out = False

    def add_answer(self, work: AnswerWork) -> None:
        self._waiting.add(work)

    def add_read(self, work: ReadWork) -> None:
        self._reads.add(work)
        self._read[work] = 0

    def cancel(self, work: AnswerWork | ReadWork) -> None:
        """Forgets the work; the next step that is planned does nothing for it."""
        if isinstance(work, ReadWork):
            self._reads.discard(work)
            self._read.pop(work, None)
        else:
            self._waiting.discard(work)
            self._running.discard(work)
            self._decoded.pop(work, None)

    @property
    def answers_waiting(self) -> dict[str, int]:
        """How many answers of each tenant wait for their prefill."""
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
        segments = sum(work.segments - self._read[work] for work in self._reads)
        return segments * self._segment_tokens + sum(work.prompt_tokens for work in self._waiting)

    def plan(self) -> Batch | None:
        """The next step, or None when there is nothing to do. It changes no work, only whose turn it is."""
        decodes = self._running.turn(self._answers_max)
        budget = self._step_tokens - len(decodes)
        prefills: list[AnswerWork] = []
        reads: list[ReadWork] = []
        if not (self._reads and self._reads_sat_out):
            # The first prompt goes in whatever its length, else a long one would wait for ever.
            prefills = self._waiting.turn(budget, self._places(), overdraw=True)
        if not prefills:
            reads = self._reads.turn(max(budget, self._segment_tokens))
        each = 1
        if reads:
            row = len(reads) * self._segment_tokens
            prefills = self._waiting.turn(budget - row, self._places())
            # Where few are read, each gets on faster: no read that could be in the step is left out for it.
            each = max(1, (budget - sum(work.prompt_tokens for work in prefills)) // row)
        batch = Batch(tuple(prefills), tuple(decodes), tuple(reads), each)
        return batch if prefills or decodes or reads else None

    def _places(self) -> dict[str, int]:
        """How many more answers of each tenant may be prefilled."""
        running, waiting = self._running.counts, self._waiting.counts
        if len(self._running) >= RUNNING_MAX * self._answers_max:
            return {}
        wanted = {tenant: running.get(tenant, 0) + waiting.get(tenant, 0) for tenant in (*running, *waiting)}
        given = shares(self._answers_max, wanted)
        return {tenant: given[tenant] - running.get(tenant, 0) for tenant in waiting}

    def record(
        self, batch: Batch, tokens: Sequence[int], segments: Sequence[int]
    ) -> dict[AnswerWork | ReadWork, Finish]:
        """Counts what a step did: a token for each prefill and decode, so many segments for each read.

        Returns the work that has finished with it, and why. Work that was cancelled meanwhile is left out.
        """
        self._reads_sat_out = bool(self._reads) and not batch.reads
        finished: dict[AnswerWork | ReadWork, Finish] = {}
        for answer, token in zip((*batch.prefills, *batch.decodes), tokens, strict=True):
            if self._waiting.discard(answer):
                self._running.add(answer)
                self._decoded[answer] = 0
            if answer in self._running:
                self._decoded[answer] += 1
                if token == answer.end:
                    finished[answer] = Finish.END
                elif self._decoded[answer] >= answer.tokens_max:
                    finished[answer] = Finish.LENGTH
        for read, more in zip(batch.reads, segments, strict=True):
            if read in self._reads:
                self._read[read] += more
                if self._read[read] == read.segments:
                    finished[read] = Finish.READ
                else:
                    # Behind its tenant's other reads.
                    self._reads.discard(read)
                    self._reads.add(read)
        for work in finished:
            self.cancel(work)
        return finished
