"""Questions put to a memory: their windows, their answers as they are written, and the answers that are open.

It knows the engine and the tokeniser, and nothing of stores or of where a memory came from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from model.checkpoint import Checkpoint
from model.generation import Sampling
from model.prompt import answer_room, prompt_ids
from model.tokenizer import StreamDecoder
from model.weights import LoadedModel
from server import errors
from server.engine import AnswerRequest, Engine, EngineBusy
from server.live import Origin
from server.telemetry import Telemetry


@dataclass(frozen=True)
class Question:
    """A question and how its answer is to be written."""

    text: str
    tokens_max: int
    sampling: Sampling


@dataclass(frozen=True)
class Standpoint:
    """The memory that questions are put to, fixed at the moment of asking; `asked_at` is that of a monotonic clock."""

    asked_at: float
    state: Checkpoint
    version: int
    origin: Origin
    tail: tuple[int, ...]

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


class Asking:
    """Writes answers; a question never changes the memory that it is put to."""

    def __init__(self, engine: Engine, loaded: LoadedModel, telemetry: Telemetry) -> None:
        self._engine, self._loaded, self._telemetry = engine, loaded, telemetry
        self._answers = 0
        self._answers_ended = asyncio.Event()
        self._answers_ended.set()

    def standpoint(self, asked_at: float, state: Checkpoint, version: int, origin: Origin) -> Standpoint:
        """Where questions to this state stand: behind its tail, and behind what is pending as if the text ended."""
        return Standpoint(asked_at, state, version, origin, (*state.tail, *self._loaded.tokenizer.flush(state.pending)))

    def prompt(self, standpoint: Standpoint, question: Question, param: str) -> list[int]:
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
        self, standpoint: Standpoint, prompts: list[list[int]], questions: list[Question]
    ) -> list[AsyncGenerator[str | Answer, None]]:
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
            self._written(standpoint.asked_at, request, stream) for request, stream in zip(wanted, streams, strict=True)
        ]

    async def _written(
        self, asked_at: float, request: AnswerRequest, stream: AsyncGenerator[int, None]
    ) -> AsyncGenerator[str | Answer, None]:
        decoder, parts, count = StreamDecoder(self._loaded.tokenizer), [], 0
        try:
            async with aclosing(stream) as tokens:
                async for token in tokens:
                    if not count:
                        self._telemetry.first_token_seconds.observe(time.perf_counter() - asked_at)
                    count += 1
                    if text := decoder.push(token):
                        parts.append(text)
                        yield text
            if text := decoder.finish():
                parts.append(text)
                yield text
        finally:
            self._answers -= 1
            if not self._answers:
                self._answers_ended.set()
            self._telemetry.generation_tokens.inc(count)
        reason = "length" if count >= request.tokens_max else "stop"
        yield Answer("".join(parts), reason, len(request.tail) + len(request.prompt), count)

    async def answers_end(self) -> None:
        """Returns when no answer is being written or waiting to be."""
        await self._answers_ended.wait()
