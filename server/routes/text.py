"""Text: appends a body to a session, and says how far it is durable and read.

It knows media types and headers; offsets and durability are the library's business.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from email.message import Message
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from server import errors, sse
from server.library import Library, TextState
from server.problems import ClientGone, as_api_error
from server.routes.shared import (
    CONFLICT,
    PROBLEMS,
    RECEIPT,
    TOO_LARGE,
    WRONG_TYPE,
    TheKey,
    TheLibrary,
    TheReceipt,
    TheSettings,
    while_connected,
)
from server.schemas import TextAppend, TextAppended
from server.store.contract import SessionKey

router = APIRouter(prefix="/v1/sessions/{id}/text", tags=["text"], responses=PROBLEMS)

PROGRESS_SECONDS = 0.5
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/json": {"schema": TextAppend.model_json_schema()},
        },
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}


@router.post(
    "",
    response_model=TextAppended,
    responses={**CONFLICT, **TOO_LARGE, **WRONG_TYPE, **_EVENTS},
    openapi_extra=_BODY,
)
async def append(
    request: Request,
    response: Response,
    library: TheLibrary,
    settings: TheSettings,
    key: TheKey,
    upload_offset: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
    receipt: TheReceipt = None,
    wait: Annotated[Literal["read"] | None, Query()] = None,
) -> Response | TextAppended:
    """Appends the body to the session's text; with `Upload-Offset`, at that offset or not at all."""
    try:
        state = await library.append(key, upload_offset, _body(request, settings.body_bytes), receipt)
    except ClientDisconnect:
        raise ClientGone from None
    headers = {RECEIPT: state.receipt, "Onceread-Durability": library.durability}
    if state.replayed:
        headers["Idempotent-Replayed"] = "true"
    if sse.MEDIA_TYPE in request.headers.get("accept", ""):
        events = _progress(library, key, state, request.scope["state"]["request_id"])
        return StreamingResponse(events, media_type=sse.MEDIA_TYPE, headers={**headers, "Cache-Control": "no-store"})
    if wait == "read":
        read = await while_connected(request, library.wait_read(key))
        state = TextState(state.accepted_bytes, read.read_bytes, read.tokens, state.replayed)
    response.headers.update(headers)
    return _appended(key, state)


@router.head("", response_class=Response)
async def offset(library: TheLibrary, key: TheKey, receipt: TheReceipt = None) -> Response:
    """How far the text is durable, and how far it has been read."""
    view = await library.get(key, receipt)
    return Response(
        headers={
            "Upload-Offset": str(view.record.accepted_bytes),
            "Upload-Applied-Offset": str(view.read_bytes),
            RECEIPT: library.receipt(view.record),
            "Cache-Control": "no-store",
        }
    )


def _appended(key: SessionKey, state: TextState) -> TextAppended:
    return TextAppended(
        session=key.id,
        accepted_bytes=state.accepted_bytes,
        read_bytes=state.read_bytes,
        replayed=state.replayed,
    )


def _body(request: Request, json_bytes: int) -> AsyncIterator[bytes]:
    """The text in a request's body, as it comes."""
    media = Message()
    media["Content-Type"] = request.headers.get("content-type", "text/plain")
    charset = media.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise errors.UnsupportedMediaType(f"charset {charset} is not taken; encode the text as UTF-8")
    match str(media["Content-Type"]).partition(";")[0].strip().lower():
        case "text/plain" | "application/octet-stream":
            return request.stream()
        case "application/x-ndjson":
            return _lines(request.stream(), json_bytes)
        case "application/json":
            return _whole(request)
        case other:
            raise errors.UnsupportedMediaType(
                f"{other} is not taken; send text/plain, application/x-ndjson or application/json"
            )


async def _lines(stream: AsyncIterator[bytes], line_bytes_max: int) -> AsyncIterator[bytes]:
    """The texts of NDJSON lines, each as soon as its line is whole."""
    held = b""
    number = 0
    async for chunk in stream:
        *lines, held = (held + chunk).split(b"\n")
        if len(held) > line_bytes_max:
            raise errors.BodyTooLarge(f"line {number + 1} is longer than {line_bytes_max} bytes; cut it")
        for line in lines:
            number += 1
            if line.strip():
                yield _text_of(line, f"line {number}")
    if held.strip():
        yield _text_of(held, f"line {number + 1}")


async def _whole(request: Request) -> AsyncIterator[bytes]:
    yield _text_of(await request.body(), "the body")


def _text_of(value: bytes, where: str) -> bytes:
    try:
        return TextAppend.model_validate_json(value).text.encode()
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise errors.InvalidRequest(f"{where} is not JSON: {first['ctx']['error']}") from None
        field = ".".join(str(part) for part in first["loc"])
        raise errors.InvalidField(
            f'{where}: {field}: {first["msg"]}; send {{"text": "…"}}', param=field or None
        ) from None


async def _progress(library: Library, key: SessionKey, state: TextState, request_id: str) -> AsyncIterator[bytes]:
    """Events until the text has been read that was accepted."""
    began, tokens_before = time.monotonic(), state.tokens
    reading = asyncio.ensure_future(library.wait_read(key))
    try:
        while not reading.done():
            view = await library.get(key)
            seconds = time.monotonic() - began
            yield sse.event(
                "progress",
                {
                    "accepted_bytes": view.record.accepted_bytes,
                    "read_bytes": view.read_bytes,
                    "tokens": view.tokens,
                    "tokens_per_second": round((view.tokens - tokens_before) / seconds, 1) if seconds else 0,
                },
            )
            await asyncio.wait({reading}, timeout=PROGRESS_SECONDS)
        final = await reading
        appended = _appended(key, TextState(final.accepted_bytes, final.read_bytes, final.tokens, state.replayed))
        yield sse.event("done", json.loads(appended.model_dump_json()))
    except Exception as error:
        yield sse.event("error", as_api_error(error).body(request_id))
    finally:
        reading.cancel()
