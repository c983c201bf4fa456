"""AnswerService: puts questions to a memory and decodes their answers.

A question never changes the memory that it is put to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple

from model.checkpoint import Checkpoint
from model.mechanisms.base import Recall, Source
from model.prompt import answer_room, prompt_ids
from model.sampling import Sampling, Written
from model.tokenizer import StreamDecoder
from model.weights import LoadedModel
from server.engine.answer_stream import AnswerStream
from server.engine.engine import Engine, EngineBusy
from server.engine.model_runner import AnswerRequest
from server.ingest.errors import ReaderStopped
from server.ingest.session_progress import MemorySource
from server.observability import tracing
from server.observability.metrics import Metrics
from server.observability.request_notes import note
from server.sessions import errors
from server.sessions.stop_strings import StopCut

# The answer to a question about a text that does not have it.
NOT_IN_THE_TEXT = "Not in the text."


@dataclass(frozen=True)
class Question:
    """A question and how its answer is sampled; `param` is the request's field that it came in, for errors."""

    text: str
    tokens_max: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    param: str = "question"


class Scored(NamedTuple):
    """A token of an answer and its log-probability before temperature and cuts."""

    text: str
    logprob: float


class Piece(NamedTuple):
    """The next characters of an answer, and with `logprobs` the tokens since the piece before."""

    text: str
    tokens: tuple[Scored, ...]


@dataclass(frozen=True)
class QueryContext:
    """The memory that questions are put to, and the tail behind it.

    `asked_at` is when the request arrived, by a monotonic clock: TTFT counts from there. `read_tokens` were read into
    the memory for these questions alone. Where `of_session` is false there is no text to keep to, and the model answers
    what its memory does not have too.
    """

    asked_at: float
    state: Checkpoint
    version: int
    origin: MemorySource
    tail: tuple[int, ...]
    read_tokens: int = 0
    of_session: bool = True

    @property
    def memory_tokens(self) -> int:
        return self.state.tokens + len(self.tail) - len(self.state.tail)


@dataclass(frozen=True)
class Answer:
    """A finished answer, what it cost, and the memory that it was drawn from.

    `sources`, best first, are the places of the text that it was drawn from; `found` says whether the text has the
    answer, None where the mechanism cannot tell.
    """

    context: QueryContext
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[Scored, ...] = ()
    sources: tuple[Source, ...] = ()
    found: bool | None = None


class Answering:
    """One answer's pieces as they are written, then the answer as a whole.

    It owns the answer's place in the engine and in the drain's count until it ends or is closed, iterated or not.
    """

    def __init__(
        self, parts: AsyncGenerator[Piece | Answer, None], stream: AnswerStream | None, ended: Callable[[], None]
    ) -> None:
        self._parts, self._stream, self._ended = parts, stream, ended
        self._closed = self._waiting = False

    def __aiter__(self) -> Answering:
        return self

    async def __anext__(self) -> Piece | Answer:
        self._waiting = True
        try:
            part = await anext(self._parts)
        except BaseException:
            self._waiting = False
            await self.aclose()
            raise
        self._waiting = False
        return part

    async def aclose(self) -> None:
        """Frees both places, even while a piece is waited for; further calls do nothing."""
        if not self._closed:
            self._closed = True
            self._ended()
        if self._stream is not None:
            await self._stream.aclose()
        # A generator that is running cannot be closed from outside: the task that waits for its piece ends it.
        if not self._waiting:
            await self._parts.aclose()


class AnswerService:
    """Decodes answers, each within `answer_seconds` from when it is queued."""

    def __init__(self, engine: Engine, loaded: LoadedModel, answer_seconds: float, metrics: Metrics) -> None:
        self._engine = engine
        self._loaded = loaded
        self._metrics = metrics
        self._answer_seconds = answer_seconds
        self._answers = 0
        self._answers_ended = asyncio.Event()
        self._answers_ended.set()

    def must_have_room(self, tenant: str) -> None:
        """Raises `Overloaded` while as many of the tenant's questions wait as may."""
        if not self._engine.has_room(tenant):
            raise _overloaded(f"{self._engine.load().answers_waiting} questions are waiting")

    def empty_context(self, asked_at: float) -> QueryContext:
        """The context of questions to a memory that has read nothing."""
        empty = Checkpoint.empty(self._loaded.model.initial_memory(1))
        return replace(self.query_context(asked_at, empty, 0, MemorySource("device", 0.0)), of_session=False)

    def query_context(
        self, asked_at: float, state: Checkpoint, version: int, origin: MemorySource, read_tokens: int = 0
    ) -> QueryContext:
        """The context of questions to this state: its tail ends with what is pending, as if the text ended there."""
        tail = (*state.tail, *self._loaded.tokenizer.flush(state.pending))
        note(offset=state.offset)
        return QueryContext(asked_at, state, version, origin, tail, read_tokens)

    async def extend_context(self, context: QueryContext, text: str, tenant: str) -> QueryContext:
        """The context once `text` has been read too; the session's own memory stays as it is."""
        state, segment_tokens = context.state, self._loaded.model.config.segment_tokens
        ids, pending = await asyncio.to_thread(self._loaded.tokenizer.advance, state.pending, text.encode())
        # The prompt is no part of the session's text, so the offset stays.
        advance = state.advance(ids, pending, 0, segment_tokens)
        read = await self._engine.read(state.memory, advance.segments, tenant)
        if read.segments < len(advance.segments):
            raise ReaderStopped("the server is shutting down before the prompt was read")
        tokens = len(advance.segments) * segment_tokens
        self._metrics.read_tokens.inc(tokens)
        after = self.query_context(
            context.asked_at,
            advance.finish(read.memory),
            context.version,
            context.origin,
            context.read_tokens + tokens,
        )
        return replace(after, of_session=context.of_session)

    def prompt(self, question: Question) -> list[int]:
        """The prompt's token ids; `InvalidField` when they leave no room for the answer in the window."""
        config = self._loaded.model.config
        prompt = prompt_ids(config, self._loaded.tokenizer.encode(question.text))
        room = answer_room(config, prompt)
        if room < 1:
            raise errors.InvalidField(
                f"the question is {1 - room} tokens too long for a window of {config.window_tokens}; shorten it",
                param=question.param,
            )
        return prompt

    async def answer(
        self, context: QueryContext, prompts: Sequence[Sequence[int]], questions: Sequence[Question], tenant: str
    ) -> list[Answering]:
        """For each question its answer, which must be closed even if it is never iterated.

        All are queued at once, or none is and `Overloaded` is raised.
        """
        # They count from here on: a server that drains waits for what was begun.
        self._answers += len(questions)
        self._answers_ended.clear()
        try:
            recalls = await asyncio.to_thread(self._recall, context, questions)
            requests = [
                self._request(context, recall, prompt, question, tenant)
                for recall, prompt, question in zip(recalls, prompts, questions, strict=True)
            ]
            streams = iter(self._engine.answer([request for request in requests if request is not None]))
        except BaseException as error:
            self._release(len(questions))
            if isinstance(error, EngineBusy):
                raise _overloaded(str(error)) from None
            raise
        queued_at = time.perf_counter()
        answers = []
        for question, recall, request in zip(questions, recalls, requests, strict=True):
            if request is None:
                parts, stream = _not_in_the_text(context, recall), None
            else:
                stream = next(streams)
                parts = self._written(context, question, recall, request, stream, queued_at)
            answers.append(Answering(parts, stream, self._release))
        return answers

    def _request(
        self, context: QueryContext, recall: Recall, prompt: Sequence[int], question: Question, tenant: str
    ) -> AnswerRequest | None:
        """What the engine is asked; None where the session's text does not have the answer."""
        if recall.found is False and context.of_session and context.memory_tokens:
            return None
        return AnswerRequest(
            recall.memory,
            (*recall.tokens, *context.tail),
            prompt,
            question.sampling,
            min(question.tokens_max, answer_room(self._loaded.model.config, prompt)),
            tenant,
            question.logprobs,
        )

    def _recall(self, context: QueryContext, questions: Sequence[Question]) -> list[Recall]:
        """What each question finds. Not on the engine's thread: no other answer waits for it."""
        model, encode = self._loaded.model, self._loaded.tokenizer.encode
        return [model.recall(encode(question.text), context.state.memory, context.tail) for question in questions]

    async def _written(
        self,
        context: QueryContext,
        question: Question,
        recall: Recall,
        request: AnswerRequest,
        stream: AnswerStream,
        queued_at: float,
    ) -> AsyncGenerator[Piece | Answer, None]:
        """Ends with the end mark, with the first stop string, or as `length` when tokens or time are used up."""
        decoder, cut = StreamDecoder(self._loaded.tokenizer), StopCut(question.stop)
        parts: list[str] = []
        scored: list[Scored] = []
        count = shown = 0
        reason, prompt_tokens = "stop", context.read_tokens + len(request.tail) + len(request.prompt)
        span, last_at = tracing.start("answer"), context.asked_at

        def piece(text: str) -> Piece:
            nonlocal shown
            parts.append(text)
            new, shown = tuple(scored[shown:]), len(scored)
            return Piece(text, new)

        try:
            async with aclosing(stream) as written:
                while not cut.stopped and (next_ := await self._next(written, queued_at, count)):
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
            if not cut.stopped and (count >= request.tokens_max or self._late(queued_at)):
                reason = "length"
        finally:
            self._metrics.generation_tokens.inc(count)
            counts = {"offset": context.state.offset, "prompt_tokens": prompt_tokens, "completion_tokens": count}
            span.set_attributes({f"onceread.{name}": value for name, value in counts.items()})
            span.end()
        text, tokens = "".join(parts), tuple(scored)
        found = recall.found if context.memory_tokens else False
        yield Answer(context, text, reason, prompt_tokens, count, tokens, recall.sources, found)

    async def _next(self, written: AnswerStream, queued_at: float, count: int) -> Written | None:
        """The next token; None at the end, or when `answer_seconds` are over."""
        left_seconds = self._answer_seconds - (time.perf_counter() - queued_at)
        try:
            async with asyncio.timeout(left_seconds):
                return await anext(written, None)
        except TimeoutError:
            if not count:
                raise errors.Overloaded(
                    f"the answer was not begun within {self._answer_seconds:g} seconds; send the request again"
                ) from None
            return None

    def _late(self, queued_at: float) -> bool:
        return time.perf_counter() - queued_at >= self._answer_seconds

    def _release(self, count: int = 1) -> None:
        self._answers -= count
        if not self._answers:
            self._answers_ended.set()

    async def answers_end(self) -> None:
        """Returns when no answer is being decoded or queued."""
        await self._answers_ended.wait()


async def _not_in_the_text(context: QueryContext, recall: Recall) -> AsyncGenerator[Piece | Answer, None]:
    """The answer where the text does not have it: the model is not asked."""
    yield Piece(NOT_IN_THE_TEXT, ())
    yield Answer(context, NOT_IN_THE_TEXT, "stop", context.read_tokens, 0, (), recall.sources, False)


def _overloaded(reason: str) -> errors.Overloaded:
    return errors.Overloaded(f"{reason}; send the request again after the seconds in Retry-After")
