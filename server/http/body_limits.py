"""Bounds of JSON bodies, kept while they come: so many bytes, so deep.

It knows bytes and media types, and nothing of what a body means.
"""

from __future__ import annotations

import re
from itertools import accumulate

from starlette.types import Message, Receive

from server.http.errors import BodyTooLarge, InvalidRequest
from server.http.permissions import Call

# A string that never ends hides all that follows, from us as from the parser.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def is_long(call: Call | None, content_type: str) -> bool:
    """Whether a body may be of any length; what is parsed as a whole may not."""
    return call is not None and call.long_body and not is_json(content_type)


def depth(body: bytes) -> int:
    """How deep a parser gets into a UTF-8 body at most, whether or not it is sound."""
    brackets = _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets), initial=0))


def bounded(receive: Receive, body_bytes: int, json_depth: int | None) -> Receive:
    """The same messages, until the body is too large, or whole and too deep; depth None: it is no JSON."""
    body = bytearray()

    async def bounded() -> Message:
        message = await receive()
        body.extend(message.get("body", b""))
        must_fit(len(body), body_bytes)
        if json_depth is not None and message["type"] == "http.request" and not message.get("more_body"):
            _must_be_shallow(bytes(body), json_depth)
        return message

    return bounded


def must_fit(length_bytes: int, body_bytes: int) -> None:
    if length_bytes > body_bytes:
        raise BodyTooLarge(
            f"a JSON body has at most {body_bytes} bytes; send long text as text/plain, which has no bound"
        )


def _must_be_shallow(body: bytes, json_depth: int) -> None:
    # In UTF-8 no JSON has this byte, in UTF-16 and UTF-32 every bracket has: depth would not see them.
    if b"\0" in body:
        raise InvalidRequest("the body is not JSON in UTF-8; encode it so")
    if (found := depth(body)) > json_depth:
        raise InvalidRequest(f"the JSON is nested {found} deep, at most {json_depth} are taken; flatten it")
