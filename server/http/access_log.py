"""The access log: one line per request when it is over; and the trace context in its response."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.observability import tracing
from server.observability.logs import request_state
from server.observability.request_notes import NOTED

log = logging.getLogger(__name__)


class AccessLog:
    """ASGI middleware; the outermost, so that it sees every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = scope.setdefault("state", {})
        counts: dict[str, Any] = {"status": None, "seconds": 0.0, "received_bytes": 0, "sent_bytes": 0}
        state[NOTED] = {}

        async def counting_receive() -> Message:
            message = await receive()
            counts["received_bytes"] += len(message.get("body", b""))
            return message

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                counts["status"] = message["status"]
                MutableHeaders(scope=message).update(tracing.carried())
            counts["sent_bytes"] += len(message.get("body", b""))
            await send(message)

        token = request_state.set(state)
        try:
            await self._app(scope, counting_receive, counting_send)
        finally:
            counts["seconds"] = round(time.perf_counter() - began, 6)
            log.info("%s %s", scope["method"], _path(scope), extra={"fields": {**counts, **state[NOTED]}})
            request_state.reset(token)
            # Background work that the request started must not log its id any more.
            state.pop("request_id", None)


def _path(scope: Scope) -> str:
    """The route's template; without a route, the path without its query."""
    route = scope.get("route")
    return quote(scope["path"]) if route is None else str(route.path)
