"""The gate in front of every route. A request passes it in this order:

1. it gets its id, the caller's or a new one;
2. if the server requires no keys, its `Host` and its `Origin` are checked;
3. its API key gives it an identity, whose scopes must cover the route;
4. a body that says that it is too large is refused before it is read;
5. admission: not while the server shuts down, nor beyond the queues' limits or the tenant's quotas;
6. its body is read under limits of size, nesting and the tenant's upload rate.

Every failure from here on, the routes' too, is answered as a problem.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.admission import Admission
from server.http.auth import Auth, must_be_allowed
from server.http.body_limits import bounded, is_json, is_long, must_fit
from server.http.browser_guard import BrowserGuard
from server.http.permissions import call_of, is_open
from server.http.problems import error_response
from server.http.quotas import Turn
from server.observability.metrics import Metrics
from server.settings import RequestSettings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str = "") -> str:
    """The caller's id if it is valid, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


class Exchange:
    """One request and its response, which gets its headers here and is dropped once the client is gone."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: Metrics) -> None:
        self.scope = scope
        self.headers = Headers(scope=scope)
        self.call = call_of(scope["method"], scope["path"])
        self.turn: Turn | None = None
        self._id = request_id(self.headers.get("x-request-id", ""))
        self._state = scope.setdefault("state", {})
        self._state["request_id"] = self._id
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._started = self._gone = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._gone = self._gone or message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        # An error about half a body is no refusal: the client has closed the connection.
        if self._gone:
            return
        if message["type"] == "http.response.start":
            self._started = True
            limits = self.turn.headers() if self.turn else {}
            MutableHeaders(scope=message).update({"X-Request-ID": self._id} | limits)
            if (code := self._state.get("refusal_code")) is not None:
                self._metrics.rejected.labels(reason=code).inc()
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answers with the error; raises it if a response has begun."""
        if self._started:
            raise error
        response = error_response(error)
        self._state["refusal_code"] = response.problem.code
        headers, body = response.rendered(self._id)
        await self.send({"type": "http.response.start", "status": response.problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


class Gate:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        browser_guard: BrowserGuard | None,
        auth: Auth,
        admission: Admission,
        settings: RequestSettings,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._browser_guard = browser_guard
        self._auth = auth
        self._admission = admission
        self._body_bytes = settings.body_bytes
        self._json_depth = settings.json_depth
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        exchange = Exchange(scope, receive, send, self._metrics)
        try:
            exchange.turn = self._admitted(exchange)
            with exchange.turn or nullcontext():
                await self._app(scope, self._limited(exchange), exchange.send)
        except ClientDisconnect:
            return
        except Exception as error:
            await exchange.fail(error)
        if exchange.turn is not None and exchange.call is not None and exchange.call.phase is not None:
            phase = self._metrics.request_seconds.labels(phase=exchange.call.phase)
            phase.observe(time.perf_counter() - began)

    def _admitted(self, exchange: Exchange) -> Turn | None:
        """Steps 2 to 5; only a request that the permissions know gets an identity, and no other reaches a route."""
        scope, headers, call = exchange.scope, exchange.headers, exchange.call
        if self._browser_guard is not None:
            self._browser_guard.check(scope["method"], scope["path"], headers)
        if is_open(scope["path"]):
            return None
        identity = self._auth.identify(headers.get("authorization"))
        if call is None:
            return None
        must_be_allowed(identity, call)
        scope["state"]["identity"] = identity
        length = headers.get("content-length", "")
        if length.isdecimal() and not is_long(call, headers.get("content-type", "")):
            must_fit(int(length), self._body_bytes)
        return self._admission.admit(call, identity.tenant)

    def _limited(self, exchange: Exchange) -> Receive:
        receive = exchange.turn.received(exchange.receive) if exchange.turn else exchange.receive
        content_type = exchange.headers.get("content-type", "")
        if is_long(exchange.call, content_type):
            return receive
        return bounded(receive, self._body_bytes, self._json_depth if is_json(content_type) else None)
