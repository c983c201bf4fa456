"""Dependencies of all routes, and the error responses that they document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import HTTPBearer
from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect

from server.http.auth import Identity
from server.http.schemas import Problem
from server.http.services import Services, services_of
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import SessionKey

T = TypeVar("T")
# The gate has checked the key already: this only documents the scheme.
_BEARER = HTTPBearer(auto_error=False, description="An API key; required if the server has a keys file")

_DESCRIPTIONS = {
    400: "Invalid request",
    401: "Invalid API key",
    403: "API key lacks the required scope, or a page of another origin may not change anything",
    404: "Session not found",
    408: "Request timeout",
    409: "Conflict with the session's current state",
    410: "Session expired",
    413: "Request body too large",
    415: "Unsupported media type",
    421: "Host is not a name of this server",
    422: "Invalid field",
    429: "Server overloaded or quota exceeded",
    500: "Internal server error",
    503: "Server not ready, shutting down, or without its store",
    507: "Store full",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, as OpenAPI describes them."""
    return {
        status: {"model": Problem, "content": {"application/problem+json": {}}, "description": _DESCRIPTIONS[status]}
        for status in statuses
    }


EVENT_STREAM = "text/event-stream"
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {EVENT_STREAM: {}}}}
PROBLEMS = problems(400, 401, 403, 404, 408, 410, 421, 422, 429, 500, 503, 507)
CONFLICT = problems(409)
TOO_LARGE = problems(413)
WRONG_TYPE = problems(415)


TheServices = Annotated[Services, Depends(services_of)]


async def service_of(services: TheServices) -> SessionService:
    return services.sessions


async def settings_of(services: TheServices) -> Settings:
    return services.settings


async def identity_of(request: Request, _: Annotated[object, Security(_BEARER)]) -> Identity:
    identity: Identity = request.scope["state"]["identity"]
    return identity


TheIdentity = Annotated[Identity, Depends(identity_of)]


async def tenant_of(identity: TheIdentity) -> str:
    return identity.tenant


TheTenant = Annotated[str, Depends(tenant_of)]


async def session_key(tenant: TheTenant, id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]) -> SessionKey:
    return SessionKey(tenant, id)


TheService = Annotated[SessionService, Depends(service_of)]
TheSettings = Annotated[Settings, Depends(settings_of)]
# A signed note of what was durable, which the client sends with its next request.
RECEIPT = "Onceread-Receipt"
TheReceipt = Annotated[str | None, Header(alias=RECEIPT, max_length=1024)]
TheKey = Annotated[SessionKey, Depends(session_key)]
SnapshotPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; if the client disconnects first, cancels the work and raises `ClientDisconnect`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def event(name: str, data: dict[str, Any]) -> bytes:
    """A server-sent event; JSON keeps the data on one line, whatever text is in it."""
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))
