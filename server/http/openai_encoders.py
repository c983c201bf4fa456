"""Answers in the shapes of OpenAI's routes: whole, or as the chunks of a stream."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from fastapi.sse import format_sse_event

from server.http.openai_schemas import (
    Annotation,
    ChatAnswer,
    ChatChoice,
    ChatCompletion,
    ChatLogprob,
    ChatLogprobs,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    OpenAIUsage,
)
from server.http.sources import citations
from server.sessions.answers import Answer, Piece

DONE = format_sse_event(data_str="[DONE]")


def data(value: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return format_sse_event(data_str=json.dumps(value, ensure_ascii=False))


class AnswerEncoder(ABC):
    """One answer of `model`, under one id."""

    id_prefix: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, logprobs: bool) -> None:
        self._id = f"{self.id_prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._model = model
        self._logprobs = logprobs

    @abstractmethod
    def whole(self, answer: Answer) -> ChatCompletion | Completion:
        """The answer that is not streamed."""

    def opening(self) -> bytes:
        """What is streamed before the first piece."""
        return b""

    @abstractmethod
    def piece(self, piece: Piece) -> bytes: ...

    @abstractmethod
    def end(self, answer: Answer) -> bytes: ...

    def usage(self, answer: Answer) -> bytes:
        return self._chunk([], usage=_usage(answer).model_dump())

    def _chunk(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        head = {"id": self._id, "object": self.chunk_object, "created": self._created, "model": self._model}
        return data(head | {"choices": choices} | members)


class ChatEncoder(AnswerEncoder):
    """The answers of /v1/chat/completions, with at most `sources_max` places of the session's text as annotations."""

    id_prefix = "chatcmpl"
    chunk_object = "chat.completion.chunk"

    def __init__(self, model: str, logprobs: bool, session: str | None, sources_max: int) -> None:
        super().__init__(model, logprobs)
        self._session, self._sources_max = session, sources_max

    def whole(self, answer: Answer) -> ChatCompletion:
        choice = ChatChoice(
            message=ChatAnswer(content=answer.text, annotations=self._annotations(answer)),
            logprobs=_chat_logprobs(answer) if self._logprobs else None,
            finish_reason=answer.finish_reason,
        )
        return ChatCompletion(
            id=self._id, created=self._created, model=self._model, choices=[choice], usage=_usage(answer)
        )

    def opening(self) -> bytes:
        return self._choice({"role": "assistant", "content": ""})

    def piece(self, piece: Piece) -> bytes:
        logprobs = _chat_logprobs(piece).model_dump() if piece.tokens else None
        return self._choice({"content": piece.text}, logprobs=logprobs)

    def end(self, answer: Answer) -> bytes:
        cited = [annotation.model_dump() for annotation in self._annotations(answer)]
        return self._choice({"annotations": cited} if cited else {}, finish_reason=answer.finish_reason)

    def _annotations(self, answer: Answer) -> list[Annotation]:
        return citations(answer, self._session, self._sources_max)

    def _choice(self, delta: dict[str, Any], **members: Any) -> bytes:
        return self._chunk([{"index": 0, "logprobs": None, "finish_reason": None, "delta": delta} | members])


class CompletionEncoder(AnswerEncoder):
    """The answers of /v1/completions."""

    id_prefix = "cmpl"
    chunk_object = "text_completion"

    def whole(self, answer: Answer) -> Completion:
        choice = CompletionChoice(
            text=answer.text,
            logprobs=_completion_logprobs(answer) if self._logprobs else None,
            finish_reason=answer.finish_reason,
        )
        return Completion(id=self._id, created=self._created, model=self._model, choices=[choice], usage=_usage(answer))

    def piece(self, piece: Piece) -> bytes:
        return self._choice(piece.text, None)

    def end(self, answer: Answer) -> bytes:
        return self._choice("", answer.finish_reason)

    def _choice(self, text: str, finish_reason: str | None) -> bytes:
        return self._chunk([{"index": 0, "logprobs": None, "finish_reason": finish_reason, "text": text}])


def _usage(answer: Answer) -> OpenAIUsage:
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    return OpenAIUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _chat_logprobs(scored: Piece | Answer) -> ChatLogprobs:
    return ChatLogprobs(
        content=[
            ChatLogprob(token=text, logprob=logprob, bytes=list(text.encode()), top_logprobs=[])
            for text, logprob in scored.tokens
        ]
    )


def _completion_logprobs(answer: Answer) -> CompletionLogprobs:
    texts = [token.text for token in answer.tokens]
    offsets = [sum(map(len, texts[:i])) for i in range(len(texts))]
    return CompletionLogprobs(
        tokens=texts, token_logprobs=[token.logprob for token in answer.tokens], text_offset=offsets
    )
