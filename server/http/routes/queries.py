"""POST /v1/sessions/{id}/queries: one question, several, or one whose answer is streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from model.sampling import Sampling
from server.http.problems import error_response
from server.http.routes.answers import event_stream, may_remember
from server.http.routes.shared import (
    CONFLICT,
    EVENTS,
    PROBLEMS,
    TOO_LARGE,
    TheIdentity,
    TheKey,
    TheReceipt,
    TheService,
    TheSettings,
    event,
    while_connected,
)
from server.http.schemas import AnswerMany, AnswerOne, AnswerPart, Ask, MemoryUsed, TokenScore, Usage
from server.http.sources import shown_sources
from server.sessions import errors
from server.sessions.answers import Answer, Piece, Question
from server.sessions.queries import Query
from server.settings import Settings
from server.store.base import SessionKey

router = APIRouter(prefix="/v1/sessions/{id}/queries", tags=["questions"], responses=PROBLEMS)


@router.post("", response_model=AnswerOne | AnswerMany, responses={**CONFLICT, **TOO_LARGE, **EVENTS})
async def ask_question(
    request: Request,
    service: TheService,
    settings: TheSettings,
    identity: TheIdentity,
    key: TheKey,
    body: Ask,
    receipt: TheReceipt = None,
) -> Response:
    """Answers from the memory of everything acknowledged before; with `remember`, appends question and answer."""
    if body.remember:
        may_remember(identity)
    query = Query(
        key.tenant,
        _questions(body, settings),
        key,
        receipt,
        body.min_offset or 0,
        body.snapshot,
        remember=body.remember,
    )
    queries = service.queries
    admitted = await while_connected(request, queries.admit(query))
    if body.stream:
        request_id = request.scope["state"]["request_id"]
        return event_stream(_events(key, body, queries.stream(admitted), request_id), settings)
    answers = await while_connected(request, queries.answer(admitted))
    whole = _one(key, answers[0], body) if body.questions is None else _many(key, answers, body)
    return JSONResponse(whole.model_dump())


def _questions(body: Ask, settings: Settings) -> tuple[Question, ...]:
    texts = [body.question] if body.question is not None else body.questions or []
    if len(texts) > settings.questions_max:
        raise errors.InvalidField(
            f"{len(texts)} questions are more than {settings.questions_max}; send fewer at once",
            param="questions",
        )
    sampling = Sampling(body.temperature, body.top_p, body.top_k, body.seed)
    return tuple(
        Question(
            text,
            body.max_tokens,
            sampling,
            tuple(body.stop),
            body.logprobs,
            param="question" if body.questions is None else f"questions.{index}",
        )
        for index, text in enumerate(texts)
    )


async def _events(
    key: SessionKey, body: Ask, answer: AsyncGenerator[Piece | Answer, None], request_id: str
) -> AsyncGenerator[bytes, None]:
    """The answer's pieces as `delta` events, then `done` or `error`."""
    try:
        async with aclosing(answer) as parts:
            async for part in parts:
                if isinstance(part, Piece):
                    yield event("delta", {"text": part.text})
                else:
                    yield event("done", _one(key, part, body).model_dump())
    except Exception as error:
        yield event("error", error_response(error).body(request_id))


def _usage(answers: list[Answer]) -> Usage:
    return Usage(
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        memory_tokens=answers[0].context.memory_tokens,
    )


def _memory(answer: Answer) -> MemoryUsed:
    context = answer.context
    return MemoryUsed(
        version=context.version,
        offset=context.state.offset,
        restored_from=context.origin.source,
        restore_seconds=round(context.origin.seconds, 6),
    )


def _part(answer: Answer, body: Ask) -> AnswerPart:
    scores = [TokenScore(token=text, logprob=logprob) for text, logprob in answer.tokens]
    return AnswerPart(
        answer=answer.text,
        finish_reason=answer.finish_reason,
        found=answer.found,
        sources=shown_sources(answer.sources, body.sources, answer.context.state.documents),
        logprobs=scores if body.logprobs else None,
        usage=_usage([answer]),
    )


def _one(key: SessionKey, answer: Answer, body: Ask) -> AnswerOne:
    return AnswerOne(session=key.id, memory=_memory(answer), **dict(_part(answer, body)))


def _many(key: SessionKey, answers: list[Answer], body: Ask) -> AnswerMany:
    parts = [_part(answer, body) for answer in answers]
    return AnswerMany(session=key.id, answers=parts, usage=_usage(answers), memory=_memory(answers[0]))
