"""The gate in front of every route: request ids, and refusals that need no body to be read.

It knows methods, paths and sizes, and nothing of what lies behind it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import errors
from server.problems import ClientGone, as_api_error
from server.telemetry import Telemetry

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_TEXT = re.compile(r"^/v1/sessions/[^/]+/text$")
_WORK = re.compile(r"^/v1/(sessions|sessions/[^/]+/(text|queries))$")
_HEAVY = re.compile(r"^/v1/sessions/[^/]+/(text|queries)$")


class Gate:
    """ASGI middleware; `refusal` says why new work is not taken now, or None."""

    def __init__(
        self,
        app: ASGIApp,
        refusal: Callable[[bool], errors.ApiError | None],
        body_bytes: int,
        telemetry: Telemetry,
    ) -> None:
        self._app, self._refusal, self._body_bytes, self._telemetry = app, refusal, body_bytes, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
                if message["status"] >= 400:
                    self._telemetry.rejected.labels(reason=str(message["status"])).inc()
            await send(message)

        if refused := self._refused(scope, headers):
            await answer(refused, request_id, send_with_id)
            return
        bounded = receive if _TEXT.match(scope["path"]) and not _is_json(headers) else self._bounded(receive)
        try:
            await self._app(scope, bounded, send_with_id)
        except ClientGone:
            return
        except Exception as error:
            if started:
                raise
            await answer(as_api_error(error), request_id, send_with_id)
        phase = _HEAVY.match(scope["path"])
        if phase:
            self._telemetry.request_seconds.labels(phase=phase.group(1)).observe(time.perf_counter() - began)

    def _refused(self, scope: Scope, headers: Headers) -> errors.ApiError | None:
        if scope["method"] not in ("POST", "PUT", "PATCH") or not _WORK.match(scope["path"]):
            return None
        if refused := self._refusal(_HEAVY.match(scope["path"]) is not None):
            return refused
        length = headers.get("content-length", "")
        if (
            (_is_json(headers) or not _TEXT.match(scope["path"]))
            and length.isdigit()
            and int(length) > self._body_bytes
        ):
            return self._too_large()
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """The same messages, until the body grows beyond its bound."""
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._body_bytes:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> errors.BodyTooLarge:
        return errors.BodyTooLarge(
            f"a JSON body has at most {self._body_bytes} bytes; send long text as text/plain, which has no bound"
        )


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"


async def answer(error: errors.ApiError, request_id: str, send: Send) -> None:
    """The error as a whole response."""
    body = json.dumps(error.body(request_id)).encode()
    headers = {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        **{name.lower(): value for name, value in (error.headers or {}).items()},
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
