"""/v1/sessions/{id}/text: appends a body, shows a range, and how far the text is durable and read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from server.http.problems import error_response
from server.http.routes import bodies
from server.http.routes.shared import (
    CONFLICT,
    EVENT_STREAM,
    EVENTS,
    PROBLEMS,
    RECEIPT,
    TOO_LARGE,
    WRONG_TYPE,
    TheKey,
    TheReceipt,
    TheService,
    TheSettings,
    event,
    while_connected,
)
from server.http.schemas import DocumentName, SnapshotName, TextAppended, TextRange
from server.sessions import errors
from server.sessions.service import SessionService
from server.sessions.text_ranges import RANGE_BYTES_MAX
from server.sessions.uploads import TextState
from server.store.base import SessionKey

router = APIRouter(prefix="/v1/sessions/{id}/text", tags=["text"], responses=PROBLEMS)

PROGRESS_SECONDS = 0.5
# The problem types of the draft "Resumable Uploads for HTTP".
MISMATCHING_OFFSET = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
_REFUSALS: dict[int | str, dict[str, Any]] = {**CONFLICT, **TOO_LARGE, **WRONG_TYPE}
WaitRead = Annotated[Literal["read"] | None, Query()]
Document = Annotated[DocumentName | None, Query(description="the document that the text begins or goes on with")]


@router.post("", response_model=TextAppended, responses={**_REFUSALS, **EVENTS}, openapi_extra=bodies.DESCRIBED)
async def append_text(
    request: Request,
    service: TheService,
    settings: TheSettings,
    key: TheKey,
    upload_offset: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
    receipt: TheReceipt = None,
    wait: WaitRead = None,
    document: Document = None,
) -> Response:
    """Appends the body to the session's text; with `Upload-Offset`, at that offset or not at all."""
    body = bodies.text_in(request, settings, document)
    state = await service.uploads.append(key, upload_offset, body, receipt)
    return await _answer(request, service, key, state, wait)


@router.patch(
    "", response_model=TextAppended, responses={**_REFUSALS, **EVENTS}, openapi_extra=bodies.DESCRIBED_PARTIAL
)
async def resume_upload(
    request: Request,
    service: TheService,
    settings: TheSettings,
    key: TheKey,
    upload_offset: Annotated[int, Header(ge=0, lt=2**63)],
    receipt: TheReceipt = None,
    wait: WaitRead = None,
    document: Document = None,
) -> Response:
    """Appends a part of a resumable upload at its offset; `Upload-Complete` is ignored, a text may always grow."""
    body = bodies.partial_text_in(request, settings, document)
    try:
        state = await service.uploads.append(key, upload_offset, body, receipt)
    except errors.OffsetMismatch as error:
        offsets = {"expected-offset": error.members["expected_offset"], "provided-offset": upload_offset}
        error.members.update({"type": MISMATCHING_OFFSET, **offsets})
        raise
    return await _answer(request, service, key, state, wait)


async def _answer(
    request: Request, service: SessionService, key: SessionKey, state: TextState, wait: str | None
) -> Response:
    headers = {
        "Upload-Offset": str(state.accepted_bytes),
        RECEIPT: state.receipt,
        "Onceread-Durability": service.durability,
    }
    if state.replayed:
        headers["Idempotent-Replayed"] = "true"
    if EVENT_STREAM in request.headers.get("accept", ""):
        events = _progress(service, key, state, request.scope["state"]["request_id"])
        return StreamingResponse(events, media_type=EVENT_STREAM, headers={**headers, "Cache-Control": "no-store"})
    if wait == "read":
        read = await while_connected(request, service.uploads.wait_read(key))
        state = TextState(state.accepted_bytes, read.read_bytes, read.tokens, state.replayed)
    return JSONResponse(_shown(key, state).model_dump(), headers=headers)


@router.get("")
async def get_text(
    request: Request,
    service: TheService,
    key: TheKey,
    offset: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    bytes_: Annotated[int, Query(alias="bytes", ge=1, le=RANGE_BYTES_MAX)] = 4096,
    snapshot: SnapshotName | None = None,
) -> TextRange:
    """The whole characters in a range of the text, up to the end of its document or of the text that is held."""
    found = await while_connected(request, service.text_ranges.read(key, offset, bytes_, snapshot))
    return TextRange(session=key.id, offset=found.offset, bytes=found.size, document=found.document, text=found.text)


@router.head("", response_class=Response)
async def get_offset(service: TheService, key: TheKey, receipt: TheReceipt = None) -> Response:
    """How far the text is durable, and how far it has been read."""
    view = await service.registry.get(key, receipt)
    return Response(
        headers={
            "Upload-Offset": str(view.record.accepted_bytes),
            "Upload-Applied-Offset": str(view.read_bytes),
            "Upload-Complete": "?0",
            RECEIPT: service.registry.receipt(view.record),
            "Cache-Control": "no-store",
        }
    )


def _shown(key: SessionKey, state: TextState) -> TextAppended:
    return TextAppended(
        session=key.id,
        accepted_bytes=state.accepted_bytes,
        read_bytes=state.read_bytes,
        replayed=state.replayed,
    )


async def _progress(
    service: SessionService, key: SessionKey, state: TextState, request_id: str
) -> AsyncIterator[bytes]:
    """Progress events until the accepted text has been read."""
    began, tokens_before = time.monotonic(), state.tokens
    reading = asyncio.ensure_future(service.uploads.wait_read(key))
    try:
        while not reading.done():
            view = await service.registry.get(key)
            seconds = time.monotonic() - began
            yield event(
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
        appended = _shown(key, TextState(final.accepted_bytes, final.read_bytes, final.tokens, state.replayed))
        yield event("done", json.loads(appended.model_dump_json()))
    except Exception as error:
        yield event("error", error_response(error).body(request_id))
    finally:
        reading.cancel()
