"""What every route takes from the application, and the errors that it documents.

It knows the application's state by name, and no use case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect

from server.http.auth import Identity
from server.http.schemas import Problem
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import SessionKey

T = TypeVar("T")
# The gate has looked at the key already: this says in the description that there is one.
_BEARER = HTTPBearer(auto_error=False, description="A key, where the server has a keys file")

PROBLEM: dict[str, Any] = {"model": Problem, "content": {"application/problem+json": {}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {**PROBLEM, "description": meaning}
    for status, meaning in {
        400: "The request can not be understood",
        401: "There is no valid key",
        403: "The key does not allow this",
        404: "No such session",
        408: "The request took too long to come",
        410: "The session's time is over",
        422: "A field is out of bounds",
        429: "Too much to do",
        500: "The server failed",
        503: "Not now",
        507: "No room left",
    }.items()
}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {**PROBLEM, "description": "It does not follow from what is there"}}
TOO_LARGE: dict[int | str, dict[str, Any]] = {413: {**PROBLEM, "description": "The body is too large"}}
WRONG_TYPE: dict[int | str, dict[str, Any]] = {415: {**PROBLEM, "description": "Not a type that this route takes"}}


async def library_of(request: Request) -> SessionService:
    service: SessionService = request.app.state.service
    return service


async def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def identity_of(request: Request, _: Annotated[object, Security(_BEARER)]) -> Identity:
    identity: Identity = request.scope["state"]["identity"]
    return identity


TheIdentity = Annotated[Identity, Depends(identity_of)]


async def tenant_of(identity: TheIdentity) -> str:
    return identity.tenant


TheTenant = Annotated[str, Depends(tenant_of)]


async def session_key(tenant: TheTenant, id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]) -> SessionKey:
    return SessionKey(tenant, id)


TheLibrary = Annotated[SessionService, Depends(library_of)]
TheSettings = Annotated[Settings, Depends(settings_of)]
# A note of what was durable, which the client shows when it comes again.
RECEIPT = "Onceread-Receipt"
TheReceipt = Annotated[str | None, Header(alias=RECEIPT, max_length=1024)]
TheKey = Annotated[SessionKey, Depends(session_key)]
SnapshotPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; when the client goes away first, the work is cancelled and `ClientDisconnect` raised."""
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
