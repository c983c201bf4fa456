"""The text in a request's body: plain, NDJSON or JSON, streamed, or verified as a whole if it has a digest."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from email.message import Message
from typing import Any, cast

import http_sf
from fastapi import Request
from pydantic import ValidationError

from server.http import refusals
from server.http.schemas import TextAppend
from server.sessions.errors import InvalidField
from server.sessions.pieces import Passage
from server.settings import RequestSettings

PARTIAL = "application/partial-upload"
_BODY: dict[str, Any] = {"schema": {"type": "string"}}
DESCRIBED = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": _BODY,
            "application/x-ndjson": _BODY,
            "application/json": {"schema": TextAppend.model_json_schema()},
        },
    }
}
DESCRIBED_PARTIAL = {"requestBody": {"required": True, "content": {PARTIAL: _BODY}}}
_DIGESTS = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


def text_in(request: Request, settings: RequestSettings, document: str | None) -> AsyncIterator[Passage]:
    """The body's text, as text of `document` where it names none itself.

    An unsupported type is refused before any of the body is read.
    """
    content = _content(request, settings.digest_body_bytes)
    match _media_type(request):
        case "text/plain" | "application/octet-stream":
            return _of_document(content, document)
        case "application/x-ndjson":
            return _lines(content, settings.body_bytes, document)
        case "application/json":
            return _whole(content, document)
        case other:
            raise refusals.UnsupportedMediaType(
                f"{other} is not supported; send text/plain, application/x-ndjson or application/json"
            )


def partial_text_in(request: Request, settings: RequestSettings, document: str | None) -> AsyncIterator[Passage]:
    """A resumable upload's part, as text of `document`."""
    if (media_type := _media_type(request)) != PARTIAL:
        raise refusals.UnsupportedMediaType(f"{media_type} is not supported; send {PARTIAL}, or POST the text")
    return _of_document(_content(request, settings.digest_body_bytes), document)


def _media_type(request: Request) -> str:
    media = Message()
    media["Content-Type"] = request.headers.get("content-type", "text/plain")
    charset = media.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise refusals.UnsupportedMediaType(f"charset {charset} is not supported; encode the text as UTF-8")
    return str(media["Content-Type"]).partition(";")[0].strip().lower()


def _content(request: Request, bytes_max: int) -> AsyncIterator[bytes]:
    """The body; one with a `Content-Digest` (RFC 9530) is buffered until the digest is verified."""
    digests = _digests(request.headers.get("content-digest"))
    return _verified(request, digests, bytes_max) if digests else request.stream()


def _digests(field: str | None) -> dict[str, bytes]:
    if field is None:
        return {}
    try:
        given = http_sf.parse(field.encode(), tltype="dictionary")
    except ValueError as error:
        raise InvalidField(f"Content-Digest: {error}; send sha-256=:base64:", param="Content-Digest") from None
    # A dictionary's values are pairs of an item and its parameters.
    known = {name: item[0] for name, item in cast(dict[str, Any], given).items() if name in _DIGESTS}
    if not known or not all(isinstance(digest, bytes) for digest in known.values()):
        raise InvalidField(
            "Content-Digest: no supported algorithm; send sha-256=:base64: or sha-512=:base64:",
            param="Content-Digest",
        )
    return known


async def _verified(request: Request, digests: dict[str, bytes], bytes_max: int) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in request.stream():
        held += chunk
        if len(held) > bytes_max:
            raise refusals.BodyTooLarge(
                f"a body with a Content-Digest has at most {bytes_max} bytes; send the text in parts"
            )
    for name, digest in digests.items():
        if not hmac.compare_digest(_DIGESTS[name](held).digest(), digest):
            raise refusals.DigestMismatch(
                f"the {name} of the {len(held)} received bytes does not match; send them again"
            )
    yield bytes(held)


async def _of_document(content: AsyncIterator[bytes], document: str | None) -> AsyncIterator[Passage]:
    async for chunk in content:
        yield Passage(chunk, document)


async def _lines(content: AsyncIterator[bytes], line_bytes_max: int, document: str | None) -> AsyncIterator[Passage]:
    """The texts of NDJSON lines, each as soon as its line is complete; a line goes on with the document before it."""
    held = b""
    number = 0
    async for chunk in content:
        *lines, held = (held + chunk).split(b"\n")
        if len(held) > line_bytes_max:
            raise _long(number + 1, line_bytes_max)
        for line in lines:
            number += 1
            if len(line) > line_bytes_max:
                raise _long(number, line_bytes_max)
            if line.strip():
                passage = _text_of(line, f"line {number}", document)
                document = passage.document
                yield passage
    if held.strip():
        yield _text_of(held, f"line {number + 1}", document)


def _long(number: int, line_bytes_max: int) -> refusals.BodyTooLarge:
    return refusals.BodyTooLarge(f"line {number} is longer than {line_bytes_max} bytes; split it")


async def _whole(content: AsyncIterator[bytes], document: str | None) -> AsyncIterator[Passage]:
    # The gate bounds a JSON body.
    yield _text_of(b"".join([chunk async for chunk in content]), "the body", document)


def _text_of(value: bytes, where: str, before: str | None) -> Passage:
    """The text of a JSON value behind text of the document `before`."""
    try:
        sent = TextAppend.model_validate_json(value)
        return Passage(sent.under(before).encode(), sent.document or before)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise refusals.InvalidRequest(f"{where} is not JSON: {first['ctx']['error']}") from None
        # Without a location: an object lacks its text, and any other value has no field to name.
        field = ".".join(map(str, first["loc"])) or ("text" if first["type"] == "value_error" else None)
        named = f"{where}: {field}" if field else where
        message = first["msg"].removeprefix("Value error, ")
        hint = "" if field == "document" else '; send {"text": "…"}'
        raise InvalidField(f"{named}: {message}{hint}", param=field) from None
