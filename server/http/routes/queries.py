"""Questions: one, several, or one whose answer is streamed.

It knows the request's and the events' shapes; how an answer comes about, the service knows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from model.sampling import Sampling
from server.http import sse
from server.http.problems import error_response
from server.http.routes.answers import Answering, may_remember, pinged, together
from server.http.routes.shared import (
    CONFLICT,
    PROBLEMS,
    TOO_LARGE,
    TheIdentity,
    TheKey,
    TheLibrary,
    TheReceipt,
    TheSettings,
    while_connected,
)
from server.http.schemas import AnswerMany, AnswerOne, AnswerPart, Ask, MemoryUsed, TokenScore, Usage
from server.sessions import errors
from server.sessions.answers import Answer, Piece, QueryContext, Question, Scored
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import SessionKey

router = APIRouter(prefix="/v1/sessions/{id}/queries", tags=["questions"], responses=PROBLEMS)
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}


@router.post("", response_model=AnswerOne | AnswerMany, responses={**CONFLICT, **TOO_LARGE, **_EVENTS})
async def ask(
    request: Request,
    service: TheLibrary,
    settings: TheSettings,
    identity: TheIdentity,
    key: TheKey,
    body: Ask,
    receipt: TheReceipt = None,
) -> Response:
    """Answers from the session's memory as of everything acknowledged before; the session does not change.

    But for `remember`, which appends question and answer to its text.
    """
    if body.remember:
        may_remember(identity)
    asking, questions = service.answers, _questions(body, settings)
    prompts = [asking.prompt(question, _field(body, index)) for index, question in enumerate(questions)]
    standpoint = await while_connected(request, service.ask(key, receipt, body.min_offset or 0, body.snapshot))
    answering = asking.answer(standpoint, prompts, questions, key.tenant)
    if body.stream:
        events = _events(service, key, body, standpoint, answering[0], request.scope["state"]["request_id"])
        return StreamingResponse(
            pinged(events, settings.ping_seconds), media_type=sse.MEDIA_TYPE, headers={"Cache-Control": "no-store"}
        )
    answers = await while_connected(request, together(answering))
    if body.remember:
        for question, answer in zip(questions, answers, strict=True):
            await service.remember(key, question.text, answer.text)
    if body.questions is None:
        return JSONResponse(_one(key, standpoint, answers[0], body.logprobs).model_dump(exclude_none=True))
    return JSONResponse(_many(key, standpoint, answers, body.logprobs).model_dump(exclude_none=True))


def _questions(body: Ask, settings: Settings) -> list[Question]:
    texts = [body.question] if body.question is not None else body.questions or []
    if len(texts) > settings.questions_max:
        raise errors.InvalidField(
            f"{len(texts)} questions are more than {settings.questions_max}; send fewer at once",
            param="questions",
        )
    sampling = Sampling(body.temperature, body.top_p, body.top_k, body.seed)
    questions = [Question(text, body.max_tokens, sampling, tuple(body.stop), body.logprobs) for text in texts]
    for index, question in enumerate(questions):
        must_be_bounded(question, settings, _field(body, index), "max_tokens")
    return questions


def must_be_bounded(question: Question, settings: Settings, param: str, tokens_param: str) -> None:
    """Refuses an empty question, and one that is longer or may be answered at more length than the settings allow."""
    if not question.text.strip():
        raise errors.InvalidField("the question is empty; write it out", param=param)
    if len(question.text) > settings.question_characters:
        raise errors.InvalidField(
            f"the question has {len(question.text)} characters, more than {settings.question_characters}; shorten it",
            param=param,
        )
    if question.tokens_max > settings.answer_tokens_max:
        raise errors.InvalidField(f"{tokens_param} is over {settings.answer_tokens_max}; lower it", param=tokens_param)


def _field(body: Ask, index: int) -> str:
    return "question" if body.question is not None else f"questions.{index}"


async def _events(
    service: SessionService, key: SessionKey, body: Ask, standpoint: QueryContext, answer: Answering, request_id: str
) -> AsyncGenerator[bytes, None]:
    """The answer's pieces as events, then `done` or `error`."""
    try:
        async for part in answer:
            if isinstance(part, Piece):
                yield sse.event("delta", {"text": part.text})
                continue
            if body.remember and body.question is not None:
                await service.remember(key, body.question, part.text)
            whole = _one(key, standpoint, part, body.logprobs)
            yield sse.event("done", whole.model_dump(exclude_none=True))
    except Exception as error:
        yield sse.event("error", error_response(error).body(request_id))
    finally:
        await answer.aclose()


def _usage(standpoint: QueryContext, answers: list[Answer]) -> Usage:
    return Usage(
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        memory_tokens=standpoint.memory_tokens,
    )


def _memory(standpoint: QueryContext) -> MemoryUsed:
    return MemoryUsed(
        version=standpoint.version,
        offset=standpoint.state.offset,
        restored_from=standpoint.origin.source,
        restore_seconds=round(standpoint.origin.seconds, 6),
    )


def _scores(tokens: tuple[Scored, ...], wanted: bool) -> list[TokenScore] | None:
    return [TokenScore(token=text, logprob=logprob) for text, logprob in tokens] if wanted else None


def _one(key: SessionKey, standpoint: QueryContext, answer: Answer, logprobs: bool) -> AnswerOne:
    return AnswerOne(
        session=key.id,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        logprobs=_scores(answer.tokens, logprobs),
        usage=_usage(standpoint, [answer]),
        memory=_memory(standpoint),
    )


def _many(key: SessionKey, standpoint: QueryContext, answers: list[Answer], logprobs: bool) -> AnswerMany:
    parts = [
        AnswerPart(
            answer=answer.text,
            finish_reason=answer.finish_reason,
            logprobs=_scores(answer.tokens, logprobs),
            usage=_usage(standpoint, [answer]),
        )
        for answer in answers
    ]
    return AnswerMany(session=key.id, answers=parts, usage=_usage(standpoint, answers), memory=_memory(standpoint))
