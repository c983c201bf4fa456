"""Questions put to a memory: what is read before them, their windows, their answers as they are written.

It knows the engine and the tokeniser, and nothing of stores or of where a memory came from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from model.checkpoint import Checkpoint
from model.prompt import answer_room, prompt_ids
from model.sampling import Sampling, Written
from model.tokenizer import StreamDecoder
from model.weights import LoadedModel
from server.engine.engine import AnswerRequest, Engine, EngineBusy
from server.ingest.resident_session import Halted, MemorySource
from server.observability import tracing
from server.observability.metrics import Metrics
from server.observability.request_notes import note
from server.sessions import errors
from server.sessions.stop_strings import StopCut


@dataclass(frozen=True)
class Question:
    """A question and how its answer is to be written."""

    text: str
    tokens_max: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    logprobs: bool = False


class Scored(NamedTuple):
    """A token of an answer and its log-probability before it was chosen."""

    text: str
    logprob: float


class Piece(NamedTuple):
    """The next characters of an answer, and the tokens since the piece before where they were asked for."""

    text: str
    tokens: tuple[Scored, ...]


@dataclass(frozen=True)
class QueryContext:
    """The memory that questions are put to, fixed at the moment of asking; `asked_at` is that of a monotonic clock.

    `read_tokens` were read into it for these questions alone.
    """

    asked_at: float
    state: Checkpoint
    version: int
    origin: MemorySource
    tail: tuple[int, ...]
    read_tokens: int = 0

    @property
    def memory_tokens(self) -> int:
        return self.state.tokens + len(self.tail) - len(self.state.tail)


@dataclass(frozen=True)
class Answer:
    """A finished answer and what it cost."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[Scored, ...] = ()


class AnswerService:
    """Writes answers; a question never changes the memory that it is put to."""

    def __init__(self, engine: Engine, loaded: LoadedModel, answer_seconds: float, metrics: Metrics) -> None:
        self._engine, self._loaded, self._metrics = engine, loaded, metrics
        self._answer_seconds = answer_seconds
        self._answers = 0
        self._answers_ended = asyncio.Event()
        self._answers_ended.set()

    def standpoint(
        self, asked_at: float, state: Checkpoint, version: int, origin: MemorySource, read_tokens: int = 0
    ) -> QueryContext:
        """Where questions to this state stand: behind its tail, and behind what is pending as if the text ended."""
        tail = (*state.tail, *self._loaded.tokenizer.flush(state.pending))
        note(offset=state.offset)
        return QueryContext(asked_at, state, version, origin, tail, read_tokens)

    async def behind(self, standpoint: QueryContext, text: str, tenant: str) -> QueryContext:
        """The standpoint once `text` was read too, for whoever asks from there and for nobody else."""
        state, segment_tokens = standpoint.state, self._loaded.model.config.segment_tokens
        ids, pending = await asyncio.to_thread(self._loaded.tokenizer.advance, state.pending, text.encode())
        # The prompt is no part of the session's text, so the offset stays.
        advance = state.advance(ids, pending, 0, segment_tokens)
        read = await self._engine.read(state.memory, advance.segments, tenant)
        if read.segments < len(advance.segments):
            raise Halted("the server is shutting down before the prompt was read")
        tokens = len(advance.segments) * segment_tokens
        self._metrics.read_tokens.inc(tokens)
        return self.standpoint(
            standpoint.asked_at,
            advance.finish(read.memory),
            standpoint.version,
            standpoint.origin,
            standpoint.read_tokens + tokens,
        )

    def prompt(self, question: Question, param: str) -> list[int]:
        """The question's window; refused when it leaves no room for the answer."""
        config = self._loaded.model.config
        prompt = prompt_ids(config, self._loaded.tokenizer.encode(question.text))
        room = answer_room(config, prompt)
        if room < 1:
            raise errors.InvalidField(
                f"the question is {1 - room} tokens too long for a window of {config.window_tokens}; shorten it",
                param=param,
            )
        return prompt

    def answer(
        self, standpoint: QueryContext, prompts: list[list[int]], questions: list[Question], tenant: str
    ) -> list[AsyncGenerator[Piece | Answer, None]]:
        """For each question its answer's text as it is written, then the answer as a whole.

        All are queued now, or none is and `Overloaded` is raised.
        """
        config = self._loaded.model.config
        wanted = [
            AnswerRequest(
                standpoint.state.memory,
                standpoint.tail,
                prompt,
                question.sampling,
                min(question.tokens_max, answer_room(config, prompt)),
                tenant,
                question.logprobs,
            )
            for prompt, question in zip(prompts, questions, strict=True)
        ]
        try:
            streams = self._engine.answer(wanted)
        except EngineBusy as busy:
            raise errors.Overloaded(f"{busy}; send the request again after the seconds in Retry-After") from None
        self._answers += len(streams)
        self._answers_ended.clear()
        return [
            self._written(standpoint, question, request, stream)
            for question, request, stream in zip(questions, wanted, streams, strict=True)
        ]

    async def _written(
        self,
        standpoint: QueryContext,
        question: Question,
        request: AnswerRequest,
        stream: AsyncGenerator[Written, None],
    ) -> AsyncGenerator[Piece | Answer, None]:
        """Ends with the end mark, with the first stop string, or as `length` when tokens or time are used up."""
        decoder, cut = StreamDecoder(self._loaded.tokenizer), StopCut(question.stop)
        parts: list[str] = []
        scored: list[Scored] = []
        count = shown = 0
        reason, prompt_tokens = "stop", standpoint.read_tokens + len(request.tail) + len(request.prompt)
        span, last_at = tracing.start("answer"), standpoint.asked_at

        def piece(text: str) -> Piece:
            nonlocal shown
            parts.append(text)
            new, shown = tuple(scored[shown:]), len(scored)
            return Piece(text, new)

        try:
            async with aclosing(stream) as written:
                while not cut.stopped and (next_ := await self._next(written, standpoint.asked_at, count)):
                    waited = self._metrics.inter_token_seconds if count else self._metrics.first_token_seconds
                    now = time.perf_counter()
                    waited.observe(now - last_at)
                    count, last_at = count + 1, now
                    if next_.logprob is not None:
                        text = self._loaded.tokenizer.decode([next_.token]).decode(errors="replace")
                        scored.append(Scored(text, next_.logprob))
                    if text := cut.push(decoder.push(next_.token)):
                        yield piece(text)
            if text := cut.push(decoder.finish()) + cut.finish():
                yield piece(text)
            if not cut.stopped and (count >= request.tokens_max or self._late(standpoint.asked_at)):
                reason = "length"
        finally:
            self._answers -= 1
            if not self._answers:
                self._answers_ended.set()
            self._metrics.generation_tokens.inc(count)
            counts = {"offset": standpoint.state.offset, "prompt_tokens": prompt_tokens, "completion_tokens": count}
            span.set_attributes({f"onceread.{name}": value for name, value in counts.items()})
            span.end()
        yield Answer("".join(parts), reason, prompt_tokens, count, tuple(scored))

    async def _next(self, written: AsyncGenerator[Written, None], asked_at: float, count: int) -> Written | None:
        """The next token; None at the end, or when the time is over in which an answer must be written."""
        left_seconds = self._answer_seconds - (time.perf_counter() - asked_at)
        try:
            async with asyncio.timeout(left_seconds):
                return await anext(written, None)
        except TimeoutError:
            if not count:
                raise errors.Overloaded(
                    f"the answer was not begun within {self._answer_seconds:g} seconds; send the request again"
                ) from None
            return None

    def _late(self, asked_at: float) -> bool:
        return time.perf_counter() - asked_at >= self._answer_seconds

    async def answers_end(self) -> None:
        """Returns when no answer is being written or waiting to be."""
        await self._answers_ended.wait()
