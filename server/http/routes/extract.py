"""/v1/extract: a file of another format becomes text, which the caller can then send to a session."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from server.http.refusals import BodyTooLarge
from server.http.routes.shared import (
    TheIdentity,
    TheServices,
    TheSettings,
    problems,
    while_connected,
)
from server.http.schemas import DocumentName

router = APIRouter(tags=["text"], responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 500, 503))

_FILE: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
FileName = Annotated[DocumentName, Query(description="the file's name, whose suffix says what it is")]


@router.post(
    "/v1/extract", response_class=PlainTextResponse, openapi_extra={"requestBody": {"required": True, **_FILE}}
)
async def extract_text(
    request: Request, services: TheServices, settings: TheSettings, identity: TheIdentity, name: FileName
) -> Response:
    """Extracts the text of a file; nothing of it is kept."""
    suffix = services.extraction.suffix_of(name)
    with services.extraction.file() as file:
        async for chunk in request.stream():
            if file.tell() + len(chunk) > settings.extract_bytes:
                raise BodyTooLarge(
                    f"a file has at most {settings.extract_bytes} bytes here; send its text to a session"
                )
            file.write(chunk)
        text = await while_connected(request, services.extraction.text(suffix, file))
    return PlainTextResponse(text, headers={"Cache-Control": "no-store"})
