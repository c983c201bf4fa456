"""Questions: one, several, or one whose answer is streamed.

It knows the request's and the events' shapes; how an answer comes about, the library knows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from model.generation import Sampling
from server import errors, sse
from server.asking import Answer, Question, Standpoint
from server.problems import as_api_error
from server.routes.shared import (
    CONFLICT,
    PROBLEMS,
    TOO_LARGE,
    TheKey,
    TheLibrary,
    TheReceipt,
    TheSettings,
    while_connected,
)
from server.schemas import AnswerMany, AnswerOne, AnswerPart, Ask, MemoryUsed, Usage
from server.settings import Settings
from server.store.contract import SessionKey

router = APIRouter(prefix="/v1/sessions/{id}/queries", tags=["questions"], responses=PROBLEMS)
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}


@router.post("", response_model=AnswerOne | AnswerMany, responses={**CONFLICT, **TOO_LARGE, **_EVENTS})
async def ask(
    request: Request, library: TheLibrary, settings: TheSettings, key: TheKey, body: Ask, receipt: TheReceipt = None
) -> Response:
    """Answers from the session's memory as of everything acknowledged before; the session does not change."""
    asking, questions = library.asking, _questions(body, settings)
    standpoint = await while_connected(request, library.ask(key, receipt))
    prompts = [asking.prompt(standpoint, question, _field(body, index)) for index, question in enumerate(questions)]
    if body.stream:
        answer = asking.answer(standpoint, prompts, questions)[0]
        events = _events(key, standpoint, answer, settings.ping_seconds, request.scope["state"]["request_id"])
        return StreamingResponse(events, media_type=sse.MEDIA_TYPE, headers={"Cache-Control": "no-store"})
    answers = await while_connected(request, _written(asking.answer(standpoint, prompts, questions)))
    if body.questions is None:
        return JSONResponse(_one(key, standpoint, answers[0]).model_dump())
    return JSONResponse(_many(key, standpoint, answers).model_dump())


def _questions(body: Ask, settings: Settings) -> list[Question]:
    texts = [body.question] if body.question is not None else body.questions or []
    if len(texts) > settings.questions_max:
        raise errors.InvalidField(
            f"{len(texts)} questions are more than {settings.questions_max}; send fewer at once",
            param="questions",
        )
    for index, text in enumerate(texts):
        if not text.strip():
            raise errors.InvalidField("the question is empty; write it out", param=_field(body, index))
        if len(text) > settings.question_characters:
            raise errors.InvalidField(
                f"the question has {len(text)} characters, more than {settings.question_characters}; shorten it",
                param=_field(body, index),
            )
    if body.max_tokens > settings.answer_tokens_max:
        raise errors.InvalidField(f"max_tokens is over {settings.answer_tokens_max}; lower it", param="max_tokens")
    sampling = Sampling(body.temperature, body.top_p, body.top_k, body.seed)
    return [Question(text, body.max_tokens, sampling) for text in texts]


def _field(body: Ask, index: int) -> str:
    """The name of a question's field."""
    return "question" if body.questions is None else f"questions.{index}"


async def _written(streams: list[AsyncGenerator[str | Answer, None]]) -> list[Answer]:
    """All answers, written side by side; when one fails, the others end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_finished(stream)) for stream in streams]
    return [task.result() for task in tasks]


async def _finished(parts: AsyncGenerator[str | Answer, None]) -> Answer:
    async with aclosing(parts) as stream:
        async for part in stream:
            if isinstance(part, Answer):
                return part
    raise errors.InternalError("an answer ended without an end")


async def _events(
    key: SessionKey,
    standpoint: Standpoint,
    answer: AsyncGenerator[str | Answer, None],
    ping_seconds: float,
    request_id: str,
) -> AsyncIterator[bytes]:
    """The answer's pieces as events, a comment when it is silent for long, then `done` or `error`."""
    async with aclosing(answer) as parts:
        following = asyncio.ensure_future(anext(parts))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=ping_seconds)
                if not done:
                    yield sse.PING
                    continue
                part = following.result()
                if isinstance(part, Answer):
                    whole = _one(key, standpoint, part).model_dump_json()
                    yield sse.event("done", json.loads(whole))
                    return
                yield sse.event("delta", {"text": part})
                following = asyncio.ensure_future(anext(parts))
        except Exception as error:
            yield sse.event("error", as_api_error(error).body(request_id))
        finally:
            following.cancel()
            await asyncio.wait({following})


def _usage(standpoint: Standpoint, answers: list[Answer]) -> Usage:
    return Usage(
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        memory_tokens=standpoint.memory_tokens,
    )


def _memory(standpoint: Standpoint) -> MemoryUsed:
    return MemoryUsed(
        version=standpoint.version,
        offset=standpoint.state.offset,
        restored_from=standpoint.origin.source,
        restore_seconds=round(standpoint.origin.seconds, 6),
    )


def _one(key: SessionKey, standpoint: Standpoint, answer: Answer) -> AnswerOne:
    return AnswerOne(
        session=key.id,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        usage=_usage(standpoint, [answer]),
        memory=_memory(standpoint),
    )


def _many(key: SessionKey, standpoint: Standpoint, answers: list[Answer]) -> AnswerMany:
    parts = [AnswerPart(answer=a.text, finish_reason=a.finish_reason, usage=_usage(standpoint, [a])) for a in answers]
    return AnswerMany(session=key.id, answers=parts, usage=_usage(standpoint, answers), memory=_memory(standpoint))
