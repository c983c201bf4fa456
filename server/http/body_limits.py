"""Limits of JSON bodies, enforced while they arrive: size and nesting.

Nesting is checked before parsing: how deep a parser can recurse differs between Python's versions, and a parser that
gives up says nothing about `json_depth`.
"""

from __future__ import annotations

import re
from itertools import accumulate

from starlette.types import Message, Receive

from server.http.permissions import Call
from server.http.refusals import BodyTooLarge, InvalidRequest

# An unterminated string extends to the end, here as in a parser.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def is_json(content_type: str) -> bool:
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def is_long(call: Call | None, content_type: str) -> bool:
    """Whether a body may be of any length: one that is not parsed as a whole."""
    return call is not None and call.long_body and not is_json(content_type)


def depth(body: bytes) -> int:
    """The deepest nesting that a parser can meet in a UTF-8 body, valid or not."""
    brackets = _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets), initial=0))


def bounded(receive: Receive, body_bytes: int, json_depth: int | None) -> Receive:
    """The same messages; raises when the body is too large, or at its end too deep. `json_depth` None: not JSON."""
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
            f"a JSON body has at most {body_bytes} bytes; send long text as text/plain, which has no limit"
        )


def _must_be_shallow(body: bytes, json_depth: int) -> None:
    # No JSON in UTF-8 has this byte; in UTF-16 and UTF-32 every bracket has it, and `depth` would miss them.
    if b"\0" in body:
        raise InvalidRequest("the body is not JSON in UTF-8; encode it as UTF-8")
    if (found := depth(body)) > json_depth:
        raise InvalidRequest(f"the JSON is nested {found} deep, at most {json_depth} is allowed; flatten it")
