"""OpenAI's routes: models, chat completions and completions, answered from a session's memory or from the prompt alone.

It knows OpenAI's shapes; how an answer comes about, the service knows.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from model.sampling import Sampling
from server.http import sse
from server.http.auth import Identity
from server.http.openai_schemas import (
    ChatAnswer,
    ChatChoice,
    ChatCompletion,
    ChatLogprob,
    ChatLogprobs,
    ChatRequest,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    CompletionRequest,
    Model,
    ModelList,
    OpenAIUsage,
    Wanted,
)
from server.http.problems import error_response
from server.http.routes.answers import Answering, may_remember, pinged, together
from server.http.routes.queries import must_be_bounded
from server.http.routes.shared import (
    CONFLICT,
    PROBLEMS,
    TOO_LARGE,
    TheIdentity,
    TheLibrary,
    TheSettings,
    while_connected,
)
from server.http.schemas import SessionId
from server.sessions import errors
from server.sessions.answers import Answer, Piece, QueryContext, Question
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import SessionKey

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=PROBLEMS)
TOKENS = 64
_DONE = b"data: [DONE]\n\n"
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {**CONFLICT, **TOO_LARGE}
TheSession = Annotated[SessionId | None, Header(alias="X-Session-ID")]


@dataclass(frozen=True)
class Call:
    """One request of these routes: what was asked, of whom, and what its answer is called."""

    wanted: Wanted
    question: Question
    key: SessionKey | None
    id: str
    created: int
    model: str
    chat: bool

    @property
    def usage_streamed(self) -> bool:
        options = self.wanted.stream_options
        return options is not None and options.include_usage


@router.get("/models")
async def models(request: Request) -> ModelList:
    """The one model that is served."""
    return ModelList(data=[Model(id=request.app.state.loaded.name, created=0)])


@router.post("/chat/completions", response_model=ChatCompletion, responses={**_REFUSALS, **_EVENTS})
async def chat(
    request: Request,
    service: TheLibrary,
    settings: TheSettings,
    identity: TheIdentity,
    body: ChatRequest,
    session: TheSession = None,
) -> Response:
    """Answers the user's last message; the messages before it are read behind the session's text, and forgotten."""
    last = max(i for i, message in enumerate(body.messages) if message.role == "user")
    earlier = "\n".join(message.text for message in body.messages[:last] if message.text)
    tokens_max = body.max_completion_tokens or body.max_tokens or TOKENS
    question = _question(body, body.messages[last].text, tokens_max, bool(body.logprobs))
    must_be_bounded(question, settings, "messages", "max_tokens")
    call = _call(request, body, question, identity, session, chat=True)
    return await _answer(request, service, settings, call, identity.tenant, f"\n{earlier}\n" if earlier else "")


@router.post("/completions", response_model=Completion, responses={**_REFUSALS, **_EVENTS})
async def complete(
    request: Request,
    service: TheLibrary,
    settings: TheSettings,
    identity: TheIdentity,
    body: CompletionRequest,
    session: TheSession = None,
) -> Response:
    """Answers the prompt."""
    question = _question(body, body.text, body.max_tokens or TOKENS, body.logprobs is not None)
    must_be_bounded(question, settings, "prompt", "max_tokens")
    call = _call(request, body, question, identity, session, chat=False)
    return await _answer(request, service, settings, call, identity.tenant, "")


def _question(wanted: Wanted, text: str, tokens_max: int, logprobs: bool) -> Question:
    top_k = max(0, wanted.top_k or 0)
    seed = None if wanted.seed is None else wanted.seed % 2**63
    sampling = Sampling(wanted.temperature or 0.0, wanted.top_p or 1.0, top_k, seed)
    return Question(text, tokens_max, sampling, tuple(wanted.stop), logprobs)


def _call(
    request: Request, wanted: Wanted, question: Question, identity: Identity, header: str | None, chat: bool
) -> Call:
    served = request.app.state.loaded.name
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
    id = f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}"
    return Call(wanted, question, key, id, int(time.time()), served, chat)


async def _answer(
    request: Request, service: SessionService, settings: Settings, call: Call, tenant: str, earlier: str
) -> Response:
    prompt = service.answers.prompt(call.question, "messages" if call.chat else "prompt")
    standpoint = await while_connected(request, _standpoint(service, call, tenant, earlier))
    answering = service.answers.answer(standpoint, [prompt], [call.question], tenant)
    if call.wanted.stream:
        events = _events(service, call, answering[0], request.scope["state"]["request_id"])
        return StreamingResponse(
            pinged(events, settings.ping_seconds), media_type=sse.MEDIA_TYPE, headers={"Cache-Control": "no-store"}
        )
    [answer] = await while_connected(request, together(answering))
    await _remember(service, call, answer)
    return JSONResponse((_chat_whole if call.chat else _completion_whole)(call, answer).model_dump())


async def _standpoint(service: SessionService, call: Call, tenant: str, earlier: str) -> QueryContext:
    standpoint = service.without_session() if call.key is None else await service.ask(call.key)
    return await service.answers.behind(standpoint, earlier, tenant) if earlier else standpoint


async def _remember(service: SessionService, call: Call, answer: Answer) -> None:
    if call.wanted.remember and call.key is not None:
        await service.remember(call.key, call.question.text, answer.text)


async def _events(
    service: SessionService, call: Call, answer: Answering, request_id: str
) -> AsyncGenerator[bytes, None]:
    """The answer's pieces as chunks, its end, the usage where it is wanted, and the mark behind them."""
    try:
        if call.chat:
            yield _chunk(call, {"role": "assistant", "content": ""})
        async for part in answer:
            if isinstance(part, Piece):
                yield _chunk(call, {"content": part.text}, part=part)
                continue
            await _remember(service, call, part)
            yield _chunk(call, {}, finish_reason=part.finish_reason)
            if call.usage_streamed:
                yield _data(_head(call) | {"choices": [], "usage": _usage(part).model_dump()})
            yield _DONE
    except Exception as error:
        yield _data(error_response(error).body(request_id))
    finally:
        await answer.aclose()


def _chunk(call: Call, delta: dict[str, str], part: Piece | None = None, finish_reason: str | None = None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish_reason}
    if call.chat:
        choice["delta"] = delta
        if part is not None and part.tokens:
            choice["logprobs"] = _chat_logprobs(part).model_dump()
    else:
        choice["text"] = delta.get("content", "")
    return _data(_head(call) | {"choices": [choice]})


def _head(call: Call) -> dict[str, Any]:
    kind = "chat.completion.chunk" if call.chat else "text_completion"
    return {"id": call.id, "object": kind, "created": call.created, "model": call.model}


def _data(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


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


def _chat_whole(call: Call, answer: Answer) -> ChatCompletion:
    choice = ChatChoice(
        message=ChatAnswer(content=answer.text),
        logprobs=_chat_logprobs(answer) if call.question.logprobs else None,
        finish_reason=answer.finish_reason,
    )
    return ChatCompletion(id=call.id, created=call.created, model=call.model, choices=[choice], usage=_usage(answer))


def _completion_whole(call: Call, answer: Answer) -> Completion:
    logprobs = None
    if call.question.logprobs:
        texts = [token.text for token in answer.tokens]
        offsets = [sum(map(len, texts[:i])) for i in range(len(texts))]
        logprobs = CompletionLogprobs(
            tokens=texts, token_logprobs=[token.logprob for token in answer.tokens], text_offset=offsets
        )
    choice = CompletionChoice(text=answer.text, logprobs=logprobs, finish_reason=answer.finish_reason)
    return Completion(id=call.id, created=call.created, model=call.model, choices=[choice], usage=_usage(answer))
