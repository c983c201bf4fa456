"""OpenAI's routes: models, chat completions and completions, from a session's memory or from the prompt alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from model.sampling import Sampling
from server.http.auth import Identity
from server.http.openai_encoders import DONE, AnswerEncoder, ChatEncoder, CompletionEncoder, data
from server.http.openai_schemas import (
    ChatCompletion,
    ChatRequest,
    Completion,
    CompletionRequest,
    Model,
    ModelList,
    Wanted,
)
from server.http.problems import error_response
from server.http.routes.answers import event_stream, may_remember
from server.http.routes.shared import (
    CONFLICT,
    EVENTS,
    PROBLEMS,
    TOO_LARGE,
    TheIdentity,
    TheServices,
    while_connected,
)
from server.http.schemas import SessionId
from server.http.services import Services
from server.sessions import errors
from server.sessions.answers import Answer, Piece, Question
from server.sessions.queries import Query
from server.store.base import SessionKey

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=PROBLEMS)
TOKENS = 64
_REFUSALS: dict[int | str, dict[str, Any]] = {**CONFLICT, **TOO_LARGE}
TheSession = Annotated[SessionId | None, Header(alias="X-Session-ID")]


@router.get("/models")
async def list_models(services: TheServices) -> ModelList:
    """The one model that is served."""
    return ModelList(data=[Model(id=services.loaded.name, created=0)])


@router.post("/chat/completions", response_model=ChatCompletion, responses={**_REFUSALS, **EVENTS})
async def create_chat_completion(
    request: Request,
    services: TheServices,
    identity: TheIdentity,
    body: ChatRequest,
    session: TheSession = None,
) -> Response:
    """Answers the user's last message; earlier messages are read behind the session's text, and not kept."""
    last = max(i for i, message in enumerate(body.messages) if message.role == "user")
    earlier = "\n".join(message.text for message in body.messages[:last] if message.text)
    tokens_max = body.max_completion_tokens or body.max_tokens or TOKENS
    question = _question(body, body.messages[last].text, tokens_max, bool(body.logprobs), "messages")
    query = _query(services.loaded.name, body, question, identity, session, f"\n{earlier}\n" if earlier else "")
    named = None if query.key is None else query.key.id
    encoder = ChatEncoder(services.loaded.name, question.logprobs, named, body.sources)
    return await _answer(request, services, body, query, encoder)


@router.post("/completions", response_model=Completion, responses={**_REFUSALS, **EVENTS})
async def create_completion(
    request: Request,
    services: TheServices,
    identity: TheIdentity,
    body: CompletionRequest,
    session: TheSession = None,
) -> Response:
    """Answers the prompt."""
    question = _question(body, body.text, body.max_tokens or TOKENS, body.logprobs is not None, "prompt")
    query = _query(services.loaded.name, body, question, identity, session, "")
    encoder = CompletionEncoder(services.loaded.name, question.logprobs)
    return await _answer(request, services, body, query, encoder)


def _question(wanted: Wanted, text: str, tokens_max: int, logprobs: bool, param: str) -> Question:
    top_k = max(0, wanted.top_k or 0)
    seed = None if wanted.seed is None else wanted.seed % 2**63
    sampling = Sampling(wanted.temperature or 0.0, wanted.top_p or 1.0, top_k, seed)
    return Question(text, tokens_max, sampling, tuple(wanted.stop), logprobs, param)


def _query(
    served: str, wanted: Wanted, question: Question, identity: Identity, header: str | None, earlier: str
) -> Query:
    if wanted.model not in (None, served):
        raise errors.InvalidField(f"model: {served} is the one that is served", param="model")
    if header is not None and wanted.session_id not in (None, header):
        raise errors.InvalidField(
            "session_id: the header X-Session-ID names another session; send one of both", param="session_id"
        )
    session = header or wanted.session_id
    if wanted.remember and session is None:
        raise errors.InvalidField("remember: there is no session to remember in; name one", param="remember")
    if wanted.remember:
        may_remember(identity)
    key = None if session is None else SessionKey(identity.tenant, session)
    return Query(identity.tenant, (question,), key, earlier=earlier, remember=wanted.remember)


async def _answer(
    request: Request, services: Services, wanted: Wanted, query: Query, encoder: AnswerEncoder
) -> Response:
    queries = services.sessions.queries
    admitted = await while_connected(request, queries.admit(query))
    if wanted.stream:
        usage = wanted.stream_options is not None and wanted.stream_options.include_usage
        request_id = request.scope["state"]["request_id"]
        return event_stream(_events(encoder, usage, queries.stream(admitted), request_id), services.settings)
    [answer] = await while_connected(request, queries.answer(admitted))
    return JSONResponse(encoder.whole(answer).model_dump())


async def _events(
    encoder: AnswerEncoder, usage: bool, answer: AsyncGenerator[Piece | Answer, None], request_id: str
) -> AsyncGenerator[bytes, None]:
    """The answer's pieces as chunks, its end, the usage where it is wanted, then the end of the stream."""
    try:
        if opening := encoder.opening():
            yield opening
        async with aclosing(answer) as parts:
            async for part in parts:
                if isinstance(part, Piece):
                    yield encoder.piece(part)
                    continue
                yield encoder.end(part)
                if usage:
                    yield encoder.usage(part)
                yield DONE
    except Exception as error:
        yield data(error_response(error).body(request_id))
