"""The gate in front of every route: request ids, keys, quotas, and refusals that need no body to be read.

It knows calls and headers, and nothing of what lies behind them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.auth import Auth, must_be_allowed
from server.http.body_limits import bounded, is_json, is_long, must_fit
from server.http.permissions import OPEN, Call, call_of
from server.http.problems import error_response
from server.http.quotas import Quotas, Turn
from server.http.request_ids import request_id
from server.observability.metrics import Metrics
from server.sessions.errors import Refusal
from server.settings import Settings


class Gate:
    """ASGI middleware; `refusal` says why new work is not taken now, or None."""

    def __init__(
        self,
        app: ASGIApp,
        refusal: Callable[[bool, str], Refusal | None],
        auth: Auth,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._app, self._refusal, self._auth, self._metrics = app, refusal, auth, metrics
        self._quotas = Quotas(settings)
        self._body_bytes, self._json_depth = settings.body_bytes, settings.json_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, call = Headers(scope=scope), call_of(scope["method"], scope["path"])
        name = scope.setdefault("state", {})["request_id"] = request_id(headers.get("x-request-id", ""))
        began = time.perf_counter()
        started = gone = False
        turn: Turn | None = None

        async def watching_receive() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if gone:
                # What is said of half a body is said to nobody, and no refusal.
                return
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update({"X-Request-ID": name} | (turn.headers() if turn else {}))
                if (code := scope["state"].get("refusal_code")) is not None:
                    self._metrics.rejected.labels(reason=code).inc()
            await send(message)

        try:
            turn = self._admitted(scope, headers, call)
        except Refusal as refused:
            await answer(refused, scope, send_with_headers)
            return
        try:
            with turn or nullcontext():
                await self._app(scope, self._body(watching_receive, headers, call, turn), send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:
                raise
            await answer(error, scope, send_with_headers)
        if call is not None and call.phase is not None:
            self._metrics.request_seconds.labels(phase=call.phase).observe(time.perf_counter() - began)

    def _admitted(self, scope: Scope, headers: Headers, call: Call | None) -> Turn | None:
        """Whose request it is goes into its state, but for a call that the table does not know: no route takes it."""
        if scope["path"] in OPEN:
            return None
        identity = self._auth.identify(headers.get("authorization"))
        if call is None:
            return None
        must_be_allowed(identity, call)
        scope["state"]["identity"] = identity
        if call.method in ("POST", "PUT", "PATCH") and (
            refused := self._refusal(call.phase is not None, identity.tenant)
        ):
            raise refused
        length = headers.get("content-length", "")
        if length.isdecimal() and not is_long(call, headers.get("content-type", "")):
            must_fit(int(length), self._body_bytes)
        return self._quotas.begin(identity.tenant, call.phase)

    def _body(self, receive: Receive, headers: Headers, call: Call | None, turn: Turn | None) -> Receive:
        if turn is not None:
            receive = turn.received(receive)
        content_type = headers.get("content-type", "")
        if is_long(call, content_type):
            return receive
        return bounded(receive, self._body_bytes, self._json_depth if is_json(content_type) else None)


async def answer(error: Exception, scope: Scope, send: Send) -> None:
    """The error as a whole response."""
    response = error_response(error)
    scope["state"]["refusal_code"] = response.problem.code
    headers, body = response.rendered(scope["state"]["request_id"])
    await send({"type": "http.response.start", "status": response.problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
